package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/fnpod/fnpod/platform/kubeless"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/wrapper"
)

// function is what the settings ask for.
func (c *kubelessCmd) function(inv *invocation, log *slog.Logger) (function, error) {
	switch {
	case c.settings.Language == kubeless.Server:
		return c.process(inv, log)
	case c.settings.Isolated:
		return c.calls(inv, log)
	default:
		return c.warm(inv, log)
	}
}

// kubelessWarm are calls in warm workers.
type kubelessWarm struct {
	*workersFunction

	settings *kubeless.Settings
}

func (c *kubelessCmd) warm(inv *invocation, log *slog.Logger) (*kubelessWarm, error) {
	config, err := c.workers.config(inv)
	if err != nil {
		return nil, err
	}
	config.Log, config.Output, config.WithoutRequestID = log, inv.unframed, true
	config.Env = append(config.Env, c.strict()...)
	if config.Dir, err = os.Getwd(); err != nil {
		return nil, fmt.Errorf("working directory: %w", err)
	}
	if _, set := inv.env.lookup(variableOf("workers-client-grace")); config.Concurrency == 1 && !set {
		config.ClientGrace = orNever(0) // functions run on when their clients have left
	}
	if c.front.Queue.Limit == 0 {
		c.front.Queue.Limit = config.Max * config.Concurrency
	}
	return &kubelessWarm{newWorkersFunction(config), c.settings}, nil
}

// strict tells the language side whether to copy oddities.
func (c *kubelessCmd) strict() []string {
	return []string{"FNPOD_WORKER_KUBELESS_STRICT=" + strconv.FormatBool(c.settings.Strict)}
}

// Do implements proxy.Backend.
func (f *kubelessWarm) Do(x *proxy.Exchange) error { return f.settings.Failed(f.pool.Do(x)) }

// kubelessCalls are calls that have a process each.
type kubelessCalls struct {
	*forkFunction

	settings *kubeless.Settings
	program  *os.File
}

func (c *kubelessCmd) calls(inv *invocation, log *slog.Logger) (*kubelessCalls, error) {
	pool, err := c.workers.config(inv) // which knows how interpreters are found
	if err != nil {
		return nil, err
	}
	path, err := pool.Program()
	if err != nil {
		return nil, &usageError{lines: []string{err.Error()}}
	}
	program, err := watchdog.MemoryFile("fnpod-kubeless", wrapper.PythonSingle(wrapper.Kubeless))
	if err != nil {
		return nil, err
	}
	config := watchdog.DefaultForkConfig()
	config.Launcher, config.Resident, config.StartTimeout = watchdog.Zygote, true, c.workers.Workers.StartTimeout
	if c.settings.Spawned {
		config.Launcher, config.Resident = watchdog.Standby, false
	}
	config.Path = path
	config.Script, config.Args = program, []string{path, watchdog.ScriptPath}
	config.Env = append(inv.env.forFunction(), append(c.strict(), "FNPOD_WORKER_HANDLER="+pool.Handler.String())...)
	config.Timeout, config.Grace = c.workers.Workers.Timeout, c.workers.Workers.StopGrace
	config.ClientGone, config.Finish = proxy.ErrClientGone, true
	config.Variables = func(*watchdog.Variables, watchdog.Exchange) {} // the request is in standard input
	config.Fields = func(watchdog.Exchange) error { return nil }       // the answer says them
	config.Log = log
	config.Output = func(_ string, l watchdog.Line) { inv.unframed(l) }
	fork, err := watchdog.NewFork(config)
	if err != nil {
		return nil, err
	}
	if c.front.Queue.Limit == 0 {
		c.front.Queue.Limit = mostProcesses
	}
	return &kubelessCalls{&forkFunction{Fork: fork, mode: "process", path: c.settings.File}, c.settings, program}, nil
}

// Do implements proxy.Backend.
func (f *kubelessCalls) Do(x *proxy.Exchange) error {
	return f.settings.Call(fed{x}, f.Fork.Do)
}

// Ready implements function: without the process that has loaded the module, each call would have to load it.
func (f *kubelessCalls) Ready() error {
	if f.Launcher() == watchdog.Exec {
		return errStarting
	}
	return f.forkFunction.Ready()
}

// Run implements function.
func (f *kubelessCalls) Run(ctx context.Context) error {
	defer func() { _ = f.program.Close() }() // it was only read
	return f.Fork.Run(ctx)
}

// replies asks a server for its health. What it says is not looked at, as in the original, but that it says something.
func (f *processFunction) replies() bool {
	var d net.Dialer
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, f.Network, f.Address)
		},
	}}
	answer, err := client.Get("http://localhost/healthz") //nolint:noctx // it has a time-out
	if err != nil {
		return false
	}
	_ = answer.Body.Close() // it is not read
	return true
}

// process is the process of a function that is a server.
func (c *kubelessCmd) process(inv *invocation, log *slog.Logger) (*processFunction, error) {
	if port := c.server.Function.Upstream.port(); port != "" {
		inv.env["FUNC_PORT"] = port // ours is the other one
	}
	f, err := c.server.process(inv, log)
	if err != nil {
		return nil, err
	}
	f.Starting = func() bool { return !f.supervisor.Ready() }
	if f.passage = inv.passOn(log); f.passage != nil {
		f.supervisor.Process.Output = f.passage.line
	}
	return f, nil
}
