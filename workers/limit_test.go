package workers

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimitStrikesAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := time.Now()
		now := func() int64 { return int64(time.Since(base)) + 1 }
		var at []time.Duration
		var l limit
		l.init(now, func() { at = append(at, time.Since(base)) })
		defer l.stop()

		require.True(t, l.set(now()+int64(time.Hour))) // a long one
		time.Sleep(time.Minute)
		require.True(t, l.set(0))
		require.True(t, l.set(now()+int64(time.Second))) // then a shorter one
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{61 * time.Second}, at)
		require.False(t, l.set(0), "the caller learns that it struck")
		require.False(t, l.set(0), "and that stays so")
	})
}

func TestLimitThatIsLiftedDoesNotStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := time.Now()
		now := func() int64 { return int64(time.Since(base)) + 1 }
		var l limit
		l.init(now, func() { t.Error("struck at ", time.Since(base)) })
		defer l.stop()
		for range 100 { // each ends in time, together they last longer than one may
			require.True(t, l.set(now()+int64(time.Second)))
			time.Sleep(900 * time.Millisecond)
			require.True(t, l.set(0))
		}
		time.Sleep(time.Hour)
	})
}
