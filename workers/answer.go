package workers

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/protocol"
)

const (
	mostInterim = 16 // 1xx answers before the final one
	noContent   = 204
	notModified = 304
)

// answer takes a frame that belongs to the request in flight.
func (c *call) answer(f *frame) error {
	switch {
	case f.typ == protocol.Response && !c.answered:
		return c.respond(f)
	case f.typ == protocol.Error:
		return c.functionFailed(f)
	case f.typ == protocol.Data && c.answered && !c.trailers:
		return c.data(f)
	case f.typ == protocol.Trailers && c.trailers:
		return c.trailer(f)
	default:
		return fmt.Errorf("%w: frame of type %#02x out of place", ErrProtocol, uint8(f.typ))
	}
}

// respond takes the head of the answer, and its body if that came along.
func (c *call) respond(f *frame) error {
	if f.code >= 100 && f.code < 200 {
		return c.skipInterim(f)
	}
	body, err := c.bodyOf(f)
	if err != nil {
		return err
	}
	more := f.has(protocol.FlagMore)
	c.answered = true
	c.trailers = f.has(protocol.FlagTrailers) && !more
	c.over = !more && !c.trailers
	if c.over {
		c.limit.set(0) // a strike this late is seen by settle
	}
	if c.cause != nil {
		return c.pay(f)
	}
	if f.code < 200 || f.code > 599 {
		return c.unusable(fmt.Errorf("%w: status %d", ErrBadAnswer, f.code))
	}
	c.silent = c.silent || f.code == noContent || f.code == notModified
	length := int64(f.size)
	if !c.over {
		length, c.left = declared(f.meta)
	}
	c.x.Respond(int(f.code), length)
	if err := addFields(c.x, f.meta); err != nil {
		return c.unusable(err)
	}
	return c.pass(f, body)
}

// declared returns the length that the function promised for a streamed answer.
func declared(meta []byte) (length, left int64) {
	v := lookup(meta, "content-length")
	n, err := strconv.ParseUint(v, 10, 62)
	if err != nil {
		return -1, -1
	}
	return int64(n), int64(n)
}

// bodyOf returns the body of a RESPONSE frame.
func (c *call) bodyOf(f *frame) ([]byte, error) {
	if !f.has(protocol.FlagLane) {
		return f.body, nil
	}
	if c.lane == nil || f.has(protocol.FlagMore) || f.size > len(c.lane.response) {
		return nil, fmt.Errorf("%w: body of %d bytes in the lane", ErrProtocol, f.size)
	}
	c.lane.used = true
	return c.lane.response[:f.size], nil
}

func (c *call) skipInterim(f *frame) error {
	c.interim++
	if c.interim > mostInterim || !f.has(protocol.FlagMore) || f.size > 0 {
		return fmt.Errorf("%w: interim answer %d", ErrProtocol, f.code)
	}
	return nil
}

// fieldAdder is what takes the fields of an answer.
type fieldAdder interface {
	AddField(name, value []byte) error
}

// addFields hands the pairs of a RESPONSE to the Exchange. An empty content-type is how a wrapper says that there is none.
func addFields(x fieldAdder, meta []byte) error {
	for len(meta) > 0 {
		name, value, rest, ok := cutPair(meta)
		if !ok {
			return fmt.Errorf("%w: header %q has no value", ErrBadAnswer, name)
		}
		if len(value) == 0 && string(name) == "content-type" {
			meta = rest
			continue
		}
		if err := x.AddField(name, value); err != nil {
			return fmt.Errorf("%w: header %q: %w", ErrBadAnswer, name, err)
		}
		meta = rest
	}
	return nil
}

// data takes a piece of a streamed body.
func (c *call) data(f *frame) error {
	if f.has(protocol.FlagLane) {
		return fmt.Errorf("%w: DATA in the lane", ErrProtocol)
	}
	if !f.has(protocol.FlagMore) {
		c.trailers = f.has(protocol.FlagTrailers)
		c.over = !c.trailers
	}
	if c.cause != nil {
		return c.pay(f)
	}
	return c.pass(f, f.body)
}

// pass hands a piece of the body to the client, and ends the answer after the
// last one.
func (c *call) pass(f *frame, body []byte) error {
	if c.left >= 0 {
		if c.left -= int64(len(body)); c.left < 0 && !c.silent {
			return c.unusable(fmt.Errorf("%w: body longer than its content-length", ErrBadAnswer))
		}
	}
	if len(body) > 0 && !c.silent {
		if _, err := c.x.Write(body); err != nil {
			return c.clientFailed(err)
		}
	}
	if !c.over {
		return c.pay(f)
	}
	return c.finish()
}

// clientFailed is exchangeFailed for an answer that may be over already.
func (c *call) clientFailed(err error) error {
	if !c.over {
		return c.exchangeFailed(err)
	}
	if cause := c.x.OnInterrupt(nil); cause != nil {
		return cause
	}
	return err
}

// pay allows the worker to send as much again as was taken.
func (c *call) pay(f *frame) error {
	if f.typ != protocol.Data || c.over {
		return nil
	}
	c.unpaid += f.size
	if c.unpaid < protocol.GrantAfter {
		return nil
	}
	size := [4]byte{byte(c.unpaid), byte(c.unpaid >> 8), byte(c.unpaid >> 16), byte(c.unpaid >> 24)}
	c.unpaid = 0
	return c.sendFrame(protocol.Window, 0, size[:])
}

// trailer takes the trailers, which end the answer.
func (c *call) trailer(f *frame) error {
	c.over = true
	if c.cause != nil {
		return nil
	}
	for meta := f.meta; len(meta) > 0; {
		name, value, rest, ok := cutPair(meta)
		if !ok {
			return fmt.Errorf("%w: trailer %q has no value", ErrBadAnswer, name)
		}
		if err := c.x.AddTrailer(name, value); err != nil {
			return fmt.Errorf("%w: trailer %q: %w", ErrBadAnswer, name, err)
		}
		meta = rest
	}
	return c.finish()
}

// finish ends the answer, if it is as long as was declared.
func (c *call) finish() error {
	if c.left > 0 && !c.silent {
		return fmt.Errorf("%w: body %d bytes shorter than its content-length", ErrBadAnswer, c.left)
	}
	if err := c.x.Finish(); err != nil {
		return c.clientFailed(err)
	}
	return nil
}

// functionFailed takes ERROR: the function raised. It ends the request, also in
// the middle of an answer, which is cut then.
func (c *call) functionFailed(f *frame) error {
	c.over = true
	status := int(f.code)
	if status < 400 || status > 599 {
		status = 500
	}
	e := &HandlerError{Status: status, Type: lookup(f.meta, "type"), Message: lookup(f.meta, "message")}
	if c.cause != nil {
		return nil // what a function does that was told to stop is no news
	}
	attrs := []any{"request_id", c.request.get(), "type", e.Type, "message", e.Message}
	if output := c.w.pool.cfg.Output; output != nil {
		for line := range bytes.Lines(f.body) {
			output(watchdog.Line{Stream: watchdog.Stderr, Text: bytes.TrimSuffix(line, []byte{'\n'})})
		}
	} else {
		attrs = append(attrs, "traceback", string(f.body))
	}
	c.w.log.Error("function failed", attrs...)
	return e
}
