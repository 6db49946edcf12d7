package watchdog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// bodyPipe sends a streamed body to the standard input of a process.
type bodyPipe struct {
	x    Exchange
	r    *forked
	w    *os.File
	done chan struct{} // closed at the end

	whole  bool        // after done: all was taken by the pipe
	err    error       // after done or when broken: why the client's part of it failed
	broken atomic.Bool // there is an err
}

var errPanic = errors.New("panic in the upload")

// startUpload makes the pipe's end a file of the runtime's poller, so that writing
// to it blocks no thread.
func (r *forked) startUpload(x Exchange) {
	w := os.NewFile(uintptr(r.fds[onStdin].Fd), "stdin")
	r.fds[onStdin].Fd = -1
	r.upload = &bodyPipe{x: x, r: r, w: w, done: make(chan struct{})}
	go r.upload.run()
}

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// run sends the body. When the client fails, standard input stays open: nothing cut may look whole (rule R2), and the
// process is ended.
func (u *bodyPipe) run() {
	defer close(u.done)
	defer func() {
		if bug := recover(); bug != nil {
			u.r.f.cfg.Log.Error("upload panicked", "request_id", u.r.id, "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
			u.fail(errPanic)
		}
	}()
	buf := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buf)
	for {
		n, err := u.x.ReadBody(buf[:])
		if errors.Is(err, io.EOF) {
			u.whole = true
			u.close()
			return
		}
		if err != nil {
			u.fail(err)
			return
		}
		if _, err := u.w.Write(buf[:n]); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				u.whole = true // as far as the process wants it (rule W13)
				u.close()
			}
			return
		}
	}
}

func (u *bodyPipe) fail(err error) {
	u.err = err
	u.broken.Store(true)
	u.r.wakeUp()
}

func (u *bodyPipe) close() { _ = u.w.Close() } // again is no harm; nothing is buffered

// endUpload stops the upload. It reports whether the process has got, or will get,
// all it wants of the body, and what was wrong with the client's part.
func (r *forked) endUpload() (whole bool, err error) {
	u := r.upload
	if u == nil {
		return true, nil
	}
	select {
	case <-u.done:
		return u.whole, u.err
	default:
	}
	_ = u.w.SetWriteDeadline(time.Unix(1, 0)) // fails when it is closed
	u.x.StopBody(func() { <-u.done })
	return u.whole, nil // it was stopped, so nobody is to blame
}
