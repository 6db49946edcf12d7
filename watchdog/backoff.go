package watchdog

import "time"

const (
	firstDelay   = 100 * time.Millisecond
	longestDelay = 10 * time.Second
	// healthyAfter is how long a process must be ready for its exit to be
	// taken as the first one.
	healthyAfter = 60 * time.Second
	// fastExits within fastWindow are too many.
	fastExits  = 5
	fastWindow = 60 * time.Second
)

// backoff decides how long to wait before the next start and when to give up.
// The zero value is ready.
type backoff struct {
	delay time.Duration // used last; 0 at first
	exits []time.Time   // the newest fastExits at most, oldest first
}

// wait returns the next delay.
func (b *backoff) wait() time.Duration {
	b.delay = min(max(2*b.delay, firstDelay), longestDelay)
	return b.delay
}

// exited counts an exit at now, of a process that was ready for as long as
// healthy says, and reports whether it was one too many.
func (b *backoff) exited(now time.Time, healthy time.Duration) bool {
	if healthy >= healthyAfter {
		*b = backoff{}
	}
	b.exits = append(b.exits, now)
	if len(b.exits) < fastExits {
		return false
	}
	oldest := b.exits[0]
	b.exits = b.exits[1:]
	return now.Sub(oldest) <= fastWindow
}
