package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/proxy/http2"
)

// stream is one request of an HTTP/2 connection. It is checked like any other, and goes
// the same way.
type stream struct {
	link
	http2Stream

	conn      *http2Conn
	x         *Exchange
	fault     error  // why the head cannot be looked at
	hasLength bool   // the head says how long the body is
	grpc      bool   // the request speaks gRPC
	trailers  []byte // guarded by session.mu: of the request

	readBy    time.Time   // for the next piece of the body; zero: none
	block     []byte      // the head as fields of HTTP/2
	headReady bool        // which was not yet sent
	headSent  atomic.Bool // it is on its way: no second status
	last      []byte      // the trailers of the answer, likewise
	tail      []byte      // the end of the answer
	tailed    bool        // which is here
	corked    bool        // what is sent may wait for the end
}

// pieceBytes is what a peer has its time to take.
const pieceBytes = 16 << 10

// serve takes the request from its head to the last byte of its answer.
func (st *stream) serve() {
	c, x := st.conn, st.x
	defer c.exit()
	defer st.recover() // of what ends the stream
	st.link.id, st.peer, st.scheme, st.shard, st.stream = c.id, c.peer, c.scheme, c.shard, st
	st.requests = c.requests.Add(1) - 1
	st.guard.enter(phaseClose, c.srv.now(), never) // the body's time is watched by who reads
	c.srv.sweeper.add(&st.link)
	defer func() {
		c.srv.sweeper.remove(&st.link)
		st.end(x)
		x.release()
	}()
	defer st.recover()
	st.run(x)
}

