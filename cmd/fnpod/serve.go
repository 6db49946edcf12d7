package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/workers"
)

// Run serves the handler with warm workers until ctx ends.
func (c *serveCmd) Run(ctx context.Context, inv *invocation) error {
	log := inv.logger(c.Front.Log)
	p := &pod{log: log, stderr: inv.stderr, settings: &c.Front, statuses: workerStatuses}
	tuneProcessors(log) // before "auto" is read
	config, err := c.config(inv)
	if err != nil {
		return err
	}
	config.Log = log
	f := newWorkersFunction(config)
	f.auto = c.Workers.Max == 0
	if c.Front.Queue.Limit == 0 {
		c.Front.Queue.Limit = config.Max * config.Concurrency
		f.limits = true
	}
	p.function = f
	return functionStarted(p.run(ctx), log)
}

// functionStarted logs why a function did not start, if that was the end of the pod.
func functionStarted(err error, log *slog.Logger) error {
	if init, ok := errors.AsType[*workers.InitError](err); ok {
		log.Error("function did not start", "type", init.Type, "message", init.Message, "traceback", init.Traceback)
		return &exitError{code: exitFailure}
	}
	return err
}

// config is the pool that the settings ask for.
func (c *serveCmd) config(inv *invocation) (workers.Config, error) {
	handler, err := workers.ParseHandler(c.Handler.String())
	if err != nil {
		return workers.Config{}, &usageError{lines: []string{err.Error()}}
	}
	config := c.Workers.config()
	config.Handler = handler
	config.Env = inv.env.forFunction()
	config.Path, _ = inv.env.lookup("PATH")
	config.ClientGone = proxy.ErrClientGone
	if err := config.Validate(); err != nil {
		return workers.Config{}, &usageError{lines: []string{err.Error()}}
	}
	return config, nil
}

// workerStatuses says how errors of the pool are answered.
var workerStatuses = []proxy.Status{
	{Err: errRaised, Code: 500, Label: "function_error"},
	{Err: workers.ErrMemory, Code: 502, Label: "worker_oom", Upstream: metrics.UpstreamWorkerOOM},
	{Err: workers.ErrDied, Code: 502, Label: "worker_exit", Upstream: metrics.UpstreamWorkerExit},
	{Err: workers.ErrProtocol, Code: 502, Label: "worker_protocol", Upstream: metrics.UpstreamWorkerProtocol},
	{Err: workers.ErrTimeout, Code: 504, Label: "timeout", Upstream: metrics.UpstreamTimeout},
	{Err: workers.ErrBadAnswer, Code: 502, Label: "malformed", Upstream: metrics.UpstreamMalformed},
	{Err: workers.ErrNotReady, Code: 503, Label: "not_ready", Upstream: metrics.UpstreamConnect, RetryAfter: true},
	{Err: workers.ErrClosed, Code: 503, Label: "draining", Reject: metrics.RejectDraining, RetryAfter: true},
	{Err: workers.ErrTooLarge, Code: 431, Label: "header_size", Reject: metrics.RejectHeaderSize},
}

// workersFunction is a pool of warm workers.
type workersFunction struct {
	pool   *workers.Pool
	config workers.Config
	auto   bool         // there are as many workers as processors
	limits bool         // and as many requests run as workers can
	most   atomic.Int64 // workers
}

func newWorkersFunction(config workers.Config) *workersFunction {
	f := &workersFunction{pool: workers.New(config), config: config}
	f.most.Store(int64(config.Max))
	return f
}

// resize follows the number of processors. It returns the new limit of the queue, 0 for no change.
func (f *workersFunction) resize(processors int) int {
	if !f.auto {
		return 0
	}
	n := max(processors, f.config.Min)
	f.pool.SetMax(n)
	f.most.Store(int64(n))
	if !f.limits {
		return 0
	}
	return n * f.config.Concurrency
}

// Do implements proxy.Backend.
func (f *workersFunction) Do(x *proxy.Exchange) error {
	err := f.pool.Do(x)
	if err == nil {
		return nil
	}
	if raised, ok := errors.AsType[*workers.HandlerError](err); ok {
		return &raisedError{raised}
	}
	return err
}

// raisedError is an error of the function itself. What it raised stays in the log; a value that is no answer is the
// author's to know.
type raisedError struct{ *workers.HandlerError }

func (e *raisedError) Is(target error) bool { return target == errRaised }

// Public implements proxy.Public.
func (e *raisedError) Public() string {
	if e.Type == unusableResult {
		return e.Message
	}
	return ""
}

// unusableResult is the type by which wrappers say that a handler returned something that is no answer.
const unusableResult = "UnusableResult"

// errRaised is an error of the function itself.
var errRaised = errors.New("function failed")

// Run implements function.
func (f *workersFunction) Run(ctx context.Context) error { return f.pool.Run(ctx) }

// Ready implements function.
func (f *workersFunction) Ready() error {
	select {
	case <-f.pool.Ready():
	default:
		return errStarting
	}
	if f.pool.Health() != nil {
		return errors.New("failing")
	}
	return nil
}

// Series implements function.
func (f *workersFunction) Series(set *metrics.Set) {
	gauge := func(state string, n func(workers.Stats) int) {
		set.Func(metrics.Workers, func() float64 { return float64(n(f.pool.Stats())) }, state)
	}
	gauge("starting", func(s workers.Stats) int { return s.Starting })
	gauge("idle", func(s workers.Stats) int { return s.Idle })
	gauge("busy", func(s workers.Stats) int { return s.Busy })
	gauge("stopping", func(s workers.Stats) int { return s.Leaving })
	gauge("stuck", func(s workers.Stats) int { return s.Stuck })
	set.Func(metrics.WorkersLimit, func() float64 { return float64(f.most.Load()) })
	set.Func(metrics.OutputDropped, func() float64 { return float64(f.pool.Stats().Dropped) })
	set.Func(metrics.WorkerStarts, func() float64 { return float64(f.pool.Stats().Starts) })
	set.Func(metrics.WorkersRecycled, func() float64 { return float64(f.pool.Stats().Ends[workers.ReasonRecycled]) })
	for r := range workers.ReasonIdle {
		set.Func(metrics.WorkerDeaths, func() float64 { return float64(f.pool.Stats().Ends[r]) }, r.String())
	}
}

// Status implements function.
func (f *workersFunction) Status() any {
	s := f.pool.Stats()
	ends := map[string]uint64{}
	for r := range workers.Reasons {
		ends[r.String()] = s.Ends[r]
	}
	return map[string]any{
		"handler": f.config.Handler.String(), "language": f.config.Handler.Language(),
		"min": f.config.Min, "max": f.most.Load(),
		"starting": s.Starting, "idle": s.Idle, "busy": s.Busy, "leaving": s.Leaving, "stuck": s.Stuck, "waiting": s.Waiting,
		"starts": s.Starts, "failures": s.Failures, "requests": s.Requests, "failed": s.Failed, "ends": ends,
	}
}
