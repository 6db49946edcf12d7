package workers

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fnpod/fnpod/workers/protocol"
)

// mostInbox bounds what a worker may have sent for one request and the request has not taken: what its credit allows, in
// frames of one byte each, an answer's head and its trailers.
const mostInbox = (protocol.HeaderSize+1)*protocol.Credit + 3*maxFrame

// slot is a call beside others on one worker. It is a link that gets its frames from the worker's reader.
type slot struct {
	call

	shared *shared
	at     int64       // where its request begins among the bytes that the worker was sent
	gaveUp bool        // the pool counts it as abandoned
	held   atomic.Bool // it has something to send when the pipe takes it
	woken  chan struct{}

	mu    sync.Mutex
	inbox []byte // guarded by mu: whole frames

	buf   []byte // frames, from start on not taken yet
	start int

	due limit
	own requestID
}

// slot returns a slot for a request on w.
func (p *Pool) slot(w *worker) *slot {
	sl, ok := p.slots.Get().(*slot)
	if !ok {
		sl = &slot{woken: make(chan struct{}, 1)}
		sl.due.init(p.now, sl.wake)
		sl.link, sl.limit, sl.request = sl, &sl.due, &sl.own
	}
	sl.w, sl.shared = w, w.shared
	return sl
}

// clean returns the slot as slot wants it.
func (sl *slot) clean() *slot {
	sl.progress = progress{}
	sl.w, sl.shared, sl.at, sl.gaveUp = nil, nil, 0, false
	sl.held.Store(false)
	sl.due.clear()
	sl.buf, sl.start, sl.inbox = small(sl.buf), 0, small(sl.inbox)
	select {
	case <-sl.woken:
	default:
	}
	return sl
}

// small empties a buffer, and gives a large one up.
func small(b []byte) []byte {
	if cap(b) > readSize {
		return nil
	}
	return b[:0]
}

// deliver takes a frame from the worker's reader.
func (sl *slot) deliver(raw []byte) error {
	sl.mu.Lock()
	size := len(sl.inbox) + len(raw)
	if size <= mostInbox {
		sl.inbox = append(sl.inbox, raw...)
	}
	sl.mu.Unlock()
	if size > mostInbox {
		return fmt.Errorf("%w: more than it may send for request %d", ErrProtocol, sl.id)
	}
	sl.wake()
	return nil
}

// surplus reports whether there are frames that nobody took.
func (sl *slot) surplus() bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.start < len(sl.buf) || len(sl.inbox) > 0
}

// post implements link.
func (sl *slot) post(frames []byte) {
	at, err := sl.shared.send(frames)
	sl.at = at
	if err != nil {
		sl.shared.breach(err)
	}
}

// withdraw implements link: what was posted is on its way.
func (sl *slot) withdraw() bool { return false }

// send implements link.
func (sl *slot) send(frames []byte) error {
	_, err := sl.shared.send(frames)
	return err
}

// full implements link.
func (sl *slot) full() bool {
	if !sl.w.ch.full() {
		return false
	}
	sl.held.Store(true)
	return sl.w.ch.full() // or it has emptied meanwhile, and nobody wakes us
}

// flush implements link: the reader does it.
func (sl *slot) flush() error { return nil }

// take implements link.
func (sl *slot) take() (f frame, ok bool, err error) {
	f, need, err := parseFrame(sl.buf[sl.start:])
	if err != nil || need > len(sl.buf)-sl.start {
		return f, false, err
	}
	sl.start += need
	return f, true, nil
}

// poll implements link.
func (sl *slot) poll() (bool, error) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if len(sl.inbox) == 0 {
		return false, nil
	}
	sl.buf, sl.inbox, sl.start = sl.inbox, sl.buf[:0], 0
	return true, nil
}

// wait implements link.
func (sl *slot) wait() error {
	_, ended := sl.shared.why()
	if came, err := sl.poll(); came || err != nil {
		return err
	}
	if ended != nil {
		return ended
	}
	<-sl.woken
	_, err := sl.poll()
	return err
}

// wake implements link.
func (sl *slot) wake() {
	select {
	case sl.woken <- struct{}{}:
	default:
	}
}

// late decides what follows when the request's limit was reached. A worker that has several requests is not killed for
// one of them as long as the others go on.
func (c *call) late() error {
	if c.w.shared == nil {
		return errOverdue
	}
	c.limit.clear()
	if c.cause == nil {
		return c.giveUp(fmt.Errorf("%w: function stopped", ErrTimeout), false)
	}
	c.w.pool.condemn(c.w)
	return nil
}

// cancel asks the worker to stop one of several requests. What it still sends for it is thrown away.
func (sl *slot) cancel(cause error, left bool) error {
	w := sl.w
	sl.gaveUp = true
	w.pool.abandon(w)
	code := uint16(protocol.CancelDeadline)
	if left {
		code = protocol.CancelLeft
	}
	err := sl.sendFrame(protocol.Cancel, code, nil)
	sl.due.clear()
	if grace := w.pool.cfg.ClientGrace; grace > 0 {
		sl.due.set(w.pool.now() + int64(grace))
	} else {
		w.pool.condemn(w)
	}
	if err == nil && !left {
		err = cause
	}
	return err
}

// linger returns when the worker is through with a request that was given up, or dead.
func (sl *slot) linger() {
	if sl.cause == nil && sl.begun { // a panic
		if err := sl.giveUp(errPanic, false); !errors.Is(err, errPanic) {
			sl.shared.await(err)
			return
		}
	}
	sl.x = nil
	for sl.begun && !sl.over {
		if err := sl.turn(); err != nil {
			sl.shared.await(err)
			return
		}
	}
}
