package proxy_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// D2, D3: what runs and waits is answered, with Connection: close; idle
// connections end; nobody new is let in after the delay.
func TestD3ADrainLosesNothing(t *testing.T) {
	release := make(chan struct{})
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		<-release
		c.answer(r.line)
	}))
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 1 })
	running, waiting, idle := p.dial(), p.dial(), p.dial()
	running.send("GET /running HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	waiting.send("GET /waiting HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 1)
	p.cancel()
	eventually(t, func() bool {
		nc, err := (&net.Dialer{}).DialContext(t.Context(), p.network, p.address)
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	}, "the port is closed")
	idle.requireEnd()
	close(release)
	r := running.receive("GET")
	require.Equal(t, "GET /running HTTP/1.1", r.body)
	require.True(t, r.closes)
	r = waiting.receive("GET")
	require.Equal(t, "GET /waiting HTTP/1.1", r.body)
	require.True(t, r.closes)
	require.NoError(t, p.stop())
}

// D1: until the delay has passed, new connections are served.
func TestD1RequestsAreAcceptedWhileEndpointsNotice(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.DrainDelay = 300 * time.Millisecond })
	old := p.dial()
	require.False(t, old.get("/").closes)
	p.cancel()
	eventually(t, func() bool { return p.dial().get("/").closes }, "answers tell of the drain")
	require.Equal(t, 200, old.get("/").code)
	require.NoError(t, p.stop())
}

// D5: at the limit, what is left is refused, and that is an error.
func TestD5ADrainHasALimit(t *testing.T) {
	stop := make(chan struct{})
	f := newFunction(t, "tcp", func(c *fconn) {
		c.request()
		<-stop
	})
	t.Cleanup(func() { close(stop) })
	p := newPod(t, f.backend(), func(s *setup) {
		s.Queue.Limit = 1
		s.DrainTimeout = 50 * time.Millisecond
	})
	running, waiting := p.dial(), p.dial()
	running.send("GET /running HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	waiting.send("GET /waiting HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 1)
	require.ErrorIs(t, p.stop(), proxy.ErrLost)
	require.True(t, running.requireCode(503, "draining").closes)
	require.True(t, waiting.requireCode(503, "draining").closes)
	p.err = nil // judged; the cleanup looks at the rest
}

// A connection that is complete for its client, and not yet accepted, is served.
func TestADrainServesWhoStandsAtTheDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		p := newPod(t, newEcho(t, "tcp").backend(), over(network))
		var clients []*client
		for range 200 {
			clients = append(clients, p.dial())
		}
		p.cancel()
		for _, c := range clients {
			require.Equal(t, "GET /late HTTP/1.1\n", c.get("/late").body)
		}
		require.NoError(t, p.stop())
	})
}

// W7, D3: when the function has ended by itself, what it was doing is answered 502, and
// what it had not begun 503: the one was lost, the other may be sent again.
func TestW7RequestsOfAFunctionThatEnded(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.request()
		c.wait()
	})
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 1 })
	running, waiting := p.dial(), p.dial()
	running.send("GET /running HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	waiting.send("GET /waiting HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 1)
	p.server.Hurry()
	require.ErrorIs(t, p.stop(), proxy.ErrLost)
	running.requireCode(502, "early_close")
	waiting.requireCode(503, "draining")
	p.err = nil // judged; the cleanup looks at the rest
}
