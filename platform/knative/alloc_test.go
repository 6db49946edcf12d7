//go:build !race

package knative_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// What Knative adds to the path of a request allocates nothing.
func TestARequestAllocatesNothing(t *testing.T) {
	drain := &knative.Drain{Quiet: time.Millisecond}
	stat := knative.NewStat("pod")
	routes := &knative.Routes{Draining: drain.Draining, Arrived: func(x *proxy.Exchange) {
		drain.Arrived()
		stat.Begin(x.Marked()&knative.MarkProxied != 0)
	}}
	four, answer := []byte("four"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour")
	wanted := []byte("Forwarded: for=192.0.2.7;proto=https\r\n")
	function, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = function.Close() })
	go func() {
		c, err := function.Accept()
		if err != nil {
			return
		}
		buf := make([]byte, 8192)
		for {
			if n, err := c.Read(buf); err != nil || n == 0 || !bytes.Contains(buf[:n], wanted) {
				_ = c.Close()
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}()
	config := proxy.DefaultConfig()
	config.Forwarded, config.RequestIDs, config.AnswerTimeout, config.Timeout = "off", false, 0, 300*time.Second
	backend := &proxy.HTTPBackend{Network: "tcp", Address: function.Addr().String(), MaxIdle: 1, ConnectTimeout: time.Second}
	server, err := proxy.New(proxy.Parts{
		Config: config, Queue: queue.New(queue.Config{Limit: 10, Depth: 100}), Backend: backend, Metrics: metrics.New(1),
		Log: slog.New(slog.DiscardHandler), Nonce: "n",
		Hooks: proxy.Hooks{
			Own: routes.Own, Request: knative.Forward,
			Deadline: func(*proxy.Exchange) (time.Duration, bool) { return 0, false },
			Ended:    func(x *proxy.Exchange, _ proxy.Outcome) { stat.End(x.Marked()&knative.MarkProxied != 0) },
			Rules:    proxy.Rules{StartTimeout: time.Minute, QuietTimeout: time.Minute, Linger: drain.Wait, SlowBodies: true, BoundTunnels: true},
		},
	})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	nc, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	out := []byte("GET /a?b=c HTTP/1.1\r\nHost: internal\r\nUser-Agent: test\r\nK-Original-Host: example.com\r\nK-Proxy-Request: activator\r\n" +
		"Knative-Serving-Revision: r\r\nKnative-Serving-Namespace: n\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n")
	in := make([]byte, 4096)
	ask := func() {
		if _, err := nc.Write(out); err != nil {
			t.Fatal(err)
		}
		if n, err := nc.Read(in); err != nil || !bytes.HasSuffix(in[:n], four) {
			t.Fatalf("%q %v", in[:n], err)
		}
	}
	for range 100 {
		ask()
	}
	require.Zero(t, testing.AllocsPerRun(2000, ask))
	require.NoError(t, nc.Close())
	stop()
	require.NoError(t, <-ended)
	backend.CloseIdle()
}
