package proxy

import (
	"sync"
	"sync/atomic"
	"time"
)

// sweepGap is the shortest time between two sweeps, and so how late a time-out
// may strike.
const sweepGap = int64(2 * time.Millisecond)

// sweeper looks at every connection and stream when the earliest of them is due. A request
// only stores its due time (an atomic store); the timer is touched when that is
// earlier than the next sweep, which under steady load is once per sweep.
// A timer per request costs 290 ns, this about 20.
type sweeper struct {
	epoch time.Time
	next  atomic.Int64 // when the timer fires; never while a sweep runs

	mu    sync.Mutex
	links []*link     // guarded by mu
	timer *time.Timer // guarded by mu
	ended bool        // guarded by mu
}

func newSweeper() *sweeper {
	s := &sweeper{epoch: time.Now()}
	s.next.Store(never)
	s.timer = time.AfterFunc(time.Hour, s.sweep)
	s.timer.Stop()
	return s
}

// now is the server's clock: nanoseconds since it started.
func (s *sweeper) now() int64 { return int64(time.Since(s.epoch)) }

// add makes l known.
func (s *sweeper) add(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.slot = len(s.links)
	s.links = append(s.links, l)
}

// remove forgets l.
func (s *sweeper) remove(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.links) - 1
	s.links[l.slot] = s.links[last]
	s.links[l.slot].slot = l.slot
	s.links[last] = nil
	s.links = s.links[:last]
}

// each calls f for every link.
func (s *sweeper) each(f func(l *link)) {
	s.mu.Lock()
	all := append([]*link(nil), s.links...)
	s.mu.Unlock()
	for _, l := range all {
		f(l)
	}
}

// schedule makes sure that a sweep happens at due or before.
func (s *sweeper) schedule(due int64) {
	if due >= s.next.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if due < s.next.Load() {
		s.arm(due)
	}
}

func (s *sweeper) arm(due int64) {
	s.next.Store(due)
	if due == never || s.ended {
		return
	}
	s.timer.Reset(time.Duration(max(due-s.now(), 0)))
}

// sweep looks at every link that is due. next is never meanwhile, so that
// whoever sets an earlier due time behind our back comes to schedule and waits.
func (s *sweeper) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.Store(never)
	now, next := s.now(), int64(never)
	for _, l := range s.links {
		due := l.guard.due.Load()
		if due <= now {
			due = l.guard.expire(now)
		}
		next = min(next, due)
	}
	if next != never {
		next = max(next, now+sweepGap)
	}
	s.arm(next)
}

// end stops the sweeps. A sweep in progress is waited for.
func (s *sweeper) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
}
