package queue

import "time"

// The longest waiting time is the same for all, so the first in line is always
// the next to time out, and one timer per queue is enough. It is not touched when
// a waiter leaves: it then fires early once, finds nobody to dismiss and is set
// again for whoever is first. A busy line costs one timer event per MaxWait.

// arm makes sure that the timer fires no later than the first in line is due.
// Called with mu held.
func (q *Queue) arm() {
	w := q.line.first
	if q.armed || q.maxWait == 0 || w == nil {
		return
	}
	q.armed = true
	d := w.since + q.maxWait - q.now()
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.tick)
		return
	}
	q.timer.Reset(d)
}

// tick runs when the timer fires, in a goroutine of its own that never waits.
func (q *Queue) tick() {
	q.mu.Lock()
	defer q.unlock()
	q.armed = false
	q.expire()
	q.arm()
}

// expire dismisses all whose time is over. Called with mu held.
func (q *Queue) expire() {
	if q.maxWait == 0 {
		return
	}
	due := q.now() - q.maxWait
	for w := q.line.first; w != nil && w.since <= due; w = q.line.first {
		q.timedOut++
		q.dismiss(w, ErrTimeout)
	}
}
