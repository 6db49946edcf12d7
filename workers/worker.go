package workers

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/watchdog"
)

// state is where a worker is in its life.
type state uint8

const (
	starting state = iota // not ready yet
	idle                  // waits for a request
	busy                  // runs one
	leaving               // was told to end, or was killed
)

// Reason says why a worker ended. It is a closed list, for metrics.
type Reason uint8

// Reasons for the end of a worker. Those before ReasonIdle are faults.
const (
	ReasonExited   Reason = iota // it ended by itself
	ReasonSignaled               // a signal that was not ours
	ReasonOOM                    // the kernel, out of memory
	ReasonTimeout                // killed: the request's deadline or the run limit passed
	ReasonCanceled               // killed: the request was given up
	ReasonProtocol               // killed: it broke the protocol
	ReasonStart                  // it did not become ready
	ReasonIdle                   // not needed: idle time-out
	ReasonRecycled               // replaced: age, size, or its own wish
	ReasonStopped                // the pool ended
	Reasons                      // number of reasons
)

var reasons = [Reasons]string{
	"exited", "signaled", "oom", "timeout", "canceled", "protocol", "start", "idle", "recycled", "stopped",
}

// String returns the label.
func (r Reason) String() string {
	if r >= Reasons {
		return ""
	}
	return reasons[r]
}

// worker is one process with the function loaded. What a request needs belongs to
// the goroutine that runs it, one at a time.
type worker struct {
	pool   *Pool
	number int // among all that were started
	index  int // among those that are there; free again when it leaves
	log    *slog.Logger
	ch     *channel
	lane   *lane // nil: none
	proc   *watchdog.Process
	ended  chan struct{} // closed when the process has ended; nil: it was never started
	born   time.Time

	// guarded by pool.mu
	state     state
	owners    int     // who still uses ch and lane: its nurse, a request
	idleSince int64   // on the pool's clock
	served    int     // requests
	proven    bool    // it has seen a request to its end
	stuck     bool    // it was killed and does not end
	reason    Reason  // of its death; Reasons: not known yet
	calls     int     // requests in flight
	abandoned int     // of them, those whose answer is not wanted any more
	condemned bool    // one of them does not end: killed when the others have
	pinged    int64   // when it was asked last whether it lives, while it is condemned
	recycle   bool    // to be replaced
	replaces  *worker // it was started as the successor of this one
	replaced  bool    // its successor is ready: it gets no request any more
	version   int     // of the function
	heralds   bool    // it is the first of a new version, and starts beside the others
	retire    chan struct{}
	retiring  bool   // retire is closed
	rss       int64  // bytes, as last measured
	lifetime  int    // requests after which it is replaced; 0: none
	oldAt     int64  // on the pool's clock: when it is replaced; 0: never
	engaged   uint64 // number of its last request among the pool's
	seen      uint64 // engaged+1 at the last inspection

	capacity int     // requests it runs at once, set before it is ready
	shared   *shared // the conversation, if they are several
	heard    bool    // it has a reader; its nurse's

	// Of the goroutine that reads what it writes.
	call     call  // the request in flight, if there is but one
	bye      bool  // it said that it ends now
	spent    int64 // idle since, as serve needs it; on the pool's clock
	unlogged int64 // bytes of log frames left out since the last record

	limit          limit
	loaded         atomic.Bool  // READY was received
	unfit          atomic.Bool  // dead, or as good as
	killed         atomic.Int32 // reason + 1 of the first kill
	wantsRecycling atomic.Bool  // by flag in an answer

	request requestID
}

// kill ends the worker and its process group at once. The first reason stays.
func (w *worker) kill(r Reason) {
	w.killed.CompareAndSwap(0, int32(r)+1)
	w.pool.end(w.proc)
}

// killReason returns why we killed the worker; Reasons if we did not.
func (w *worker) killReason() Reason {
	if k := w.killed.Load(); k > 0 {
		return Reason(k - 1)
	}
	return Reasons
}

// reasonOfDeath says why a dead worker ended. It needs mu: who asks first finds
// out whether the kernel was short of memory.
func (w *worker) reasonOfDeath() Reason {
	if w.reason != Reasons {
		return w.reason
	}
	w.reason = w.killReason()
	if w.reason == Reasons {
		w.reason = ReasonExited
		if s := w.proc.Exit().Signal; s != 0 {
			w.reason = ReasonSignaled
			if s == syscall.SIGKILL && w.pool.oom.Next() {
				w.reason = ReasonOOM
			}
		}
	}
	return w.reason
}

// fit reports whether the worker can run another request, as far as the goroutine
// that ran the last one knows.
func (w *worker) fit() bool { return !w.unfit.Load() && w.killReason() == Reasons && !w.ch.dead.Load() }

// overdue is called when the limit strikes.
func (w *worker) overdue() {
	switch {
	case !w.loaded.Load():
		w.kill(ReasonStart)
	case w.call.abandoned.Load():
		w.kill(ReasonCanceled)
	default:
		w.kill(ReasonTimeout)
	}
	w.ch.wake() // it need not die at once
}

// watch waits for the end of the process. Whoever talks to it is woken then, even
// if a grandchild still holds the pipes.
func (w *worker) watch() {
	defer close(w.ended)
	<-w.proc.Done()
	w.ch.dead.Store(true)
	w.ch.wake()
	w.ch.unblock()
}

// bury gives everything back. Nobody uses the worker any more.
func (w *worker) bury() {
	w.limit.stop()
	var errs []error
	if w.ch != nil {
		errs = append(errs, w.ch.close())
	}
	if w.lane != nil {
		errs = append(errs, w.lane.close())
	}
	if err := errors.Join(errs...); err != nil {
		w.log.Warn("worker not cleaned up", "err", err)
	}
}
