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
	ErrLate      = errors.New("queue: too late")        // the answer would come after the waiter's Deadline
	ErrClosed    = errors.New("queue: closed")          // Close was called
	ErrCancelled = errors.New("queue: cancelled")       // Cancel was called without a cause
)

// Queue hands out slots. Create it with New. All its
// methods may be called by any number of goroutines at the same time.
type Queue struct {
	config  Config
	start   time.Time    // origin of now
	service atomic.Int64 // mean service time in nanoseconds, see Observe
	found   *Gradient    // nil unless Config.Adapt

	mu        sync.Mutex
	limit     int         // guarded by mu
	executing int         // guarded by mu
	queued    int         // guarded by mu
	classes   []class     // guarded by mu; in order of priority
	leaving   line        // guarded by mu; out of the line, to be woken by unlock
	timer     *time.Timer // guarded by mu; nil until somebody waits under a bound
	armed     bool        // guarded by mu; timer will fire, at the deadline of the oldest waiter or before
	frozen    bool        // guarded by mu
	closed    bool        // guarded by mu
	granted   uint64      // guarded by mu
	refused   uint64      // guarded by mu
	displaced uint64      // guarded by mu
	late      uint64      // guarded by mu
	timedOut  uint64      // guarded by mu
	cancelled uint64      // guarded by mu
	turnedOff uint64      // guarded by mu
}

// New returns a queue with the bounds of c, which must have passed Validate.
// Nothing has to be released when the queue is no longer used, but Close ends the
// wait of those who are still in line.
func New(c Config) *Queue {
	q := &Queue{config: c, start: time.Now(), limit: c.Limit}
	if c.Adapt {
		most := c.Limit
		if most == 0 {
			most = adaptMost
		}
		q.found = NewGradient(adaptFirst, 1, most)
		q.limit = q.found.Limit()
	}
	if len(c.Classes) == 0 {
		c.Classes = []Class{{}}
	}
	q.classes = make([]class, len(c.Classes))
	for i := range q.classes {
		q.classes[i] = class{share: c.Classes[i].Share, keep: c.Classes[i].Keep, lanes: make([]lane, max(c.Lanes, 1))}
		q.classes[i].resize(q.limit, c.Depth)
	}
	return q
}

// TryAcquire takes a slot for a request of a class if one is free and nobody of the
// class waits, and reports whether it did. A refusal is not counted.
func (q *Queue) TryAcquire(class int) bool {
	q.mu.Lock()
	ok := q.take(&q.classes[class])
	q.mu.Unlock()
	return ok
}

// Acquire takes a slot and returns nil, waiting in line on w if it must. The slot
// has to be given back with Release. Any error means that no slot is held: ErrFull
// at once when all waiting places are taken, or later if the place went to another,
// ErrLate when the answer would come after w.Deadline, ErrTimeout after the longest
// waiting time, ErrClosed after Close, or the cause given to w.Cancel.
//
// One waiter serves one Acquire at a time.
func (q *Queue) Acquire(w *Waiter) error {
	w.waited = 0
	if !w.cancelled.Load() && q.TryAcquire(w.Class) {
		return nil
	}
	if wait, err := q.join(w); !wait {
		return err
	}
	<-w.wake
	w.waited = q.now() - w.since
	return w.result
}

// Release gives back one slot of a class. It goes to whose turn it is, if anybody
// waits, and passedOn tells. It panics when no slot of the class is out.
func (q *Queue) Release(class int) (passedOn bool) {
	q.mu.Lock()
	defer q.unlock()
	c := &q.classes[class]
	if c.executing == 0 {
		panic("queue: Release without a slot")
	}
	c.executing--
	q.executing--
	left := q.executing
	q.admit()
	return q.executing > left
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
	for i := range q.classes {
		q.classes[i].resize(n, q.config.Depth)
	}
	q.admit()
}

// Freeze gives out no more slots. Those who wait stay in line until Close or their
// Cancel; newcomers wait behind them. It cannot be undone.
func (q *Queue) Freeze() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.frozen = true
}

