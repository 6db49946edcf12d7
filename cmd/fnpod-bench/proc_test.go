package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSchedstatBeginsWithProcessorTime(t *testing.T) {
	d, err := parseSchedstat([]byte("1234567 89 10\n"))
	require.NoError(t, err)
	require.Equal(t, 1234567*time.Nanosecond, d)
	for _, bad := range []string{"", "\n", "x 1 2"} {
		_, err := parseSchedstat([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestIdleTimeIncludesWhatTheHypervisorTook(t *testing.T) {
	//                          user nice system idle iowait irq softirq steal guest guest_nice
	d, err := parseIdle([]byte("cpu  100 20 3 4000 500 6 70 8000 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"))
	require.NoError(t, err)
	require.Equal(t, 125*time.Second, d)
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8", "cpu 1 2 3 a 5 6 7 8"} {
		_, err := parseIdle([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestStatusValuesAreKilobytes(t *testing.T) {
	text := []byte("Name:\tfnpod\nVmHWM:\t  900 kB\nVmRSS:\t   13000 kB\n")
	n, err := parseKB(text, "VmRSS")
	require.NoError(t, err)
	require.EqualValues(t, 13000<<10, n)
	_, err = parseKB(text, "VmSwap")
	require.ErrorContains(t, err, "VmSwap")
	_, err = parseKB(text, "Name")
	require.ErrorContains(t, err, "Name")
}

func TestTheKernelTellsOfUs(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	require.NoError(t, child.Start())
	t.Cleanup(func() {
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait())
	})
	children, err := childrenOf(os.Getpid())
	require.NoError(t, err)
	require.Contains(t, children, child.Process.Pid)

	rss, anonymous, err := memoryOf(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, anonymous, int64(1<<20))
	require.Greater(t, rss, anonymous)

	before, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; { // work that can be seen
	}
	after, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, after, before)
	total, err := idle()
	require.NoError(t, err)
	require.Positive(t, total)
}

func TestProcessorTimeOfCollectedChildren(t *testing.T) {
	d, err := parseCollected([]byte("7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 500 600 70 8 20 0 1 0\n"))
	require.NoError(t, err)
	require.Equal(t, 780*time.Millisecond, d)
	for _, text := range []string{"", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 500 600 x 8 20"} {
		_, err = parseCollected([]byte(text))
		require.Error(t, err)
	}
}
