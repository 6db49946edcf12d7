package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connectPause is how long to wait before asking again a function that refuses
// connections, because it is starting.
const connectPause, connectPauseMax = 2 * time.Millisecond, 50 * time.Millisecond

// refusedTime is how long a function is asked again that was up and refuses
// connections: that it has ended may be known a moment later.
const refusedTime = 100 * time.Millisecond

// HTTPBackend runs requests on an HTTP server: the function. It keeps its own
// pool of connections, newest first; each carries one request at a time and is
// checked before it is used again. Call CloseIdle when it is not needed any more.
type HTTPBackend struct {
	Network        string        // "tcp" or "unix"
	Address        string        // host:port or path
	Prefix         string        // goes before every target
	ConnectTimeout time.Duration // how long a function that does not listen is waited for
	MaxIdle        int           // most idle connections kept
	Starting       func() bool   // whether a function that does not listen is expected to; nil: always
	Protocol       string        // one of the Protocol constants; "" is ProtocolAuto

	open  atomic.Int64 // connections of HTTP/1.1, idle and busy
	limit idleLimit

	mu      sync.Mutex
	idle    []*upstream   // guarded by mu; the newest is last
	closed  bool          // guarded by mu
	peers   []*http2Peer  // guarded by mu: connections of HTTP/2
	dialing chan struct{} // of one place, made when it is needed: who opens a connection of HTTP/2
}

// get takes the newest idle connection, or opens one. reused tells which.
func (b *HTTPBackend) get(x *Exchange, fresh bool) (u *upstream, reused bool, err error) {
	for !fresh {
		b.mu.Lock()
		if n := len(b.idle); n > 0 {
			u = b.idle[n-1]
			b.idle[n-1] = nil
			b.idle = b.idle[:n-1]
		}
		b.mu.Unlock()
		switch {
		case u == nil:
			fresh = true
		case b.limit.tooOld(x.granted-u.parked, x.granted):
			u.close()
			u = nil
		default:
			return u, true, nil
		}
	}
	u, err = b.dial(x)
	return u, false, err
}

// put makes u, whose answer to x has ended, the newest idle connection.
func (b *HTTPBackend) put(x *Exchange, u *upstream) {
	u.parked = x.answered // it may be later: then u is taken for older than it is
	b.mu.Lock()
	keep := !b.closed && len(b.idle) < b.MaxIdle
	if keep {
		b.idle = append(b.idle, u)
	}
	b.mu.Unlock()
	if !keep {
		u.close()
	}
}

// Connections says how many connections to the function wait to be used again and how
// many carry a request or a tunnel; one of HTTP/2 counts once, whatever it carries. Safe
// for use by several goroutines.
func (b *HTTPBackend) Connections() (idle, busy int) {
	b.mu.Lock()
	idle = len(b.idle)
	peers := slices.Clone(b.peers)
	b.mu.Unlock()
	busy = max(int(b.open.Load())-idle, 0)
	for _, p := range peers {
		if p.carries() {
			busy++
		} else {
			idle++
		}
	}
	return idle, busy
}

// CloseIdle closes the idle connections; those in use close when they are done.
func (b *HTTPBackend) CloseIdle() {
	b.mu.Lock()
	idle := b.idle
	b.idle, b.closed = nil, true
	peers := slices.Clone(b.peers)
	b.mu.Unlock()
	for _, p := range peers {
		p.retire()
	}
	for _, u := range idle {
		u.close()
	}
}

// cancelFunc lets a context be interrupted.
type cancelFunc context.CancelFunc

func (c cancelFunc) Interrupt() { c() }

// dial opens a connection. A function that refuses is asked again for
// ConnectTimeout while it is starting.
func (b *HTTPBackend) dial(x *Exchange) (*upstream, error) {
	nc, err := b.reach(x)
	if err != nil {
		return nil, err
	}
	return newUpstream(nc, &b.open)
}

func (b *HTTPBackend) reach(x *Exchange) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.ConnectTimeout)
	defer cancel()
	if err := x.OnInterrupt(cancelFunc(cancel)); err != nil {
		return nil, err
	}
	nc, err := b.connect(ctx)
	if cause := x.OnInterrupt(nil); cause != nil {
		if err == nil {
			_ = nc.Close()
		}
		return nil, cause
	}
	if !x.c.srv.roomFor(nc, err) {
		if err == nil {
			_ = nc.Close()
		}
		return nil, errNoRoom
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	return nc, nil
}

func (b *HTTPBackend) connect(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
	d.KeepAlive = -1
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	refused := time.Now()
	for pause := connectPause; ; pause = min(2*pause, connectPauseMax) {
		nc, err := d.DialContext(ctx, b.Network, b.Address)
		if err == nil || !notListening(err) {
			return nc, err
		}
		switch {
		case b.Starting == nil || b.Starting():
			refused = time.Now()
		case time.Since(refused) >= refusedTime:
			return nil, err
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// notListening reports errors that end by themselves when the function is up. One that
// dies resets who stands in line for it: nothing was sent then.
func notListening(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOENT)
}
