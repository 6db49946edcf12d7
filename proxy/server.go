package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/queue"
)

// drainIdle is how long a connection may be idle while the server drains. A
// client that is about to send its next request gets it answered.
const drainIdle = time.Second

// Parts are what a Server is made of. All but Statuses are required.
type Parts struct {
	Config   Config
	Queue    *queue.Queue
	Backend  Backend
	Metrics  *metrics.Set
	Log      *slog.Logger
	Nonce    string      // part of every request id we give; different in every process
	Classes  []ClassRule // in the order of queue.Config.Classes; none means one class
	Fairness Fairness
	Hooks    Hooks
	Statuses []Status // how errors of the Backend are answered; the first match wins, before our own table
}

// Server is the front door. Make it with New, run it once.
type Server struct {
	cfg      Config
	limits   http1.Limits
	queue    *queue.Queue
	backend  Backend
	metrics  *metrics.Set
	log      *slog.Logger
	nonce    string
	statuses []Status
	classes  []ClassRule
	fairness Fairness
	hooks    Hooks
	seed     maphash.Seed
	sorts    bool // classes or keys matter
	date     dateCache

	sweeper     *sweeper
	hangups     *hangups
	conns       sync.WaitGroup
	open        atomic.Int64 // connections
	ids         atomic.Uint64
	draining    atomic.Bool
	idleTimeout atomic.Int64 // nanoseconds; shorter while draining
	most        int          // connections
	descriptors int          // from this number on they are not for connections
	complained  atomic.Int64 // when the log was told that accepting fails, on our clock
	hurry       chan struct{}
	hurryOnce   sync.Once
}

// New returns a Server that runs requests of the listeners given to Run.
func New(p Parts) (*Server, error) {
	if err := p.Config.Validate(); err != nil {
		return nil, err
	}
	h, err := newHangups()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: p.Config, limits: http1.Limits{HeadBytes: p.Config.HeadBytes, Fields: p.Config.HeadFields},
		queue: p.Queue, backend: p.Backend, metrics: p.Metrics, log: p.Log, nonce: p.Nonce + "-",
		statuses: slices.Concat(p.Statuses, statuses),
		sweeper:  newSweeper(), hangups: h, hurry: make(chan struct{}),
	}
	s.hooks = p.Hooks
	s.limits.AnyUpgrade = s.hooks.Rules.AnyUpgrade
	s.classes, s.fairness, s.seed = p.Classes, p.Fairness, maphash.MakeSeed()
	s.sorts = len(p.Classes) > 1 || p.Fairness != (Fairness{})
	s.descriptors = mostDescriptors()
	if s.most = p.Config.Connections; s.most == 0 {
		s.most = mostConnections()
	}
	s.idleTimeout.Store(int64(p.Config.IdleTimeout))
	return s, nil
}

func (s *Server) now() int64 { return s.sweeper.now() }

// ErrLost says that a drain ended with requests that had to be given up.
var ErrLost = errors.New("requests were lost in the drain")

// Run serves the listeners until ctx ends, then drains: it goes on accepting for
// DrainDelay with answers that say Connection: close, closes the listeners, lets
// requests end for DrainTimeout and interrupts the rest, in which case the error
// is ErrLost. It closes the listeners and leaves no goroutine behind.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	var watching sync.WaitGroup
	watching.Go(s.hangups.run)
	failed := make(chan error, len(listeners))
	entrances := make([]*entrance, len(listeners))
	for i, l := range listeners {
		e := s.entrance(l)
		entrances[i] = e
		e.accepting.Go(func() {
			if err := s.accept(e); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		s.startDrain()
		s.linger()
	case err = <-failed:
		s.startDrain()
	}
	for _, e := range entrances {
		s.close(e)
	}
	s.endTunnels() // those that began meanwhile: their clients will find another pod now
	lost := s.finishDrain()
	s.log.Info("drained", "lost", lost)
	s.sweeper.end()
	_ = s.hangups.close()
	watching.Wait()
	if err == nil && lost > 0 {
		err = fmt.Errorf("%w: %d", ErrLost, lost)
	}
	return err
}

// Hurry makes a drain, in progress or to come, lose no time: nothing more can be
// answered, because the function is gone. Any goroutine may call it, at any time.
func (s *Server) Hurry() { s.hurryOnce.Do(func() { close(s.hurry) }) }

// linger goes on accepting in a drain for as long as clients may come.
func (s *Server) linger() {
	if until := s.hooks.Rules.Linger; until != nil {
		until(s.hurry)
		return
	}
	s.wait(s.cfg.DrainDelay)
}

// wait lets d pass, or less when there is a hurry.
func (s *Server) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.hurry:
	}
}

