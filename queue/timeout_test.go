package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// P9: the wait has a bound.
func TestAcquireGivesUpAfterMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: 10 * time.Second})
		var w queue.Waiter
		start := time.Now()
		require.ErrorIs(t, q.Acquire(&w), queue.ErrTimeout)
		require.Equal(t, 10*time.Second, time.Since(start))
		require.Equal(t, 10*time.Second, w.Waited())
		require.EqualValues(t, 1, q.Stats().TimedOut)
		q.Release(0)
		requireQuiet(t, q)
	})
}

// P10: so has each waiter.
func TestEveryWaiterHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 5, MaxWait: 10 * time.Second})
		var calls []*call
		for range 5 {
			calls = append(calls, acquire(q))
			time.Sleep(time.Second)
		}
		time.Sleep(5*time.Second - time.Nanosecond) // one instant before the first is due
		for i := range calls {
			synctest.Wait()
			require.False(t, calls[i].done(), "waiter %d", i)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.True(t, calls[i].done(), "waiter %d", i)
			require.ErrorIs(t, calls[i].err(), queue.ErrTimeout)
			time.Sleep(time.Second - time.Nanosecond)
		}
		q.Release(0)
		requireQuiet(t, q)
	})
}

func TestTheNextInLineKeepsItsDeadlineWhenTheFirstLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2, MaxWait: 10 * time.Second})
		first := acquire(q)
		time.Sleep(4 * time.Second)
		second := acquire(q)
		q.Release(0) // the timer is still set for the first
		synctest.Wait()
		require.True(t, first.done())
		time.Sleep(10*time.Second - time.Nanosecond)
		require.False(t, second.done())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.ErrorIs(t, second.err(), queue.ErrTimeout)
		require.Equal(t, 10*time.Second, second.Waited())
	})
}

func TestTheDeadlineHoldsAfterTheLineWasEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: time.Second})
		for range 3 {
			start := time.Now()
			require.ErrorIs(t, q.Acquire(&queue.Waiter{}), queue.ErrTimeout)
			require.Equal(t, time.Second, time.Since(start))
			time.Sleep(time.Hour)
		}
	})
}

// A request never starts after its deadline (P10), even when the slot comes free
// at that very instant.
func TestNobodyIsGrantedASlotAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 { // the order of two events at the same instant is random
			q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2, MaxWait: time.Second})
			release := time.AfterFunc(time.Second, func() { q.Release(0) })
			late := acquire(q)
			time.Sleep(time.Millisecond)
			inTime := acquire(q)
			time.Sleep(time.Second - time.Millisecond)
			synctest.Wait()
			require.ErrorIs(t, late.err(), queue.ErrTimeout)
			require.True(t, inTime.done())
			require.NoError(t, inTime.err())
			require.False(t, release.Stop())
			q.Release(0)
			requireQuiet(t, q)
		}
	})
}

func TestMaxWaitZeroWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1})
		c := acquire(q)
		time.Sleep(1000 * time.Hour)
		require.False(t, c.done())
		q.Release(0)
		synctest.Wait()
		require.True(t, c.done())
		require.NoError(t, c.err())
	})
}
