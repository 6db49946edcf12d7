package queue_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// P8: a free slot and a waiter never coexist.
func TestGrowingWakesWaitersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 5})
		var calls []*call
		for range 5 {
			calls = append(calls, acquire(q))
		}
		q.SetLimit(4)
		synctest.Wait()
		for i, c := range calls {
			require.Equal(t, i < 3, c.done(), "waiter %d", i)
		}
		require.Equal(t, 4, q.Stats().Executing)
		q.SetLimit(0)
		synctest.Wait()
		require.True(t, calls[3].done())
		require.True(t, calls[4].done())
	})
}

// P2: never more than the limit run, also while it changes.
func TestShrinkingDrainsToTheNewLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 4, Depth: 1})
		c := acquire(q)
		q.SetLimit(2)
		require.Equal(t, 4, q.Stats().Executing, "who runs keeps its slot")
		for want := 3; want >= 2; want-- {
			q.Release(0)
			synctest.Wait()
			require.Equal(t, want, q.Stats().Executing)
			require.False(t, c.done())
			require.False(t, q.TryAcquire(0))
		}
		q.Release(0)
		synctest.Wait()
		require.True(t, c.done())
		require.Equal(t, 2, q.Stats().Executing)
	})
}

func TestALimitCanBeSetWhereThereWasNone(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO})
	for range 5 {
		require.True(t, q.TryAcquire(0))
	}
	q.SetLimit(5)
	require.False(t, q.TryAcquire(0))
	q.Release(0)
	require.True(t, q.TryAcquire(0))
}

func TestANegativeLimitPanics(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1})
	require.PanicsWithValue(t, "queue: negative limit", func() { q.SetLimit(-1) })
	require.False(t, q.TryAcquire(0), "the old limit must stay")
}
