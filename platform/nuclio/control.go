package nuclio

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"
)

// control is the second socket of a wrapper: newer ones send their log lines there. One goroutine reads it, but for the
// moment in which an answer is due.
type control struct {
	net.Conn

	lines   *bufio.Reader
	partial []byte              // the beginning of a line, whose rest has not come
	log     func(record []byte) // of whoever reads

	paused, resumed chan struct{}
	ended           chan struct{} // closed when nobody reads any more
}

func newControl(c net.Conn, log func(record []byte)) *control {
	return &control{
		Conn: c, lines: bufio.NewReader(c), log: log, paused: make(chan struct{}), resumed: make(chan struct{}), ended: make(chan struct{}),
	}
}

// run reads until the socket is closed.
func (c *control) run() {
	defer close(c.ended)
	for {
		err := c.next()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		c.paused <- struct{}{}
		<-c.resumed
	}
}

// next takes lines until an error.
func (c *control) next() error {
	for {
		line, err := c.lines.ReadBytes('\n')
		if len(c.partial) > 0 || err != nil {
			c.partial = append(c.partial, line...)
			line = c.partial
		}
		if err != nil {
			return err
		}
		c.partial = nil
		var message struct {
			Kind       string          `json:"kind"`
			Attributes json.RawMessage `json:"attributes"`
		}
		if json.Unmarshal(line, &message) == nil && message.Kind == "log" {
			c.log(message.Attributes)
		}
	}
}

// flushTime is how long a line may be on its way that was sent before an answer. It is here already, as a rule.
const flushTime = time.Millisecond

// flush returns when all lines have been taken that were sent before now.
func (c *control) flush() {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return // it is closed
	}
	select {
	case <-c.paused:
	case <-c.ended:
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(flushTime)) // it cannot fail but with the connection
	_ = c.next()                                     // the reader gets the error, too
	_ = c.SetReadDeadline(time.Time{})               // likewise
	c.resumed <- struct{}{}
}
