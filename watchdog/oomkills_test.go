package watchdog_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestW15WhereTheKernelCounts(t *testing.T) {
	files := watchdog.OOMFilesIn("/c", []byte("9:name=systemd:/\n4:cpu,memory:/pod/x\n0::/pod\n"))
	require.Equal(t, []string{
		"/c/memory/pod/x/memory.oom_control", "/c/memory/memory.oom_control", "/c/pod/memory.events", "/c/memory.events",
	}, files)
	require.Empty(t, watchdog.OOMFilesIn("/c", []byte("nonsense\n")))
}

// W15: a process that the kernel killed for want of memory is told from one that somebody else killed.
func TestW15AProcessThatTheKernelKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory.events")
	count := func(n string) {
		require.NoError(t, os.WriteFile(file, []byte("oom 0\noom_kill "+n+"\n"), 0o600))
	}
	count("4")
	f := forks(t, function(t, watchdog.Serializing, "die"), func(f *watchdog.Fork) { f.CountOOM(file) })
	for _, kernel := range []bool{false, true, false} {
		if kernel {
			count("5")
		}
		err := f.Do(newExchange("GET /"))
		require.ErrorIs(t, err, watchdog.ErrFailed)
		var failed *watchdog.FailedError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, syscall.SIGKILL, failed.Exit.Signal)
		require.Equal(t, kernel, failed.Memory)
		if kernel {
			require.ErrorIs(t, err, watchdog.ErrMemory)
			require.ErrorContains(t, err, "memory")
		} else {
			require.NotErrorIs(t, err, watchdog.ErrMemory)
		}
	}
	require.EqualValues(t, 1, f.Stats().Failures["oom"])
	require.EqualValues(t, 2, f.Stats().Failures["signaled"])
}
