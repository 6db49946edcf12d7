package kubeless

import (
	"errors"
	"fmt"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// call is a request whose function has a process of its own. It is used like the Exchange that it is made of.
type call struct {
	workers.Exchange

	head   []byte // of the request, as the process gets it before the body
	unread []byte // what ReadBody has still to give of it
	heard  []byte // of the answer, as long as its head is not whole
	answer workers.Answer
	begun  bool  // the head of the answer is whole
	left   int64 // bytes of its body to come; -1: to the end
}

// Call lets a process answer a request: do is Fork.Do. The error is one of those that Statuses knows, of the Exchange, or a
// *watchdog.Lingering.
func (s *Settings) Call(x workers.Exchange, do func(watchdog.Exchange) error) error {
	c := &call{Exchange: x}
	var err error
	if c.head, err = workers.AppendRequest(nil, x, false); err != nil {
		return err
	}
	c.unread = c.head
	err = do(c)
	if errors.Is(err, watchdog.ErrFailed) && c.whole() { // how it ended after its answer is nobody's concern
		err = c.Finish()
	}
	if err == nil && c.answer.Failed != nil {
		err = c.answer.Failed
	}
	return s.Failed(err)
}

// Body implements watchdog.Exchange.
func (c *call) Body() (whole []byte, ok bool) {
	body, ok := c.Exchange.Body()
	if !ok {
		return nil, false
	}
	return append(c.head, body...), true
}

// ReadBody implements watchdog.Exchange.
func (c *call) ReadBody(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.Exchange.ReadBody(p)
}

// Respond implements watchdog.Exchange. What the answer is, the process says.
func (c *call) Respond(int, int64) {}

// AddField implements watchdog.Exchange; likewise.
func (c *call) AddField(_, _ []byte) error { return nil }

// Write takes what the process prints.
func (c *call) Write(p []byte) (int, error) {
	n := len(p)
	if !c.begun {
		c.heard = append(c.heard, p...)
		answer, size, err := workers.CutAnswer(c.heard)
		if err != nil || size == 0 {
			return n, err
		}
		p = c.heard[size:]
		if err := c.begin(answer); err != nil {
			return n, err
		}
	}
	if c.answer.Failed != nil || len(p) == 0 {
		return n, nil
	}
	if c.left >= 0 {
		if c.left -= int64(len(p)); c.left < 0 {
			return n, fmt.Errorf("%w: more than its answer", workers.ErrProtocol)
		}
	}
	_, err := c.Exchange.Write(p)
	return n, err
}

// begin begins the answer.
func (c *call) begin(a workers.Answer) error {
	c.begun, c.answer, c.left = true, a, a.Length
	if a.Failed != nil {
		return nil
	}
	c.Exchange.Respond(a.Status, a.Length)
	return a.AddTo(c.Exchange)
}

// whole reports whether nothing of the answer is missing.
func (c *call) whole() bool { return c.begun && (c.answer.Failed != nil || c.left == 0) }

// Finish implements watchdog.Exchange.
func (c *call) Finish() error {
	switch {
	case !c.begun:
		return fmt.Errorf("%w: it ended without an answer", workers.ErrDied)
	case c.answer.Failed != nil: // which Call returns
		return nil
	case c.left > 0:
		return fmt.Errorf("%w: %d bytes of the answer are missing", workers.ErrDied, c.left)
	}
	return c.Exchange.Finish()
}
