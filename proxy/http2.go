package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http2"
)

// preface is how a client of HTTP/2 begins. Its first line is no request that we would
// serve otherwise.
const preface = http2.Preface

const (
	pingAfter  = 30 * time.Second // of silence, on a connection with streams
	pingTime   = 15 * time.Second // for its answer
	goAwayTime = time.Second      // for the words by which we end a connection
	headSlack  = 2                // a head of this multiple of our limit ends the connection
)

var errFlood = errors.New("flood of control frames")

// http2Conn is a client connection that speaks HTTP/2.
type http2Conn struct {
	link
	http2Session

	upgraded bool          // it began with a request of HTTP/1.1
	requests atomic.Uint64 // streams so far
	waiting  atomic.Int64  // streams in the queue
	arrivals atomic.Uint64 // reads that brought something
	ending   atomic.Bool   // nothing more is read
	told     atomic.Bool   // the client knows that it is to send no more requests

	// The next belong to the goroutine that reads.
	flood flood
	late  bool      // a head is not here as a whole, and has a deadline
	ready []*stream // whose heads are here

	silence *time.Timer // guarded by mu: looks after a client that says nothing
	heard   uint64      // guarded by mu: arrivals at its last look
	asked   bool        // guarded by mu: an answer is awaited

	state   sync.Mutex // before it no other is held but conn
	running int        // guarded by state: streams that are served
	closed  bool       // guarded by state
}

// newHTTP2Conn takes over the socket of c.
func newHTTP2Conn(c *conn, early []byte) *http2Conn {
	h := &http2Conn{}
	h.id, h.peer, h.scheme, h.shard = c.id, c.peer, c.scheme, c.shard
	raw := c.raw
	if h.scheme == "https" {
		raw = nil
	}
	h.http2Session.init(c.nc, raw, unreadWindow, h)
	h.missed = len(preface)
	h.early = append([]byte(nil), early...)
	h.link.init(c.srv, h)
	h.announce(http2.Setting{ID: http2.MaxConcurrentStreams, Value: uint32(c.srv.cfg.HTTP2Streams)},
		http2.Setting{ID: http2.MaxHeaderListSize, Value: uint32(h.limitOfHead())})
	return h
}

// serve runs the connection to its end.
func (c *http2Conn) serve() {
	defer c.srv.conns.Done()
	defer c.forget()
	defer c.recover()
	c.mu.Lock()
	c.flush()
	c.silence = time.AfterFunc(pingAfter, c.askAgain)
	c.mu.Unlock()
	defer c.silence.Stop()
	c.limitHead()
	c.finish(c.read())
}

// recover keeps a bug of ours to the connection that met it (rule R7).
func (c *http2Conn) recover() {
	if bug := recover(); bug != nil {
		_ = c.panicked(bug) // the connection ends anyway
	}
}

