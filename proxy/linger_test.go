package proxy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// lingering is a request that was given up and is still worked on.
type lingering struct {
	error

	gone chan struct{}
}

func (l *lingering) Linger() { <-l.gone }
func (l *lingering) Unwrap() error {
	return l.error
}

// P4: the answer to a request that was given up does not wait for the end of the work on it; its slot does.
func TestP4ASlotIsKeptWhileAGivenUpRequestIsWorkedOn(t *testing.T) {
	gone := make(chan struct{})
	first := true
	p := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
		if first {
			first = false
			return &lingering{proxy.ErrTimeout, gone}
		}
		x.Respond(200, 0)
		return x.Finish()
	}), func(s *setup) { s.Queue.Limit = 1 })
	c := p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Equal(t, 504, c.receive("GET").code)
	p.waitQueue(1, 0)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // on the same connection
	p.waitQueue(1, 1)
	close(gone)
	require.Equal(t, 200, c.receive("GET").code)
	p.waitQueue(0, 0)
}
