package proxy_test

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
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

// L5, L6: a client that is refused reads why, although its request is not read.
func TestL6WhoIsRefusedReadsWhy(t *testing.T) {
	release := make(chan struct{})
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		<-release
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.Connections = 1 })
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	busy := p.dial()
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	for range 100 {
		c := p.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n", string(pattern(20_000)))
		c.requireCode(503, "conn_limit")
		_ = c.nc.Close() // it has its answer
	}
}

// exhausted is a listener that fails for a while when failing is full.
type exhausted struct {
	net.Listener
	failing chan error
}

func (l *exhausted) Accept() (net.Conn, error) {
	select {
	case err := <-l.failing:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	default:
		return l.Listener.Accept()
	}
}

// L11: accepting goes on after errors that pass; meanwhile idle connections make
// room, and the log is told once.
func TestL11AcceptErrorsAreWaitedOut(t *testing.T) {
	failing := make(chan error, 100)
	var log bytes.Buffer
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) {
		s.Listener = func(l net.Listener) net.Listener { return &exhausted{l, failing} }
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	idle := p.dial()
	require.Equal(t, 200, idle.get("/").code)
	eventually(t, func() bool { return answered(p.metrics.Requests()) == 1 }, "idle, and not only answered")
	errs := []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED}
	for _, err := range errs {
		failing <- err
	}
	require.Equal(t, 200, p.dial().get("/").code) // accept was waiting before the errors came
	idle.requireEnd()
	require.Equal(t, 200, p.dial().get("/").code)
	require.Equal(t, len(errs), p.count("fnpod_accept_errors_total"))
	require.NoError(t, p.stop())
	require.Equal(t, 1, strings.Count(log.String(), "cannot accept"), log.String())
}