// panicked implements http2Role.
func (c *http2Conn) panicked(bug any) error {
	c.srv.log.Error("connection panicked", "peer", c.peer, "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
	c.shard.Panics.Add(1)
	return http2.InternalError
}

// forget ends the connection for its streams and for the server.
func (c *http2Conn) forget() {
	c.mu.Lock()
	left := make([]*http2Stream, 0, len(c.streams))
	for _, st := range c.streams {
		left = append(left, st)
	}
	c.fail(net.ErrClosed)
	c.mu.Unlock()
	_ = c.nc.Close() // nothing more to lose
	for _, st := range left {
		c.left(st)
	}
	c.state.Lock()
	c.closed = true
	c.state.Unlock()
	c.srv.sweeper.remove(&c.link)
	c.shard.ConnectionsClosed.Add(1)
	c.srv.open.Add(-1)
}

// finish says why the connection ends.
func (c *http2Conn) finish(err error) {
	var code http2.Code
	switch {
	case c.ending.Load(): // what came is not looked at, as our GOAWAY says
		code = http2.NoError
	case errors.Is(err, errFlood):
		c.srv.log.Warn("connection ended for a flood of control frames", "peer", c.peer)
		code = http2.EnhanceYourCalm
	case c.late && errors.Is(err, os.ErrDeadlineExceeded):
		c.shard.Rejected[metrics.RejectTimeoutHead].Add(1)
		code = http2.EnhanceYourCalm
	case errors.As(err, &code):
	default:
		return
	}
	c.sayGoAway(code)
	if code != http2.NoError {
		c.linger()
	}
}

// sayGoAway says our last words, and gives them a little time.
func (c *http2Conn) sayGoAway(code http2.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missed > 0 { // nothing that it would understand
		return
	}
	c.leaving = true
	_ = c.nc.SetWriteDeadline(time.Now().Add(goAwayTime)) // of a write in progress, too; fails on a closed connection only
	c.out = http2.AppendGoAway(c.out, c.highest, code)
	c.flush()
	for c.writing && c.err == nil {
		c.drained.Wait()
	}
}

// linger drops a little of what still comes, since unread bytes would make the kernel
// take back our last words (rule L5).
func (c *http2Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.nc.SetReadDeadline(time.Now().Add(goAwayTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes) // whatever ends it, the connection ends
}

// askAgain asks a client that has streams and says nothing whether it is still there, and
// ends the connection if it does not answer.
func (c *http2Conn) askAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.arrivals.Load()
	silent := now == c.heard && len(c.streams) > 0
	c.heard = now
	switch {
	case c.err != nil:
	case silent && c.asked:
		c.fail(os.ErrDeadlineExceeded)
	case silent:
		c.asked = true
		c.out = http2.AppendFrame(c.out, http2.Ping, 0, 0, make([]byte, 8))
		c.flush()
		c.silence.Reset(pingTime)
	default:
		c.asked = false
		c.silence.Reset(pingAfter)
	}
}

// saw implements http2Role.
func (c *http2Conn) saw(h http2.Head) error {
	if !c.flood.see(h, c.srv.now()) {
		return errFlood
	}
	return nil
}

// limitOfHead implements http2Role.
func (c *http2Conn) limitOfHead() int { return headSlack * c.srv.cfg.HeadBytes }

// patience implements http2Role.
func (c *http2Conn) patience() time.Duration { return c.srv.cfg.WriteTimeout }

// moved implements http2Role.
func (c *http2Conn) moved(in, out int) {
	if in > 0 {
		c.shard.BytesIn.Add(uint64(in))
		c.arrivals.Add(1)
	}
	if out > 0 {
		c.shard.BytesOut.Add(uint64(out))
	}
}

// blamed implements http2Role.
func (c *http2Conn) blamed() { c.flood.credit -= resetCost } // the next frame notices

// goneAway implements http2Role: a client that wants nothing pushed gets nothing pushed.
func (*http2Conn) goneAway(uint32, http2.Code) {}

// setting implements http2Role.
func (*http2Conn) setting(http2.Setting) {}

// left implements http2Role.
func (*http2Conn) left(st *http2Stream) { st.of.(*stream).guard.clientLeft() }

// rest implements http2Role: it starts the streams whose heads have come.
func (c *http2Conn) rest() {
	for i, st := range c.ready {
		go st.serve()
		c.ready[i] = nil
	}
	c.ready = c.ready[:0]
	c.limitHead()
}

// limitHead bounds the time of a head that is not here as a whole (rule L1), and of the
// client's first words.
func (c *http2Conn) limitHead() {
	late := c.inHead() || !c.begun
	if late == c.late {
		return
	}
	c.late = late
	var limit time.Time
	if late {
		limit = time.Now().Add(c.srv.cfg.HeadTimeout)
	}
	c.readBy(limit)
	if c.ending.Load() {
		c.unblock()
	}
}

// take implements http2Role: a request, or the trailers of one.
func (c *http2Conn) take(id uint32, end bool) error {
	f := &c.fields
	c.mu.Lock()
	defer c.mu.Unlock()
	if st := c.streams[id]; st != nil {
		return c.takeTrailers(st, end)
	}
	switch {
	case id%2 == 0:
		return http2.ProtocolError
	case id <= c.highest && c.resetByUs(id):
		return nil
	case id <= c.highest && c.maybeReset():
		c.resetID(id, http2.StreamClosed)
		return nil
	case id <= c.highest:
		return http2.StreamClosed
	}
	if c.ending.Load() { // GOAWAY will say that it was not looked at
		return nil
	}
	if !f.large && !f.isRequest() {
		c.highest = id
		c.resetID(id, http2.ProtocolError)
		return nil
	}
	room := len(c.streams) < c.srv.cfg.HTTP2Streams
	c.mu.Unlock() // to enter, others are locked
	room = room && c.enter()
	late := c.ending.Load() // after it, since nothing ends a connection that has entered
	if room && late {
		c.exit()
	}
	c.mu.Lock()
	if late {
		return nil
	}
	c.highest = id
	if !room {
		c.resetID(id, http2.RefusedStream)
		return nil
	}
	st := newStream(c, end)
	c.add(&st.http2Stream, id)
	c.ready = append(c.ready, st)
	return nil
}

// newStream makes a stream of the fields that have come.
func newStream(c *http2Conn, end bool) *stream {
	st := &stream{conn: c, fault: c.fields.fault(), hasLength: c.fields.length}
	st.init(c.srv, st)
	st.client = st
	st.of, st.ended, st.due = st, end, c.fields.due
	st.x = takeExchange(&st.link)
	st.recv = st.x.received[:0]
	b := c.fields.appendHead(st.x.in[:0])
	st.x.in, st.x.used = b[:cap(b)], len(b)
	return st
}

// takeTrailers takes the end of a request (rule H10). Called under mu.
func (c *http2Conn) takeTrailers(st *http2Stream, end bool) error {
	f := &c.fields
	switch {
	case st.ended:
		c.blame(st, http2.StreamClosed)
	case !end, f.bad, f.seen != 0, f.large, f.length:
		c.blame(st, http2.ProtocolError)
	default:
		st.of.(*stream).trailers = append([]byte(nil), f.text...)
		c.end(st)
	}
	return nil
}

// enter counts a stream, if there may be one more: a client that gives streams up faster
// than they end has to wait.
func (c *http2Conn) enter() bool {
	c.state.Lock()
	defer c.state.Unlock()
	if c.running >= 2*c.srv.cfg.HTTP2Streams {
		return false
	}
	if c.running++; c.running == 1 {
		c.guard.enter(phaseClose, c.srv.now(), never) // it is not idle
	}
	c.srv.conns.Add(1)
	return true
}

// exit is called once for every enter that was true.
func (c *http2Conn) exit() {
	c.state.Lock()
	if c.running--; c.running == 0 && !c.closed {
		c.idle()
	}
	c.state.Unlock()
	c.srv.conns.Done()
}

// idle makes the connection idle: it may be so for a while, in a drain for a shorter one.
func (c *http2Conn) idle() {
	now := c.srv.now()
	c.guard.enter(phaseIdle, now, now+c.srv.idleTimeout.Load())
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

// drain tells the client to send its next requests elsewhere. What is on its way is
// served; the connection ends when it has been idle for a moment.
func (c *http2Conn) drain() {
	if c.told.Swap(true) {
		return
	}
	c.mu.Lock()
	c.out = http2.AppendGoAway(c.out, http2.MaxWindow, http2.NoError)
	c.flush()
	c.mu.Unlock()
}

func (*http2Conn) watch() {} // it is read all the time

func (*http2Conn) clearDeadlines() {} // what unblock did is final

// unblock ends an idle connection, with a word to its client.
func (c *http2Conn) unblock() {
	c.ending.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection only
}

func (c *http2Conn) wake() { c.unblock() }

func (c *http2Conn) kill() { _ = c.nc.Close() } // the goroutine that reads notices
