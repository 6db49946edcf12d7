package workers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// begin gives the request to the worker, with its body if that is small or fits
// the lane.
func (w *worker) begin(x Exchange) error {
	c := &w.call
	flags, inline, size, err := w.placeBody(x)
	if err != nil {
		return err
	}
	left, err := w.timeLeft(x)
	if err != nil {
		return err
	}
	r := x.Request()
	b := append(w.frames[:0], make([]byte, headerSize)...)
	b = appendMeta(b, x, r, left, !w.pool.cfg.WithoutRequestID)
	if r.HasLength {
		b = append(b, "\x00content-length\x00"...)
		b = strconv.AppendInt(b, r.Length, 10)
	}
	meta := len(b) - headerSize
	if meta > maxMeta {
		return ErrTooLarge
	}
	putHeader(b, typeRequest, flags, 0, w.id, meta, size)
	b = append(b, inline...)
	w.frames = b
	c.begun = true
	c.silent = string(r.Method) == "HEAD"
	w.ch.wrote = 0
	if left > 0 && !w.limit.set(w.pool.now()+int64(left)) {
		return fmt.Errorf("%w: before the function began", ErrTimeout)
	}
	if c.sending {
		c.touched = true
		return w.sent(w.ch.send(b))
	}
	w.ch.first = b
	return nil
}

// placeBody decides how the body travels: within the frame, in the lane, or in
// DATA frames. Small bodies and those of a known length that the lane can hold
// are read completely before the worker hears of the request.
func (w *worker) placeBody(x Exchange) (flags uint8, inline []byte, size int, err error) {
	c := &w.call
	whole, inMemory := x.Body()
	if inMemory {
		switch n := len(whole); {
		case n <= smallBody:
			return 0, whole, n, nil
		case w.lane != nil && n <= len(w.lane.request):
			w.lane.used = true
			copy(w.lane.request, whole)
			return flagLane, nil, n, nil
		}
		c.whole = whole
	} else {
		n := x.Request().Length
		if w.lane != nil && n > 0 && n <= int64(len(w.lane.request)) {
			w.lane.used = true
			c.touched = true
			return flagLane, nil, int(n), readFull(x, w.lane.request[:n])
		}
		if err := x.Continue(); err != nil {
			return 0, nil, 0, err
		}
		c.upload = w.newUpload(x)
	}
	c.sending, c.credit = true, firstCredit
	return flagMore, nil, 0, nil
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
func (w *worker) timeLeft(x Exchange) (time.Duration, error) {
	left := x.Remaining()
	if left < 0 {
		return 0, fmt.Errorf("%w: before the function began", ErrTimeout)
	}
	if run := w.pool.cfg.Timeout; run > 0 && (left == 0 || run < left) {
		left = run
	}
	return left, nil
}

// maySend reports whether a piece of the body can go now.
func (w *worker) maySend() bool {
	c := &w.call
	return c.sending && c.credit > 0 && !w.ch.writing.Load() && (c.upload == nil || c.upload.here.Load())
}

// sendPiece sends the next piece of the body.
func (w *worker) sendPiece() error {
	c := &w.call
	c.touched = true
	if c.upload != nil {
		return w.sendUpload(c.upload)
	}
	n := min(maxInline, c.credit)
	b := w.piece(headerSize + n)
	n = copy(b[headerSize:], c.whole)
	c.whole = c.whole[n:]
	return w.sendData(b[:headerSize+n], len(c.whole) == 0)
}

// sendUpload sends what is there of a body that is streamed.
func (w *worker) sendUpload(u *upload) error {
	b, last, err := u.take(w.call.credit)
	if err != nil {
		return w.exchangeFailed(err)
	}
	err = w.sendData(b, last)
	u.taken()
	return err
}

// sendData sends a DATA frame with room for its header before the bytes.
func (w *worker) sendData(b []byte, last bool) error {
	n, flags := len(b)-headerSize, uint8(flagMore)
	if last {
		flags = 0
	}
	w.call.credit -= n
	w.call.sending = !last
	putHeader(b, typeData, flags, 0, w.id, 0, n)
	return w.sent(w.ch.send(b))
}

// piece returns room for a DATA frame.
func (w *worker) piece(n int) []byte {
	if cap(w.frames) < n {
		w.frames = make([]byte, headerSize+maxInline)
	}
	return w.frames[:n]
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
		b = append(b, x.ID()...)
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop && f.Kind != http1.Host && (f.Kind != http1.RequestID || !withID) {
			b = append(b, 0)
			b = appendLower(b, f.Name)
			b = append(b, 0)
			b = append(b, f.Value...)
		}
	}
	return b
}

// appendLower appends a field name, which is a token, in lower case.
func appendLower(b, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
