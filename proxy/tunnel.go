package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
)

// tunnel is a connection that speaks WebSocket, or what else the platform allows: what
// comes from one side goes to the other, until both sides have ended. It holds the slot
// of its request all the time (rule U5).
type tunnel struct {
	x *Exchange
	c *conn
	u *upstream

	client, function side
	up               flow // to the function, in the connection's goroutine
	down             flow // to the client
	done             chan struct{}

	// Of down: where in its frames it is, and whether the client was told to end.
	frames wsFrames
	told   bool

	ending     atomic.Bool // the client is to be told to end
	clientLeft atomic.Bool // it sends nothing any more
	over       atomic.Bool // both flows end, whatever is still to come

	mu  sync.Mutex
	err error // guarded by mu until both flows have ended: the first fault of a side
}

// doUpgrade asks the function for a tunnel, on a connection that is never used for
// anything else (rule U4). What the client has sent behind its request waits until the
// function agrees. If it does not, its answer goes on like any other (rule U3).
func (b *HTTPBackend) doUpgrade(x *Exchange) error {
	u, err := b.dial(x)
	if err != nil {
		return err
	}
	defer u.close()
	if err := x.OnInterrupt(u); err != nil {
		return err
	}
	x.asksSwitch = true
	head := x.appendRequest(x.answer.out[:0], b)
	x.answer.out = head[:0]
	n, err := u.exchange(head, x.up, false)
	if err != nil {
		return x.upstreamFailed(err)
	}
	rest, err := x.readHead(u, n)
	if err != nil {
		return err
	}
	if x.resp.Status == 101 {
		return x.openTunnel(u, rest)
	}
	_, err = x.relayBody(u, rest)
	return err
}

// switched reports whether a 101 is what we have asked for.
func (x *Exchange) switched() bool {
	return x.asksSwitch && x.resp.Minor > 0 && http1.SameProtocol(x.resp.Upgrade, x.req.Upgrade)
}

// openTunnel joins the client with u and waits for the end; rest is what has been read
// of u behind its 101.
func (x *Exchange) openTunnel(u *upstream, rest []byte) error {
	c := x.c.client.(*conn) // a stream of HTTP/2 cannot ask for an upgrade
	stall := c.srv.cfg.WriteTimeout
	t := &tunnel{
		x: x, c: c, u: u, done: make(chan struct{}),
		client: newSide(c.nc, c.raw, stall), function: newSide(u.nc, u.raw, stall),
	}
	t.up = flow{t: t, from: &t.client, to: &t.function, pass: t.toFunction}
	t.down = flow{t: t, from: &t.function, to: &t.client, pass: t.toClient}
	t.frames.lost = !http1.IsWebSocket(x.req.Upgrade) // then there is no place for words of ours
	if err := x.c.guard.startTunnel(t, c.srv.now()); err != nil {
		return err
	}
	c.shard.Tunnels.Add(1)
	defer c.shard.Tunnels.Add(-1)
	if err := x.switchProtocols(); err != nil {
		return err
	}
	x.tunnel = t
	held, rest := bytes.Clone(x.in[x.taken:x.used]), bytes.Clone(rest)
	x.lend()
	t.run(held, rest)
	return nil
}

// lend gives the buffers of x to other requests while its tunnel lasts, since that may
// be long. What its log record needs is kept.
func (x *Exchange) lend() {
	if len(x.up) == upSize {
		smallBuffers.Put((*[upSize]byte)(x.up))
	}
	if len(x.in) <= keepMax && cap(x.answer.out) <= keepMax {
		exchanges.Put(newExchange(x.in, x.answer.out[:0]))
	}
	x.req, x.resp = x.keptRequest(), http1.Response{}
	x.in, x.small, x.up, x.answer.out, x.answer.small = nil, nil, nil, nil, nil
	x.head, x.used, x.taken = 0, 0, 0
}

// keptRequest is the request in memory of its own: what a platform wants to know of it at the end may be in its head.
func (x *Exchange) keptRequest() (r http1.Request) {
	if x.c.srv.hooks.Ended == nil {
		return http1.Request{Method: bytes.Clone(x.req.Method), Target: bytes.Clone(x.req.Target)}
	}
	host := bytes.Clone(x.req.Host)                            // which Hooks.Own may have changed
	_, _ = r.Parse(bytes.Clone(x.in[:x.head]), x.c.srv.limits) // it was good before
	r.Host = host
	return r
}

