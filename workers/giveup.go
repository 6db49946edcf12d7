package workers

import "errors"

// interrupt ends the request for a reason that the Exchange knows.
func (w *worker) interrupt() error {
	cause := w.call.x.OnInterrupt(nil)
	if cause == nil {
		return nil
	}
	return w.giveUp(cause, w.pool.clientLeft(cause))
}

// exchangeFailed ends the request because the client cannot be read or written.
func (w *worker) exchangeFailed(err error) error {
	if w.call.cause != nil {
		return nil
	}
	if cause := w.call.x.OnInterrupt(nil); cause != nil {
		return w.giveUp(cause, w.pool.clientLeft(cause))
	}
	return w.giveUp(err, true)
}

// giveUp throws the answer away. After its client left, the function has the
// grace time to finish; otherwise its worker is killed now.
func (w *worker) giveUp(cause error, left bool) error {
	c := &w.call
	if c.cause != nil {
		return nil
	}
	c.cause = cause
	c.sending = false
	w.abandoned.Store(true)
	if w.ch.withdraw() {
		c.begun = false
		return cause
	}
	grace := w.pool.cfg.ClientGrace
	if !left || grace == 0 {
		w.kill(ReasonCanceled)
		return cause
	}
	at := w.pool.now() + int64(grace)
	if old := w.limit.at.Load(); old == 0 || at < old {
		w.limit.set(at)
	}
	return w.sendFrame(typeCancel, cancelLeft, nil)
}

// unusable throws away an answer that cannot be sent. The function is not to
// blame for running: it may finish.
func (w *worker) unusable(err error) error {
	if w.call.over {
		return err
	}
	return w.giveUp(err, true)
}

// clientLeft reports whether this cause of an interruption means that the client
// has left.
func (p *Pool) clientLeft(cause error) bool {
	return p.cfg.ClientGone == nil || errors.Is(cause, p.cfg.ClientGone)
}
