package workers

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/fnpod/fnpod/workers/protocol"
)

// errPanic is a bug of ours that was caught (rule R7).
var errPanic = errors.New("workers: panic")

// upload reads a streamed body piece by piece while the goroutine of the request
// listens to the worker: a client that stalls delays neither the answer nor the
// news of a time-out or of the worker's end (rules W9, W13).
type upload struct {
	x    Exchange
	log  *slog.Logger
	wake func()        // the goroutine of the request looks at here
	here atomic.Bool   // a piece or the end waits; what follows is the request's then, else run's
	next chan struct{} // the piece is taken
	quit chan struct{} // no more are wanted
	done chan struct{} // closed when run has returned

	buf  []byte // header, then the piece
	size int    // of the piece
	from int    // how much of it is taken
	err  error  // instead of a piece; io.EOF at the end
}

func (c *call) newUpload(x Exchange) *upload {
	u := &upload{
		x: x, log: c.w.log, wake: c.link.wake, next: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		buf: make([]byte, protocol.HeaderSize+protocol.Piece),
	}
	go u.run()
	return u
}

func (u *upload) run() {
	defer close(u.done)
	defer func() {
		if bug := recover(); bug != nil {
			u.log.Error("upload panicked", "request_id", string(u.x.AppendID(nil)), "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
			u.err = errPanic
			u.here.Store(true)
			u.wake()
		}
	}()
	for {
		u.from = 0
		u.size, u.err = u.x.ReadBody(u.buf[protocol.HeaderSize:])
		last := u.err != nil
		u.here.Store(true)
		u.wake()
		if last {
			return
		}
		select {
		case <-u.next:
		case <-u.quit:
			return
		}
	}
}

// take returns at most limit bytes of the piece that is here, behind room for a
// header. They are valid until taken is called. last means that none follow.
func (u *upload) take(limit int) (b []byte, last bool, err error) {
	if errors.Is(u.err, io.EOF) {
		return u.buf[:protocol.HeaderSize], true, nil
	}
	if u.err != nil {
		return nil, false, u.err
	}
	n := min(u.size-u.from, limit)
	b = u.buf[u.from : u.from+protocol.HeaderSize+n]
	u.from += n
	return b, false, nil
}

// taken lets the next piece come when this one is through.
func (u *upload) taken() {
	if u.err == nil && u.from == u.size {
		u.here.Store(false)
		u.next <- struct{}{}
	}
}

// end returns when nobody reads the body any more.
func (u *upload) end() {
	close(u.quit)
	select {
	case <-u.done:
	default:
		u.x.StopBody(func() { <-u.done })
	}
}
