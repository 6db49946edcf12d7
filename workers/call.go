package workers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fnpod/fnpod/workers/protocol"
)

// call is a request in flight and its way to the worker. It belongs to the goroutine that runs the request.
type call struct {
	w       *worker
	link    link
	lane    *lane      // nil: large bodies go through the pipe
	limit   *limit     // when the request is to be over
	request *requestID // for the log

	id     uint32
	frames []byte // what is written next
	progress

	interrupted atomic.Bool // Interrupt was called
	abandoned   atomic.Bool // the answer is not wanted any more
}

// link is how a request talks to its worker: alone, or as one of several.
type link interface {
	// post sends whole frames before the next wait.
	post(frames []byte)
	// withdraw takes back what was posted and reports whether none of it was sent.
	withdraw() bool
	// send sends whole frames without waiting.
	send(frames []byte) error
	// full reports whether what was sent has not been taken yet; wake is called when it has.
	full() bool
	// flush sends what had to wait for that.
	flush() error
	// take returns the next frame if it is there. Its parts are valid until the next poll or wait.
	take() (f frame, ok bool, err error)
	// poll reports whether something has come.
	poll() (bool, error)
	// wait returns when something has come, or wake was called.
	wait() error
	// wake ends a wait, or the next one. Any goroutine may call it.
	wake()
}

// progress is what is known of a request in flight.
type progress struct {
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

// open prepares for a request.
func (c *call) open(x Exchange, id uint32) {
	if c.id = id; id == 0 {
		c.id = 1
	}
	c.progress = progress{x: x, left: -1}
	c.request.set(x)
	c.interrupted.Store(false)
	c.abandoned.Store(false)
}

// Interrupt makes the goroutine that runs the request look up.
func (c *call) Interrupt() {
	c.interrupted.Store(true)
	c.link.wake()
}

// run sends the request and takes the answer.
func (c *call) run(x Exchange) error {
	if err := c.begin(x); err != nil {
		return err
	}
	for !c.over {
		if err := c.turn(); err != nil {
			return err
		}
	}
	return c.cause
}

// turn does one step: takes a frame, or sends a piece of the body, or waits.
func (c *call) turn() error {
	f, ok, err := c.link.take()
	if err != nil {
		return err
	}
	if ok {
		return c.handle(&f)
	}
	if err := c.sent(c.link.flush()); err != nil {
		return err
	}
	if c.maySend() {
		if came, err := c.link.poll(); came || err != nil {
			return err
		}
		return c.sendPiece()
	}
	if err := c.link.wait(); err != nil {
		return err
	}
	if c.limit.reached() {
		return c.late()
	}
	if c.interrupted.Load() && c.cause == nil {
		return c.interrupt()
	}
	return nil
}

// handle takes one frame.
func (c *call) handle(f *frame) error {
	if f.typ == protocol.Window {
		return c.credited(f)
	}
	if known, err := c.w.aside(f); known || err != nil {
		return err
	}
	if f.id != c.id || !c.begun {
		return fmt.Errorf("%w: frame of type %#02x for request %d, current is %d", ErrProtocol, uint8(f.typ), f.id, c.id)
	}
	c.heard = true
	if f.has(protocol.FlagRecycle) {
		c.w.wantsRecycling.Store(true)
	}
	return c.answer(f)
}

// credited adds what the worker allows us to send. For a request that is over it
// means nothing: the worker read on while it answered.
func (c *call) credited(f *frame) error {
	if len(f.body) != 4 || f.id > c.id {
		return fmt.Errorf("%w: WINDOW for request %d with %d bytes", ErrProtocol, f.id, len(f.body))
	}
	if f.id == c.id {
		n := binary.LittleEndian.Uint32(f.body)
		c.credit = min(c.credit+int(n), 1<<30)
	}
	return nil
}

// sent judges the result of a write. That the worker reads no more is no error as
// long as its answer may still come (rule W13).
func (c *call) sent(err error) error {
	if errors.Is(err, errInputClosed) {
		c.sending = false
		return nil
	}
	return err
}

// sendFrame sends a frame without meta.
func (c *call) sendFrame(typ protocol.Type, code uint16, body []byte) error {
	c.frames = appendFrame(c.frames[:0], typ, code, c.id, body)
	return c.sent(c.link.send(c.frames))
}

// requestID is the id of the request in flight, or else of the last one: its
// output may be read a little later than its answer.
type requestID struct {
	mu     sync.Mutex
	n      int       // guarded by mu
	buf    [128]byte // guarded by mu
	flying bool      // guarded by mu: it is that of the request in flight
}

func (r *requestID) set(x Exchange) {
	r.mu.Lock()
	id := x.AppendID(r.buf[:0])
	if r.n = len(id); r.n > len(r.buf) { // it lies elsewhere
		r.n = copy(r.buf[:], id)
	}
	r.flying = true
	r.mu.Unlock()
}

// landed tells that the worker is through with the request.
func (r *requestID) landed() {
	r.mu.Lock()
	r.flying = false
	r.mu.Unlock()
}

// inFlight returns the id of the request in flight; empty: there is none.
func (r *requestID) inFlight() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.flying {
		return ""
	}
	return string(r.buf[:r.n])
}

func (r *requestID) get() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.buf[:r.n])
}
