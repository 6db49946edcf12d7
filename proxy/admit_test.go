package proxy_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// L6, L7: at the limit an idle connection makes room, and only if all are busy is
// a new one refused.
func TestL6ConnectionsHaveALimit(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		release := make(chan struct{})
		b := proxy.BackendFunc(func(x *proxy.Exchange) error {
			if string(x.Request().Target) == "/wait" {
				<-release
			}
			x.Respond(200, 0)
			return x.Finish()
		})
		p := newPod(t, b, over(network), func(s *setup) { s.Connections = 3 })
		let := sync.OnceFunc(func() { close(release) })
		t.Cleanup(let)
		oldest, idle, busy := p.dial(), p.dial(), p.dial()
		for i, c := range []*client{oldest, idle} {
			require.Equal(t, 200, c.get("/").code)
			eventually(t, func() bool { return answered(p.metrics.Requests()) == uint64(i+1) }, "idle, and not only answered")
		}
		busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
		p.waitQueue(1, 0)

		fourth := p.dial()
		fourth.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
		oldest.requireEnd()
		p.waitQueue(2, 0)
		idle.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
		p.waitQueue(3, 0)

		r := p.dial().requireCode(503, "conn_limit")
		require.Equal(t, "1", r.header.Get("Retry-After"))
		require.True(t, r.closes)
		p.waitRejected("conn_limit")
		let()
		for _, c := range []*client{busy, fourth, idle} {
			require.Equal(t, 200, c.receive("GET").code)
		}
		eventually(t, func() bool { return p.dial().get("/").code == 200 }, "those that have become idle make room")
	})
}
