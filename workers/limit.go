package workers

import (
	"sync"
	"sync/atomic"
	"time"
)

// limit is the moment at which a worker is killed. The timer behind it runs
// longer than most requests: it is set anew only when it fires, or when a limit
// comes before it, so an ordinary request costs no timer.
type limit struct {
	at     atomic.Int64 // on the pool's clock; 0: none
	due    atomic.Int64 // when the timer fires; 0: not set
	mu     sync.Mutex   // held while the timer is set
	timer  *time.Timer
	now    func() int64
	strike func()
}

// struck is what at holds after the limit was reached.
const struck = -1

func (l *limit) init(now func() int64, strike func()) {
	l.now, l.strike = now, strike
	l.timer = time.AfterFunc(time.Hour, l.fire)
	l.timer.Stop()
}

// set moves the limit; 0 lifts it. It reports false if the last one was reached
// before.
func (l *limit) set(at int64) bool {
	if l.at.Swap(at) == struck {
		l.at.Store(struck)
		return false
	}
	if at == 0 {
		return true
	}
	if due := l.due.Load(); due == 0 || due > at {
		l.schedule(at)
	}
	return true
}

func (l *limit) schedule(at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if due := l.due.Load(); due == 0 || due > at {
		l.due.Store(at)
		l.timer.Reset(time.Duration(at - l.now()))
	}
}

// fire forgets that the timer was set before it looks at the limit, and set does
// it the other way round: one of the two sees what the other did.
func (l *limit) fire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due.Store(0)
	at := l.at.Load()
	if at <= 0 {
		return
	}
	if now := l.now(); now < at {
		l.due.Store(at)
		l.timer.Reset(time.Duration(at - now))
		return
	}
	if l.at.CompareAndSwap(at, struck) {
		l.strike()
	}
}

// clear lifts a limit that may have struck.
func (l *limit) clear() { l.at.Store(0) }

// reached reports whether the limit has struck.
func (l *limit) reached() bool { return l.at.Load() == struck }

func (l *limit) stop() { l.timer.Stop() }
