package proxy_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/fnpod/fnpod/proxy"
)

// connectionsOf returns what waits until b has so many connections by state.
func connectionsOf(t *testing.T, b *proxy.HTTPBackend) func(idle, busy int) {
	t.Helper()
	return func(idle, busy int) {
		t.Helper()
		eventually(t, func() bool {
			i, u := b.Connections()
			return i == idle && u == busy
		}, "connections by state")
	}
}

// Row M: what is open to the function is told by state, and nothing is counted twice or for ever.
func TestConnectionsToTheFunctionAreCounted(t *testing.T) {
	release := make(chan struct{})
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		switch r.line {
		case "GET /slow HTTP/1.1":
			<-release
		case "POST /cut HTTP/1.1":
			reset(c.Conn)
			return
		}
		c.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}))
	b := f.backend()
	p := newPod(t, b)
	counts := connectionsOf(t, b)

	counts(0, 0)
	c := p.dial()
	c.get("/")
	counts(1, 0)
	c.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	counts(0, 1)
	other := p.dial()
	other.get("/")
	counts(1, 1)
	close(release)
	c.receive("GET")
	counts(2, 0)
	other.send(post("/cut", "x"))
	require.Equal(t, 502, other.receive("POST").code)
	counts(1, 0)
	b.CloseIdle()
	counts(0, 0)
}

// A connection of HTTP/2 counts once.
func TestConnectionsOfHTTP2ToTheFunctionAreCounted(t *testing.T) {
	release, let := gate(t)
	f := newFunction2(t, "tcp", func(s *fconn2) {
		first, second := s.whole(), s.whole()
		<-release
		s.head(first, true, ":status", "204")
		s.head(second, true, ":status", "204")
		s.next()
	})
	b := overH2C(f)
	p := newPod(t, b)
	counts := connectionsOf(t, b)
	counts(0, 0)
	c := p.dial2()
	first, second := c.open(true, "GET", "/"), c.open(true, "GET", "/")
	counts(0, 1)
	let()
	c.requireStatus(first, 204, "")
	c.requireStatus(second, 204, "")
	counts(1, 0)
	b.CloseIdle()
	counts(0, 0)
}

// RFC 9113 §5.1.2: a function may say that it takes no stream at all on a connection. Such
// connections do not pile up.
func TestConnectionsThatTakeNoStreamsAreClosed(t *testing.T) {
	f := newFunction2(t, "tcp", func(s *fconn2) {
		_ = s.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		s.head(s.whole(), true, ":status", "204")
		s.next()
	})
	b := overH2C(f)
	c := newPod(t, b).dial2()
	for range 10 {
		c.requireStatus(c.open(true, "GET", "/"), 204, "")
	}
	connectionsOf(t, b)(0, 0)
}
