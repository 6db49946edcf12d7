package watchdog_test

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// reaper runs a Reaper with our SIGCHLD until the end of the test.
func reaper(t *testing.T) *watchdog.Reaper {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	r := &watchdog.Reaper{Signals: signals}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-over)
		signal.Stop(signals)
	})
	return r
}

func TestW1OrphansAreReapedAndNoExitIsStolen(t *testing.T) {
	noLeaks(t)
	subreaper(t)
	r := reaper(t)
	const orphans, own = 10, 40
	var wg sync.WaitGroup
	wg.Go(func() {
		for range orphans { // each leaves a child to us, besides being foreign itself
			_, err := watchdog.ForkExec(program(t, "daemon0", "exit", "5"), true)
			require.NoError(t, err)
		}
	})
	for worker := range 2 {
		wg.Go(func() {
			for i := worker; i < own; i += 2 {
				p, err := watchdog.Start(program(t, "exit", itoa(i)))
				require.NoError(t, err)
				require.Equal(t, watchdog.Exit{Code: i}, p.Exit())
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return r.Reaped() == 2*orphans }, 10*time.Second, time.Millisecond)
	_, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
	require.ErrorIs(t, err, syscall.ECHILD, "a child is left")
}

func TestW1OrphansAreReapedBehindAChildOfOurs(t *testing.T) {
	noLeaks(t)
	subreaper(t)
	reports := newReports(t)
	c := program(t, "family", "ignore-term")
	c.Extra, c.Grace = []*os.File{reports.w}, time.Hour
	p := start(t, c)
	reports.next(t)
	stopped := make(chan struct{})
	go func() { defer close(stopped); p.Stop() }()
	require.Eventually(t, func() bool { return zombie(p.Pid()) }, 10*time.Second, time.Millisecond)

	r := reaper(t) // sees the zombie of ours, which stays while its group has its grace
	_, err := watchdog.ForkExec(program(t, "daemon0", "exit", "5"), true)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.Reaped() >= 1 }, 10*time.Second, time.Millisecond)
	p.Kill()
	<-stopped
	require.Equal(t, syscall.SIGTERM, p.Exit().Signal, "its exit is still ours")
	require.Eventually(t, func() bool { return r.Reaped() == 2 }, 10*time.Second, time.Millisecond)
}

func TestW1WithoutSignalsTheReaperLooksByItself(t *testing.T) {
	r := &watchdog.Reaper{Every: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- r.Run(ctx) }()
	_, err := watchdog.ForkExec(program(t, "exit", "0"), true)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.Reaped() == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-over)
}
