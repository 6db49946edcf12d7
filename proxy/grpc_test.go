package proxy

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimeoutsOfGRPCAreRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1S": time.Second, "00000010m": 10 * time.Millisecond, "5u": 5 * time.Microsecond, "7n": 7, "2M": 2 * time.Minute,
		"0S": 0, "3H": 3 * time.Hour, "99999999H": longestTimeout, "2562047H": longestTimeout,
	} {
		got, ok := grpcTimeout(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
		require.Positive(t, int64(math.MaxInt64-1)/2+int64(got), "may be added to a time")
	}
	for _, text := range []string{"", "1", "S", "1x", "-1S", "+1S", " 1S", "1.5S", "123456789S", "1_0S"} {
		_, ok := grpcTimeout(text)
		require.False(t, ok, text)
	}
}

func TestTimeoutsOfGRPCAreWrittenAndNeverLonger(t *testing.T) {
	for _, d := range []time.Duration{1, time.Microsecond, 1500 * time.Microsecond, 59 * time.Second, 100 * time.Second, 23 * time.Hour, 1000 * time.Hour, longestTimeout} {
		text := grpcTimeoutOf(d)
		got, ok := grpcTimeout(text)
		require.True(t, ok, text)
		require.LessOrEqual(t, got, max(d, time.Microsecond))
		require.Greater(t, got, max(d, time.Microsecond)*99/100-time.Microsecond, text)
	}
}
