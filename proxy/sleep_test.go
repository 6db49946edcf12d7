package proxy_test

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// bare lets all connections begin bare.
func bare(s *setup) { s.Bare = true }

// four answers everything.
var four = proxy.BackendFunc(func(x *proxy.Exchange) error {
	x.Respond(200, 4)
	if _, err := x.Write([]byte("four")); err != nil {
		return err
	}
	return x.Finish()
})

// large answers with more than a client takes at once.
var large = proxy.BackendFunc(func(x *proxy.Exchange) error {
	x.Respond(200, largeSize)
	if _, err := x.Write(make([]byte, largeSize)); err != nil {
		return err
	}
	return x.Finish()
})

const largeSize = 8 << 20

// waitGoroutines waits until there are at most n, with a few of the server, whose number is not known exactly.
func waitGoroutines(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() bool { return runtime.NumGoroutine() <= n }, fmt.Sprintf("%d goroutines", n))
}

func TestAnIdleConnectionHasNoGoroutine(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, requests := range []int{0, 1, 20} { // with the last one they are dressed, and then bare again
			t.Run(fmt.Sprintf("%s, %d requests", network, requests), func(t *testing.T) {
				const clients = 20
				p := newPod(t, four, over(network), bare)
				before := runtime.NumGoroutine()
				var all []*client
				for range clients {
					c := p.dial()
					for range requests {
						require.Equal(t, "four", c.get("/").body)
					}
					all = append(all, c)
				}
				eventually(t, func() bool { return int(p.metrics.Requests().Answered[2]) == clients*requests }, "answers")
				waitGoroutines(t, before+clients/2)
				for _, c := range all {
					require.Equal(t, "four", c.get("/").body)
				}
				all[0].finish()
				all[0].requireEnd()
			})
		}
	}
}

// What a bare connection cannot do alone: each of these dresses it.
func TestABareConnectionIsDressedForWhatHasToWait(t *testing.T) {
	p := newPod(t, large, bare)
	c := p.dial()
	for range 2 {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT")
		require.Len(t, c.receive("GET").body, largeSize)
		c.send("TP/1.1\r\nHost: h\r\n\r\n")
		for range 2 {
			require.Len(t, c.receive("GET").body, largeSize)
		}
	}
	c.send(upload(chunkedFraming), "3\r\nabc\r\n0\r\n\r\n")
	require.Len(t, c.receive("POST").body, largeSize)
	c.send("GET / HTTP/1.0\r\n\r\n")
	require.Len(t, c.receive("GET").body, largeSize)
	c.requireEnd()
}

// P7: however many clients leave at once, each is noticed.
func TestP7ManyClientsLeaveAtOnce(t *testing.T) {
	const clients = 300
	p := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
		left := make(stopped, 1)
		if err := x.OnInterrupt(left); err != nil {
			return err
		}
		<-left
		return x.OnInterrupt(nil)
	}))
	var all []*client
	for range clients {
		c := p.dial()
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		all = append(all, c)
	}
	p.waitQueue(clients, 0)
	for _, c := range all {
		require.NoError(t, c.nc.Close())
	}
	p.waitQueue(0, 0)
}

type stopped chan struct{}

func (s stopped) Interrupt() { s <- struct{}{} }

// L2: the time-outs of a connection without a goroutine.
func TestASleepingConnectionEndsInTime(t *testing.T) {
	p := newPod(t, four, bare, func(s *setup) { s.IdleTimeout, s.HeadTimeout = 100*time.Millisecond, 100*time.Millisecond })
	silent, idle, half := p.dial(), p.dial(), p.dial()
	require.Equal(t, "four", idle.get("/").body)
	half.send("GET / HTTP/1.1\r\nHo")
	silent.requireEnd()
	idle.requireEnd()
	half.requireCode(408, "timeout_head")
	half.requireEnd()
}

// L12: to dress a connection takes a descriptor for a moment. If there is none, idle connections make room.
func TestL12ABareConnectionIsDressedWhenDescriptorsHaveRunOut(t *testing.T) {
	p := newPod(t, large, bare)
	busy, idle := p.dial(), p.dial()
	eventually(t, func() bool { return p.count("fnpod_connections") == 2 }, "both accepted")
	release := takeDescriptors(t)
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Len(t, busy.receive("GET").body, largeSize)
	idle.requireEnd()
	release()
}

// takeDescriptors leaves no descriptor until release is called.
func takeDescriptors(t *testing.T) (release func()) {
	t.Helper()
	var all []*os.File
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	release = func() {
		for _, f := range all {
			_ = f.Close()
		}
		all = nil
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before))
	}
	t.Cleanup(release)
	few := before
	few.Cur = 128 // of which the test has fewer
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, syscall.EMFILE)
			return release
		}
		all = append(all, f)
	}
}

// L2: a connection is idle after an error that we answered, too.
func TestAConnectionIsIdleAfterAnError(t *testing.T) {
	failing := proxy.BackendFunc(func(x *proxy.Exchange) error {
		if err := x.HoldBody(0); err != nil {
			return err
		}
		return proxy.ErrAnswerTimeout
	})
	p := newPod(t, failing, func(s *setup) { s.IdleTimeout = 100 * time.Millisecond })
	c := p.dial()
	c.send(upload(chunkedFraming), "3\r\nabc\r\n")
	p.waitQueue(1, 0)
	c.send("0\r\n\r\n")
	require.False(t, c.requireCode(504, "timeout").closes)
	c.requireEnd()
}