// Close refuses all who wait and all who come with ErrClosed. Slots that are out
// stay valid until they are released. Closing again has no effect.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.unlock()
	q.closed = true
	for i := range q.classes {
		for c := &q.classes[i]; c.first != nil; {
			q.turnedOff++
			q.dismiss(c.first, ErrClosed)
		}
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
	defer q.unlock()
	c := &q.classes[w.Class]
	switch {
	case w.queued:
		panic("queue: waiter is in line already")
	case w.cause != nil:
		q.cancelled++
		return false, w.cause
	case q.closed:
		q.turnedOff++
		return false, ErrClosed
	case q.take(c):
		return false, nil
	}
	w.queue, w.since, w.due = q, q.now(), 0
	if !w.Deadline.IsZero() {
		w.due = w.Deadline.Sub(q.start)
	}
	switch {
	case q.hopeless(c, w):
		q.late++
		return false, ErrLate
	case q.queued >= q.config.Depth && !q.makeRoom(c, w):
		q.refused++
		return false, ErrFull
	}
	if w.wake == nil {
		w.wake = make(chan struct{}, 1) // exactly one wake-up per wait, so sending never blocks
	}
	w.queued = true
	q.queued++
	c.enqueue(w)
	q.arm()
	return true, nil
}

// take takes a slot if the class may have one and nobody of it waits: whatever frees
// a slot calls admit before it gives mu back. Called with mu held.
func (q *Queue) take(c *class) bool {
	if q.closed || q.frozen || !q.free() || c.queued > 0 || !q.may(c) {
		return false
	}
	q.grant(c)
	return true
}

// grant counts a slot that c gets. Called with mu held.
func (q *Queue) grant(c *class) {
	c.executing++
	q.executing++
	q.granted++
}

// free tells whether a slot is free. Called with mu held.
func (q *Queue) free() bool { return q.limit == 0 || q.executing < q.limit }

// may tells whether a free slot may go to c: it has a right to it, or the others have
// what is never lent. Called with mu held.
func (q *Queue) may(c *class) bool {
	if len(q.classes) == 1 || q.limit == 0 || c.executing < c.guaranteed {
		return true
	}
	kept := 0
	for i := range q.classes {
		if o := &q.classes[i]; o != c {
			kept += max(o.kept-o.executing, 0)
		}
	}
	return q.executing+kept < q.limit
}

// next is the class whose waiter gets a free slot: the first that has fewer than it
// is guaranteed, else the first that may borrow. Called with mu held.
func (q *Queue) next() *class {
	var borrower *class
	for i := range q.classes {
		c := &q.classes[i]
		switch {
		case c.queued == 0:
		case c.executing < c.guaranteed:
			return c
		case borrower == nil && q.may(c):
			borrower = c
		}
	}
	return borrower
}

// admit hands free slots to those who wait. Whoever has waited too long gets none,
// even if the timer is late. Called with mu held.
func (q *Queue) admit() {
	if q.queued == 0 || q.frozen || !q.free() {
		return
	}
	now := q.now()
	q.expire(now)
	for q.queued > 0 && q.free() {
		c := q.next()
		if c == nil {
			return
		}
		q.look(c, now)
		w := c.pick()
		if w.due != 0 && now+q.patience() >= w.due {
			q.late++
			q.dismiss(w, ErrLate)
			continue
		}
		c.turn()
		q.dismiss(w, nil)
		q.grant(c)
	}
}

// dismiss takes w out of the line; unlock will wake it. Called with mu held.
func (q *Queue) dismiss(w *Waiter, result error) {
	q.classes[w.Class].dequeue(w)
	q.queued--
	w.queued = false
	w.result = result
	q.leaving.push(w, byArrival)
}

// unlock gives mu back and then wakes those who were dismissed under it, in order.
// Waking may cost a system call, which nobody should have to wait for. A woken
// waiter belongs to its goroutine again, so it is not touched afterwards.
func (q *Queue) unlock() {
	w := q.leaving.first
	q.leaving = line{}
	q.mu.Unlock()
	for w != nil {
		next := w.links[byArrival].next
		w.links[byArrival] = link{}
		w.wake <- struct{}{}
		w = next
	}
}

// now is the time on the clock of this queue. It costs half of time.Now.
func (q *Queue) now() time.Duration { return time.Since(q.start) }
