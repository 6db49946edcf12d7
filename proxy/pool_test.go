package proxy_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
	counts := func(idle, busy int) {
		t.Helper()
		eventually(t, func() bool {
			i, u := b.Connections()
			return i == idle && u == busy
		}, "connections by state")
	}

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
