package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/openfaas"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
)

// openFaaSCmd is fnpod in the place of of-watchdog.
type openFaaSCmd struct {
	settings *openfaas.Settings
	workers  *serveCmd // nil: the function is what the settings say
	front    *front    // what our own variables make of the settings
}

// newOpenFaaS reads the environment, as of-watchdog does or the classic watchdog. Arguments are those of the originals.
func newOpenFaaS(inv *invocation, args []string, classic bool) (runner, error) {
	if len(args) > 0 {
		switch args[0] {
		case "-version", "--version":
			return versionLines{}, nil
		case "-run-healthcheck", "--run-healthcheck":
			return healthcheck{}, nil
		default:
			return nil, &usageError{lines: []string{fmt.Sprintf("unknown argument %q: there are -version and -run-healthcheck", args[0])}}
		}
	}
	lookup := inv.env.raw
	workers, err := openFaaSWorkers(inv)
	if err != nil {
		return nil, err
	}
	if workers != nil {
		lookup = inv.env.inHTTPMode
	}
	read := openfaas.Read
	if classic && workers == nil {
		read = openfaas.ReadClassic
	}
	s, err := read(lookup)
	if err != nil {
		return nil, fmt.Errorf("error loading config: %w", err)
	}
	p, err := inv.variables(proxyCmd{Protocol: proxy.ProtocolAuto, Front: *openFaaSFront(s)})
	if err != nil {
		return nil, err
	}
	return &openFaaSCmd{s, workers, &p.Front}, nil
}