// switchProtocols sends the function's 101.
func (x *Exchange) switchProtocols() error {
	a := &x.answer
	a.out = http1.AppendStatusLine(a.out[:0], x.resp.Status)
	a.out = http1.AppendFields(a.out, x.resp.Fields)
	a.out = append(appendUpgrade(a.out, x.resp.Upgrade), '\r', '\n')
	a.begun, a.headDone, a.committed, a.status = true, true, true, x.resp.Status
	x.answered = x.c.srv.now()
	err := x.c.client.write(a.out)
	a.out = a.out[:0]
	a.finished = err == nil
	return err
}

// appendUpgrade adds the fields by which one side asks for a protocol and the other agrees.
func appendUpgrade(dst, protocol []byte) []byte {
	dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
	dst = append(dst, protocol...)
	return append(dst, '\r', '\n')
}

// run moves bytes until both sides have ended, first those that have been read already.
func (t *tunnel) run(fromClient, fromFunction []byte) {
	go func() {
		defer close(t.done)
		t.down.run(fromFunction)
	}()
	t.up.run(fromClient)
	<-t.done
	if t.err != nil {
		t.cut()
	}
	t.c.lingers = t.up.deaf && !t.over.Load() // the client may be sending, and has something to read
}

// toFunction passes on what came from the client.
func (t *tunnel) toFunction(p []byte) error {
	t.x.body.total += int64(len(p))
	return t.function.write(p, &t.over)
}

// toClient passes on what came from the function. When the tunnel is to end, it says so
// at the end of a frame, and what the function sends from then on is dropped: nothing
// may follow a Close frame.
func (t *tunnel) toClient(p []byte) error {
	if t.told {
		if t.clientLeft.Load() {
			return syscall.EPIPE // both have said all: a function that still talks does not notice otherwise
		}
		return nil
	}
	n := len(p)
	if t.ending.Load() {
		n = t.frames.toBoundary(p)
	} else {
		t.frames.skip(p)
	}
	if err := t.send(p[:n]); err != nil {
		return err
	}
	return t.tell()
}

// tell sends the Close frame when it is due.
func (t *tunnel) tell() error {
	if t.told || !t.ending.Load() || !t.frames.between() {
		return nil
	}
	t.told = true
	return t.send(goingAway)
}

func (t *tunnel) send(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	t.x.answer.sent += int64(len(p))
	t.c.shard.BytesOut.Add(uint64(len(p)))
	return t.client.write(p, &t.over)
}

// goAway has the client told that the tunnel is to end, by the goroutine that writes to
// it. Called at most once, by the guard.
func (t *tunnel) goAway() {
	t.ending.Store(true)
	_ = t.u.nc.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection only
}

// woken is called when goAway has ended a read.
func (t *tunnel) woken() error {
	if err := t.u.nc.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return t.tell()
}

// Interrupt ends both flows; the guard unblocks the client's end.
func (t *tunnel) Interrupt() {
	t.over.Store(true)
	t.u.close()
}

// fault notes what went wrong first, unless the tunnel is over already.
func (t *tunnel) fault(err error, ofFunction bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || t.over.Load() {
		return
	}
	t.err = err
	switch {
	case !ofFunction:
	case timedOut(err), errors.Is(err, syscall.ETIMEDOUT):
		t.c.shard.UpstreamErrors[metrics.UpstreamTimeout].Add(1)
	default:
		t.c.shard.UpstreamErrors[metrics.UpstreamReset].Add(1)
	}
}

// faulty reports whether fault was called.
func (t *tunnel) faulty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// cut ends both flows; neither side gets an end that looks orderly.
func (t *tunnel) cut() {
	if t.over.Swap(true) {
		return
	}
	t.c.abort()
	if tcp, ok := t.u.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails on a closed connection only
	}
	t.u.close()
	t.c.unblock()
}

// flow is one direction of a tunnel. It owns no buffer while it waits for a socket.
type flow struct {
	t        *tunnel
	from, to *side
	pass     func(p []byte) error
	deaf     bool // to takes nothing any more

	onReadable func(fd uintptr) bool
	buf        *[upSize]byte
	n          int
	errno      syscall.Errno
}

