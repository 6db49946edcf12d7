package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/fnpod/fnpod/proxy/http1"
)

// readOn reads a piece of a body. When it is full the next may be larger.
func (x *Exchange) readOn(u *upstream) ([]byte, error) {
	n, err := u.nc.Read(x.up)
	b := x.up[:n]
	x.growUp(n)
	return b, err
}

// growUp makes room for larger pieces, when n bytes have filled the buffer. They are in the larger one, too.
func (x *Exchange) growUp(n int) {
	if n == len(x.up) && n < upSize {
		x.up = append(make([]byte, 0, upSize), x.up...)[:upSize]
	}
}

// relayLength passes on a body whose length is declared.
func (x *Exchange) relayLength(u *upstream, rest []byte) (surplus []byte, err error) {
	left := x.resp.Length
	if len(rest) == 0 && x.sniffs() {
		if rest, err = x.readOn(u); err != nil {
			return nil, cutBy(err)
		}
	}
	n := min(int64(len(rest)), left)
	surplus = rest[n:]
	left -= n
	if _, err := x.Write(rest[:n]); err != nil {
		return nil, err
	}
	if left >= spliceFrom {
		moved, err := x.splice(u, left)
		if err != nil {
			return nil, err
		}
		left -= moved
	}
	if err := x.relayPieces(u, left); err != nil {
		return nil, err
	}
	return surplus, x.Finish()
}

// relayPieces passes on the next left bytes, in larger pieces as soon as one was full.
func (x *Exchange) relayPieces(u *upstream, left int64) error {
	p := piece{buf: x.up}
	defer p.release()
	for left > 0 {
		n, err := u.nc.Read(p.buf[:min(int64(len(p.buf)), left)])
		if err != nil {
			return cutBy(err)
		}
		left -= int64(n)
		if _, err := x.Write(p.buf[:n]); err != nil {
			return err
		}
		if n == len(p.buf) {
			p.grow()
		}
	}
	return nil
}

// sniffs reports whether the head must wait for the first bytes of the body.
func (x *Exchange) sniffs() bool {
	if !x.c.srv.hooks.Sniffs || x.answer.headDone {
		return false
	}
	_, typed := http1.FindName(x.resp.Fields, "Content-Type")
	return !typed
}

// splice moves n bytes from the function to the client inside the kernel, where
// both are sockets. It reports how many it moved.
func (x *Exchange) splice(u *upstream, n int64) (int64, error) {
	c, ok := x.c.client.(*conn)
	if !ok || c.srv.hooks.Rules.QuietTimeout > 0 { // nobody would see it move
		return 0, nil
	}
	c.dress()
	client, ok := c.nc.(*net.TCPConn)
	if !ok {
		return 0, nil
	}
	if err := x.flush(); err != nil {
		return 0, err
	}
	if err := c.limitStall(); err != nil {
		return 0, ErrClientGone
	}
	moved, err := client.ReadFrom(&io.LimitedReader{R: u.nc, N: n})
	x.answer.written += moved
	x.answer.sent += moved
	x.c.shard.BytesOut.Add(uint64(moved))
	if err == nil && moved < n {
		err = errCutAnswer
	}
	if err != nil && !errors.Is(err, errCutAnswer) {
		err = c.spliceFailed(err)
	}
	return moved, err
}

// spliceFailed tells whose end failed. A splice does not say, so the client is
// looked at: if it is still there, it was the function.
func (c *conn) spliceFailed(err error) error {
	there := false
	if failed := c.raw.Control(func(fd uintptr) { there = connected(fd) }); failed != nil || !there {
		return ErrClientGone
	}
	return fmt.Errorf("%w: %w", errCutAnswer, err)
}

// relayChunked passes on a chunked body. Small chunks that came together go on as
// one; a body that is here whole gets a length instead.
func (x *Exchange) relayChunked(u *upstream, rest []byte) (surplus []byte, err error) {
	chunks := &x.answerChunks
	chunks.Reset()
	first := true
	for {
		payload, consumed, err := chunks.Decode(rest)
		if err != nil {
			return nil, http1.ErrAnswer
		}
		if done := chunks.Done(); done && first && len(chunks.Trailers()) == 0 {
			x.answer.length = int64(payload)
		}
		first = false
		if payload > 0 || !x.sniffs() {
			if _, err := x.Write(rest[:payload]); err != nil {
				return nil, err
			}
		}
		if chunks.Done() {
			surplus = rest[consumed:]
			break
		}
		if rest, err = x.readOn(u); err != nil {
			return nil, cutBy(err)
		}
	}
	for _, t := range chunks.Trailers() {
		if err := x.AddTrailer(t.Name, t.Value); err != nil {
			return nil, err
		}
	}
	return surplus, x.Finish()
}

// relayToClose passes on a body that ends with the function's connection.
func (x *Exchange) relayToClose(u *upstream, rest []byte) error {
	x.answer.length = unknownLength
	for {
		if len(rest) > 0 || !x.sniffs() {
			if _, err := x.Write(rest); err != nil {
				return err
			}
		}
		var err error
		if rest, err = x.readOn(u); errors.Is(err, io.EOF) {
			return x.Finish()
		}
		if err != nil {
			return cutBy(err)
		}
	}
}

// cutBy is the function's connection ending inside an answer.
func cutBy(err error) error {
	if errors.Is(err, io.EOF) {
		return errCutAnswer
	}
	return fmt.Errorf("%w: %w", errCutAnswer, err)
}
