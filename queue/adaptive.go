package queue

import "time"

// Constants of the adaptive discipline. The target follows the service time, since a
// function of 10 s cannot be waited for less; the interval tells a burst from a line
// that stands.
const (
	targetLeast     = 5 * time.Millisecond
	intervalTargets = 5 // targets in an interval; in simulations 2 costs a percent at load 0.9, 10 reacts late
	intervalLeast   = 100 * time.Millisecond
	intervalMost    = 10 * time.Second
)

// look tells the class how long its oldest has waited. Called with mu held.
func (q *Queue) look(c *class, now time.Duration) {
	if q.config.Discipline != Adaptive {
		return
	}
	target := q.config.Target
	if target == 0 {
		target = max(time.Duration(q.service.Load()), targetLeast)
	}
	c.overload.look(now, now-c.first.since, target, min(max(intervalTargets*target, intervalLeast), intervalMost))
}

// patience is how long before its deadline a waiter must be served to be of use.
func (q *Queue) patience() time.Duration {
	if q.config.Discipline != Adaptive {
		return 0
	}
	return time.Duration(q.service.Load())
}

// hopeless tells that a newcomer would get its slot too late, by the mean service
// time. Called with mu held.
func (q *Queue) hopeless(c *class, w *Waiter) bool {
	if w.due == 0 {
		return false
	}
	left := w.due - w.since
	if left <= q.patience() {
		return true
	}
	if q.config.Discipline != Adaptive || c.overload.now || q.limit == 0 {
		return false // the newest may be the next
	}
	slots := q.limit
	if len(q.classes) > 1 && c.guaranteed > 0 {
		slots = c.guaranteed
	}
	return time.Duration(c.queued+1)*time.Duration(q.service.Load())/time.Duration(slots) > left
}

// makeRoom finds a place for w in a full line, and tells whether it did. A class that
// has less than its share of places takes one from a class that has more. Within a
// class, the longest lane makes room for a shorter one; and under overload the oldest,
// who would be served last, for the newest. Called with mu held.
func (q *Queue) makeRoom(c *class, w *Waiter) bool {
	if c.queued < c.places {
		for i := len(q.classes) - 1; i >= 0; i-- {
			if o := &q.classes[i]; o != c && o.queued > o.places {
				q.displace(o, o.longest())
				return true
			}
		}
	}
	longest := c.longest()
	if longest == nil {
		return false
	}
	own := c.deal(w.Key)
	switch {
	case own.length+1 < longest.length:
		q.displace(c, longest)
		return true
	case c.overload.now && own.length > 0:
		q.displace(c, own)
		return true
	}
	return false
}

// displace refuses the waiter of a lane that would be served last. Called with mu held.
func (q *Queue) displace(c *class, l *lane) {
	w := l.last
	if c.overload.now {
		w = l.first
	}
	q.displaced++
	q.dismiss(w, ErrFull)
}
