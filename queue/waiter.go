package queue

import (
	"sync"
	"sync/atomic"
	"time"
)

// Waiter is a place in line. The zero value is ready. It may be used for one
// Acquire after another, with Reset in between, and must not be copied. Reuse it
// (one per connection): the first wait allocates, later ones do not.
type Waiter struct {
	Class    int       // index in Config.Classes; 0 if there are none
	Key      uint64    // who asks: those of one key share their turns, see Config.Lanes
	Deadline time.Time // when an answer is of no use any more; zero means never

	cancelled atomic.Bool // cause is set

	// mu is taken before Queue.mu.
	mu    sync.Mutex
	cause error  // guarded by mu
	queue *Queue // guarded by mu; where the last wait was, nil before the first

	queued bool        // guarded by queue.mu; in line
	links  [lines]link // guarded by queue.mu until the waiter is dismissed
	lane   *lane       // guarded by queue.mu; where it waits

	wake   chan struct{} // result is set and the waiter out of line
	result error         // written before wake
	since  time.Duration // begin of the wait; written before the waiter is in line
	due    time.Duration // the deadline on the queue's clock; 0 means none; likewise
	waited time.Duration // belongs to the caller of Acquire
}

// Cancel makes the waiter leave the line at once; its Acquire returns cause, or
// ErrCancelled if cause is nil. Before Acquire it makes the next Acquire return
// cause. It has no effect on an Acquire that was granted its slot already, nor
// after an earlier Cancel. Any goroutine may call it at any time; the cause stays
// until Reset.
func (w *Waiter) Cancel(cause error) {
	if cause == nil {
		cause = ErrCancelled
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	w.cause = cause
	w.cancelled.Store(true)
	if w.queue != nil {
		w.queue.leave(w, cause)
	}
}

// Reset makes the waiter ready for the next Acquire: it forgets the cause of an
// earlier Cancel and the time waited. It must not be called while Acquire runs. A
// Cancel that runs at the same time counts as before Reset or as after it.
func (w *Waiter) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause = nil
	w.cancelled.Store(false)
	w.waited = 0
}

// Waited returns how long the last Acquire was in line, whatever came of it; 0 if
// it did not have to wait. It must not be called while Acquire runs.
func (w *Waiter) Waited() time.Duration { return w.waited }

// leave dismisses w if it is still in line. The slot of a waiter that has been
// granted one in the meantime is untouched. Called with w.mu held.
func (q *Queue) leave(w *Waiter, cause error) {
	q.mu.Lock()
	defer q.unlock()
	if !w.queued {
		return
	}
	q.cancelled++
	q.dismiss(w, cause)
}
