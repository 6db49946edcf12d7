package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	adminConnections = 8
	minBackoff       = 5 * time.Millisecond
	maxBackoff       = time.Second
	logEvery         = 10 * time.Second
)

// listener accepts connections, serves each in a goroutine of its own, a few at a
// time, and sees all of them end.
type listener struct {
	net.Listener
	log   *slog.Logger
	group sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond         // conns has changed; on mu
	conns   map[net.Conn]bool // guarded by mu; true when idle
	closed  bool              // guarded by mu
}

func newListener(ln net.Listener, log *slog.Logger) *listener {
	l := &listener{Listener: ln, log: log, conns: map[net.Conn]bool{}}
	l.changed.L = &l.mu
	return l
}

// run accepts until ctx ends. serve must return soon after its connection was closed.
func (l *listener) run(ctx context.Context, serve func(net.Conn)) error {
	stop := context.AfterFunc(ctx, l.shutdown)
	err := l.accept(ctx, serve)
	stop()
	l.shutdown()
	l.group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("admin listener: %w", err)
}

func (l *listener) accept(ctx context.Context, serve func(net.Conn)) error {
	backoff := minBackoff
	var logged time.Time
	for {
		c, err := l.Accept()
		if err == nil {
			backoff = minBackoff
			l.start(c, serve)
			continue
		}
		if ctx.Err() != nil || !passing(err) {
			return err
		}
		if time.Since(logged) > logEvery {
			logged = time.Now()
			l.log.WarnContext(ctx, "admin port cannot accept", "err", err)
		}
		if !pause(ctx, backoff) {
			return ctx.Err()
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// passing tells whether an error of accept is about this moment, not about the
// listener (L11).
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPROTO, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// start serves c as soon as there is a place for it.
func (l *listener) start(c net.Conn, serve func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.conns) >= adminConnections && !l.closed && !l.evict() {
		l.changed.Wait()
	}
	if l.closed {
		_ = c.Close() // it has seen nothing of us
		return
	}
	l.conns[c] = false
	l.group.Go(func() {
		defer l.end(c)
		serve(c)
	})
}

// evict makes room by closing an idle connection. Called with mu held.
func (l *listener) evict() bool {
	for c, idle := range l.conns {
		if idle {
			_ = c.Close() // its reader notices
			delete(l.conns, c)
			return true
		}
	}
	return false
}

// setIdle notes whether c is between two requests.
func (l *listener) setIdle(c net.Conn, idle bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; ok {
		l.conns[c] = idle
		l.changed.Signal()
	}
}

func (l *listener) end(c net.Conn) {
	_ = c.Close() // closed already, unless serve panicked
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.changed.Signal()
}

// shutdown closes the listener and all connections.
func (l *listener) shutdown() {
	_ = l.Close() // closing twice is all that can go wrong
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.conns {
		_ = c.Close() // its reader notices
	}
	l.changed.Signal()
}
