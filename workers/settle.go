package workers

import (
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// settleTime is what a worker has, after its answer, to read what was being
	// written to it.
	settleTime = time.Second
	// closeTime is how long a worker that closed a pipe may take to end by itself. A
	// descendant that holds its output delays the news by a quarter of a second.
	closeTime = 500 * time.Millisecond
	// deathTime is how long a request waits for the end of its worker.
	deathTime = time.Second
)

// errOverdue ends the wait for a worker whose limit has struck.
var errOverdue = errors.New("workers: limit reached")

// settle ends a request that the worker is through with: it has to have read what
// was being written to it, and to have said nothing more.
func (w *worker) settle() {
	if !w.limit.set(0) {
		w.kill(ReasonTimeout) // the limit struck this moment
		return
	}
	if w.ch.writing.Load() {
		w.limit.set(w.pool.now() + int64(settleTime))
	}
	err := w.asides()
	for err == nil && w.ch.writing.Load() {
		if err = w.ch.wait(); err == nil {
			err = w.asides()
		}
	}
	w.ch.queued = nil // for a request that is over
	if !w.limit.set(0) {
		w.kill(ReasonTimeout)
		return
	}
	if err != nil {
		w.broken(err)
	}
}

// broken returns when a worker that cannot be used again is dead.
func (w *worker) broken(err error) {
	w.unfit.Store(true)
	if errors.Is(err, ErrProtocol) {
		w.log.Warn("worker broke the protocol", "request_id", w.request.get(), "err", err)
	}
	closed := errors.Is(err, io.EOF) || errors.Is(err, errInputClosed)
	if closed && w.proc.EndsWithin(closeTime) {
		return
	}
	w.kill(ReasonProtocol)
	if !w.proc.EndsWithin(deathTime) {
		w.pool.quarantine(w)
	}
}

// quarantine takes notice of a worker that the kernel does not let die (rule W10).
// It keeps its place in the pool until it is gone.
func (p *Pool) quarantine(w *worker) {
	w.log.Error("worker was killed and does not end", "pid", w.proc.Pid(), "request_id", w.request.get())
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.workers[w]; !there || w.stuck {
		return
	}
	w.stuck = true
	p.stuck++
	if err := p.hopeless(); err != nil {
		p.dismissLine(err)
	}
}

// lost says what became of a request whose worker is dead, or as good as dead.
func (c *call) lost(err, cause error) (again bool, _ error) {
	if c.cause != nil {
		return false, c.cause
	}
	switch c.w.killReason() {
	case ReasonTimeout:
		if cause != nil {
			return false, cause
		}
		if c.w.shared != nil {
			return false, fmt.Errorf("%w: with another request, which did not end", ErrDied)
		}
		return false, fmt.Errorf("%w: function stopped", ErrTimeout)
	case ReasonStopped:
		return false, ErrClosed
	case ReasonProtocol:
		if !errors.Is(err, ErrProtocol) {
			err = fmt.Errorf("%w: it closed its pipe", ErrProtocol)
		}
	default:
		err = c.w.died()
	}
	return c.unseen(), err
}

// died describes the end of a dead worker that was not ours.
func (w *worker) died() error {
	if !w.proc.EndsWithin(0) {
		return fmt.Errorf("%w: it was killed", ErrDied)
	}
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if w.reasonOfDeath() == ReasonOOM {
		return fmt.Errorf("%w: %v", ErrMemory, w.proc.Exit())
	}
	return fmt.Errorf("%w: %v", ErrDied, w.proc.Exit())
}

// unseen reports whether the worker, which is dead, has not read any of the
// request. What waits in a pipe is read in order, so nothing was taken if at least
// as much is left as was written. Only then may another worker run the request
// (rule R4).
func (c *call) unseen() bool {
	if c.touched || c.heard || !c.w.proc.EndsWithin(0) {
		return false
	}
	if sl, ok := c.link.(*slot); ok {
		read, _ := sl.shared.why()
		return sl.at >= read
	}
	return c.w.ch.unread() >= c.w.ch.wrote
}
