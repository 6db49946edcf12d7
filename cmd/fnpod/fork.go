package main

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// forksPerProcessor is how many processes run at once for each processor, unless queue-limit says it: most of them
// start and end, which takes turns anyway, and some wait.
const forksPerProcessor = 4

// runForks serves the command, which is started for each request, until ctx ends.
func (c *runCmd) runForks(ctx context.Context, inv *invocation, log *slog.Logger) error {
	f, err := c.fork(inv, log) //nolint:contextcheck // only log records are written without a context
	if err != nil {
		return err
	}
	if c.Front.Queue.Limit == 0 {
		f.limits = true
		c.Front.Queue.Limit = f.resize(runtime.GOMAXPROCS(0))
	}
	p := &pod{log: log, stderr: inv.stderr, settings: &c.Front, function: f, statuses: forkStatuses}
	return p.run(ctx)
}

func (c *runCmd) fork(inv *invocation, log *slog.Logger) (*forkFunction, error) {
	path, err := c.program()
	if err != nil {
		return nil, err
	}
	config := c.Fork.config()
	if c.Function.Mode == "serializing" {
		config.Mode = watchdog.Serializing
	}
	config.Path, config.Args, config.Env = path, c.argv(), inv.env.forFunction()
	config.Grace, config.ClientGone = c.Function.StopGrace, proxy.ErrClientGone
	config.Log = log
	config.Output = func(id string, l watchdog.Line) { l.Log(log, id) }
	fork, err := watchdog.NewFork(config)
	if err != nil {
		return nil, err
	}
	return &forkFunction{Fork: fork, mode: c.Function.Mode, path: path}, nil
}

// forkStatuses says how requests without an answer of their process are answered.
var forkStatuses = []proxy.Status{
	{Err: watchdog.ErrMemory, Code: 500, Label: "function_oom", Upstream: metrics.UpstreamWorkerOOM},
	{Err: watchdog.ErrFailed, Code: 500, Label: "function_error", Upstream: metrics.UpstreamWorkerExit},
	{Err: watchdog.ErrNotStarted, Code: 500, Label: "not_started", Upstream: metrics.UpstreamConnect},
	{Err: watchdog.ErrNoRoom, Code: 503, Label: "no_room", Upstream: metrics.UpstreamConnect, RetryAfter: true},
	{Err: watchdog.ErrRunTimeout, Code: 504, Label: "timeout", Upstream: metrics.UpstreamTimeout},
	{Err: watchdog.ErrOutputSize, Code: 502, Label: "body_size", Upstream: metrics.UpstreamBodySize},
	{Err: watchdog.ErrVariables, Code: 431, Label: "header_size", Reject: metrics.RejectHeaderSize},
	{Err: watchdog.ErrPath, Code: 400, Label: "target", Reject: metrics.RejectTarget},
	{Err: watchdog.ErrForkClosed, Code: 503, Label: "draining", Reject: metrics.RejectDraining, RetryAfter: true},
}

// forkFunction is a command that is started for each request.
type forkFunction struct {
	*watchdog.Fork

	mode, path string
	limits     bool // as many requests run as the processors allow
}

// Do implements proxy.Backend.
func (f *forkFunction) Do(x *proxy.Exchange) error { return f.Fork.Do(fed{x}) }

// fed is a request whose process may not take its time over its body: nobody else looks at that.
type fed struct{ *proxy.Exchange }

// ReadBody implements watchdog.Exchange.
func (x fed) ReadBody(p []byte) (int, error) { return x.ReadBodyInTime(p) }

// resize follows the number of processors. It returns the new limit of the queue, 0 for no change.
func (f *forkFunction) resize(processors int) int {
	if !f.limits {
		return 0
	}
	return forksPerProcessor * processors
}

// Ready implements function: that the command was found is all that can be known before the first request, and that those
// that are to wait for one were started.
func (f *forkFunction) Ready() error {
	if !f.Prepared() {
		return errStarting
	}
	return nil
}

// Series implements function.
func (f *forkFunction) Series(set *metrics.Set) {
	set.Func(metrics.Processes, func() float64 { return float64(f.Stats().Running) })
	set.Func(metrics.ProcessesWaiting, func() float64 { return float64(f.Stats().Waiting) })
	set.Func(metrics.ProcessesTaken, func() float64 { return float64(f.Stats().Ahead) })
	set.Func(metrics.ProcessStarts, func() float64 { return float64(f.Stats().Starts) })
	set.Func(metrics.OutputDropped, func() float64 { return float64(f.Stats().Dropped) })
	for _, reason := range watchdog.ForkFailures() {
		set.Func(metrics.ProcessFailures, func() float64 { return float64(f.Stats().Failures[reason]) }, reason)
	}
}

// Status implements function.
func (f *forkFunction) Status() any {
	s := f.Stats()
	return map[string]any{
		"mode": f.mode, "launcher": f.Launcher().String(), "command": f.path, "running": s.Running, "waiting": s.Waiting, "starts": s.Starts,
		"started_ahead": s.Ahead, "failures": s.Failures,
	}
}
