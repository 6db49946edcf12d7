package e2e_test

import (
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// only returns the one process that the pod has started.
func (p *pod) only() int {
	p.t.Helper()
	pids := p.children()
	require.Len(p.t, pids, 1)
	return pids[0]
}

// waitGood waits until the clients have n more answers.
func (l *load) waitGood(t *testing.T, n int64) {
	t.Helper()
	was := l.good.Load()
	require.Eventually(t, func() bool { return l.good.Load() >= was+n }, 20*time.Second, 5*time.Millisecond, l.text())
}

// TestAKernelThatStopsTheFunctionLosesNothing stops and continues a function under load.
func TestAKernelThatStopsTheFunctionLosesNothing(t *testing.T) {
	t.Parallel()
	p, _ := runServer(t)
	var l load
	stop := make(chan struct{})
	clients := l.run(p, 20, stop)
	l.waitGood(t, 100)
	pid := p.only()
	for range full(3, 20) {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		require.Eventually(t, func() bool { return p.number("queue", "executing") == 20 }, 10*time.Second, 5*time.Millisecond)
		time.Sleep(time.Duration(full(200, 3000)) * time.Millisecond)
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		l.waitGood(t, 100)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d answers", l.good.Load())
	require.Zero(t, l.wrong.Load()+l.failed.Load(), l.text())
	require.Equal(t, pid, p.only())
	p.sound()
}

// TestP5P6AKernelThatStopsTheFunctionTooLongCosts504 continues the function when
// its requests have timed out: the late answers reach nobody.
func TestP5P6AKernelThatStopsTheFunctionTooLongCosts504(t *testing.T) {
	t.Parallel()
	p, _ := runServer(t, "--answer-timeout", "300ms")
	l := load{may: []string{"timeout"}}
	stop := make(chan struct{})
	clients := l.run(p, 20, stop)
	pid := p.only()
	for range full(3, 20) {
		l.waitGood(t, 100)
		lost := l.lost.Load()
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		require.Eventually(t, func() bool { return l.lost.Load() >= lost+40 }, 20*time.Second, 5*time.Millisecond)
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	}
	l.waitGood(t, 100)
	close(stop)
	clients.Wait()
	t.Logf("%d answers, %d timed out", l.good.Load(), l.lost.Load())
	require.Zero(t, l.wrong.Load()+l.failed.Load(), l.text())
	p.sound()
}

// TestP1P3AKernelThatAcceptsForAFunctionCosts504 has functions that let the kernel
// accept connections and never answer.
func TestP1P3AKernelThatAcceptsForAFunctionCosts504(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(net.Listener){
		"accepts nothing": func(net.Listener) {},
		"reads nothing":   func(ln net.Listener) { holdAll(ln, func(net.Conn) {}) },
		"reads all":       func(ln net.Listener) { holdAll(ln, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) },
	} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t)
			var function sync.WaitGroup
			function.Go(func() { serve(ln) })
			t.Cleanup(func() {
				_ = ln.Close()
				function.Wait()
			})
			p := start(t, "proxy", "http://"+ln.Addr().String(), "--answer-timeout", "300ms", "--queue-limit", "5", "--queue-max-wait", "20s")
			http.DefaultClient.CloseIdleConnections()
			before := p.holds()
			var clients sync.WaitGroup
			for i := range 20 {
				clients.Go(func() {
					w, err := dial(p.listen)
					if err != nil {
						t.Error(err)
						return
					}
					defer w.Close()
					_ = w.SetDeadline(time.Now().Add(20 * time.Second))
					sizes := [...]int{0, 3_000, 100_000, 2_000_000}
					a, err := w.do(call{id: i, target: "/", size: sizes[i%4]})
					if err != nil || a.status != http.StatusGatewayTimeout || a.label != "timeout" {
						t.Errorf("%d bytes: %v, status %d %s", sizes[i%4], err, a.status, a.label)
					}
				})
			}
			clients.Wait()
			before.files += 5 // what the function has not seen close may be idle
			p.rests(before)
			p.sound()
		})
	}
}

// holdAll keeps all connections open until the listener ends.
func holdAll(ln net.Listener, hold func(net.Conn)) {
	var conns sync.WaitGroup
	var open []net.Conn
	for {
		c, err := ln.Accept()
		if err != nil {
			break
		}
		open = append(open, c)
		conns.Go(func() { hold(c) })
	}
	for _, c := range open {
		_ = c.Close()
	}
	conns.Wait()
}

// TestW7AKernelThatKillsTheFunctionCostsWhatRan kills the function of a pod that
// starts it again, under load: who waits is served by the next one.
func TestW7AKernelThatKillsTheFunctionCostsWhatRan(t *testing.T) {
	t.Parallel()
	p, _ := runServer(t, "--restart", "always")
	l := load{may: []string{"early_close", "reset", "cut"}}
	stop := make(chan struct{})
	clients := l.run(p, 20, stop)
	const kills = 4 // a fifth within a minute ends the pod
	for range kills {
		l.waitGood(t, 200)
		lost := l.lost.Load()
		require.NoError(t, syscall.Kill(p.only(), syscall.SIGKILL))
		l.waitGood(t, 1)
		require.LessOrEqual(t, l.lost.Load()-lost, int64(20), "more than what ran")
	}
	l.waitGood(t, 200)
	close(stop)
	clients.Wait()
	t.Logf("%d kills: %d answers, %d lost", kills, l.good.Load(), l.lost.Load())
	require.Zero(t, l.wrong.Load()+l.failed.Load(), l.text())
	require.InDelta(t, kills, p.number("function", "restarts"), 0)
	p.only()
	p.sound()
}