// run moves first, and then what comes, until it ends.
func (f *flow) run(first []byte) {
	defer f.recover()
	defer f.giveBack()
	f.onReadable = f.readable
	err := f.pass(first)
	for err == nil {
		var n int
		n, err = f.read()
		switch {
		case err == nil:
			err = f.pass(f.buf[:n])
			f.giveBack()
		case errors.Is(err, io.EOF):
			f.end()
			return
		case f.isDown() && errors.Is(err, os.ErrDeadlineExceeded) && !f.t.over.Load():
			err = f.t.woken()
		default:
			f.t.fault(fmt.Errorf("read from %s: %w", f.name(!f.isDown()), err), f.isDown())
			f.t.cut()
			return
		}
		f.t.c.guard.active.Store(f.t.c.srv.now())
	}
	f.writeFailed(err)
}

// read waits for bytes and reads them into f.buf.
func (f *flow) read() (n int, err error) {
	if f.from.plain {
		err = f.from.raw.Read(f.onReadable)
		switch n = f.n; {
		case err != nil:
			n = 0
		case f.errno != 0:
			n, err = 0, f.errno
		case n == 0:
			err = io.EOF
		}
	} else {
		f.takeBuffer()
		if n, err = f.from.nc.Read(f.buf[:]); n > 0 {
			err = nil
		}
	}
	if !f.isDown() {
		f.t.c.shard.BytesIn.Add(uint64(n))
	}
	return n, err
}

// readable reads once. It returns false to be called again when there is something.
func (f *flow) readable(fd uintptr) (done bool) {
	f.takeBuffer()
	if f.n, f.errno = readSocket(fd, f.buf[:]); f.errno != syscall.EAGAIN {
		return true
	}
	f.giveBack()
	return false
}

func (f *flow) takeBuffer() {
	if f.buf == nil {
		f.buf = smallBuffers.Get().(*[upSize]byte)
	}
}

func (f *flow) giveBack() {
	if f.buf != nil {
		smallBuffers.Put(f.buf)
		f.buf = nil
	}
}

// end passes the end of the sender on. After a fault the end is no orderly one.
func (f *flow) end() {
	if !f.isDown() {
		f.t.clientLeft.Store(true)
	}
	if f.t.faulty() {
		return
	}
	if half, ok := f.to.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // a receiver that is gone does not mind
	}
}

// writeFailed ends a flow whose receiver takes nothing. If that is gone, its last words
// may still be on their way: the other flow passes them on and comes to its end by
// itself.
func (f *flow) writeFailed(err error) {
	gone := errors.Is(err, syscall.EPIPE) // it had ended its side before
	reset := errors.Is(err, syscall.ECONNRESET)
	f.deaf = true
	if !gone {
		f.t.fault(fmt.Errorf("write to %s: %w", f.name(f.isDown()), err), !f.isDown())
	}
	if !gone && !reset {
		f.t.cut()
	}
}

func (f *flow) isDown() bool { return f == &f.t.down }

func (f *flow) name(client bool) string {
	if client {
		return "client"
	}
	return "function"
}

// recover keeps a bug of ours to the tunnel that met it (rule R7).
func (f *flow) recover() {
	p := recover()
	if p == nil {
		return
	}
	f.t.c.srv.log.Error("tunnel panicked", "request_id", f.t.x.ID(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	f.t.c.shard.Panics.Add(1)
	f.t.fault(errPanic, false)
	f.t.cut()
}

// side is one end of a tunnel.
type side struct {
	nc    net.Conn
	raw   syscall.RawConn
	plain bool          // what the socket says is what was sent: there is no TLS
	stall time.Duration // bounds every write; 0 where the kernel watches for progress
}

func newSide(nc net.Conn, raw syscall.RawConn, stall time.Duration) side {
	s := side{nc: nc, raw: raw, plain: socketOf(nc) == nc, stall: stall}
	if _, tcp := socketOf(nc).(*net.TCPConn); tcp {
		_ = raw.Control(func(fd uintptr) { // without it, or if that fails, the deadline remains
			if limitStall(fd, int(stall.Milliseconds())) == nil {
				s.stall = 0
			}
		})
	}
	return s
}

// write sends p whole. It waits for a slow receiver.
func (s *side) write(p []byte, over *atomic.Bool) error {
	if len(p) == 0 {
		return nil
	}
	if s.stall > 0 {
		if err := s.nc.SetWriteDeadline(time.Now().Add(s.stall)); err != nil {
			return err
		}
		if over.Load() { // and its deadline may have come before ours
			return os.ErrDeadlineExceeded
		}
	}
	_, err := s.nc.Write(p)
	return err
}
