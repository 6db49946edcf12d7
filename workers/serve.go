package workers

import (
	"fmt"
	"io"
	"time"

	"github.com/fnpod/fnpod/workers/protocol"
)

// trustTime is how long a worker may have been idle and still get a request
// without a look at its pipe.
const trustTime = int64(time.Millisecond)

// serve runs one request. again means that the worker is dead and has not read a
// byte of it. When serve returns, nothing works on the request any more: the worker
// is idle or dead (invariant P4), except for a process that the kernel does not
// let die; that one keeps its place in the pool.
func (w *worker) serve(x Exchange) (again bool, err error) {
	c := &w.call
	c.open(x, c.id+1)
	if err := w.fresh(); err != nil {
		w.broken(err)
		_, err = c.lost(err, nil)
		return true, err
	}
	if cause := x.OnInterrupt(c); cause != nil {
		return false, cause
	}
	err = c.run(x)
	cause := x.OnInterrupt(nil)
	switch {
	case err == nil:
		w.request.landed()
		w.settle()
		return false, nil
	case !c.begun:
		w.request.landed()
		w.settle()
		if cause != nil {
			err = cause
		}
		return false, err
	case c.over:
		w.request.landed()
		w.settle()
		return false, err
	}
	w.broken(err)
	return c.lost(err, cause)
}

// fresh looks at what a worker that was idle for a while has sent meanwhile, and
// whether it still lives.
func (w *worker) fresh() error {
	if w.pool.now()-w.spent < trustTime {
		return nil
	}
	if _, err := w.ch.poll(); err != nil {
		return err
	}
	return w.asides()
}

// asides takes frames between two requests, where only those that belong to no
// answer may be. After BYE the end of the worker is only a matter of time.
func (w *worker) asides() error {
	for {
		f, ok, err := w.ch.take()
		switch {
		case err != nil:
			return err
		case !ok && w.bye:
			return io.EOF
		case !ok:
			return nil
		}
		known, err := w.aside(&f)
		if err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("%w: frame of type %#02x without a request", ErrProtocol, uint8(f.typ))
		}
	}
}

// aside takes frames that belong to no answer and reports whether this is one.
func (w *worker) aside(f *frame) (known bool, err error) {
	switch f.typ {
	case protocol.Log:
		id := ""
		if f.id != 0 && f.id == w.call.id {
			id = w.request.get()
		}
		w.logFrame(f, id)
		return true, nil
	case protocol.Window:
		return true, w.call.credited(f)
	case protocol.Bye:
		w.bye = true
		return true, nil
	case protocol.Metric, protocol.Pong:
		return true, nil
	default:
		return f.typ >= protocol.Optional, nil
	}
}
