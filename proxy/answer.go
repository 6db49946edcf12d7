package proxy

import (
	"fmt"
	"strconv"

	"github.com/fnpod/fnpod/proxy/http1"
)

// unknownLength says that an answer's length is not known before its end.
const unknownLength = -1

// answer is what has been decided and written of an answer.
type answer struct {
	out      []byte // assembled and not yet written
	small    []byte // what out was before it grew
	trailers []byte
	answerState
}

// answerState is what begins anew with each answer.
type answerState struct {
	status    int
	length    int64 // of the body; unknownLength if it is not known
	written   int64 // body bytes taken, whether or not the client gets them
	begun     bool  // Respond was called
	dated     bool  // a Date field is there, or is the function's business
	headDone  bool  // the head is complete in out or on its way
	committed bool  // bytes have gone to the client: no second status (P11)
	chunked   bool  // chunked towards the client
	toClose   bool  // the end of the connection is the end of the body
	noBody    bool  // HEAD, 204, 304
	finished  bool
	keep      bool // the connection may carry another request
	held      bool // what Finish has to send waits until the slot is free again
	ours      bool // writeError made it
	misused   bool // Respond was given what no client may see
	sent      int64
}

func (a *answer) reset() {
	a.out = a.out[:0]
	a.trailers = a.trailers[:0]
	a.answerState = answerState{}
}

// grow returns dst, which is out, with room for n bytes in all.
func (a *answer) grow(dst []byte, n int) []byte {
	if a.small == nil && cap(dst) <= keepMax {
		a.small = dst[:0]
	}
	return append(takeBuffer(n)[:0], dst...)
}

// Respond starts the final answer. length is the size of the body in bytes, or
// -1 if it is not known: then every Write reaches the client at once. A status
// that is not final, and a second answer after bytes of the first have gone, make
// Write and Finish fail.
func (x *Exchange) Respond(status int, length int64) {
	a := &x.answer
	if a.committed || status < 200 || status > 599 {
		a.misused = true
		return
	}
	a.begun, a.status, a.length = true, status, length
	a.noBody = status == 204 || status == 304 || x.isHead()
	a.keep = x.req.KeepAlive && !x.c.srv.draining.Load()
	a.out = http1.AppendStatusLine(a.out[:0], status)
	if x.answered == 0 {
		x.answered = x.c.srv.now()
	}
}

// usable reports why nothing more may be added to the answer.
func (a *answer) usable() error {
	switch {
	case a.misused:
		return fmt.Errorf("%w: a second one, or a status that is not final", ErrBadAnswer)
	case !a.begun:
		return fmt.Errorf("%w: none was begun", ErrBadAnswer)
	case a.finished:
		return fmt.Errorf("%w: it has ended", ErrBadAnswer)
	}
	return nil
}

func (x *Exchange) isHead() bool { return string(x.req.Method) == "HEAD" }

// AddField adds a field to the answer's head, between Respond and the first
// Write. Framing and hop-by-hop fields are ignored: those are ours. An illegal
// name or value is an error, and nothing of the field is sent.
func (x *Exchange) AddField(name, value []byte) error {
	if !http1.ValidName(name) {
		return fmt.Errorf("%w: field name %q", ErrBadAnswer, clip(name))
	}
	if !http1.ValidValue(value) {
		return fmt.Errorf("%w: value of field %q", ErrBadAnswer, clip(name))
	}
	kind := http1.KindOf(name)
	if kind.HopByHop() {
		return nil
	}
	x.answer.dated = x.answer.dated || kind == http1.Date
	x.answer.out = appendPair(x.answer.out, name, value)
	return nil
}

