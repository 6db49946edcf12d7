package broker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// ErrRefused is a server that will not have us as we are: a password, a right or a name is wrong.
var ErrRefused = errors.New("broker: refused")

// Pauses between attempts to connect.
const (
	firstPause, longestPause = 100 * time.Millisecond, 10 * time.Second
)

// link is a connection that is made again whenever it is lost.
type link struct {
	log  *slog.Logger
	once sync.Once
	up   chan struct{} // closed when messages were asked for, for the first time
	now  atomic.Bool   // messages come
}

func newLink(log *slog.Logger) link { return link{log: log, up: make(chan struct{})} }

// Up returns a channel that is closed when the broker has taken the subscription, for the first time.
func (l *link) Up() <-chan struct{} { return l.up }

// Connected tells whether messages come now. Any goroutine may ask.
func (l *link) Connected() bool { return l.now.Load() }

// subscribed tells that the broker will send messages from now on, until the session ends.
func (l *link) subscribed() {
	l.now.Store(true)
	l.once.Do(func() { close(l.up) })
}

func (l *link) wasUp() bool {
	select {
	case <-l.up:
		return true
	default:
		return false
	}
}

// keep connects again and again until ctx ends. session reports whether it came to a subscription. Who is refused before
// there was one gives up: that is a setting, and no matter of time.
func (l *link) keep(ctx context.Context, session func(context.Context) (worked bool, err error)) error {
	pause := firstPause
	for {
		from := time.Now()
		worked, err := session(ctx)
		l.now.Store(false)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrRefused) && !l.wasUp() {
			return err
		}
		if worked && time.Since(from) > longestPause { // two clients of one name end each other's sessions at once
			pause = firstPause
		}
		wait := pause/2 + rand.N(pause/2+1) // not all pods at once
		l.log.Warn("no connection to the broker", "err", err, "retry_in", wait.String())
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		pause = min(2*pause, longestPause)
	}
}
