package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// drainBytes and drainTime bound what is read and thrown away when a function
// answered before it had read its request.
const (
	drainBytes = 256 << 10
	drainTime  = 5 * time.Second
)

// requestBody is what is known of a request's body. It is either whole in
// memory before the request queues, or streamed while the request runs.
type requestBody struct {
	inMemory bool
	whole    []byte // the body when inMemory

	prefix   []byte // streamed: what came with the head, not yet delivered
	left     int64  // streamed, length framing: bytes not yet delivered
	chunks   http1.Chunked
	chunked  bool
	total    int64         // bytes delivered or in memory
	surplus  []byte        // bytes read behind the end of a chunked body
	done     bool          // the end was seen
	err      error         // sticky
	owes100  bool          // the client waits for 100 Continue
	started  int64         // when streaming began, on the server's clock
	trailers []http1.Field // of a stream of HTTP/2
	lost     bool          // bytes were read that went nowhere: the next request's place is unknown

	read     atomic.Bool // streamed: the client has sent all of it
	stopping atomic.Bool // nobody wants the rest: reading ends, whatever deadline was set
}

func (b *requestBody) reset() {
	b.inMemory, b.whole, b.prefix, b.left, b.total = false, nil, nil, 0, 0
	if b.chunked {
		b.chunks.Reset()
	}
	b.chunked, b.done, b.err, b.owes100, b.started, b.lost = false, false, nil, false, 0, false
	b.trailers = nil
	b.stopping.Store(false)
	b.read.Store(false)
}

// restore puts surplus bytes back behind what is in x.in.
func (b *requestBody) restore(x *Exchange) int {
	if len(b.surplus) == 0 {
		return 0
	}
	if need := x.used + len(b.surplus); need > len(x.in) {
		x.in = append(x.in[:x.used], make([]byte, need-x.used)...)
	}
	n := copy(x.in[x.used:], b.surplus)
	b.surplus = nil
	return n
}

// bodyStep says what has to happen before a request can queue.
type bodyStep uint8

const (
	bodyReady  bodyStep = iota // whole in memory
	bodyWait                   // a small body, part of it missing
	bodyStream                 // too large or of unknown length: streamed
)

// frameBody decides how the body is read, once the head is parsed.
func (x *Exchange) frameBody() (bodyStep, error) {
	b, cfg := &x.body, &x.c.srv.cfg
	if x.req.Length == 0 {
		b.inMemory, b.done, x.taken = true, true, x.head
		return bodyReady, nil
	}
	b.owes100 = x.req.Expect100
	if cfg.MaxBody > 0 && x.req.Length > cfg.MaxBody {
		return 0, errBodyTooLarge
	}
	if x.req.Length < 0 {
		return x.frameChunked()
	}
	if x.req.Length <= max(cfg.BufferBody, int64(x.used-x.head)) {
		return x.smallBody(), nil
	}
	x.taken = x.head + int(min(int64(x.used-x.head), x.req.Length)) // what follows belongs to the next request
	b.prefix, b.left = x.in[x.head:x.taken], x.req.Length
	return bodyStream, nil
}

// smallBody is called again whenever more of the body has arrived.
func (x *Exchange) smallBody() bodyStep {
	end := x.head + int(x.req.Length)
	if end > len(x.in) {
		x.growIn(end)
	}
	if x.used < end {
		return bodyWait
	}
	b := &x.body
	b.whole, b.inMemory, b.done = x.in[x.head:end], true, true
	b.total, b.owes100 = x.req.Length, false
	x.taken = end
	return bodyReady
}

// growIn makes room for n bytes. The parsed head points into the old buffer,
// which therefore stays as it is.
func (x *Exchange) growIn(n int) {
	bigger := takeBuffer(n)
	copy(bigger, x.in[:x.used])
	if x.small == nil && len(x.in) <= keepMax {
		x.small = x.in
	}
	x.in = bigger
}

