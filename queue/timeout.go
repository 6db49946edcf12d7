package queue

import "time"

// The longest waiting time is the same for all, so the oldest of a class is always
// the next of it to time out, and one timer per queue is enough. It is not touched
// when a waiter leaves: it then fires early once, finds nobody to dismiss and is set
// again for whoever is oldest. A busy line costs one timer event per MaxWait.

// arm makes sure that the timer fires no later than the oldest waiter is due.
// Called with mu held.
func (q *Queue) arm() {
	if q.armed || q.config.MaxWait == 0 || q.queued == 0 {
		return
	}
	var oldest *Waiter
	for i := range q.classes {
		if w := q.classes[i].first; w != nil && (oldest == nil || w.since < oldest.since) {
			oldest = w
		}
	}
	q.armed = true
	d := oldest.since + q.config.MaxWait - q.now()
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
	q.expire(q.now())
	q.arm()
}

// expire dismisses all whose time is over. Called with mu held.
func (q *Queue) expire(now time.Duration) {
	if q.config.MaxWait == 0 {
		return
	}
	due := now - q.config.MaxWait
	for i := range q.classes {
		for c := &q.classes[i]; c.first != nil && c.first.since <= due; {
			q.timedOut++
			q.dismiss(c.first, ErrTimeout)
		}
	}
}
