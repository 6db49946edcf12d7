package watchdog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// standby returns what Fork needs to have processes wait that play role.
func standby(t testing.TB, mode watchdog.ForkMode, role string, args ...string) watchdog.ForkConfig {
	t.Helper()
	c := function(t, mode, role, args...)
	c.Launcher = watchdog.Standby
	return c
}

// waits returns when n processes wait.
func waits(t testing.TB, f *watchdog.Fork, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return f.Stats().Waiting == n }, 10*time.Second, time.Millisecond)
}

// records keeps log records as text.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *records) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), part)
}

func (r *records) log() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// Each process has one request; the next one waits already.
func TestStandbyProcessesAreUsedOnce(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := standby(t, mode, "pid")
		c.Standby = 2
		f := forks(t, c)
		seen := map[string]bool{}
		for i := range 6 {
			waits(t, f, 2)
			x := post([]byte("body"))
			require.NoError(t, f.Do(x))
			require.Regexp(t, `^\d+ body$`, x.answer.String())
			seen[x.answer.String()] = true
			require.EqualValues(t, i+1, f.Stats().Ahead)
		}
		require.Len(t, seen, 6)
		require.True(t, f.Prepared())
	})
}

// A process that waits has been started without a request, so it has nothing of one; nor has one that is started for it.
func TestStandbyProcessesHaveNoVariables(t *testing.T) {
	f := forks(t, standby(t, watchdog.Serializing, "variables"))
	waits(t, f, 1)
	for range 3 { // the first one waited, the others perhaps
		x := newExchange("GET /?a=b", "X-Field: value")
		require.NoError(t, f.Do(x))
		require.NotContains(t, x.answer.String(), "REQUEST_METHOD")
		require.NotContains(t, x.answer.String(), "HTTP_")
		require.Contains(t, x.answer.String(), watchdog.Mark+"=")
	}
}

// A process that dies while it waits costs no request, and its end and its last words are logged. The next starts wait
// longer and longer.
func TestStandbyProcessesThatDieAreReplacedWithPauses(t *testing.T) {
	said, log := &records{}, &forkLog{}
	c := standby(t, watchdog.Serializing, "print", "words")
	c.Log, c.Output = said.log(), log.add
	f := forks(t, c)
	require.Eventually(t, func() bool { return said.count("delay=200ms") == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, said.count("delay=100ms"))
	require.EqualValues(t, 2, f.Stats().Starts)
	require.Equal(t, 2, said.count(`process ended before its request" exit="exit status 0"`))
	require.True(t, log.has(" stderr err words"))
	x := newExchange("GET /")
	require.NoError(t, f.Do(x))
	require.Equal(t, "words\n", x.answer.String())
	require.Zero(t, f.Stats().Waiting)
}

func TestStandbyProcessesThatAreKilledCostNoRequest(t *testing.T) {
	f := forks(t, standby(t, watchdog.Streaming, "cat"))
	for range 3 {
		waits(t, f, 1)
		for _, pid := range descendants(t) {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		x := post([]byte("body"))
		err := f.Do(x)
		if err != nil { // it was alive when it was taken
			require.ErrorContains(t, err, "SIGKILL")
			continue
		}
		require.Equal(t, "body", x.answer.String())
	}
}

func TestStandbyThatCannotStartDoesNotSpin(t *testing.T) {
	said := &records{}
	c := standby(t, watchdog.Streaming, "cat")
	c.Path, c.Log = t.TempDir(), said.log()
	f := forks(t, c)
	require.Eventually(t, func() bool { return said.count("delay=200ms") == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 2, said.count("process not started ahead"))
	require.ErrorIs(t, f.Do(newExchange("GET /")), watchdog.ErrNotStarted)
}

// Processes that nobody wants for long are ended, and started again when requests come again.
func TestStandbyProcessesThatNobodyWantsAreEnded(t *testing.T) {
	c := standby(t, watchdog.Streaming, "cat")
	c.StandbyIdle = 300 * time.Millisecond
	f := forks(t, c)
	for range 2 {
		require.Eventually(t, func() bool { return f.Prepared() && f.Stats().Waiting == 0 }, 10*time.Second, time.Millisecond)
		require.Eventually(t, func() bool { return len(descendants(t)) == 0 }, 10*time.Second, time.Millisecond)
		x := post([]byte("body"))
		require.NoError(t, f.Do(x))
		require.Equal(t, "body", x.answer.String())
		waits(t, f, 1)
	}
	c.StandbyIdle = 0
	f = forks(t, c)
	waits(t, f, 1)
}

// The end of Run ends those that wait, too, and those they started (rules D4, W3).
func TestD4NobodyWaitsAfterTheEndOfRun(t *testing.T) {
	subreaper(t)
	t.Run("run", func(t *testing.T) {
		c := standby(t, watchdog.Streaming, "parent")
		c.Standby = 3
		waits(t, forks(t, c), 3)
	})
	require.Empty(t, descendants(t))
}

// What is started ahead takes no time from requests: with saturated processors, they are served as by Exec.
func TestNothingIsStartedAheadForSaturatedProcessors(t *testing.T) {
	f, err := watchdog.NewFork(standby(t, watchdog.Streaming, "cat"))
	require.NoError(t, err)
	var busy atomic.Bool
	busy.Store(true)
	f.SetBusy(busy.Load)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	require.Eventually(t, f.Prepared, 10*time.Second, time.Millisecond)
	require.Zero(t, f.Stats().Waiting)
	require.NoError(t, f.Do(post([]byte("body"))))
	require.Zero(t, f.Stats().Ahead)
	busy.Store(false)
	waits(t, f, 1)
	cancel()
	require.NoError(t, <-ended)
}

func TestManyRequestsTakeFromFewThatWait(t *testing.T) {
	c := standby(t, watchdog.Serializing, "count")
	c.Standby, c.Output = 2, (&forkLog{}).add
	f := forks(t, c)
	var wg sync.WaitGroup
	failures := make(chan error, 4)
	for range 4 {
		wg.Go(func() {
			for i := range 25 {
				x := post(make([]byte, i))
				if err := f.Do(x); err != nil || x.answer.String() != fmt.Sprint(i) {
					failures <- fmt.Errorf("%d bytes: %w, %q", i, err, x.answer.String())
					return
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	require.NoError(t, <-failures)
	require.Zero(t, f.Stats().Running)
}

func TestStandbyNeedsANumber(t *testing.T) {
	c := watchdog.DefaultForkConfig()
	c.Launcher, c.Standby = watchdog.Standby, 0
	require.ErrorContains(t, c.Validate(), "standby 0")
	c.Standby = 65
	require.ErrorContains(t, c.Validate(), "standby 65")
	c.Standby, c.StandbyIdle = 1, -1
	require.ErrorContains(t, c.Validate(), "standby-idle")
}
