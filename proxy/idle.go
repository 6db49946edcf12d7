package proxy

import (
	"sync/atomic"
	"time"
)

// forgetIdle is how long what was learned about idle connections is believed: a function
// that has died closes young ones, too.
const forgetIdle = int64(30 * time.Second)

// idleLimit learns how long the function keeps idle connections. The moment in which it
// closes one may be the moment in which we use it, and then nobody knows whether a
// request was read that cannot be sent again; so those that are nearly as old are not
// used. Times are on the server's clock, in nanoseconds.
type idleLimit struct {
	longest atomic.Int64 // 0: nothing is known
	until   atomic.Int64 // when that is forgotten
}

// closed is told of a connection that the function had closed.
func (l *idleLimit) closed(age, now int64) {
	if known := l.longest.Load(); known == 0 || age < known || now >= l.until.Load() {
		l.longest.Store(max(age, 1))
	}
	l.until.Store(now + forgetIdle)
}

// tooOld reports whether the function may be about to close a connection.
func (l *idleLimit) tooOld(age, now int64) bool {
	longest := l.longest.Load()
	if longest == 0 {
		return false
	}
	if now >= l.until.Load() {
		l.longest.Store(0)
		return false
	}
	return age > longest-longest/4
}
