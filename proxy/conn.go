package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
)

// noSocket stands for "not inside onReadable".
const noSocket = ^uintptr(0)

// lingerBytes and lingerTime bound what is read of a client that was refused.
const lingerBytes, lingerTime = 1 << 20, 2 * time.Second

// conn is one client connection with its goroutine. While it is idle it owns no
// buffer, and after a while no goroutine either, only this: sleep_linux.go.
type conn struct {
	link

	nc  net.Conn        // nil while it is bare
	raw syscall.RawConn // likewise

	// The rest but three belongs to the connection's goroutine. Small fields stand together: there may be ten thousand
	// of these.
	x          *Exchange // the request being read or run; nil while idle
	fd         uintptr   // the socket while onReadable runs or the connection is bare, else noSocket
	served     uint64    // requests
	phase      phase     // what guard was told last
	recheck    bool      // bytes are waiting in x
	ended      bool      // the client's end of stream follows what is unread; no event will tell
	step       next      // why onReadable returned true
	stallLimit bool      // the kernel watches for a client that takes nothing
	lingers    bool      // unread bytes may follow: read some before closing
	first      [1]byte   // what an idle connection with TLS is read into
	handedOver bool      // somebody else has the socket
	dressed    bool      // it was bare when its turn began
	soon       uint8     // how often in a row something has come soon to the bare connection

	asleep  bool // guarded by guard.mu: it has no goroutine
	pending bool // guarded by guard.mu: something has happened to the bare socket since it was looked at
	killed  bool // guarded by guard.mu
}

// next says how a connection goes on.
type next uint8

const (
	waitMore     next = iota // park until there are more bytes
	leaveRead                // a small body is missing: read it, then run
	leaveRun                 // a streamed request: run it
	leaveHTTP2               // the client speaks HTTP/2
	leaveUpgrade             // the client asks for it
	leaveClose               // the connection ends
	leaveOn                  // it is not bare any more
)

// serve runs a connection with TLS, or one that cannot be bare, from its beginning.
func (c *conn) serve() {
	now := c.srv.now()
	c.enter(phaseIdle, now+int64(c.srv.cfg.HeadTimeout)) // rule L1: nobody keeps us waiting for a first byte
	c.live(func() (asleep bool) {
		if t, ok := c.nc.(*tls.Conn); ok {
			c.serveTLS(t)
			return false
		}
		return c.serveSocket()
	})
}

// live runs what serves the connection until that ends it, or lets it sleep: then it is
// not ours any more.
func (c *conn) live(serve func() (asleep bool)) {
	asleep := false
	defer func() {
		if !asleep {
			c.close()
		}
	}()
	defer c.recover()
	asleep = serve()
}

