package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// upload sends a streamed request body to the function while its answer is read.
type upload struct {
	x    *Exchange
	u    *upstream
	done chan struct{} // closed at the end
	err  error         // after done: why the body did not go whole
}

// doStreamed runs a request whose body is streamed. It is sent once, to a
// connection of its own choosing, and never again.
func (b *HTTPBackend) doStreamed(x *Exchange) error {
	u, err := b.getQuiet(x)
	if err != nil {
		return err
	}
	if err := x.OnInterrupt(u); err != nil {
		u.close()
		return err
	}
	if err := x.send100(); err != nil {
		u.close()
		return err
	}
	head := x.appendRequest(x.answer.out[:0], b)
	x.answer.out = head[:0]
	if _, err := u.nc.Write(head); err != nil {
		u.close()
		return x.upstreamFailed(err)
	}
	up := &upload{x: x, u: u, done: make(chan struct{})}
	go up.run()
	n, err := u.nc.Read(x.up)
	if err != nil {
		return x.uploadEnded(x.afterUpload(up, err))
	}
	early := !x.body.read.Load() // an answer to half a request (rule R3)
	if early && x.req.Length > drainBytes {
		x.req.KeepAlive = false // nobody reads the rest, and the client should know
	}
	reusable, err := x.relay(u, n)
	if whole := up.stop(); !whole || early || err != nil {
		reusable = false
	}
	if cause := x.OnInterrupt(nil); cause != nil || !reusable || u.nc.SetWriteDeadline(time.Time{}) != nil {
		u.close()
	} else {
		b.put(x, u)
	}
	if err == nil && x.answer.finished {
		return nil
	}
	return x.uploadEnded(err)
}

// getQuiet takes a connection that is surely open, or opens one.
func (b *HTTPBackend) getQuiet(x *Exchange) (*upstream, error) {
	for {
		u, reused, err := b.get(x, false)
		if err != nil || !reused {
			return u, err
		}
		open := false
		if err := u.raw.Control(func(fd uintptr) { open = quiet(fd) }); err == nil && open {
			return u, nil
		}
		b.limit.closed(x.granted-u.parked, x.granted)
		u.close()
	}
}

// afterUpload ends an exchange whose answer could not be read.
func (x *Exchange) afterUpload(up *upload, err error) error {
	up.u.close()
	up.stop()
	return x.upstreamFailed(err)
}

// uploadEnded prefers the client's error to what it led to (rule R5).
func (x *Exchange) uploadEnded(err error) error {
	if x.body.err != nil {
		return x.body.err
	}
	return err
}