// recover keeps a bug of ours to the stream that met it (rule R7).
func (st *stream) recover() {
	if p := recover(); p != nil {
		st.srv.log.Error("stream panicked", "peer", st.peer, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		st.shard.Panics.Add(1)
		st.aborted = true
	}
}

// end ends the stream, if it has not ended: well only if the answer is whole. Nobody uses
// the Exchange after it.
func (st *stream) end(x *Exchange) {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.tailed && !st.aborted {
		_ = st.sendNow(st.tail, true) // then it is not whole
	}
	switch {
	case !st.sent:
		s.resetLocked(&st.http2Stream, http2.InternalError)
	case !st.ended: // nobody wants the rest of the body
		s.resetLocked(&st.http2Stream, http2.NoError)
	}
	x.received, x.block = st.recv[:0], st.block[:0]
	st.recv, st.closed = nil, true
	s.flush()
}

func (st *stream) run(x *Exchange) {
	err := x.takeHead()
	if err == nil {
		err = x.frameStream()
	}
	if err != nil {
		st.reject(x, err)
		return
	}
	if st.gone() {
		x.arrived = st.srv.now()
		st.shard.Accepted.Add(1)
		x.conclude(x.arrived, ErrClientGone, nil)
		return
	}
	err = x.attempt()
	end := st.srv.now()
	x.conclude(end, err, st.guard.finish(end))
}

// gone reports whether the client has given the stream up.
func (st *stream) gone() bool {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	return st.cause != nil
}

// reject answers a request that never got as far as the queue.
func (st *stream) reject(x *Exchange, err error) {
	if errors.Is(err, errCut) && st.gone() { // there is nobody to answer
		st.shard.Rejected[metrics.RejectCut].Add(1)
		return
	}
	x.refuse(err)
}

// takeHead parses the request, of which x.in has the lines.
func (x *Exchange) takeHead() error {
	st := x.c.stream
	if st.fault != nil {
		x.req.Method = nil
		return st.fault
	}
	bodiless := st.bodiless()
	b := x.in[:x.used]
	if !st.hasLength && !bodiless {
		b = append(b, "Transfer-Encoding: chunked\r\n"...) // an end of its own, as chunks have in HTTP/1.1
	}
	b = append(b, '\r', '\n')
	x.in, x.used = b[:cap(b)], len(b)
	n, err := x.req.Parse(b, x.c.srv.limits)
	switch {
	case err != nil:
		return err
	case n != len(b):
		return http1.ErrHeader
	case bodiless && x.req.Length != 0:
		return http1.ErrFraming // a length that the stream's end contradicts
	}
	x.head, x.taken = n, n
	x.req.KeepAlive, x.req.Upgrade = true, nil
	contentType, _ := x.Field("Content-Type")
	st.grpc = isGRPC(contentType)
	return nil
}

// bodiless reports whether the stream has ended without a body.
func (st *stream) bodiless() bool {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	return st.ended && len(st.recv) == 0 && len(st.trailers) == 0
}

// fault names what is wrong with the pseudo fields of a request.
func (f *http2Fields) fault() error {
	target := f.get(pseudoPath)
	switch {
	case f.large:
		return http1.ErrHeaderSize
	case !http1.ValidName(f.pseudo[pseudoMethod]):
		return http1.ErrMethod
	case target == nil: // CONNECT
		target = f.pseudo[pseudoAuthority]
	case target[0] != '/' && string(target) != "*":
		return http1.ErrTarget
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f { // it would end a request line
			return http1.ErrTarget
		}
	}
	return nil
}

// frameStream decides how the body is read. Small ones are read before the request
// queues, as on a connection of HTTP/1, and so is what is here already.
func (x *Exchange) frameStream() error {
	b, cfg := &x.body, &x.c.srv.cfg
	length, here := x.req.Length, x.c.stream.whole(max(cfg.BufferBody, upSize))
	b.owes100 = x.req.Expect100
	switch {
	case length == 0:
		b.inMemory, b.done, b.owes100 = true, true, false
		return nil
	case cfg.MaxBody > 0 && length > cfg.MaxBody:
		return errBodyTooLarge
	case length < 0:
		b.chunked = true
		if length = here; length < 0 {
			return nil
		}
		if cfg.MaxBody > 0 && length > cfg.MaxBody {
			return errBodyTooLarge
		}
	case length > cfg.BufferBody && here < 0:
		b.left = length
		return nil
	}
	end := x.head + int(length)
	if end > len(x.in) {
		x.growIn(end)
	}
	for x.used < end {
		if err := x.send100(); err != nil {
			return err
		}
		n, err := x.readClient(x.in[x.used:end])
		x.used += n
		b.total += int64(n)
		if err != nil {
			_, err = x.bodyFailed(err)
			return err
		}
	}
	b.whole, b.inMemory, b.done, x.taken = x.in[x.head:x.used], true, true, x.used
	return x.atStreamEnd()
}

// whole returns the size of a body that is here up to its end and has at most so many
// bytes, else -1.
func (st *stream) whole(most int64) int64 {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if n := int64(len(st.recv) - st.taken); st.ended && st.cause == nil && n <= most {
		return n
	}
	return -1
}

// atStreamEnd makes sure that a body of the declared length ends there.
func (x *Exchange) atStreamEnd() error {
	var more [1]byte
	n, err := x.readClient(more[:])
	if n == 0 && errors.Is(err, io.EOF) {
		x.takeTrailers()
		return nil
	}
	if n > 0 {
		err = io.ErrUnexpectedEOF
	}
	_, err = x.bodyFailed(err)
	return err
}

// readStream is ReadBody on a stream: its end is the body's.
func (x *Exchange) readStream(p []byte) (int, error) {
	b := &x.body
	if b.done {
		return 0, io.EOF
	}
	if err := x.send100(); err != nil {
		return x.bodyFailed(err)
	}
	n, err := x.readClient(p)
	if n > 0 {
		if b.left -= int64(n); !b.chunked && b.left < 0 {
			return x.bodyFailed(io.ErrUnexpectedEOF)
		}
		if err := b.count(x, int64(n)); err != nil {
			return 0, err
		}
		if !b.chunked && b.left == 0 {
			b.read.Store(true)
		}
		return n, nil
	}
	if !errors.Is(err, io.EOF) || !b.chunked && b.left != 0 {
		return x.bodyFailed(err)
	}
	b.done = true
	b.read.Store(true)
	x.takeTrailers()
	return 0, io.EOF
}

// takeTrailers keeps the trailers that may go on.
func (x *Exchange) takeTrailers() {
	st := x.c.stream
	st.session.mu.Lock()
	lines := st.trailers
	st.session.mu.Unlock()
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		if http1.ValidTrailer(name) {
			x.body.trailers = append(x.body.trailers, http1.Field{Name: name, Value: value})
		}
	}
}