// serveSocket runs the connection until it ends or sleeps.
//
// The connection waits inside one RawConn.Read: the callback serves as many
// requests as are whole, and returns false to park. Readiness that arrives
// meanwhile is remembered by the poller, so no read is needed to find out that
// nothing has come: one read and one write per request.
func (c *conn) serveSocket() (asleep bool) {
	c.dressed = false
	onReadable := c.onReadable
	for {
		err := c.raw.Read(onReadable)
		switch {
		case err == nil:
			if !c.outside() {
				return false
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false // closed from outside
		case c.guard.resume(errHungUp):
			c.ended = true
		case c.guard.resume(errSleep):
			if c.x == nil && c.undress() {
				return true
			}
		default:
			c.timedOut()
			return false
		}
	}
}

// recover keeps a bug of ours to the connection that met it (rule R7).
func (c *conn) recover() {
	p := recover()
	if p == nil {
		return
	}
	c.srv.log.Error("connection panicked", "peer", c.peer, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	c.shard.Panics.Add(1)
	c.aborted = true
}

// outside does what onReadable cannot: wait in the middle of a request.
func (c *conn) outside() (more bool) {
	x := c.x
	switch c.step {
	case leaveClose:
		return false
	case leaveHTTP2:
		c.handOver(x.in[:x.used])
		return false
	case leaveUpgrade:
		if early, ok := c.upgrade(x); ok {
			c.handOver(early)
		}
		return false
	case leaveRead:
		if err := c.readSmall(x); err != nil {
			c.reject(x, err)
			return false
		}
	case leaveRun, waitMore, leaveOn:
	}
	keep := c.run(x)
	c.clearReadDeadline()
	if !keep {
		c.finish(x)
		return false
	}
	x.next()
	c.recheck = true
	return true
}

func (c *conn) enter(p phase, limit int64) {
	c.phase = p
	c.guard.enter(p, c.srv.now(), limit)
}

// onReadable serves what has arrived. It returns false to be called again when
// more has.
func (c *conn) onReadable(fd uintptr) (leave bool) {
	c.fd = fd
	c.step = c.readable()
	c.fd = noSocket
	return c.step != waitMore
}

func (c *conn) readable() next {
	if c.recheck {
		c.recheck = false
		if step := c.advance(true); step != waitMore {
			return step
		}
	}
	for {
		if c.dressed {
			return leaveOn
		}
		x := c.x
		if x == nil {
			x = takeExchange(&c.link)
			c.x = x
		}
		room := x.in[x.used:]
		n, errno := readSocket(c.fd, room)
		if errno == syscall.EAGAIN {
			return c.park()
		}
		if errno != 0 || n == 0 {
			return c.clientEnded()
		}
		c.shard.BytesIn.Add(uint64(n))
		x.used += n
		if step := c.advance(bytes.IndexByte(room[:n], '\n') >= 0 || x.used == n); step != waitMore {
			return step
		}
		if n < len(room) && !c.ended { // that was all; the poller knows if more came since
			return c.park()
		}
	}
}

// park gives the buffers back when nothing of a request is in them.
func (c *conn) park() next {
	if c.x != nil && c.x.used == 0 {
		c.x.release()
		c.x = nil
	}
	return waitMore
}

// advance serves every request that is whole in the buffer. parse is false when
// no line has ended since the last look.
func (c *conn) advance(parse bool) next {
	for x := c.x; x.used > 0; parse = true {
		if x.head == 0 {
			if !parse && x.used < c.srv.limits.HeadBytes {
				return c.needMore(x)
			}
			n, err := x.req.Parse(x.in[:x.used], c.srv.limits)
			switch {
			case err != nil && c.speaksHTTP2(x):
				if x.used < len(preface) {
					return c.needMore(x)
				}
				return leaveHTTP2
			case err != nil:
				return c.reject(x, err)
			case n == 0:
				return c.needMore(x)
			}
			x.head = n
		}
		step, err := c.bodyOf(x)
		if err != nil {
			return c.reject(x, err)
		}
		switch step {
		case bodyWait:
			return c.needBody(x)
		case bodyStream:
			return leaveRun
		case bodyReady:
			switch {
			case c.wantsHTTP2(x):
				return leaveUpgrade
			case x.req.Upgrade != nil: // a tunnel reads the socket itself
				return leaveRun
			}
		}
		if !c.run(x) {
			return c.finish(x)
		}
		x.next()
	}
	return waitMore
}

// speaksHTTP2 reports whether the connection begins with the preface of HTTP/2, as
// far as it is here.
func (c *conn) speaksHTTP2(x *Exchange) bool {
	n := min(x.used, len(preface))
	return c.served == 0 && c.srv.cfg.HTTP2Streams > 0 && string(x.in[:n]) == preface[:n]
}

// handOver lets the connection, which begins with early, go on in HTTP/2.
func (c *conn) handOver(early []byte) {
	c.handedOver = true
	c.enter(phaseClose, never)
	c.clearDeadlines()
	h := newHTTP2Conn(c, early)
	h.upgraded = c.step == leaveUpgrade
	c.srv.conns.Add(1)
	c.srv.sweeper.add(&h.link)
	h.idle()
	go h.serve()
}

func (c *conn) bodyOf(x *Exchange) (bodyStep, error) {
	if c.phase == phaseBody {
		return x.smallBody(), nil
	}
	return x.frameBody()
}

// needMore waits for the rest of a head.
func (c *conn) needMore(x *Exchange) next {
	if c.phase != phaseHead {
		c.enter(phaseHead, c.srv.now()+int64(c.srv.cfg.HeadTimeout))
	}
	if x.used == len(x.in) {
		x.growIn(max(2*len(x.in), c.srv.limits.HeadBytes+1))
	}
	return waitMore
}

// needBody waits for the rest of a small body. One that fits beside its head is
// waited for in place.
func (c *conn) needBody(x *Exchange) next {
	if x.body.owes100 {
		if err := x.send100(); err != nil {
			return leaveClose
		}
	}
	if x.head+int(x.req.Length) > inSize {
		return leaveRead
	}
	now := c.srv.now()
	if x.body.tooSlow(now, int64(x.used-x.head)) {
		return c.reject(x, errBodyTimeout)
	}
	c.enter(phaseBody, now+int64(c.srv.cfg.BodyTimeout))
	return waitMore
}

// readSmall reads the missing rest of a body that is held in memory.
func (c *conn) readSmall(x *Exchange) error {
	c.enter(phaseClose, never) // readClient has deadlines of its own
	defer c.clearReadDeadline()
	end := x.head + int(x.req.Length)
	for x.used < end {
		n, err := x.readClient(x.in[x.used:end])
		if err != nil {
			_, err = x.bodyFailed(err)
			return err
		}
		x.used += n
		x.body.total += int64(n)
	}
	x.smallBody()
	return nil
}

// clientEnded is called at the end of what the client sends.
func (c *conn) clientEnded() next {
	x := c.x
	if x.head > 0 { // in the middle of a body
		return c.reject(x, errCut)
	}
	if x.used > 0 {
		c.shard.Rejected[metrics.RejectCut].Add(1)
	}
	return leaveClose
}

// timedOut is called when the guard has ended the waiting.
func (c *conn) timedOut() {
	cause := c.guard.settle(c.srv.now(), never)
	if c.x == nil || cause == nil || errors.Is(cause, errIdle) {
		return // nothing was asked: nothing is said
	}
	c.reject(c.x, cause)
}

// reject answers a request that never got as far as the queue, and ends the
// connection: its bytes have no meaning any more.
func (c *conn) reject(x *Exchange, err error) next {
	c.enter(phaseClose, never)
	x.req.KeepAlive = false
	x.refuse(err)
	c.lingers = true
	return leaveClose
}

// finish ends a connection after its last answer. Where unread bytes could make
// the kernel reset it, the client is given time to read the answer first.
func (c *conn) finish(x *Exchange) next {
	c.enter(phaseClose, never)
	c.lingers = c.lingers || x.answer.finished && (!x.body.done || x.used > x.taken)
	return leaveClose
}

// linger ends our side and drops what still comes, up to a limit (rule L5).
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes) // whatever ends it, the connection ends
}

