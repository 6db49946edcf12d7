package workers

import (
	"errors"

	"github.com/fnpod/fnpod/workers/protocol"
)

// interrupt ends the request for a reason that the Exchange knows.
func (c *call) interrupt() error {
	cause := c.x.OnInterrupt(nil)
	if cause == nil {
		return nil
	}
	return c.giveUp(cause, c.w.pool.clientLeft(cause))
}

// exchangeFailed ends the request because the client cannot be read or written.
func (c *call) exchangeFailed(err error) error {
	if c.cause != nil {
		return nil
	}
	if cause := c.x.OnInterrupt(nil); cause != nil {
		return c.giveUp(cause, c.w.pool.clientLeft(cause))
	}
	return c.giveUp(err, true)
}

// giveUp throws the answer away. After its client left, the function has the
// grace time to finish; otherwise its worker is killed now.
func (c *call) giveUp(cause error, left bool) error {
	if c.cause != nil {
		return nil
	}
	c.cause = cause
	c.sending = false
	c.abandoned.Store(true)
	if c.link.withdraw() {
		c.begun = false
		return cause
	}
	if sl, ok := c.link.(*slot); ok {
		return sl.cancel(cause, left)
	}
	grace := c.w.pool.cfg.ClientGrace
	if !left || grace == 0 {
		c.w.kill(ReasonCanceled)
		return cause
	}
	at := c.w.pool.now() + int64(grace)
	if old := c.limit.at.Load(); old == 0 || at < old {
		c.limit.set(at)
	}
	return c.sendFrame(protocol.Cancel, protocol.CancelLeft, nil)
}

// unusable throws away an answer that cannot be sent. The function is not to
// blame for running: it may finish.
func (c *call) unusable(err error) error {
	if c.over {
		return err
	}
	return c.giveUp(err, true)
}

// clientLeft reports whether this cause of an interruption means that the client
// has left.
func (p *Pool) clientLeft(cause error) bool {
	return p.cfg.ClientGone == nil || errors.Is(cause, p.cfg.ClientGone)
}
