package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// maxIdle is how many idle connections to the function are kept.
const maxIdle = 1024

// Run starts the command and serves it until ctx ends, or the command does.
func (c *runCmd) Run(ctx context.Context, inv *invocation) error {
	log := inv.logger(c.Front.Log)
	tuneProcessors(log)
	if c.forks() {
		return c.runForks(ctx, inv, log)
	}
	f, err := c.process(inv, log)
	if err != nil {
		return err
	}
	f.Starting = func() bool { return !f.supervisor.Ready() }
	if f.passage = inv.passOn(log); f.passage != nil {
		f.supervisor.Process.Output = f.passage.line
	}
	p := &pod{log: log, stderr: inv.stderr, lines: inv.pipe, settings: &c.Front, function: f}
	return exitWithFunction(p.run(ctx))
}

// exitWithFunction makes the end of the function ours, with its exit code.
func exitWithFunction(err error) error {
	var exit *watchdog.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if exit.Status() == 0 {
		return nil
	}
	return &exitError{code: exit.Status(), err: err}
}

// processFunction is a long-lived process of ours that speaks HTTP.
type processFunction struct {
	*proxy.HTTPBackend
	supervisor *watchdog.Supervisor
	passage    *passage // nil when the function has our own streams
}

func (c *runCmd) process(inv *invocation, log *slog.Logger) (*processFunction, error) {
	s, argv := &c.Function, c.argv()
	path, err := c.program()
	if err != nil {
		return nil, err
	}
	probe, err := watchdog.ParseProbe(c.probe())
	if err != nil {
		return nil, err
	}
	env := inv.env.forFunction()
	if port := s.Upstream.port(); port != "" {
		env = append(env, "PORT="+port)
	}
	return &processFunction{
		HTTPBackend: &proxy.HTTPBackend{
			Network: s.Upstream.network, Address: s.Upstream.address, MaxIdle: maxIdle, ConnectTimeout: 10 * time.Second,
			Protocol: s.Protocol,
		},
		supervisor: &watchdog.Supervisor{
			Process:      watchdog.Config{Path: path, Args: argv, Env: env, Stdin: nil, Grace: s.StopGrace, Log: log},
			Probe:        probe,
			StartTimeout: s.StartTimeout, ExitWithChild: s.Restart == "never", Log: log,
		},
	}, nil
}

// program finds the command.
func (c *runCmd) program() (string, error) {
	name := c.argv()[0]
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &usageError{lines: []string{fmt.Sprintf("command %s: %v", name, reason(err))}}
	}
	return path, nil
}

// probe is the ready probe with the upstream filled in.
func (c *runCmd) probe() string {
	s := &c.Function
	if s.ReadyProbe.kind != "tcp" {
		return s.ReadyProbe.String()
	}
	if s.Upstream.network == "unix" {
		return "unix:" + s.Upstream.address
	}
	return "tcp:" + s.Upstream.address
}

// Run implements function.
func (f *processFunction) Run(ctx context.Context) error {
	defer f.CloseIdle()
	return f.supervisor.Run(ctx)
}

// Ready implements function.
func (f *processFunction) Ready() error {
	if !f.supervisor.Ready() {
		return errStarting
	}
	return nil
}

// Signal passes a signal on to the function.
func (f *processFunction) Signal(s syscall.Signal) error { return f.supervisor.Signal(s) }

// Series implements function.
func (f *processFunction) Series(set *metrics.Set) {
	set.Func(metrics.FunctionUp, func() float64 { return oneIf(f.supervisor.Ready()) })
	set.Func(metrics.FunctionRestarts, func() float64 { return float64(f.supervisor.Status().Restarts) })
	connectionSeries(set, f.HTTPBackend)
	if p := f.passage; p != nil {
		set.Func(metrics.OutputDropped, func() float64 { return float64(p.dropped.Load()) })
	}
}

// Status implements function.
func (f *processFunction) Status() any {
	s := f.supervisor.Status()
	doc := map[string]any{"state": s.State.String(), "pid": s.Pid, "restarts": s.Restarts, "exits": s.Exits}
	if s.Exits > 0 {
		doc["last_exit"] = s.LastExit.String()
	}
	return doc
}
