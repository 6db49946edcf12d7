package proxy_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

func TestRulesBoundStartAndSilenceOfAnAnswer(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		if c.request().line == "GET /begun HTTP/1.1" {
			c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		}
		c.wait()
	})
	for name, rules := range map[string]proxy.Rules{
		"start": {StartTimeout: 50 * time.Millisecond},
		"quiet": {QuietTimeout: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, f.backend(), func(s *setup) {
				s.Hooks.Rules = rules
				s.AnswerTimeout = 0
			})
			c := p.dial()
			c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			c.requireCode(504, "timeout")
			require.Equal(t, 504, c.get("/").code, "the connection carries another one")
			if name == "quiet" {
				c.send("GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
				c.requireCut(c.head("GET"))
			}
		})
	}
}

// The end of Knative's pods: while clients may come nothing is said to tunnels; then those are cut after a time of their
// own, and a request of HTTP/1 may take longer.
func TestRulesOfADrain(t *testing.T) {
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	f := newFunction(t, "tcp", func(c *fconn) {
		if c.request().line == "GET /ws HTTP/1.1" {
			c.write(switching, text("before"))
			c.wait()
			return
		}
		<-held
		c.answer("late")
	})
	t.Cleanup(release)
	quiet := make(chan struct{})
	p := newPod(t, f.backend(), func(s *setup) {
		s.Hooks.Rules = proxy.Rules{Linger: func(<-chan struct{}) { <-quiet }, DrainStreams: 50 * time.Millisecond}
	})
	tunnel, plain := p.tunnel(), p.dial()
	plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	p.waitQueue(2, 0)
	p.cancel()
	expect(t, tunnel.r, text("before"))
	require.NoError(t, tunnel.nc.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := tunnel.r.ReadByte()
	require.True(t, isTimeout(err), "%v", err)
	require.NoError(t, tunnel.nc.SetReadDeadline(time.Now().Add(patience)))
	close(quiet)
	expect(t, tunnel.r, goingAway)
	tunnel.requireEnd() // without a goodbye of its own
	p.waitQueue(1, 0)
	release()
	r := plain.receive("GET")
	require.Equal(t, "late", r.body)
	require.NoError(t, p.stop())
}

// A body that still comes holds no slot, however it is framed; one that does not come to its end never asks for one.
func TestRulesHoldBodiesBeforeTheQueue(t *testing.T) {
	f := newEcho(t, "tcp")
	p := newPod(t, f.backend(), func(s *setup) {
		s.Hooks.Rules = proxy.Rules{HoldBodies: true}
		s.Queue.Limit, s.Queue.Depth, s.MaxBody = 1, 0, 1<<20
		s.DrainTimeout = 100 * time.Millisecond
	})
	slow, long, cut, large := p.dial(), p.dial(), p.dial(), p.dial()
	body := string(pattern(500_000))
	slow.send(upload(chunkedFraming), "3\r\nabc\r\n")
	long.send(upload(lengthFraming(len(body))), body[:300_000])
	cut.send(upload(chunkedFraming), "3\r\nabc\r\n")
	large.send(upload(chunkedFraming), "100001\r\n")
	large.requireCode(413, "body_size")
	cut.leave("close")
	other := p.dial()
	for range 3 {
		require.Equal(t, 200, other.get("/").code)
	}
	p.waitQueue(0, 0)
	slow.send("3\r\ndef\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Equal(t, 200, slow.receive("POST").code)
	require.Equal(t, 200, slow.receive("GET").code)
	long.send(body[300_000:])
	require.Equal(t, 200, long.receive("POST").code)
	require.EqualValues(t, 6, f.calls.Load())

	slow.send(upload(chunkedFraming), "3\r\nabc\r\n")
	eventually(t, func() bool { return p.metrics.Requests().InFlight == 1 }, "it is one of ours")
	require.ErrorIs(t, p.stop(), proxy.ErrLost, "a drain has its limit")
	p.err = nil
}
