package watchdog

import (
	"sync"
	"time"
)

// rate is a token bucket of bytes that holds one second's worth. Two streams
// share it.
type rate struct {
	perSecond float64 // 0 or less: no bound
	burst     float64

	mu   sync.Mutex
	have float64   // guarded by mu
	last time.Time // guarded by mu; when have was brought up to date
}

func (r *rate) init(perSecond int, now time.Time) {
	r.perSecond = float64(perSecond)
	r.burst = max(r.perSecond, MaxLine+1) // the longest line must fit
	r.have = r.burst
	r.last = now
}

// take reports whether n bytes may pass now, and counts them if so.
func (r *rate) take(n int64, now time.Time) bool {
	if r.perSecond <= 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if elapsed := now.Sub(r.last); elapsed > 0 { // the streams' clocks may pass each other
		r.have = min(r.have+elapsed.Seconds()*r.perSecond, r.burst)
		r.last = now
	}
	if float64(n) > r.have {
		return false
	}
	r.have -= float64(n)
	return true
}
