package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
)

// stream is one request of an HTTP/2 connection. net/http speaks the protocol; the
// request is checked like any other, and goes the same way.
type stream struct {
	link

	conn *http2Conn
	w    http.ResponseWriter
	r    *http.Request
	ctl  *http.ResponseController

	status    int         // of the head
	headReady bool        // the head is in w.Header() and not yet sent
	sent      atomic.Bool // the head is on its way: no second status
	stall     *time.Timer // strikes when a write waits too long

	ending sync.Mutex
	ended  bool // guarded by ending: net/http has taken back what stall would use
}

// pieceBytes is what a client has WriteTimeout to take. bufferedBytes of an answer's
// end are kept by net/http until the request's goroutine has returned.
const pieceBytes, bufferedBytes = 16 << 10, 4 << 10

// serveStream takes one request from its head to the last byte of its answer. It
// panics with http.ErrAbortHandler to reset a stream whose answer is not whole:
// returning would end it well.
func (s *Server) serveStream(ctx context.Context, c *http2Conn, w http.ResponseWriter, r *http.Request) {
	if !c.enter() {
		panic(http.ErrAbortHandler)
	}
	defer c.leave()
	st := &stream{conn: c, w: w, r: r, ctl: http.NewResponseController(w)}
	st.id, st.peer, st.scheme, st.shard, st.stream = c.id, c.peer, c.scheme, c.shard, st
	st.requests = c.requests.Add(1) - 1
	st.init(s, st)
	st.client = st
	st.guard.enter(phaseClose, s.now(), never) // the body's time is watched by net/http
	s.sweeper.add(&st.link)
	x := takeExchange(&st.link)
	defer func() {
		s.sweeper.remove(&st.link)
		st.end()
		x.release()
	}()
	defer st.recover()
	st.run(ctx, x)
	if !x.answer.finished || st.aborted {
		panic(http.ErrAbortHandler)
	}
}

// recover keeps a bug of ours to the stream that met it (rule R7).
func (st *stream) recover() {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		st.srv.log.Error("stream panicked", "peer", st.peer, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		st.shard.Panics.Add(1)
	}
	panic(http.ErrAbortHandler)
}

// end waits until nobody uses what net/http takes back.
func (st *stream) end() {
	st.ending.Lock()
	st.ended = true
	st.ending.Unlock()
}

func (st *stream) run(ctx context.Context, x *Exchange) {
	if err := x.takeHead(st.r); err != nil {
		st.reject(x, err)
		return
	}
	if err := x.frameStream(); err != nil {
		st.reject(x, err)
		return
	}
	left := context.AfterFunc(ctx, st.guard.clientLeft)
	defer left()
	err := x.attempt()
	end := st.srv.now()
	x.conclude(end, err, st.guard.finish(end))
}

// reject answers a request that never got as far as the queue.
func (st *stream) reject(x *Exchange, err error) {
	if st.r.Context().Err() != nil && errors.Is(err, errCut) { // there is nobody to answer
		st.shard.Rejected[metrics.RejectCut].Add(1)
		return
	}
	x.refuse(err)
}

