package queue

import (
	"math"
	"time"
)

// Stats is what a queue did and does, all seen at the same instant. Every Acquire
// that came to an end is in exactly one of the counters; a successful TryAcquire
// is in Granted.
type Stats struct {
	Limit     int           // slots; 0 means no limit
	Depth     int           // waiting places
	Executing int           // slots that are out
	Queued    int           // waiters in line
	Granted   uint64        // slots given out
	Refused   uint64        // ErrFull at once
	Displaced uint64        // ErrFull after a wait
	Late      uint64        // ErrLate
	TimedOut  uint64        // ErrTimeout
	Cancelled uint64        // the cause of a Cancel
	Closed    uint64        // ErrClosed
	Service   time.Duration // mean service time as observed; 0 before the first Observe
}

// Stats returns the state and the counters.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{
		Limit: q.limit, Depth: q.config.Depth, Executing: q.executing, Queued: q.queued,
		Granted: q.granted, Refused: q.refused, Displaced: q.displaced, Late: q.late, TimedOut: q.timedOut, Cancelled: q.cancelled, Closed: q.turnedOff,
		Service: time.Duration(q.service.Load()),
	}
}

// Depth returns the number of waiting places.
func (q *Queue) Depth() int { return q.config.Depth }

// MaxWait returns the longest wait for a slot; 0 means no bound.
func (q *Queue) MaxWait() time.Duration { return q.config.MaxWait }

// Observe tells the queue how long a slot was held, from its grant to its release.
// The caller knows that time anyway, whereas Release would have to read the clock.
// The mean follows the last 16 observations or so (each moves it by a sixteenth).
// Two observations at the same instant may count as one; it is only an estimate.
func (q *Queue) Observe(service time.Duration) {
	mean := q.service.Load()
	if mean == 0 {
		mean = int64(service)
	}
	q.service.Store(mean + (int64(service)-mean)/16)
	if q.found != nil {
		q.adapt(service)
	}
}

// adapt moves the limit to what the gradient finds.
func (q *Queue) adapt(service time.Duration) {
	s := q.Stats()
	if n := q.found.Observe(service, s.Executing+1); n != s.Limit {
		q.SetLimit(n)
	}
}

const maxRetryAfter = 60

// RetryAfter returns for how many seconds, 1 to 60, a refused caller should stay
// away: the time until everybody in line and the caller itself would have had
// their turn, at the mean service time that was observed.
func (q *Queue) RetryAfter() int {
	s := q.Stats()
	if s.Limit == 0 {
		return 1
	}
	seconds := float64(s.Queued+1) * s.Service.Seconds() / float64(s.Limit)
	return int(math.Ceil(min(max(1, seconds), maxRetryAfter)))
}
