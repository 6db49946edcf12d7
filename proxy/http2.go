package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/metrics"
)

// preface is how a client of HTTP/2 begins (RFC 9113 §3.4). Its first line is no
// request that we would serve otherwise.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// What one connection of HTTP/2 may cost.
const (
	streamWindow = 256 << 10 // bytes of a body that may be on their way
	connWindow   = 1 << 20   // the same for all bodies of a connection
	frameBytes   = 64 << 10  // largest frame
	pingAfter    = 30 * time.Second
	headSlack    = 2 // net/http refuses heads from this multiple of our limit, without our words
)

// http2 is the second front door: net/http speaks HTTP/2 on connections that we
// accepted, and we serve the streams.
type http2 struct {
	srv *Server

	mu      sync.Mutex
	current *http.Server   // guarded by mu; nil until the first connection, and after a drain
	accept  chan net.Conn  // guarded by mu; to current
	serving sync.WaitGroup // servers and shutdowns
	hurry   func()         // guarded by mu: ends the waiting of a drain
	ended   bool           // guarded by mu
	all     []*http.Server // guarded by mu
}

// take serves a connection whose first bytes are the preface.
func (h *http2) take(c *http2Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		_ = c.Close()
		return
	}
	if h.current == nil {
		h.start()
	}
	h.accept <- c
}

// start makes the server for connections to come. Called under mu.
func (h *http2) start() {
	cfg := &h.srv.cfg
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // TLS, if any, ends before
	s := &http.Server{
		Handler:   http.HandlerFunc(h.serve),
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          cfg.HTTP2Streams,
			MaxReadFrameSize:              frameBytes,
			MaxReceiveBufferPerConnection: connWindow,
			MaxReceiveBufferPerStream:     streamWindow,
			SendPingTimeout:               pingAfter,
			WriteByteTimeout:              cfg.WriteTimeout,
		},
		ReadHeaderTimeout:            cfg.HeadTimeout, // for the preface alone
		IdleTimeout:                  cfg.IdleTimeout,
		MaxHeaderBytes:               headSlack * cfg.HeadBytes,
		DisableGeneralOptionsHandler: true,
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:                     slog.NewLogLogger(h.srv.log.Handler(), slog.LevelDebug),
	}
	l := &handed{conns: make(chan net.Conn), done: make(chan struct{})}
	h.current, h.accept, h.all = s, l.conns, append(h.all, s)
	h.serving.Go(func() { _ = s.Serve(l) }) // ends with ErrServerClosed, at Shutdown or Close
}

type connKey struct{}

func (h *http2) serve(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	h.srv.serveStream(ctx, ctx.Value(connKey{}).(*http2Conn), w, r)
}

// drain tells all clients by GOAWAY to send no more requests on their connections.
// A connection that comes later gets a server of its own, and is told with its
// first answer.
func (h *http2) drain(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.current
	if s == nil {
		return
	}
	h.current = nil
	ctx, h.hurry = context.WithCancel(ctx)
	h.serving.Go(func() { _ = s.Shutdown(ctx) }) // ends with the last connection, or at end
}

// end closes what is left and waits for it.
func (h *http2) end() {
	h.mu.Lock()
	h.ended = true
	for _, s := range h.all {
		_ = s.Close() // the listener is ours and has no error
	}
	if h.hurry != nil {
		h.hurry() // net/http looks twice a second
	}
	h.mu.Unlock()
	h.serving.Wait()
}

// handed is a listener of connections that somebody else has accepted.
type handed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Accept implements net.Listener.
func (l *handed) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *handed) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (*handed) Addr() net.Addr { return &net.TCPAddr{} }

// http2Conn is a client connection while net/http has it. It replays what we have
// read, counts what passes, and ends floods.
type http2Conn struct {
	link
	net.Conn

	early    []byte // read before the hand-over
	upgraded bool   // it began with a request of HTTP/1.1
	requests atomic.Uint64
	waiting  atomic.Int64 // streams in the queue

	writing sync.Mutex
	out     frames // guarded by writing: where in its frames the outgoing side is
	spoken  bool   // guarded by writing: the first frame has gone out
	bye     []byte // guarded by writing: GOAWAY that is to be sent
	said    chan struct{}
	mute    bool // guarded by writing: nothing may follow the GOAWAY

	mu      sync.Mutex
	flood   flood // guarded by mu
	streams int   // guarded by mu: served now
	heading bool  // guarded by mu: a head is not here as a whole
	leaving bool  // guarded by mu: nothing more is read
	closed  bool  // guarded by mu
}

// newHTTP2Conn takes over the socket of c.
func newHTTP2Conn(c *conn, early []byte) *http2Conn {
	h := &http2Conn{Conn: c.nc, early: append([]byte(nil), early...)}
	h.id, h.peer, h.scheme, h.shard = c.id, c.peer, c.scheme, c.shard
	h.init(c.srv, h)
	return h
}

var (
	errFlood   = errors.New("flood of control frames")
	errLeaving = errors.New("the connection was ended")
)

// goAwayTime bounds the words by which we end a connection.
const goAwayTime = time.Second

