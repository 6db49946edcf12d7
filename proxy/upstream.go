package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
)

const (
	maxInterim = 16        // interim answers before the final one (row C14)
	spliceFrom = 128 << 10 // bodies from this size on move inside the kernel
)

// upstream is one connection to the function.
type upstream struct {
	nc     net.Conn
	raw    syscall.RawConn
	onStep func(fd uintptr) bool
	open   *atomic.Int64 // the backend's count of open connections
	parked int64         // when it became idle, or before
	closed atomic.Bool

	// The round trip in progress.
	reused bool
	send   []byte // to be written before waiting
	room   []byte // to be read into
	sent   int    // bytes of send that are written
	stage  uint8
	n      int
	err    error
}

const (
	stageWrite uint8 = iota
	stageRead
)

// newUpstream wraps nc, and counts it in open until it is closed.
func newUpstream(nc net.Conn, open *atomic.Int64) (*upstream, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		_ = nc.Close()
		return nil, fmt.Errorf("%w: connection without a socket", errConnect)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	u := &upstream{nc: nc, raw: raw, open: open}
	u.onStep = u.step
	open.Add(1)
	return u, nil
}

// close may be called twice and from any goroutine.
func (u *upstream) close() {
	if !u.closed.Swap(true) {
		u.open.Add(-1)
		_ = u.nc.Close() // nothing is lost by its error
	}
}

// Interrupt ends the exchange: the function sees its client leave.
func (u *upstream) Interrupt() { u.close() }

// exchange writes send and reads the first bytes of the answer into room. The
// poller is told to watch before the write ("arm, write, park"), so neither a
// read that finds nothing nor a lost wake-up is possible: one peek, one write,
// one read.
func (u *upstream) exchange(send, room []byte, reused bool) (n int, err error) {
	u.send, u.room, u.reused, u.sent, u.stage, u.n, u.err = send, room, reused, 0, stageWrite, 0, nil
	if err := u.raw.Read(u.onStep); err != nil {
		return 0, err
	}
	if u.err != nil {
		return 0, u.err
	}
	if u.sent < len(send) {
		if _, err := u.nc.Write(send[u.sent:]); err != nil {
			return 0, writeFailed(err)
		}
		u.sent = len(send)
	}
	if u.n == 0 {
		return u.nc.Read(room)
	}
	return u.n, nil
}

func (u *upstream) step(fd uintptr) (done bool) {
	if u.stage == stageWrite {
		u.stage = stageRead
		if u.reused && !quiet(fd) {
			u.err = errStale
			return true
		}
		n, errno := writeSocket(fd, u.send)
		if errno != 0 && errno != syscall.EAGAIN {
			u.err = writeFailed(errno)
			return true
		}
		u.sent = n
		if n < len(u.send) {
			return true // the rest waits outside
		}
		if u.reused {
			return false
		}
		// A function may have answered a new connection before it was asked; that
		// event is over, so look before waiting.
	}
	n, errno := readSocket(fd, u.room)
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		u.err = errno
	case n == 0:
		u.err = io.EOF
	}
	u.n = n
	return true
}

// writeError marks an error that came before the whole request was sent.
type writeError struct{ err error }