// write sends p whole. Inside onReadable it is tried with a bare system call
// first; a client that is too slow for that is waited for.
func (c *conn) write(p []byte) error {
	c.shard.BytesOut.Add(uint64(len(p)))
	if c.fd != noSocket {
		n, errno := writeSocket(c.fd, p)
		if errno != 0 && errno != syscall.EAGAIN {
			return ErrClientGone
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
	c.dress()
	if err := c.limitStall(); err != nil {
		return ErrClientGone
	}
	if _, err := c.nc.Write(p); err != nil {
		return ErrClientGone
	}
	return nil
}

// limitStall is called before the first write that may wait.
func (c *conn) limitStall() error {
	d := c.srv.cfg.WriteTimeout
	if _, tcp := socketOf(c.nc).(*net.TCPConn); !tcp {
		return c.nc.SetWriteDeadline(time.Now().Add(d))
	}
	if c.stallLimit {
		return nil
	}
	c.stallLimit = true
	var failed error
	err := c.raw.Control(func(fd uintptr) { failed = limitStall(fd, int(d.Milliseconds())) })
	return errors.Join(err, failed)
}

// socketOf returns what is below TLS.
func socketOf(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}

func (c *conn) setReadDeadline(d time.Duration) error {
	c.dress()
	return c.nc.SetReadDeadline(time.Now().Add(d))
}

func (c *conn) clearReadDeadline() { _ = c.nc.SetReadDeadline(time.Time{}) } // fails on a closed connection only

func (c *conn) clearDeadlines() {
	if c.nc != nil {
		_ = c.nc.SetDeadline(time.Time{}) // likewise
	}
}

// unblock ends whatever waits on the client's socket. Called under guard.mu.
func (c *conn) unblock() {
	if c.nc != nil {
		_ = c.nc.SetDeadline(time.Unix(1, 0)) // likewise
	}
}

// wake ends the wait for bytes. An answer that is on its way is not cut by that. Called
// under guard.mu.
func (c *conn) wake() {
	switch {
	case c.nc != nil:
		c.stopReading()
	case c.asleep:
		c.asleep = false
		go c.roused()
	}
}

func (c *conn) read(p []byte) (int, error) { return c.nc.Read(p) }

func (c *conn) stopReading() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) } // fails on a closed connection only

// watch implements owner. A bare connection is watched all the time.
func (c *conn) watch() {
	_ = c.raw.Control(func(fd uintptr) { // a closed connection needs no watching
		_ = c.srv.hangups.add(c, int(fd), askHangup)
	})
}

func (c *conn) kill() {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	c.killed = true
	if c.nc != nil {
		_ = c.nc.Close() // whatever is in flight
		return
	}
	c.wake()
}

// interim sends an interim answer (RFC 9110 §15.2), to clients that know them.
func (c *conn) interim(status int, fields []http1.Field) error {
	x := c.x
	if x.req.Minor == 0 {
		return nil
	}
	a := &x.answer
	a.out = http1.AppendStatusLine(a.out[:0], status)
	a.out = http1.AppendFields(a.out, fields)
	a.out = append(a.out, '\r', '\n')
	err := c.write(a.out)
	a.out = a.out[:0]
	return err
}

// abort lets the end of the connection be a reset.
func (c *conn) abort() {
	if c.nc == nil {
		resetAtClose(c.fd)
		return
	}
	socket := socketOf(c.nc)
	if l, ok := socket.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // fails on a closed connection only
	}
	if socket != c.nc {
		_ = socket.Close() // without the words by which TLS says that all was well
	}
}

func (c *conn) close() {
	if c.lingers && !c.aborted {
		c.dress()
		c.linger()
	}
	c.srv.forget(c)
	switch {
	case c.handedOver:
	case c.nc == nil:
		_ = unix.Close(int(c.fd)) // nothing more to lose
	default:
		_ = c.nc.Close() // likewise
	}
	if c.x != nil {
		c.x.release()
		c.x = nil
	}
	c.srv.conns.Done()
}
