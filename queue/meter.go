package queue

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	meterStep    = 250 * time.Millisecond
	meterIdle    = time.Second // without a request, and from then on between two looks
	meterWindow  = time.Minute
	meterSamples = int(meterWindow / meterStep)

	// targetUtilisation is how busy a pod should be: at 70 % a random arrival seldom waits.
	targetUtilisation = 0.7
)

// Signals are what an autoscaler wants to know, over the last minute or the life of the
// queue if that is shorter.
type Signals struct {
	Arrivals    float64       // requests per second that asked for a slot, refused ones included
	Executing   float64       // mean number of slots that are out
	Queued      float64       // mean number of waiters
	Utilisation float64       // Executing ÷ limit; 0 without a limit
	Offered     float64       // slots that the arrivals need: Arrivals × mean service time (Little's law)
	Saturation  float64       // Offered ÷ limit: more than 1 cannot be served; 0 without a limit
	SinceLast   time.Duration // since a request asked for a slot, to a quarter of a second, or to a second after an idle one
	Replicas    float64       // pods of this kind that what arrives here would keep at 70 % utilisation
	Limit       int           // slots that the highest throughput seen needs; 0 before there was any
}

// Meter watches a queue. Make it with NewMeter and let Run run; Signals may be called
// by any goroutine.
type Meter struct {
	queue *Queue

	mu      sync.Mutex
	ring    [meterSamples]meterSample // guarded by mu
	taken   int                       // guarded by mu
	last    time.Time                 // guarded by mu; when a request was seen
	best    float64                   // guarded by mu; highest throughput seen, slowly forgotten
	bestFor float64                   // guarded by mu; slots that it took
}

type meterSample struct {
	at                time.Time
	executing, queued int
	arrived, ended    uint64
}

// NewMeter returns a meter of q.
func NewMeter(q *Queue) *Meter {
	m := &Meter{queue: q, last: time.Now()}
	m.take(time.Now())
	return m
}

// Run takes samples, four a second, until ctx ends. While nothing happens it looks once a second, because each look wakes a thread
// or two of a pod that shall cost nothing, and takes four at once.
func (m *Meter) Run(ctx context.Context) {
	step := meterStep
	t := time.NewTicker(step)
	defer t.Stop()
	for {
		var now time.Time
		select {
		case now = <-t.C:
		case <-ctx.Done():
			return
		}
		for at := now.Add(meterStep - step); !at.After(now); at = at.Add(meterStep) {
			m.take(at)
		}
		next := meterStep
		if m.idle(now) {
			next = meterIdle
		}
		if next != step {
			step = next
			t.Reset(step)
		}
	}
}

// idle reports that the latest samples have not seen a request.
func (m *Meter) idle(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Sub(m.last) > meterIdle
}

func (m *Meter) take(now time.Time) {
	s := m.queue.Stats()
	next := meterSample{at: now, executing: s.Executing, queued: s.Queued, ended: s.Granted - uint64(s.Executing), arrived: s.arrived()}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken > 0 {
		before := m.ring[(m.taken-1)%meterSamples]
		if next.arrived != before.arrived || next.executing > 0 {
			m.last = now
		}
	}
	m.ring[m.taken%meterSamples] = next
	m.taken++
	m.remember(next, s.Service)
}

// arrived returns how many requests asked for a slot.
func (s *Stats) arrived() uint64 {
	return s.Granted + s.Refused + s.Displaced + s.Late + s.TimedOut + s.Cancelled + s.Closed + uint64(s.Queued)
}

// remember keeps the highest throughput over four seconds, and by Little's law the slots
// that it takes. It forgets half of it in about an hour. Called with mu held.
func (m *Meter) remember(now meterSample, service time.Duration) {
	const span = 16
	if m.taken <= span {
		return
	}
	before := m.ring[(m.taken-1-span)%meterSamples]
	rate := float64(now.ended-before.ended) / now.at.Sub(before.at).Seconds()
	m.best *= 1 - 0.7/4/3600
	if rate > m.best {
		m.best, m.bestFor = rate, rate*service.Seconds()
	}
}

// Signals returns the figures of now.
func (m *Meter) Signals() Signals {
	st := m.queue.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(m.taken, meterSamples)
	first, last := m.ring[(m.taken-n)%meterSamples], m.ring[(m.taken-1)%meterSamples]
	var s Signals
	for i := range n {
		s.Executing += float64(m.ring[i].executing) / float64(n)
		s.Queued += float64(m.ring[i].queued) / float64(n)
	}
	if seconds := last.at.Sub(first.at).Seconds(); seconds > 0 {
		s.Arrivals = float64(last.arrived-first.arrived) / seconds
	}
	if s.SinceLast = time.Since(m.last); st.Executing > 0 || st.arrived() != last.arrived {
		s.SinceLast = 0 // the next sample will see it
	}
	s.Offered = max(s.Arrivals*st.Service.Seconds(), s.Executing)
	s.Limit = int(math.Ceil(m.bestFor))
	slots := float64(st.Limit)
	if st.Limit == 0 {
		slots = max(m.bestFor, 1)
	} else {
		s.Utilisation = s.Executing / slots
		s.Saturation = s.Offered / slots
	}
	s.Replicas = s.Offered / slots / targetUtilisation
	return s
}