// accept takes connections until close ends it. Running out of descriptors or
// memory ends nothing: it waits and tries again (rule L11).
func (s *Server) accept(e *entrance) error {
	var pause time.Duration
	for {
		err := s.acceptOne(e)
		if err == nil {
			pause = 0
			continue
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if !passing(err) {
			return fmt.Errorf("accept on %s: %w", e.listener.Addr(), err)
		}
		pause = s.cannotAccept(err, pause)
		s.wait(pause)
	}
}

// start serves one connection in a goroutine of its own.
func (s *Server) start(nc net.Conn, secure *tls.Config) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		s.log.Error("connection without a socket", "type", fmt.Sprintf("%T", nc))
		_ = nc.Close()
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		_ = nc.Close()
		return
	}
	write := func(p []byte) {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Millisecond)) // a fresh socket has room for this
		_, _ = nc.Write(p)
	}
	if !s.admit(numberOf(raw), write, int(s.open.Add(1))) {
		s.open.Add(-1)
		_ = nc.Close()
		return
	}
	scheme := "http"
	if secure != nil {
		nc, scheme = tls.Server(nc, secure), "https"
	}
	c := &conn{nc: nc, raw: raw, fd: noSocket}
	s.welcome(c, scheme, peerOf(nc))
	go c.serve()
}

// welcome makes a connection, which has its socket, known to everybody.
func (s *Server) welcome(c *conn, scheme, peer string) {
	c.id = s.ids.Add(1)
	c.scheme, c.peer, c.shard = scheme, peer, s.metrics.Shard(int(c.id%uint64(shards())))
	c.init(s, c)
	c.client = c
	s.sweeper.add(&c.link)
	c.shard.ConnectionsOpened.Add(1)
	s.conns.Add(1)
}

// shards is how many parts the hot counters have: more only cost memory.
func shards() int { return max(runtime.GOMAXPROCS(0), 1) }

func peerOf(nc net.Conn) string {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return strings.TrimPrefix(a.IP.String(), "::ffff:")
}

func (s *Server) forget(c *conn) {
	s.sweeper.remove(&c.link)
	s.hangups.forget(c)
	if c.handedOver {
		return
	}
	c.shard.ConnectionsClosed.Add(1)
	s.open.Add(-1)
}

// startDrain makes answers say Connection: close and idle connections end soon.
func (s *Server) startDrain() {
	s.draining.Store(true)
	s.idleTimeout.Store(int64(drainIdle))
	s.sweeper.each(func(l *link) {
		if c, ok := l.guard.owner.(*http2Conn); ok {
			c.drain()
		}
		l.guard.shorten(int64(drainIdle))
	})
	if s.hooks.Rules.Linger == nil {
		s.endTunnels()
	}
}

// endTunnels tells all tunnels to end.
func (s *Server) endTunnels() {
	s.sweeper.each(func(l *link) { l.guard.endTunnel() })
}

// finishDrain waits for the connections to end and returns how many requests had
// to be interrupted.
func (s *Server) finishDrain() (lost int) {
	done := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(done)
	}()
	if d := s.hooks.Rules.DrainStreams; d > 0 {
		cut := time.AfterFunc(d, func() { s.sweeper.each(cutStream) })
		defer cut.Stop()
	}
	t := time.NewTimer(s.cfg.DrainTimeout)
	defer t.Stop()
	cause := ErrDraining
	select {
	case <-done:
		return 0
	case <-s.hurry:
		cause = errFunctionEnded
		s.queue.Freeze() // what ends now gives its slot to nobody
	case <-t.C:
	}
	s.sweeper.each(func(l *link) { // before the queue dismisses who waits: they count, too
		if l.guard.interrupt(cause) {
			lost++
		}
	})
	s.queue.Close()
	t.Reset(drainIdle)
	select {
	case <-done:
	case <-t.C:
		s.sweeper.each(func(l *link) { l.guard.owner.kill() })
		<-done
	}
	return lost
}

// cutStream ends a tunnel or a stream of HTTP/2.
func cutStream(l *link) {
	if l.stream != nil || l.guard.tunnels() {
		l.guard.interrupt(ErrDraining)
	}
}