// head takes the assembled head as fields of HTTP/2.
func (st *stream) head(x *Exchange) {
	a := &x.answer
	bodiless := a.status == http.StatusNoContent || a.status == http.StatusNotModified
	if !a.dated {
		a.out = st.srv.date.append(a.out)
	}
	contentType, _ := fieldOf(a.out, "Content-Type")
	if a.length >= 0 && !bodiless && !isGRPC(contentType) { // gRPC frames its messages itself
		a.out = appendLength(a.out, a.length)
	}
	st.block = appendBlock(http2.AppendStatus(x.block[:0], a.status), a.out, true)
	a.out = a.out[:0]
	st.headReady = true
}

// sendTrailers keeps what send sends at the end.
func (st *stream) sendTrailers(trailers []byte) {
	if len(trailers) > 0 {
		st.last = appendBlock(st.last[:0], append([]byte("\r\n"), trailers...), false)
	}
}

// write implements client.
func (st *stream) write(p []byte) error { return st.send(p, false) }

// tailBytes of an answer's end are sent when its slot has been given back: a client that
// asks again as soon as it has them finds it free.
const tailBytes = 4 << 10

// send sends the head, if that is still to be done, and p. With last, the end of p waits
// for end.
func (st *stream) send(p []byte, last bool) error {
	if last {
		n := max(len(p)-tailBytes, 0)
		st.tail, st.tailed = p[n:], true
		st.headSent.Store(true)
		if p = p[:n]; n == 0 {
			return nil
		}
	}
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	return st.sendNow(p, false)
}

// sendNow sends the head, if that is still to be done, and p, and with last the end of the
// stream. It waits while the client takes nothing, not longer than WriteTimeout. Called
// under mu, which it gives up meanwhile.
func (st *stream) sendNow(p []byte, last bool) error {
	s := st.session
	if st.headReady {
		st.headReady = false
		if st.dead() != nil {
			return ErrClientGone
		}
		st.headSent.Store(true)
		flags := uint8(0)
		if last && len(p) == 0 && len(st.last) == 0 {
			flags, st.sent = http2.EndStream, true
		}
		s.out = http2.AppendHeaders(s.out, flags, st.http2Stream.id, st.block)
		s.settle(&st.http2Stream)
		if st.srv.draining.Load() && !st.conn.told.Swap(true) {
			s.out = http2.AppendGoAway(s.out, http2.MaxWindow, http2.NoError)
		}
	}
	trailers := last && len(st.last) > 0
	var err error
	if !st.sent {
		err = st.http2Stream.send(p, last && !trailers, st.srv.cfg.WriteTimeout)
	}
	if err == nil && trailers {
		err = st.endWith(st.last)
	}
	if !st.corked || last {
		s.flush()
	}
	if err != nil {
		return ErrClientGone
	}
	return nil
}

// interim implements client.
func (st *stream) interim(status int, fields []http1.Field) error {
	block := http2.AppendStatus(nil, status)
	block = appendBlock(block, http1.AppendFields([]byte("\r\n"), fields), false)
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.dead() != nil {
		return ErrClientGone
	}
	s.out = http2.AppendHeaders(s.out, 0, st.http2Stream.id, block)
	s.flush()
	return nil
}

// read implements client.
func (st *stream) read(p []byte) (int, error) { return st.receive(p, st.readBy) }

// setReadDeadline bounds the gap between two pieces of a body, if it is none in which
// silence is legitimate.
func (st *stream) setReadDeadline(d time.Duration) error {
	if !st.grpc {
		st.readBy = time.Now().Add(d)
	}
	return nil
}

func (*stream) clearReadDeadline() {} // one that struck ended the body for good

// lastWords is how long a client of gRPC may take no byte when its time is up: then it
// does not learn why.
const lastWords = time.Second

// unblock implements client. An answer that has not begun can still be given, and one of
// gRPC be ended in good order (endGRPC).
func (st *stream) unblock() {
	st.stopReading()
	switch {
	case !st.headSent.Load():
	case errors.Is(st.guard.cause, ErrTimeout) && st.grpc: // called under guard.mu
		time.AfterFunc(lastWords, st.stopWriting)
	default:
		st.stopWriting()
	}
}

func (*stream) clearDeadlines() {}

func (*stream) watch() {} // it is told

func (st *stream) wake() { st.unblock() }

func (st *stream) kill() { st.conn.kill() }

// abort implements client: end resets the stream.
func (*stream) abort() {}