func (e *writeError) Error() string { return "write request: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

func writeFailed(err error) error { return &writeError{err} }

// Do sends the request to the function and passes its answer on.
func (b *HTTPBackend) Do(x *Exchange) error {
	if x.up == nil {
		x.up = make([]byte, upFirst)
	}
	if b.overHTTP2(x) {
		return b.doHTTP2(x)
	}
	if x.req.Upgrade != nil {
		return b.doUpgrade(x)
	}
	if !x.body.inMemory {
		return b.doStreamed(x)
	}
	for attempt := 0; ; attempt++ {
		u, reused, err := b.get(x, attempt > 1)
		if err != nil {
			return err
		}
		if err := x.OnInterrupt(u); err != nil {
			u.close()
			return err
		}
		out := x.appendBody(x.appendRequest(x.answer.out[:0], b))
		x.answer.out = out[:0]
		n, err := u.exchange(out, x.up, reused)
		if errors.Is(err, errStale) { // nothing was sent: not an attempt
			u.close()
			b.limit.closed(x.granted-u.parked, x.granted)
			attempt = -1
			continue
		}
		if err != nil {
			u.close()
			if reused && x.c.guard.interrupted() == nil {
				b.limit.closed(x.granted-u.parked, x.granted)
			}
			if attempt == 0 && reused && x.mayRepeat(err) {
				attempt = 1 // the next one is fresh
				x.c.shard.Retries.Add(1)
				continue
			}
			return x.upstreamFailed(err)
		}
		return b.finishExchange(x, u, n)
	}
}

// mayRepeat decides about the one case in which a request is sent again (P6): the
// connection was reused, its other end was closed when our bytes came, so the
// function has not read them, and a repetition can do no harm.
func (x *Exchange) mayRepeat(err error) bool {
	if x.c.guard.interrupted() != nil {
		return false
	}
	switch string(x.req.Method) {
	case "GET", "HEAD", "OPTIONS":
	default:
		return false
	}
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// upstreamFailed names what happened while no final answer had begun.
func (x *Exchange) upstreamFailed(err error) error {
	switch {
	case x.body.err != nil:
		return x.body.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errEarlyClose
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: %w", errReset, err)
	default:
		return fmt.Errorf("%w: %w", errEarlyClose, err)
	}
}

// finishExchange passes the answer on whose first n bytes are in x.up, and pools
// or closes the connection.
func (b *HTTPBackend) finishExchange(x *Exchange, u *upstream, n int) error {
	reusable, err := x.relay(u, n)
	if cause := x.OnInterrupt(nil); cause != nil || err != nil || !reusable {
		u.close()
		return err
	}
	b.put(x, u)
	return nil
}

// relay reads the answer from u, of which n bytes are in x.up, and writes it to
// the client. reusable is true when it ended exactly where it should.
func (x *Exchange) relay(u *upstream, n int) (reusable bool, err error) {
	rest, err := x.readHead(u, n)
	if err != nil {
		return false, err
	}
	return x.relayBody(u, rest)
}

// relayBody passes on what follows the head; rest is what has been read of it. A connection is not used again after HEAD:
// there are servers, waitress among them, that end it then and do not say so.
func (x *Exchange) relayBody(u *upstream, rest []byte) (reusable bool, err error) {
	r := &x.resp
	a := &x.answer
	if r.Length == 0 || a.noBody {
		a.length = declared(r.Length, a.noBody)
		if err := x.Finish(); err != nil {
			return false, err
		}
		x.countSurplus(rest)
		return r.KeepAlive && len(rest) == 0 && r.Length >= 0 && !x.isHead(), nil
	}
	switch {
	case r.Length > 0:
		rest, err = x.relayLength(u, rest)
	case r.Length == unknownLength:
		rest, err = x.relayChunked(u, rest)
	default:
		return false, x.relayToClose(u, rest)
	}
	if err != nil {
		return false, err
	}
	x.countSurplus(rest)
	return r.KeepAlive && len(rest) == 0, nil
}

// declared is the length an answer without a body may still state; the field that
// the function sent goes on by itself then.
func declared(length int64, noBody bool) int64 {
	if noBody {
		return unknownLength
	}
	return length
}

// countSurplus counts bytes behind the end of an answer. The answer itself is good.
func (x *Exchange) countSurplus(rest []byte) {
	if len(rest) > 0 {
		x.c.shard.UpstreamErrors[metrics.UpstreamSurplus].Add(1)
	}
}

// readHead reads up to the end of the final answer's head, or of one that switches
// protocols as it was asked to, passing interim answers on. rest is what has been read behind it.
func (x *Exchange) readHead(u *upstream, n int) (rest []byte, err error) {
	x.growUp(n)
	start := 0
	for interims := 0; ; {
		size, err := x.resp.Parse(x.up[start:n], x.isHead(), x.c.srv.limits)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			if n, err = x.moreHead(u, start, n); err != nil {
				return nil, err
			}
			continue
		}
		start += size
		if x.resp.Status == 101 {
			if !x.switched() {
				return nil, http1.ErrAnswerStatus // nobody asked for it (row C5)
			}
			return x.up[start:n], nil
		}
		if x.resp.Status >= 200 {
			break
		}
		if interims++; interims > maxInterim {
			return nil, http1.ErrAnswer
		}
		if x.resp.Status != 100 {
			if err := x.interim(x.resp.Status, x.resp.Fields); err != nil {
				return nil, err
			}
		}
	}
	x.Respond(x.resp.Status, x.resp.Length)
	x.answer.dated = true
	x.answer.out = http1.AppendFields(x.answer.out, x.resp.Fields)
	return x.up[start:n], nil
}

// moreHead reads more of a head of which x.up[start:n] is there.
func (x *Exchange) moreHead(u *upstream, start, n int) (int, error) {
	if n == len(x.up) {
		if n-start > x.c.srv.limits.HeadBytes {
			return n, http1.ErrAnswerSize
		}
		bigger := make([]byte, 2*len(x.up))
		copy(bigger, x.up[:n])
		x.up = bigger
	}
	m, err := u.nc.Read(x.up[n:])
	if err != nil {
		return n, x.upstreamFailed(err)
	}
	return n + m, nil
}
