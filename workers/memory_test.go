package workers_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// W15: no worker is added for requests that wait when there is no memory for it; the limit may grow while the pod runs.
func TestW15ThePoolGrowsAsFarAsMemoryDoes(t *testing.T) {
	t.Parallel()
	c := config(t, "good")
	c.Min, c.Max = 1, 5
	var left atomic.Int64
	left.Store(1 << 20) // less than any Go program has
	p := running(t, c, func(p *workers.Pool) { p.SetMemory(func() (int64, bool) { return left.Load(), true }) })
	results := make(chan error, 5)
	for range 5 {
		go func() { results <- p.Do(newExchange("/sleep?300")) }()
	}
	p.settled(t, "they wait", func(s workers.Stats) bool { return s.Waiting == 4 })
	p.settled(t, "told of", func(workers.Stats) bool {
		return p.logs.count("memory is short: no more workers are started than there is room for") == 1
	})
	require.EqualValues(t, 1, p.Stats().Starts)
	for range 5 {
		require.NoError(t, <-results)
	}
	require.EqualValues(t, 1, p.Stats().Starts, "looked at again later")

	left.Store(1 << 40)
	for range 5 {
		go func() { results <- p.Do(newExchange("/sleep?1500")) }()
	}
	p.settled(t, "it grows", func(s workers.Stats) bool { return s.Starts > 1 })
	for range 5 {
		require.NoError(t, <-results)
	}
}

// W15: the same for the first workers: there is one, however little memory is left.
func TestW15OneWorkerIsStartedInAnyCase(t *testing.T) {
	t.Parallel()
	c := config(t, "good")
	c.Min, c.Max = 0, 2
	p := run(t, c, func(p *workers.Pool) { p.SetMemory(func() (int64, bool) { return -1, true }) })
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// W15: a kill that was no worker's is told of, and lays no later death at the kernel's door.
func TestW15AKillOfAProgramThatTheFunctionStarted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "memory.events")
	count := func(n string) { require.NoError(t, os.WriteFile(file, []byte("oom_kill "+n+"\n"), 0o600)) }
	count("0")
	p := running(t, config(t, "good"), func(p *workers.Pool) { p.CountOOM(file) })
	count("1")
	require.Eventually(t, func() bool {
		return p.logs.count("the kernel killed a process for want of memory, and no worker: one that the function started, or another of the pod") == 1
	}, patience, 10*time.Millisecond)
	require.ErrorIs(t, p.Do(newExchange("/kill")), workers.ErrDied)
	p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonSignaled] == 1 })
}
