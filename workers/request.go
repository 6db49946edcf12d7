package workers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/workers/protocol"
)

// begin gives the request to the worker, with its body if that is small or fits
// the lane.
func (c *call) begin(x Exchange) error {
	flags, inline, size, err := c.placeBody(x)
	if err != nil {
		return err
	}
	left, err := c.timeLeft(x)
	if err != nil {
		return err
	}
	r := x.Request()
	var head [protocol.HeaderSize]byte
	b := append(c.frames[:0], head[:]...)
	b = appendMeta(b, x, r, left, !c.w.pool.cfg.WithoutRequestID)
	meta := len(b) - protocol.HeaderSize
	if meta > protocol.MostMeta {
		return ErrTooLarge
	}
	putHeader(b, protocol.Request, flags, 0, c.id, meta, size)
	b = append(b, inline...)
	c.frames = b
	c.begun = true
	c.silent = string(r.Method) == "HEAD"
	if left > 0 && !c.limit.set(c.w.pool.now()+int64(left)) {
		return fmt.Errorf("%w: before the function began", ErrTimeout)
	}
	if c.sending {
		c.touched = true
		return c.sent(c.link.send(b))
	}
	c.link.post(b)
	return nil
}

// placeBody decides how the body travels: within the frame, in the lane, or in
// DATA frames. Small bodies and those of a known length that the lane can hold
// are read completely before the worker hears of the request.
func (c *call) placeBody(x Exchange) (flags uint8, inline []byte, size int, err error) {
	whole, inMemory := x.Body()
	if inMemory {
		switch n := len(whole); {
		case n <= protocol.Inline:
			return 0, whole, n, nil
		case c.lane != nil && n <= len(c.lane.request):
			c.lane.used = true
			copy(c.lane.request, whole)
			return protocol.FlagLane, nil, n, nil
		}
		c.whole = whole
	} else {
		n := x.Request().Length
		if c.lane != nil && n > 0 && n <= int64(len(c.lane.request)) {
			c.lane.used = true
			c.touched = true
			return protocol.FlagLane, nil, int(n), readFull(x, c.lane.request[:n])
		}
		if err := x.Continue(); err != nil {
			return 0, nil, 0, err
		}
		c.upload = c.newUpload(x)
	}
	c.sending, c.credit = true, protocol.Credit
	return protocol.FlagMore, nil, 0, nil
}

// readFull fills p with the body, which is exactly as long.
func readFull(x Exchange, p []byte) error {
	for len(p) > 0 {
		n, err := x.ReadBody(p)
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// timeLeft returns how long the function may run; 0 means without limit. A
// request never starts after its deadline (invariant P10).
func (c *call) timeLeft(x Exchange) (time.Duration, error) {
	left := x.Remaining()
	if left < 0 {
		return 0, fmt.Errorf("%w: before the function began", ErrTimeout)
	}
	if run := c.w.pool.cfg.Timeout; run > 0 && (left == 0 || run < left) {
		left = run
	}
	return left, nil
}

// maySend reports whether a piece of the body can go now.
func (c *call) maySend() bool {
	return c.sending && c.credit > 0 && !c.link.full() && (c.upload == nil || c.upload.here.Load())
}

// sendPiece sends the next piece of the body.
func (c *call) sendPiece() error {
	c.touched = true
	if c.upload != nil {
		return c.sendUpload(c.upload)
	}
	n := min(protocol.Piece, c.credit)
	b := c.piece(protocol.HeaderSize + n)
	n = copy(b[protocol.HeaderSize:], c.whole)
	c.whole = c.whole[n:]
	return c.sendData(b[:protocol.HeaderSize+n], len(c.whole) == 0)
}

// sendUpload sends what is there of a body that is streamed.
func (c *call) sendUpload(u *upload) error {
	b, last, err := u.take(c.credit)
	if err != nil {
		return c.exchangeFailed(err)
	}
	err = c.sendData(b, last)
	u.taken()
	return err
}

// sendData sends a DATA frame with room for its header before the bytes.
func (c *call) sendData(b []byte, last bool) error {
	n, flags := len(b)-protocol.HeaderSize, uint8(protocol.FlagMore)
	if last {
		flags = 0
	}
	c.credit -= n
	c.sending = !last
	putHeader(b, protocol.Data, flags, 0, c.id, 0, n)
	return c.sent(c.link.send(b))
}

// piece returns room for a DATA frame.
func (c *call) piece(n int) []byte {
	if cap(c.frames) < n {
		c.frames = make([]byte, protocol.HeaderSize+protocol.Piece)
	}
	return c.frames[:n]
}

// appendMeta appends the meta block of a REQUEST frame: six fields, then pairs. withID
// says that the function gets our id of the request, else the client's alone.
func appendMeta(b []byte, x Exchange, r *http1.Request, left time.Duration, withID bool) []byte {
	path, query, _ := bytes.Cut(r.Target, []byte{'?'})
	b = append(b, r.Method...)
	b = append(b, 0)
	b = append(b, path...)
	b = append(b, 0)
	b = append(b, query...)
	b = append(b, 0)
	b = append(b, x.Scheme()...)
	b = append(b, ' ')
	b = append(b, r.Host...)
	b = append(b, 0)
	b = append(b, x.Peer()...)
	b = append(b, 0)
	if left > 0 {
		b = strconv.AppendInt(b, max(left.Milliseconds(), 1), 10)
	}
	if len(r.Host) > 0 {
		b = append(b, "\x00host\x00"...)
		b = append(b, r.Host...)
	}
	if withID {
		b = append(b, "\x00x-request-id\x00"...)
		b = x.AppendID(b)
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop && f.Kind != http1.Host && (f.Kind != http1.RequestID || !withID) {
			b = append(b, 0)
			b = appendLower(b, f.Name)
			b = append(b, 0)
			b = append(b, f.Value...)
		}
	}
	if r.HasLength {
		b = append(b, "\x00content-length\x00"...)
		b = strconv.AppendInt(b, r.Length, 10)
	}
	return b
}

// appendLower appends a field name, which is a token, in lower case.
func appendLower(b, name []byte) []byte {
	n := len(b)
	b = append(b, name...)
	for i, c := range b[n:] {
		if c-'A' < 26 {
			b[n+i] = c | 0x20
		}
	}
	return b
}