// run sends the body. If the client fails, the function's connection is closed:
// nothing cut may look whole. If the function does not take it, its answer may
// still come, so the connection is left alone.
func (p *upload) run() {
	defer close(p.done)
	defer func() {
		if bug := recover(); bug != nil {
			p.x.c.srv.log.Error("upload panicked", "request_id", p.x.ID(), "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
			p.x.c.shard.Panics.Add(1)
			p.err = errPanic
			p.u.close()
		}
	}()
	p.err = p.send()
	if p.x.body.err == nil {
		p.x.extendAnswerTime(p.x.c.srv.now())
	} else {
		p.u.close()
	}
}

func (p *upload) send() error {
	x := p.x
	x.extendAnswerTime(never / 2)
	small := smallBuffers.Get().(*[upSize]byte)
	defer smallBuffers.Put(small)
	room := piece{buf: small[:]}
	defer room.release()
	chunked := x.body.chunked
	for {
		buf := room.buf[:len(room.buf)-chunkEnd]
		n, err := x.ReadBody(buf[chunkRoom:])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := p.limitStall(); err != nil {
			return err
		}
		if _, err := p.u.nc.Write(frame(room.buf, n, chunked)); err != nil {
			return err
		}
		if !chunked && len(x.body.prefix) == 0 && x.body.left >= spliceFrom {
			if err := p.splice(); err != nil {
				return err
			}
		}
		if chunkRoom+n == len(buf) {
			room.grow()
		}
	}
	if !chunked {
		return nil
	}
	_, err := p.u.nc.Write(appendLastChunk(room.buf[:0], x.Trailers()))
	return err
}

// limitStall bounds the time a function may take nothing of its request.
func (p *upload) limitStall() error {
	d := p.x.c.srv.cfg.AnswerTimeout
	if d == 0 {
		return nil
	}
	if err := p.u.nc.SetWriteDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if p.x.body.stopping.Load() { // and its deadline may have come before ours
		return os.ErrDeadlineExceeded
	}
	return nil
}

// frame returns the n bytes at buf[chunkRoom:], as one chunk if chunked.
func frame(buf []byte, n int, chunked bool) []byte {
	if !chunked {
		return buf[chunkRoom : chunkRoom+n]
	}
	var line [chunkRoom]byte
	size := http1.AppendChunkHeader(line[:0], n)
	start := chunkRoom - len(size)
	copy(buf[start:], size)
	buf[chunkRoom+n], buf[chunkRoom+n+1] = '\r', '\n'
	return buf[start : chunkRoom+n+2]
}

// chunkRoom is what the size line of a chunk may take, chunkEnd what follows it.
const chunkRoom, chunkEnd = 16, 2

// splice moves most of the rest of the body inside the kernel. The end of it goes through a buffer, so that the function
// cannot have all before it is known here that the client has sent all. A client that
// sends nothing for BodyTimeout, or less than minRate, is given up, and so is a
// function that takes nothing for AnswerTimeout.
func (p *upload) splice() error {
	x := p.x
	function, ok := p.u.nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	c, ok := x.c.client.(*conn)
	if !ok || socketOf(c.nc) != c.nc {
		return nil
	}
	if err := p.limitKernel(); err != nil {
		return err
	}
	b := &x.body
	wait := min(c.srv.cfg.BodyTimeout, minRateAfter/5)
	for heard := c.srv.now(); b.left > spliceRest; {
		if !c.srv.hooks.Rules.SlowBodies && b.tooSlow(c.srv.now(), b.total) {
			_, err := x.bodyFailed(errBodyTimeout)
			return err
		}
		if err := c.setReadDeadline(wait); err != nil {
			return err
		}
		if b.stopping.Load() {
			_, err := x.bodyFailed(errBodyTimeout)
			return err
		}
		n, err := function.ReadFrom(&io.LimitedReader{R: c.nc, N: min(b.left-spliceRest, spliceMost)})
		b.left -= n
		b.total += n
		x.c.shard.BytesIn.Add(uint64(n))
		slow := timedOut(err) && !b.stopping.Load()
		if n > 0 && (err == nil || slow) {
			heard = c.srv.now()
			continue
		}
		if slow && c.srv.now()-heard < int64(c.srv.cfg.BodyTimeout) {
			continue
		}
		b.lost = true // what is in the kernel's pipe has been read and not written
		if p.functionBroke(c, err) {
			return err
		}
		if err == nil {
			err = io.EOF
		}
		_, err = x.bodyFailed(err)
		return err
	}
	return nil
}

// limitKernel lets the kernel watch for a function that takes nothing. A write
// deadline could strike when bytes have been read and not yet written, and those
// would be lost.
func (p *upload) limitKernel() error {
	if err := p.u.nc.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	d := p.x.c.srv.cfg.AnswerTimeout
	var failed error
	err := p.u.raw.Control(func(fd uintptr) { failed = limitStall(fd, int(d.Milliseconds())) })
	return errors.Join(err, failed)
}

// functionBroke reports that it was the function's end that failed. A splice does
// not say, so the client is looked at: if it is still there, it was not the client.
func (p *upload) functionBroke(c *conn, err error) bool {
	switch {
	case errors.Is(err, syscall.EPIPE):
		return true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ETIMEDOUT):
		there := false
		err := c.raw.Control(func(fd uintptr) { there = connected(fd) })
		return err == nil && there
	default:
		return false
	}
}

// spliceMost is the largest piece between two looks at the clock, spliceRest what is left for the buffer.
const spliceMost, spliceRest = 4 << 20, 4 << 10

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// ended reports whether run has returned.
func (p *upload) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the upload and reports whether the whole body had gone.
func (p *upload) stop() (whole bool) {
	if !p.ended() {
		p.x.StopBody(func() {
			_ = p.u.nc.SetWriteDeadline(time.Unix(1, 0)) // fails on a closed connection only
			<-p.done
		})
	}
	return p.err == nil
}
