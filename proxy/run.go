package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/fnpod/fnpod/queue"
)

// run takes one request, whose head is parsed and whose body is whole or ready to
// be streamed, from the queue to the last byte of its answer. It reports whether
// the connection can carry another request.
func (c *conn) run(x *Exchange) (keep bool) {
	c.served++
	err := x.attempt()
	end := c.srv.now()
	cause := c.guard.settle(end, end+c.srv.idleTimeout.Load())
	c.phase = phaseIdle
	return x.conclude(end, err, cause)
}

// attempt takes the request through the queue and the backend.
func (x *Exchange) attempt() error {
	x.arrived = x.c.srv.now()
	x.c.shard.Accepted.Add(1)
	err := x.process()
	if x.answer.held { // who asks again at once finds the slot free, and who waits for it does not wait for a write
		x.answer.held = false
		if failed := x.flush(); err == nil {
			err = failed
		}
	}
	return err
}

// conclude answers a request that is still without an answer, and accounts for it.
// err is how the attempt ended, cause what interrupted it.
func (x *Exchange) conclude(end int64, err, cause error) (keep bool) {
	if x.tunnel != nil {
		x.account(end, cmp.Or(cause, x.tunnel.err))
		return false
	}
	if cause != nil && !x.answer.finished { // after that it struck too late to matter
		err = x.blame(cause)
	}
	if errors.Is(err, errFunctionEnded) && x.granted == 0 { // it was none of the function's yet
		err = ErrDraining
	}
	if err == nil && !x.answer.finished {
		err = fmt.Errorf("%w: it was not finished", ErrBadAnswer)
	}
	if err != nil {
		keep = x.fail(err)
	} else {
		keep = x.answer.keep && x.finishBody()
	}
	x.account(end, err)
	return keep
}

// blame names what a client did that left inside the body of its request: it cut it. Who looks at the socket first, the
// upload or the watcher of hang-ups, makes no difference then.
func (x *Exchange) blame(cause error) error {
	if errors.Is(cause, ErrClientGone) && x.granted > 0 && !x.body.done && !x.answer.committed {
		return errCut
	}
	return cause
}

// process waits for a slot, runs the request and gives the slot back, whatever
// happens.
func (x *Exchange) process() (err error) {
	if x.c.srv.hooks.Rules.HoldBodies && !x.body.inMemory {
		if err := x.holdEarly(); err != nil {
			return err
		}
	}
	if own := x.c.srv.hooks.Own; own != nil {
		if x.own = own(x); x.own {
			return nil
		}
	}
	if err := x.acquire(); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			x.c.srv.log.Error("request panicked", "request_id", x.ID(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			x.c.shard.Panics.Add(1)
			err = errPanic
		}
		if !x.bypass {
			if passedOn := x.c.srv.giveBack(x.class, err); passedOn {
				runtime.Gosched() // first the function gets its next request, then the client its answer
			}
		}
	}()
	return x.c.srv.backend.Do(x)
}

// holdEarly reads the whole body while the request has no slot. It may be interrupted like one that has.
func (x *Exchange) holdEarly() error {
	x.c.guard.run(x.arrived, never, never)
	if err := x.HoldBody(0); err != nil {
		return err
	}
	return x.c.guard.interrupted()
}

// giveBack gives a slot back, now or when the work that err tells of has ended. It tells whether somebody has got it now
// who waited.
func (s *Server) giveBack(class int, err error) (passedOn bool) {
	l, ok := errors.AsType[Lingering](err)
	if !ok {
		return s.queue.Release(class)
	}
	go func() { // it is the backend's: ended by its Run at the latest
		l.Linger()
		s.queue.Release(class)
	}()
	return false
}

// acquire waits for a slot of the queue.
func (x *Exchange) acquire() error {
	s, g := x.c.srv, &x.c.guard
	x.readDeadline()
	answerBy := x.startBy()
	if x.deadline <= x.arrived {
		return ErrTimeout
	}
	var key uint64
	if s.sorts {
		x.class, key = x.classify()
	}
	if x.bypass || s.queue.TryAcquire(x.class) {
		x.granted = x.arrived
		if s.cfg.AnswerTimeout > 0 {
			answerBy = min(answerBy, x.granted+int64(s.cfg.AnswerTimeout))
		}
		g.run(x.arrived, answerBy, x.deadline)
		return nil
	}
	g.run(x.arrived, answerBy, x.deadline)
	x.prepareWait(key)
	if err := g.onInterrupt((*waiting)(x)); err != nil {
		return err
	}
	if err := x.wait(); err != nil {
		return err
	}
	if err := g.onInterrupt(nil); err != nil { // it struck while the slot was being granted
		s.queue.Release(x.class)
		return err
	}
	now := s.now()
	if now >= answerBy { // nobody has looked yet; the function would work for nobody
		s.queue.Release(x.class)
		return ErrAnswerTimeout
	}
	x.granted = now
	x.extendAnswerTime(x.granted)
	return nil
}

// wait stands in line for a slot.
func (x *Exchange) wait() error {
	if st := x.c.stream; st != nil {
		if !st.conn.mayWait() {
			return queue.ErrFull
		}
		defer st.conn.waiting.Add(-1)
	}
	return x.c.srv.queue.Acquire(&x.waiter)
}

// prepareWait makes the waiter ready.
func (x *Exchange) prepareWait(key uint64) {
	w := &x.waiter
	w.Reset()
	w.Class, w.Key, w.Deadline = x.class, key, time.Time{}
	if x.deadline != never {
		w.Deadline = x.c.srv.sweeper.epoch.Add(time.Duration(x.deadline))
	}
}

// extendAnswerTime lets the time for the start of the answer begin anew.
func (x *Exchange) extendAnswerTime(now int64) {
	if d := x.c.srv.cfg.AnswerTimeout; d > 0 {
		x.c.guard.answerBy(min(now+int64(d), x.startBy()))
	}
}

// answerStarted ends the limit on the start of the answer, unless something has interrupted the request.
func (x *Exchange) answerStarted() error { return x.c.guard.answering() }
