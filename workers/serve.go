package workers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	firstCredit = 256 << 10 // bytes of DATA that each side may send unasked
	grantAfter  = firstCredit / 2

	// trustTime is how long a worker may have been idle and still get a request
	// without a look at its pipe.
	trustTime = int64(time.Millisecond)
)

// call is what is known of the request in flight.
type call struct {
	x     Exchange
	begun bool  // the worker was given the request
	over  bool  // the worker has sent its last frame for it
	cause error // why the answer is not wanted any more

	// the request's body
	whole   []byte  // what is left of one in memory
	upload  *upload // it comes from ReadBody; nil: it does not
	sending bool    // its end was not sent yet
	credit  int     // bytes of DATA we may send
	touched bool    // part of the body is gone: no other worker can run the request

	// the answer
	heard    bool  // the worker has sent something for it
	answered bool  // RESPONSE is here
	silent   bool  // it has no body, whatever the function says
	trailers bool  // TRAILERS follow
	left     int64 // bytes to come of a declared length; -1: none declared
	unpaid   int   // bytes of DATA taken and not yet granted
	interim  int   // 1xx answers
}

// serve runs one request. again means that the worker is dead and has not read a
// byte of it. When serve returns, nothing works on the request any more: the worker
// is idle or dead (invariant P4), except for a process that the kernel does not
// let die; that one keeps its place in the pool.
func (w *worker) serve(x Exchange) (again bool, err error) {
	w.call = call{x: x, left: -1}
	if w.id++; w.id == 0 {
		w.id = 1
	}
	w.request.set(x.ID())
	w.interrupted.Store(false)
	w.abandoned.Store(false)
	if err := w.fresh(); err != nil {
		w.broken(err)
		_, err = w.lost(err, nil)
		return true, err
	}
	if cause := x.OnInterrupt(w); cause != nil {
		return false, cause
	}
	err = w.run(x)
	cause := x.OnInterrupt(nil)
	switch {
	case err == nil:
		w.request.landed()
		w.settle()
		return false, nil
	case !w.call.begun:
		w.request.landed()
		w.settle()
		if cause != nil {
			err = cause
		}
		return false, err
	case w.call.over:
		w.request.landed()
		w.settle()
		return false, err
	}
	w.broken(err)
	return w.lost(err, cause)
}

// run sends the request and takes the answer.
func (w *worker) run(x Exchange) error {
	if err := w.begin(x); err != nil {
		return err
	}
	for !w.call.over {
		if err := w.turn(); err != nil {
			return err
		}
	}
	return w.call.cause
}

// turn does one step: takes a frame, or sends a piece of the body, or waits.
func (w *worker) turn() error {
	f, ok, err := w.ch.take()
	if err != nil {
		return err
	}
	if ok {
		return w.handle(&f)
	}
	if err := w.sent(w.ch.flush()); err != nil {
		return err
	}
	if w.maySend() {
		if came, err := w.ch.poll(); came || err != nil {
			return err
		}
		return w.sendPiece()
	}
	if err := w.park(); err != nil {
		return err
	}
	if w.limit.reached() {
		return errOverdue
	}
	if w.interrupted.Load() && w.call.cause == nil {
		return w.interrupt()
	}
	return nil
}

// park waits until something was read or somebody wants to be heard. It does not
// wait for a dead worker: the pipe need not end with it, and it is told of only once.
func (w *worker) park() error {
	if !w.dead.Load() {
		if err := w.ch.fill(); !errors.Is(err, errWoken) {
			return err
		}
		if !w.dead.Load() {
			return nil
		}
	}
	came, err := w.ch.poll() // what it wrote last
	if err == nil && !came {
		err = io.EOF
	}
	return err
}

// handle takes one frame.
func (w *worker) handle(f *frame) error {
	if known, err := w.aside(f); known || err != nil {
		return err
	}
	if f.id != w.id || !w.call.begun {
		return fmt.Errorf("%w: frame of type %#02x for request %d, current is %d", ErrProtocol, uint8(f.typ), f.id, w.id)
	}
	w.call.heard = true
	if f.has(flagRecycle) {
		w.wantsRecycling.Store(true)
	}
	return w.answer(f)
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
	case typeLog:
		w.logFrame(f)
		return true, nil
	case typeWindow:
		return true, w.credited(f)
	case typeBye:
		w.bye = true
		return true, nil
	case typeMetric, typePong:
		return true, nil
	default:
		return f.typ >= typeOptional, nil
	}
}

// credited adds what the worker allows us to send. For a request that is over it
// means nothing: the worker read on while it answered.
func (w *worker) credited(f *frame) error {
	if len(f.body) != 4 || f.id > w.id {
		return fmt.Errorf("%w: WINDOW for request %d with %d bytes", ErrProtocol, f.id, len(f.body))
	}
	if f.id == w.id {
		n := binary.LittleEndian.Uint32(f.body)
		w.call.credit = min(w.call.credit+int(n), 1<<30)
	}
	return nil
}

// sent judges the result of a write. That the worker reads no more is no error as
// long as its answer may still come (rule W13).
func (w *worker) sent(err error) error {
	if errors.Is(err, errInputClosed) {
		w.call.sending = false
		return nil
	}
	return err
}

// sendFrame sends a frame without meta.
func (w *worker) sendFrame(typ frameType, code uint16, body []byte) error {
	w.frames = appendFrame(w.frames[:0], typ, code, w.id, body)
	return w.sent(w.ch.send(w.frames))
}
