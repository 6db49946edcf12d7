package watchdog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestProcessorTimeIsReadFromWhatKernelsWrite(t *testing.T) {
	require.Equal(t, 1234567*time.Microsecond, watchdog.ParseUsage([]byte("usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n")))
	require.Equal(t, 2500*time.Millisecond, watchdog.ParseTicks([]byte("cpu  100 20 30 9000 800 40 50 10 0 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")))
	for _, text := range []string{"", "\n", "usage_usec", "usage_usec x\n", "cpu x y z"} {
		require.Zero(t, watchdog.ParseUsage([]byte(text)))
		require.Zero(t, watchdog.ParseTicks([]byte(text)))
	}
}
