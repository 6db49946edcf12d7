package hostile

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// client is the client's side of a conversation: it writes, and reads at the same time.
type client struct {
	nc      *net.TCPConn
	changed chan struct{} // room for one
	done    chan struct{} // closed when reading has ended

	mu  sync.Mutex
	in  []byte // guarded by mu
	end error  // guarded by mu; io.EOF or why reading failed; nil while the connection is open
}

func dial(ctx context.Context, addr string) (*client, error) {
	nc, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	c := &client{nc: nc.(*net.TCPConn), changed: make(chan struct{}, 1), done: make(chan struct{})}
	go c.read()
	return c, nil
}

func (c *client) read() {
	defer close(c.done)
	b := make([]byte, 16<<10)
	for {
		n, err := c.nc.Read(b)
		c.mu.Lock()
		c.in = append(c.in, b[:n]...)
		if err != nil {
			c.end = err
		}
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// close ends the connection and its reader.
func (c *client) close() {
	_ = c.nc.Close() // it may have ended
	<-c.done
}

// view returns what came so far, and how it ended.
func (c *client) view() (in []byte, end error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in, c.end
}

// until waits for something to be true of what came. It gives up when nothing comes for the given time, or when the
// connection has ended.
func (c *client) until(patience time.Duration, ok func(in []byte, end error) bool) bool {
	for {
		in, end := c.view()
		if ok(in, end) {
			return true
		}
		if end != nil {
			return false
		}
		silence := time.NewTimer(patience)
		select {
		case <-c.changed:
			silence.Stop()
		case <-silence.C:
			return ok(c.view())
		}
	}
}

// write sends p. A server that refuses may take no more of it: that is no error.
func (c *client) write(p string) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second)) // fails on a closed connection only
	_, _ = io.WriteString(c.nc, p)                         // what the server makes of it is looked at elsewhere
}

// answers takes what came apart. heads tells which requests were HEAD. rest is what is no whole answer.
func answers(in []byte, end error, heads []bool) (final []Answer, interim []int, rest Answer, broken error) {
	for len(in) > 0 {
		toHEAD := len(final) < len(heads) && heads[len(final)]
		a, size, err := readAnswer(in, toHEAD, errors.Is(end, io.EOF))
		if err != nil || size == 0 {
			return final, interim, a, err
		}
		if a.Status < 200 {
			interim = append(interim, a.Status)
		} else {
			final = append(final, a)
		}
		in = in[size:]
	}
	return final, interim, rest, nil
}

// ended is a condition for until.
func ended(_ []byte, end error) bool { return end != nil }

// contains is a condition for until.
func contains(text string) func([]byte, error) bool {
	return func(in []byte, _ error) bool { return strings.Contains(string(in), text) }
}
