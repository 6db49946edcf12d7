package queue

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons for which Acquire refuses. They are returned as they are, so that they
// may be compared or matched with errors.Is.
var (
	ErrFull      = errors.New("queue: full")            // no slot and no waiting place was free
	ErrTimeout   = errors.New("queue: waited too long") // the longest waiting time passed
	ErrClosed    = errors.New("queue: closed")          // Close was called
	ErrCancelled = errors.New("queue: cancelled")       // Cancel was called without a cause
)

// Queue hands out slots, first come, first served. Create it with New. All its
// methods may be called by any number of goroutines at the same time.
type Queue struct {
	depth   int
	maxWait time.Duration
	start   time.Time    // origin of now
	service atomic.Int64 // mean service time in nanoseconds, see Observe

	mu        sync.Mutex
	limit     int         // guarded by mu
	executing int         // guarded by mu
	line      line        // guarded by mu; those who wait, in order of arrival
	leaving   line        // guarded by mu; out of the line, to be woken by unlock
	timer     *time.Timer // guarded by mu; nil until somebody waits under a bound
	armed     bool        // guarded by mu; timer will fire, at the deadline of the first in line or before
	closed    bool        // guarded by mu
	granted   uint64      // guarded by mu
	refused   uint64      // guarded by mu
	timedOut  uint64      // guarded by mu
	cancelled uint64      // guarded by mu
	turnedOff uint64      // guarded by mu
}

// New returns a queue with the bounds of c, which must have passed Validate.
// Nothing has to be released when the queue is no longer used, but Close ends the
// wait of those who are still in line.
func New(c Config) *Queue {
	return &Queue{depth: c.Depth, maxWait: c.MaxWait, start: time.Now(), limit: c.Limit}
}

// TryAcquire takes a slot if one is free and nobody waits, and reports whether it
// did. A refusal is not counted.
func (q *Queue) TryAcquire() bool {
	q.mu.Lock()
	ok := q.take()
	q.mu.Unlock()
	return ok
}

// Acquire takes a slot and returns nil, waiting in line on w if it must. The slot
// has to be given back with Release. Any error means that no slot is held: ErrFull
// at once when all waiting places are taken, ErrTimeout after the longest waiting
// time, ErrClosed after Close, or the cause given to w.Cancel.
//
// One waiter serves one Acquire at a time.
func (q *Queue) Acquire(w *Waiter) error {
	w.waited = 0
	if !w.cancelled.Load() && q.TryAcquire() {
		return nil
	}
	if wait, err := q.join(w); !wait {
		return err
	}
	<-w.wake
	w.waited = q.now() - w.since
	return w.result
}

// Release gives one slot back. It goes to the first in line, if there is one.
// It panics when no slot is out.
func (q *Queue) Release() {
	q.mu.Lock()
	defer q.unlock()
	if q.executing == 0 {
		panic("queue: Release without a slot")
	}
	q.executing--
	q.admit()
}

// SetLimit changes the number of slots; 0 means no limit. When it grows, waiters
// move up in order. When it shrinks, those who hold a slot keep it, and nobody is
// admitted until fewer than n are left. It panics when n is negative.
func (q *Queue) SetLimit(n int) {
	if n < 0 {
		panic("queue: negative limit")
	}
	q.mu.Lock()
	defer q.unlock()
	q.limit = n
	q.admit()
}

// Close refuses all who wait and all who come with ErrClosed. Slots that are out
// stay valid until they are released. Closing again has no effect.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.unlock()
	q.closed = true
	for w := q.line.first; w != nil; w = q.line.first {
		q.turnedOff++
		q.dismiss(w, ErrClosed)
	}
	if q.timer != nil {
		q.timer.Stop()
	}
}

// join decides about a waiter that found no slot: it takes a place in line, is
// refused, or has a slot after all because one came free in between.
func (q *Queue) join(w *Waiter) (wait bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case w.queued:
		panic("queue: waiter is in line already")
	case w.cause != nil:
		q.cancelled++
		return false, w.cause
	case q.closed:
		q.turnedOff++
		return false, ErrClosed
	case q.take():
		return false, nil
	case q.line.length >= q.depth:
		q.refused++
		return false, ErrFull
	}
	w.queue = q
	w.since = q.now()
	if w.wake == nil {
		w.wake = make(chan struct{}, 1) // exactly one wake-up per wait, so sending never blocks
	}
	w.queued = true
	q.line.push(w)
	q.arm()
	return true, nil
}

// take takes a slot if one is free, which means that nobody waits: whatever frees a
// slot calls admit before it gives mu back. Called with mu held.
func (q *Queue) take() bool {
	if q.closed || !q.free() {
		return false
	}
	q.executing++
	q.granted++
	return true
}

// free tells whether a slot is free. Called with mu held.
func (q *Queue) free() bool { return q.limit == 0 || q.executing < q.limit }

// admit hands free slots to those who wait, in order. Whoever has waited too long
// gets none, even if the timer is late. Called with mu held.
func (q *Queue) admit() {
	if q.line.first == nil || !q.free() {
		return
	}
	q.expire()
	for w := q.line.first; w != nil && q.free(); w = q.line.first {
		q.executing++
		q.granted++
		q.dismiss(w, nil)
	}
}

// dismiss takes w out of the line; unlock will wake it. Called with mu held.
func (q *Queue) dismiss(w *Waiter, result error) {
	q.line.remove(w)
	w.queued = false
	w.result = result
	q.leaving.push(w)
}

// unlock gives mu back and then wakes those who were dismissed under it, in order.
// Waking may cost a system call, which nobody should have to wait for. A woken
// waiter belongs to its goroutine again, so it is not touched afterwards.
func (q *Queue) unlock() {
	w := q.leaving.first
	q.leaving = line{}
	q.mu.Unlock()
	for w != nil {
		next := w.next
		w.prev, w.next = nil, nil
		w.wake <- struct{}{}
		w = next
	}
}

// now is the time on the clock of this queue. It costs half of time.Now.
func (q *Queue) now() time.Duration { return time.Since(q.start) }