// raw returns a variable, also an empty one.
func (e environment) raw(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// versionLines prints the version as the original does.
type versionLines struct{}

// Run implements runner.
func (versionLines) Run(_ context.Context, inv *invocation) error {
	v, c := build()
	openfaas.Say(inv.stderr, "Version: %s\tSHA: %s", v, c)
	return nil
}

// healthcheck tells by its exit code whether the lock file is there.
type healthcheck struct{}

// Run implements runner.
func (healthcheck) Run(_ context.Context, inv *invocation) error {
	s, _ := openfaas.Read(inv.env.raw) // no setting is needed for this
	lock := openfaas.Lock{Path: s.LockFile}
	if !lock.Exists() {
		fmt.Fprintln(inv.stderr, "unable to find lock file.")
		return &exitError{code: exitFailure}
	}
	return nil
}

// Run serves the function until ctx ends, or the function does.
func (c *openFaaSCmd) Run(ctx context.Context, inv *invocation) error {
	s := c.settings
	stderr := inv.stderr
	log := slog.New(openfaas.NewHandler(stderr))
	inv.tellLosses(log)
	for _, w := range s.Warnings {
		log.Warn("setting is no duration such as 30 or 1m30s", "setting", w.Setting, "value", w.Value, "used", w.Used.String())
	}
	tuneProcessors(log)
	c.announce(stderr)
	f, err := c.function(inv, log)
	if err != nil {
		return err
	}
	p := &pod{log: log, stderr: stderr, lines: inv.lines(log), settings: c.front, function: f}
	p.statuses = slices.Concat(s.Statuses(), forkStatuses, workerStatuses)
	if c.workers != nil {
		p.settings.Proxy.MaxBody = c.workers.Front.Proxy.MaxBody
	}
	lock := &openfaas.Lock{Path: s.LockFile}
	routes := &openfaas.Routes{
		Settings: s, Lock: lock,
		Ready: func() bool { return f.Ready() == nil },
		Full: func() bool {
			st := p.queue.Stats()
			return st.Limit > 0 && st.Executing >= st.Limit
		},
	}
	if s.JWT != nil {
		if routes.Gate, err = openfaas.NewGate(ctx, s.JWT, log); err != nil {
			return err
		}
	}
	var series *openfaas.Metrics
	p.platform = platform{
		hooks: proxy.Hooks{
			Own:      routes.Own,
			Deadline: s.Deadline,
			Fields:   c.fields(p.lines),
			Sniffs:   true,
			Ended: func(x *proxy.Exchange, o proxy.Outcome) {
				if x.Bypassed() || o.Own && routes.Route(x) {
					return
				}
				series.Count(x.Request().Method, o)
				s.LogRequest(stderr, x, o)
			},
		},
		collectors: func(p *pod) []metrics.Collector {
			series = openfaas.NewMetrics(func() float64 {
				st := p.queue.Stats()
				return float64(st.Executing + st.Queued)
			})
			return series.Collectors()
		},
		opened: func() error {
			openfaas.Say(stderr, "Listening on port: %d", s.Port)
			openfaas.Say(stderr, "Metrics listening on port: %d", s.MetricsPort)
			if lock.Path != "" {
				openfaas.Say(stderr, "Writing lock-file to: %s", lock.Path)
			}
			return lock.Create()
		},
		ending: func() {
			openfaas.Say(stderr, "SIGTERM: no new connections in %s", s.HealthInterval)
			c.signalFunction(f, log)
			if err := lock.Remove(); err != nil {
				log.Warn("the lock file stays", "err", err)
			}
		},
	}
	return openFaaSExit(functionStarted(p.run(ctx), log), log)
}

// announce logs what the original logs when it starts.
func (c *openFaaSCmd) announce(w io.Writer) {
	s := c.settings
	v, commit := build()
	openfaas.Say(w, "Version: %s\tSHA: %s", v, commit)
	openfaas.Say(w, "Watchdog mode: %s\tfprocess: %q", s.Mode, strings.Join(s.Process, " "))
	openfaas.Say(w, "Timeouts: read: %s write: %s hard: %s health: %s", s.ReadTimeout, s.WriteTimeout, s.ExecTimeout, s.HealthInterval)
}

// signalFunction tells the function of a drain at once, if that is asked for.
func (c *openFaaSCmd) signalFunction(f function, log *slog.Logger) {
	process, ok := f.(interface{ Signal(s syscall.Signal) error })
	if !ok || !c.settings.SignalAtOnce {
		return
	}
	if err := process.Signal(syscall.SIGTERM); err != nil {
		log.Warn("signal not passed on", "signal", "SIGTERM", "err", err)
	}
}

// fields is the last look at a head, which may be printed.
func (c *openFaaSCmd) fields(stdout io.Writer) func(x *proxy.Exchange, head, body []byte) []byte {
	if s := c.settings; s.Classic != nil && s.Classic.DebugHeaders {
		return func(x *proxy.Exchange, head, body []byte) []byte {
			head = s.Fields(x, head, body)
			openfaas.PrintAnswer(stdout, head)
			return head
		}
	}
	return c.settings.Fields
}

// openFaaSExit makes every end of the function ours with exit code 1, as kubelet is used to, and a drain good whatever
// it lost.
func openFaaSExit(err error, log *slog.Logger) error {
	if exit, ok := errors.AsType[*watchdog.ExitError](err); ok {
		return fmt.Errorf("forked function has terminated: %w", exit)
	}
	if errors.Is(err, proxy.ErrLost) {
		log.Warn("requests were cut", "err", err)
		return nil
	}
	return err
}

// openFaaSFront are our settings, as far as OpenFaaS' say something about them.
func openFaaSFront(s *openfaas.Settings) *front {
	f := defaults().Proxy.Front
	f.Listen = address{network: "tcp", address: ":" + strconv.Itoa(s.Port)}
	f.Admin = address{network: "tcp", address: ":" + strconv.Itoa(s.MetricsPort)}
	f.Queue.Limit, f.Queue.Depth, f.Queue.MaxWait, f.Queue.Discipline = s.MaxInflight, 0, 0, queue.FIFO
	if s.Forks() && (s.MaxInflight == 0 || s.MaxInflight > mostProcesses) {
		f.Queue.Limit = mostProcesses
	}
	p := &f.Proxy
	p.HeadBytes = 64<<10 - 1
	p.HeadTimeout, p.IdleTimeout, p.BodyTimeout = orNever(s.ReadTimeout), orNever(s.ReadTimeout), orNever(s.ReadTimeout)
	p.WriteTimeout = orNever(s.WriteTimeout)
	p.AnswerTimeout = 0
	if s.Mode == openfaas.ModeHTTP { // who has a process per request looks at it itself
		p.AnswerTimeout = s.ExecTimeout
	}
	p.Timeout = s.WriteTimeout
	p.Forwarded, p.RequestIDs = "off", false
	p.DrainDelay, p.DrainTimeout = s.HealthInterval, orNever(s.WriteTimeout)
	return &f
}

// orNever is a limit where there is none.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return 365 * 24 * time.Hour
	}
	return d
}

// function is what the settings ask for.
func (c *openFaaSCmd) function(inv *invocation, log *slog.Logger) (function, error) {
	s := c.settings
	if c.workers != nil {
		return c.warm(inv, log)
	}
	switch s.Mode {
	case openfaas.ModeHTTP:
		return openFaaSProcess(s, inv, log)
	case openfaas.ModeStatic:
		return &files{Static: openfaas.NewStatic(s.StaticPath), path: s.StaticPath}, nil
	default:
		return openFaaSFork(s, inv, log)
	}
}

// files is a function that is a folder.
type files struct {
	*openfaas.Static

	path string
}

// Run implements function.
func (*files) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Ready implements function.
func (*files) Ready() error { return nil }

// Series implements function.
func (*files) Series(*metrics.Set) {}

// Status implements function.
func (f *files) Status() any { return map[string]any{"static_path": f.path} }

// all is the whole environment, as the function of OpenFaaS gets it.
func (e environment) all() []string {
	env := make([]string, 0, len(e))
	for name, value := range e {
		env = append(env, name+"="+value)
	}
	return env
}