// frameChunked takes a chunked body that is here already as a whole one; one
// that still comes is streamed at once, since its sender may wait for an answer.
func (x *Exchange) frameChunked() (bodyStep, error) {
	b := &x.body
	b.chunked = true
	payload, consumed, err := b.chunks.Decode(x.in[x.head:x.used])
	if err != nil {
		return 0, err
	}
	if err := b.count(x, int64(payload)); err != nil {
		return 0, err
	}
	x.taken = x.head + consumed
	if !b.chunks.Done() {
		b.prefix = x.in[x.head : x.head+payload]
		return bodyStream, nil
	}
	b.whole, b.inMemory, b.done, b.owes100 = x.in[x.head:x.head+payload], true, true, false
	return bodyReady, nil
}

// count adds n bytes. A chunk that begins counts as a whole: what is too large is refused before it comes.
func (b *requestBody) count(x *Exchange, n int64) error {
	b.total += n
	if most := x.c.srv.cfg.MaxBody; most > 0 && b.chunks.Left() > most-b.total {
		b.err = errBodyTooLarge
	}
	return b.err
}

// Body returns the body when it is whole in memory, as small ones always are.
// Otherwise use ReadBody.
func (x *Exchange) Body() (whole []byte, ok bool) { return x.body.whole, x.body.inMemory }

// Trailers returns the request's trailers; they are complete when ReadBody has
// returned io.EOF or the body is whole in memory.
func (x *Exchange) Trailers() []http1.Field {
	if x.c.stream != nil {
		return x.body.trailers
	}
	return x.body.chunks.Trailers()
}

// ReadBody reads a streamed body into p, which should hold some kilobytes. It
// waits for the client and so carries its back-pressure, and may be called by
// another goroutine than the one that writes the answer. The error is io.EOF at
// the true end only; a body that was cut, malformed, too slow or too large has
// another, and the request must not look whole to the function then (rule R2).
// Never returns bytes together with an error.
func (x *Exchange) ReadBody(p []byte) (int, error) {
	b := &x.body
	if b.err != nil {
		return 0, b.err
	}
	if x.c.stream != nil {
		return x.readStream(p)
	}
	if len(b.prefix) > 0 {
		n := copy(p, b.prefix)
		b.prefix = b.prefix[n:]
		if !b.chunked {
			b.took(n)
		}
		return n, nil
	}
	if b.done || (!b.chunked && b.left == 0) {
		b.done = true
		return 0, io.EOF
	}
	if err := x.send100(); err != nil {
		return x.bodyFailed(err)
	}
	if b.chunked {
		return x.readChunked(p)
	}
	n, err := x.readClient(p[:min(int64(len(p)), b.left)])
	if err != nil {
		return x.bodyFailed(err)
	}
	b.took(n)
	return n, nil
}

// ReadBodyInTime is ReadBody for a backend that does not bound by itself how long its function takes nothing: the time for
// the start of the answer stands still while the client is waited for, and begins anew with each piece.
func (x *Exchange) ReadBodyInTime(p []byte) (int, error) {
	x.extendAnswerTime(never / 2)
	defer func() { x.extendAnswerTime(x.c.srv.now()) }()
	return x.ReadBody(p)
}

// took notes n bytes of a body with a length.
func (b *requestBody) took(n int) {
	b.left -= int64(n)
	b.total += int64(n)
	if b.left == 0 {
		b.read.Store(true)
	}
}

func (x *Exchange) readChunked(p []byte) (int, error) {
	b := &x.body
	p = p[:min(len(p), upSize)]
	for {
		n, err := x.readClient(p)
		if err != nil {
			return x.bodyFailed(err)
		}
		payload, consumed, err := b.chunks.Decode(p[:n])
		if err != nil {
			return x.bodyFailed(err)
		}
		if err := b.count(x, int64(payload)); err != nil {
			return 0, err
		}
		if b.chunks.Done() {
			b.done = true
			b.read.Store(true)
			b.surplus = append(b.surplus, p[consumed:n]...)
		}
		if payload > 0 {
			return payload, nil
		}
		if b.done {
			return 0, io.EOF
		}
	}
}

