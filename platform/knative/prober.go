package knative

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// How a probe without a period is run: at once and then again and again, so that a pod is ready as soon as it is.
const (
	pollEvery   = 50 * time.Millisecond
	pollAttempt = 100 * time.Millisecond
	pollTime    = 10 * time.Second
)

// Prober finds out whether the user containers are ready. There is one run at a time, which all share who ask meanwhile.
// Safe for use by several goroutines.
type Prober struct {
	Log *slog.Logger

	checks  []*check
	ctx     context.Context //nolint:containedctx // of all runs: who asks may leave
	stop    context.CancelFunc
	running sync.WaitGroup
	ready   atomic.Bool // by the last run

	mu  sync.Mutex
	now *run // guarded by mu; nil between runs
}

// run is one answer, of which several may wait.
type run struct {
	done  chan struct{}
	ready bool // after done
}

// check is one probe and how often it passed on end.
type check struct {
	probe Probe
	try   func(ctx context.Context) error

	passed int // in the goroutine of the run
}

// NewProber returns a Prober for the probes of s. Call Close when it is not needed any more.
func NewProber(s *Settings, log *slog.Logger) *Prober {
	p := &Prober{Log: log}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for _, probe := range s.Probes {
		probe.reach(s)
		p.checks = append(p.checks, &check{probe: probe, try: probe.attempt(s.DetectHTTP2)})
	}
	return p
}

// Close ends a run in progress and waits for it.
func (p *Prober) Close() {
	p.mu.Lock()
	p.stop()
	p.mu.Unlock()
	p.running.Wait()
}

// Ready reports what the last run found; nobody has asked yet: not ready.
func (p *Prober) Ready() bool { return p.ready.Load() }

// Ask runs the probes, or joins a run in progress. It gives up when gone is closed; the run goes on.
func (p *Prober) Ask(gone <-chan struct{}) (ready bool) {
	if len(p.checks) == 0 {
		p.ready.Store(true)
		return true
	}
	r := p.join()
	select {
	case <-r.done:
		return r.ready
	case <-gone:
		return false
	}
}

// join returns the run in progress, or begins one.
func (p *Prober) join() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		return p.now
	}
	r := &run{done: make(chan struct{})}
	if p.ctx.Err() != nil {
		close(r.done)
		return r
	}
	p.now = r
	p.running.Go(func() {
		r.ready = p.all()
		p.ready.Store(r.ready)
		p.mu.Lock()
		p.now = nil
		p.mu.Unlock()
		close(r.done)
	})
	return r
}

// all runs the probes side by side; all must pass.
func (p *Prober) all() bool {
	errs := make([]error, len(p.checks))
	var each sync.WaitGroup
	for i, c := range p.checks {
		each.Go(func() { errs[i] = c.run(p.ctx) })
	}
	each.Wait()
	err := errors.Join(errs...)
	if err != nil && p.ctx.Err() == nil {
		p.Log.Warn("function is not ready", "err", err)
	}
	return err == nil
}

func (c *check) run(ctx context.Context) error {
	if c.probe.PeriodSeconds > 0 {
		return c.attempt(ctx, max(time.Duration(c.probe.TimeoutSeconds)*time.Second, time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for failures := 0; ; {
		err := c.attempt(ctx, pollAttempt)
		switch {
		case err != nil:
			failures++
			c.passed = 0
		case c.passed+1 >= c.probe.SuccessThreshold:
			return nil // and the next run needs one pass
		default:
			c.passed++
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d attempts failed, the last: %w", failures, err)
		}
	}
}

func (c *check) attempt(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.try(ctx)
}
