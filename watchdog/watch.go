package watchdog

import (
	"context"
	"errors"
	"time"
)

// Pauses between two checks: short at first, because most functions are up
// within milliseconds.
const (
	firstCheck = 5 * time.Millisecond
	lastCheck  = 50 * time.Millisecond
)

var errNoCheck = errors.New("no probe came to an end")

// watch checks a probe until it passes.
type watch struct {
	passed chan struct{} // closed when the probe has passed
	cancel context.CancelFunc
	over   chan struct{} // closed when the goroutine has ended
	last   error         // why the last check failed; set before over is closed
}

// watch starts to check the Supervisor's probe.
func (s *Supervisor) watch(ctx context.Context) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{passed: make(chan struct{}), cancel: cancel, over: make(chan struct{}), last: errNoCheck}
	go w.run(ctx, s.Probe)
	return w
}

func (w *watch) run(ctx context.Context, probe Probe) {
	defer close(w.over)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := firstCheck; ; pause = min(pause*3/2, lastCheck) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := probe.Check(ctx)
		if err == nil {
			close(w.passed)
			return
		}
		if ctx.Err() == nil { // otherwise the error tells only that
			w.last = err
		}
		timer.Reset(pause)
	}
}

// stop ends the checks and returns why the last one failed.
func (w *watch) stop() error {
	w.cancel()
	<-w.over
	return w.last
}