// readClient reads from the client's connection, not longer than BodyTimeout,
// and holds the sender to minRate after the first ten seconds (rule L3).
func (x *Exchange) readClient(p []byte) (int, error) {
	c, b := x.c, &x.body
	if !x.converses() && !c.srv.hooks.Rules.SlowBodies && b.tooSlow(c.srv.now(), b.total) {
		return 0, errBodyTimeout
	}
	if err := c.client.setReadDeadline(c.srv.cfg.BodyTimeout); err != nil {
		return 0, err
	}
	if b.stopping.Load() { // and its deadline may have come before ours
		return 0, errBodyTimeout
	}
	n, err := c.client.read(p)
	if n > 0 {
		if c.stream == nil { // else the connection has counted
			c.shard.BytesIn.Add(uint64(n))
		}
		return n, nil
	}
	return 0, err
}

// converses reports a body in which silence is legitimate: streams of gRPC are
// conversations.
func (x *Exchange) converses() bool {
	st := x.c.stream
	return st != nil && st.grpc
}

const (
	minRate      = 512 // bytes per second
	minRateAfter = 10 * time.Second
)

// tooSlow reports a sender of total bytes that is slower than minRate.
func (b *requestBody) tooSlow(now, total int64) bool {
	if b.started == 0 {
		b.started = now
	}
	d := now - b.started
	return d > int64(minRateAfter) && total*int64(time.Second) < minRate*(d-int64(minRateAfter))
}

func (x *Exchange) bodyFailed(err error) (int, error) {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF):
		err = errCut
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		err = errBodyTimeout
	case errors.Is(err, net.ErrClosed):
		err = ErrClientGone
	case x.isOurs(err):
	default:
		err = errCut
	}
	if x.body.stopping.Load() && errors.Is(err, errBodyTimeout) {
		return 0, err // by StopBody: the client is not to blame
	}
	if x.body.err == nil {
		x.body.err = err
	}
	return 0, x.body.err
}

func (x *Exchange) isOurs(err error) bool {
	var malformed *http1.Error
	return errors.As(err, &malformed) || errors.Is(err, errBodyTimeout)
}

// Continue tells a client that waits for it to send its body. Whoever calls ReadBody in another goroutine than the one
// that answers calls it before.
func (x *Exchange) Continue() error { return x.send100() }

// send100 tells a client that waits for it to send its body.
func (x *Exchange) send100() error {
	if !x.body.owes100 {
		return nil
	}
	x.body.owes100 = false
	if x.answer.committed {
		return nil
	}
	if st := x.c.stream; st != nil {
		return st.interim(100, nil)
	}
	return x.c.client.write(continue100)
}

var continue100 = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// finishBody reads and drops a little of a body that the function did not want.
// It reports whether the next request begins where we are.
func (x *Exchange) finishBody() bool {
	b := &x.body
	if b.done {
		return true
	}
	if x.c.stream != nil || b.err != nil || b.lost || b.owes100 || b.left > drainBytes {
		return false
	}
	if x.up == nil {
		x.up = make([]byte, upSize)
	}
	end := x.c.srv.now() + int64(drainTime)
	for dropped := 0; dropped <= drainBytes && x.c.srv.now() < end; {
		n, err := x.ReadBody(x.up)
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		dropped += n
	}
	return false
}

// StopBody makes a goroutine that is in ReadBody return, and wait is how its end
// is awaited. What is left can still be read.
func (x *Exchange) StopBody(wait func()) {
	b := &x.body
	b.stopping.Store(true)
	x.c.client.stopReading()
	wait()
	b.stopping.Store(false)
	x.c.client.clearReadDeadline()
}