// takeHead writes the request as a head of HTTP/1.1 and parses that, so that there
// is one set of rules for both protocols (rules H1 to H9). Nothing can move between
// the parts: none holds a byte that ends it.
func (x *Exchange) takeHead(r *http.Request) error {
	if !http1.ValidName(r.Method) {
		return http1.ErrMethod
	}
	if !cleanTarget(r.RequestURI) {
		return http1.ErrTarget
	}
	if r.RequestURI[0] != '/' && r.RequestURI != "*" && r.Method != http.MethodConnect {
		return http1.ErrTarget
	}
	b := append(x.in[:0], r.Method...)
	b = append(append(append(b, ' '), r.RequestURI...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, r.Host...), '\r', '\n')
	for name, values := range r.Header {
		if name == "Host" {
			continue
		}
		for _, v := range values {
			b = append(append(append(b, name...), ':', ' '), textproto.TrimString(v)...)
			b = append(b, '\r', '\n')
		}
	}
	if r.ContentLength < 0 { // an end of its own, as chunks have in HTTP/1.1
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	b = append(b, '\r', '\n')
	x.in, x.used = b[:cap(b)], len(b)
	n, err := x.req.Parse(b, x.c.srv.limits)
	switch {
	case err != nil:
		return err
	case n != len(b):
		return http1.ErrHeader
	case r.ContentLength >= 0 && x.req.Length != r.ContentLength:
		return http1.ErrFraming // a length that the stream's end contradicts
	}
	x.head, x.taken = n, n
	x.req.KeepAlive, x.req.Upgrade = true, nil
	return nil
}

// cleanTarget refuses what would end a request line.
func cleanTarget(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return target != ""
}

// frameStream decides how the body is read. Small ones are read before the request
// queues, as on a connection of HTTP/1.
func (x *Exchange) frameStream() error {
	b, cfg := &x.body, &x.c.srv.cfg
	x.req.Expect100 = false // net/http says 100 Continue when the body is read first
	length := x.req.Length
	switch {
	case length == 0:
		b.inMemory, b.done = true, true
		return nil
	case cfg.MaxBody > 0 && length > cfg.MaxBody:
		return errBodyTooLarge
	case length < 0:
		b.chunked = true
		return nil
	case length > cfg.BufferBody:
		b.left = length
		return nil
	}
	end := x.head + int(length)
	if end > len(x.in) {
		x.growIn(end)
	}
	for x.used < end {
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
	n, err := x.readClient(p)
	if n > 0 {
		b.left -= int64(n)
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
	for name, values := range x.c.stream.r.Trailer {
		for _, v := range values {
			if http1.ValidTrailer(name) && http1.ValidValue(v) {
				x.body.trailers = append(x.body.trailers, http1.Field{Name: []byte(name), Value: []byte(v)})
			}
		}
	}
}

// head takes the assembled head into the fields of net/http.
func (st *stream) head(x *Exchange) {
	a, h := &x.answer, st.w.Header()
	clear(h)                // of an answer that was too late
	h["Content-Type"] = nil // a body without a type goes on without
	bodiless := a.status == http.StatusNoContent || a.status == http.StatusNotModified
	takeApart(a.out, h, a.noBody && !bodiless)
	a.out = a.out[:0]
	switch {
	case isGRPC(h): // which frames its messages itself
		h["Content-Length"] = nil
	case a.length >= 0 && !bodiless:
		h["Content-Length"] = []string{strconv.FormatInt(a.length, 10)}
	}
	if st.srv.draining.Load() {
		h["Connection"] = []string{"close"} // net/http says GOAWAY
	}
	st.status, st.headReady = a.status, true
}

// takeApart adds the fields of a checked head to h, without the start line and what
// is hop-by-hop, of which the length may be wanted all the same.
func takeApart(head []byte, h http.Header, length bool) {
	_, fields, _ := bytes.Cut(head, []byte("\r\n"))
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte{':'})
		kind := http1.KindOf(name)
		wanted := !kind.HopByHop() && kind != http1.Host || length && kind == http1.ContentLength
		if !ok || !wanted {
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		h[key] = append(h[key], string(textproto.TrimBytes(value)))
	}
}

// sendTrailers announces trailers to net/http, which sends them at the end.
func (st *stream) sendTrailers(trailers []byte) {
	h := http.Header{}
	takeApart(append([]byte("\r\n"), trailers...), h, false)
	for name, values := range h {
		st.w.Header()[http.TrailerPrefix+name] = values
	}
}

// writeStalled ends a stream whose client takes nothing.
func (st *stream) writeStalled() { _ = st.ctl.SetWriteDeadline(time.Unix(1, 0)) } // fails on an ended stream only

// stalled is called by the timer, maybe when all is over.
func (st *stream) stalled() {
	st.ending.Lock()
	defer st.ending.Unlock()
	if !st.ended {
		st.writeStalled()
	}
}

// write implements client.
func (st *stream) write(p []byte) error { return st.send(p, false) }

// send sends the head, if that is still to be done, and p. Without last, everything
// reaches the client now; with it, the end of the stream takes it along.
func (st *stream) send(p []byte, last bool) error {
	if st.headReady {
		st.headReady = false
		st.sent.Store(true)
		st.w.WriteHeader(st.status)
	}
	if len(p) == 0 && last {
		return nil
	}
	st.shard.BytesOut.Add(uint64(len(p)))
	for len(p) > pieceBytes || len(p) > bufferedBytes && last {
		n := min(len(p), pieceBytes)
		if err := st.piece(p[:n], !last); err != nil {
			return err
		}
		p = p[n:]
	}
	if !last {
		return st.piece(p, true)
	}
	if _, err := st.w.Write(p); err != nil || st.ctl.SetWriteDeadline(time.Now().Add(st.srv.cfg.WriteTimeout)) != nil {
		return ErrClientGone
	}
	return nil
}

// piece sends p and waits for the client to take it, not longer than WriteTimeout.
func (st *stream) piece(p []byte, flush bool) error {
	if d := st.srv.cfg.WriteTimeout; st.stall == nil {
		st.stall = time.AfterFunc(d, st.stalled)
	} else {
		st.stall.Reset(d)
	}
	defer st.stall.Stop()
	if _, err := st.w.Write(p); err != nil || flush && st.ctl.Flush() != nil {
		return ErrClientGone
	}
	return nil
}

// interim implements client.
func (st *stream) interim(status int, fields []http1.Field) error {
	h := st.w.Header()
	takeApart(http1.AppendFields([]byte("\r\n"), fields), h, false)
	st.w.WriteHeader(status)
	clear(h)
	return nil
}

func (st *stream) read(p []byte) (int, error) {
	n, err := st.r.Body.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// setReadDeadline bounds the gap between two pieces of a body, if it is none in which
// silence is legitimate.
func (st *stream) setReadDeadline(d time.Duration) error {
	if isGRPC(st.r.Header) {
		return nil
	}
	return st.ctl.SetReadDeadline(time.Now().Add(d))
}

func (st *stream) stopReading() { _ = st.ctl.SetReadDeadline(time.Unix(1, 0)) } // fails on an ended stream only

func (*stream) clearReadDeadline() {} // a deadline that struck ended the body for good

// lastWords is how long a client of gRPC may take no byte when its time is up: then it
// does not learn why.
const lastWords = time.Second

// unblock implements client. An answer that has not begun can still be given, and one of
// gRPC be ended in good order (endGRPC).
func (st *stream) unblock() {
	st.stopReading()
	switch {
	case !st.sent.Load():
	case errors.Is(st.guard.cause, ErrTimeout) && isGRPC(st.r.Header): // called under guard.mu
		_ = st.ctl.SetWriteDeadline(time.Now().Add(lastWords)) // fails on an ended stream only
	default:
		st.writeStalled()
	}
}

func (*stream) clearDeadlines() {}

// watch implements client: the request's context tells us.
func (*stream) watch() {}

// kill implements client.
func (st *stream) wake() { st.unblock() }

func (st *stream) kill() { st.conn.kill() }

// abort implements client: serveStream resets the stream.
func (*stream) abort() {}