// appendPair appends a checked field.
func appendPair(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// endHead adds framing and what only we can know, and ends the head. body is how the
// body begins, as far as that is known.
func (x *Exchange) endHead(body []byte) {
	a := &x.answer
	a.headDone = true
	if x.c.srv.cfg.Timing && x.arrived > 0 {
		a.out = x.appendTiming(a.out)
	}
	if fields := x.c.srv.hooks.Fields; fields != nil && x.arrived > 0 {
		a.out = fields(x, a.out, body)
	}
	if st := x.c.stream; st != nil {
		st.head(x)
		return
	}
	if !a.dated {
		a.out = x.c.srv.date.append(a.out)
	}
	switch {
	case a.noBody:
		if a.status != 204 && a.status != 304 && a.length >= 0 {
			a.out = appendLength(a.out, a.length)
		}
	case a.length >= 0:
		a.out = appendLength(a.out, a.length)
	case x.req.Minor > 0:
		a.chunked = true
		a.out = append(a.out, "Transfer-Encoding: chunked\r\n"...)
	default:
		a.toClose, a.keep = true, false
	}
	switch {
	case !a.keep:
		a.out = append(a.out, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		a.out = append(a.out, "Connection: keep-alive\r\n"...)
	}
	a.out = append(a.out, '\r', '\n')
}

// appendTiming tells where the time went: in the queue, and from the slot to this head
// (https://www.w3.org/TR/server-timing/).
func (x *Exchange) appendTiming(dst []byte) []byte {
	now := x.c.srv.now()
	granted := x.granted
	if granted == 0 {
		granted = now // refused while it waited
	}
	dst = append(dst, "Server-Timing: queue;dur="...)
	dst = strconv.AppendFloat(dst, milliseconds(granted-x.arrived), 'f', 3, 64)
	dst = append(dst, ", run;dur="...)
	dst = strconv.AppendFloat(dst, milliseconds(now-granted), 'f', 3, 64)
	return append(dst, '\r', '\n')
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// Write takes body bytes. They are sent at once, together with the head if that
// is still waiting, unless they complete a small body: then Finish sends all in
// one piece. It waits while the client does not read.
func (x *Exchange) Write(p []byte) (int, error) {
	a := &x.answer
	if err := a.usable(); err != nil {
		return 0, err
	}
	if !a.headDone {
		x.endHead(p)
	}
	a.written += int64(len(p))
	if a.length >= 0 && a.written > a.length {
		return 0, fmt.Errorf("%w: body longer than its declared %d bytes", ErrBadAnswer, a.length)
	}
	if a.noBody {
		return len(p), nil
	}
	if len(p) == 0 {
		return 0, x.flushUnknown()
	}
	if err := x.writeFramed(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (x *Exchange) writeFramed(p []byte) error {
	a := &x.answer
	a.sent += int64(len(p))
	if a.chunked {
		a.out = http1.AppendChunkHeader(a.out, len(p))
	}
	if len(p) > keepMax-64 || len(p) >= copyMax && len(a.out) == 0 { // not worth a copy, or nothing to go with it
		if err := x.flush(); err != nil {
			return err
		}
		if err := x.c.client.write(p); err != nil {
			return err
		}
		x.wrote()
		if a.chunked {
			a.out = append(a.out, '\r', '\n')
		}
		return nil
	}
	a.out = append(a.out, p...)
	if a.chunked {
		a.out = append(a.out, '\r', '\n')
	}
	if a.written == a.length {
		return nil
	}
	return x.flush()
}

// flushUnknown sends a head without body bytes when nobody knows how long those
// will take (event streams).
func (x *Exchange) flushUnknown() error {
	if x.answer.length >= 0 {
		return nil
	}
	return x.flush()
}

// flush sends what is assembled.
func (x *Exchange) flush() error {
	a, st := &x.answer, x.c.stream
	if len(a.out) == 0 && (st == nil || !st.headReady && !a.finished) {
		return nil
	}
	if !a.committed && (!a.finished || !x.writesAtOnce()) {
		if err := x.answerStarted(); err != nil { // too late: what interrupts a request decides what is said
			a.finished = false
			return err
		}
	}
	a.committed = true
	var err error
	if st != nil {
		err = st.send(a.out, a.finished)
	} else {
		err = x.c.client.write(a.out)
	}
	x.wrote()
	a.out = a.out[:0]
	return err
}

// writesAtOnce reports whether a write to the client is one call of the kernel, which no interruption can
// come into.
func (x *Exchange) writesAtOnce() bool {
	c, ok := x.c.client.(*conn)
	return ok && c.fd != noSocket
}

// AddTrailer adds a trailer field to a body of unknown length. It is dropped
// where the answer cannot carry trailers.
func (x *Exchange) AddTrailer(name, value []byte) error {
	if !http1.ValidName(name) || !http1.ValidValue(value) {
		return fmt.Errorf("%w: trailer %q", ErrBadAnswer, clip(name))
	}
	if http1.ValidTrailer(name) {
		x.answer.trailers = appendPair(x.answer.trailers, name, value)
	}
	return nil
}

// Finish ends the answer. A body shorter than declared is an error: it never
// looks whole.
func (x *Exchange) Finish() error {
	a := &x.answer
	if err := a.usable(); err != nil {
		return err
	}
	if !a.headDone {
		if a.length == unknownLength && !a.noBody && len(a.trailers) == 0 {
			a.length = 0
		}
		x.endHead(nil)
	}
	if !a.noBody && a.length >= 0 && a.written != a.length {
		return fmt.Errorf("%w: body of %d bytes, declared %d", ErrBadAnswer, a.written, a.length)
	}
	switch {
	case x.c.stream != nil:
		x.c.stream.sendTrailers(a.trailers)
	case a.chunked:
		a.out = append(a.out, '0', '\r', '\n')
		a.out = append(a.out, a.trailers...)
		a.out = append(a.out, '\r', '\n')
	}
	a.finished = true
	if a.held = x.granted > 0 && x.c.stream == nil && len(a.out) <= keepMax; a.held {
		return nil
	}
	return x.flush()
}

// interim passes an interim answer on.
func (x *Exchange) interim(status int, fields []http1.Field) error {
	if x.answer.committed {
		return nil
	}
	if x.c.srv.hooks.Rules.StartTimeout > 0 {
		if err := x.answerStarted(); err != nil { // as Knative counts
			return err
		}
	}
	return x.c.client.interim(status, fields)
}