// Read implements net.Conn.
func (c *http2Conn) Read(p []byte) (int, error) {
	n, err := c.receive(p)
	c.mu.Lock()
	leaving := c.leaving // then what came is not looked at, as our GOAWAY will say
	calm := leaving || c.flood.see(p[:n], c.srv.now())
	last, late := c.flood.stream, c.heading
	c.limitHead()
	c.mu.Unlock()
	switch {
	case leaving:
		c.sayGoAway(last, noError)
		return 0, errLeaving
	case late && errors.Is(err, os.ErrDeadlineExceeded):
		c.shard.Rejected[metrics.RejectTimeoutHead].Add(1)
		c.sayGoAway(last, enhanceYourCalm)
		return 0, err
	case !calm:
		c.srv.log.Warn("connection ended for a flood of control frames", "peer", c.peer)
		c.sayGoAway(last, enhanceYourCalm)
		c.linger()
		return 0, errFlood
	}
	return n, err
}

// limitHead bounds the time of a head that is not here as a whole (rule L1). Called
// under mu.
func (c *http2Conn) limitHead() {
	heading := c.flood.inHead()
	if heading == c.heading || c.leaving {
		return
	}
	c.heading = heading
	var limit time.Time
	if heading {
		limit = time.Now().Add(c.srv.cfg.HeadTimeout)
	}
	_ = c.Conn.SetReadDeadline(limit) // fails on a closed connection only
}

func (c *http2Conn) receive(p []byte) (int, error) {
	if n := copy(p, c.early); n > 0 {
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.shard.BytesIn.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (c *http2Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.mute { // an error would make net/http close the connection too early
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	c.spoken = true
	if blamed := c.out.blamed(p[:n]); blamed > 0 {
		c.mu.Lock()
		c.flood.credit -= blamed * resetCost // Read notices
		c.mu.Unlock()
	}
	c.finish()
	return n, err
}

// sayGoAway tells the client why the connection ends, which net/http closes after it.
// In the middle of a frame it waits for the end of that.
func (c *http2Conn) sayGoAway(lastStream, code uint32) {
	_ = c.SetWriteDeadline(time.Now().Add(goAwayTime)) // of a write in progress, too
	c.writing.Lock()
	c.bye, c.said = appendGoAway(nil, lastStream, code), make(chan struct{})
	c.finish()
	c.writing.Unlock()
	t := time.NewTimer(goAwayTime)
	defer t.Stop()
	select {
	case <-c.said:
	case <-t.C:
	}
}

// finish says what sayGoAway wants, where it fits. Called under writing.
func (c *http2Conn) finish() {
	if c.bye == nil || !c.out.between() {
		return
	}
	if c.spoken {
		_, _ = c.Conn.Write(c.bye) // it ends in any case
	}
	c.bye, c.mute = nil, true
	close(c.said)
}

// linger drops a little of what still comes, since unread bytes would make the kernel
// take back our last words (rule L5).
func (c *http2Conn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.Conn.SetReadDeadline(time.Now().Add(goAwayTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // whatever ends it, the connection ends
}

// SetReadDeadline implements net.Conn.
func (c *http2Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving { // that deadline stays
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn. It may be called more than once.
func (c *http2Conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	last := first && c.streams == 0
	c.mu.Unlock()
	err := c.Conn.Close()
	if first {
		c.srv.sweeper.remove(&c.link)
		c.shard.ConnectionsClosed.Add(1)
		c.srv.open.Add(-1)
	}
	if last {
		c.srv.conns.Done()
	}
	return err
}

// enter counts a stream, unless the connection is closed.
func (c *http2Conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.streams++; c.streams == 1 {
		c.guard.enter(phaseClose, c.srv.now(), never) // it is not idle
	}
	return true
}

// mayWait takes one of the waiting places that a single connection may have: half of
// all, so that the streams of one client leave room for others. The place is given
// back by adding -1 to waiting.
func (c *http2Conn) mayWait() bool {
	if c.waiting.Add(1) <= max(int64(c.srv.queue.Depth())/2, 1) || c.srv.hooks.Rules.SharedConnections {
		return true
	}
	c.waiting.Add(-1)
	return false
}

// leave is called once for every enter that was true.
func (c *http2Conn) leave() {
	c.mu.Lock()
	c.streams--
	idle := c.streams == 0 && !c.closed
	last := c.streams == 0 && c.closed
	if idle {
		c.rest()
	}
	c.mu.Unlock()
	if last {
		c.srv.conns.Done()
	}
}

// rest makes the connection idle. net/http has a limit for that; in a drain ours is
// shorter.
func (c *http2Conn) rest() {
	c.guard.enter(phaseIdle, c.srv.now(), never)
	if c.srv.draining.Load() {
		c.guard.shorten(int64(drainIdle))
	}
}

func (*http2Conn) watch() {} // net/http reads all the time

func (*http2Conn) clearDeadlines() {} // what unblock did is final

// unblock ends an idle connection, with a word to its client.
func (c *http2Conn) unblock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection only
}

func (c *http2Conn) wake() { c.unblock() }

func (c *http2Conn) kill() { _ = c.Conn.Close() } // net/http notices
