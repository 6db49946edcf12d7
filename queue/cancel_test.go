package queue_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

var (
	errGone  = errors.New("client gone")
	errOther = errors.New("other cause")
)

// P7: a client that is gone leaves the line.
func TestCancelLeavesTheLineAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 3, MaxWait: time.Minute})
		calls := []*call{acquire(q), acquire(q), acquire(q)}
		calls[1].Cancel(errGone)
		require.Equal(t, 2, q.Stats().Queued, "the place is free before the waiter has even run")
		synctest.Wait()
		require.ErrorIs(t, calls[1].err(), errGone)
		require.EqualValues(t, 1, q.Stats().Cancelled)

		q.Release(0)
		synctest.Wait()
		require.True(t, calls[0].done())
		q.Release(0)
		synctest.Wait()
		require.True(t, calls[2].done())
		q.Release(0)
		requireQuiet(t, q)
	})
}

func TestCancelOfFirstAndLastKeepsTheLineWhole(t *testing.T) {
	for _, leaving := range [][]int{{0}, {2}, {0, 1}, {1, 2}, {2, 0}, {0, 1, 2}, {2, 1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 4})
			calls := []*call{acquire(q), acquire(q), acquire(q)}
			for _, i := range leaving {
				calls[i].Cancel(errGone)
			}
			calls = append(calls, acquire(q))
			for _, c := range calls {
				synctest.Wait()
				if c.err() != nil {
					continue
				}
				require.False(t, c.done())
				q.Release(0)
				synctest.Wait()
				require.True(t, c.done())
			}
			q.Release(0)
			requireQuiet(t, q)
		})
	}
}

// P7: and takes no slot.
func TestCancelBeforeAcquireTakesNoSlot(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 1})
	var w queue.Waiter
	w.Cancel(errGone)
	w.Cancel(errOther)
	require.ErrorIs(t, q.Acquire(&w), errGone, "the first cause sticks")
	requireQuiet(t, q)

	w.Reset()
	require.NoError(t, q.Acquire(&w))
}

func TestCancelAfterTheGrantHasNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2})
		c := acquire(q)
		behind := acquire(q)
		q.Release(0) // granted, though its goroutine has not run yet
		c.Cancel(errGone)
		synctest.Wait()
		require.NoError(t, c.err())
		require.False(t, behind.done())
		c.Cancel(errGone)
		q.Release(0)
		synctest.Wait()
		require.True(t, behind.done())
		q.Release(0)
		requireQuiet(t, q)
	})
}

func TestCancelWithoutACauseIsNotASlot(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 1})
	var w queue.Waiter
	w.Cancel(nil)
	require.ErrorIs(t, q.Acquire(&w), queue.ErrCancelled)
	requireQuiet(t, q)
}

// The race between grant, cancel and time-out at one instant: whoever wins, the
// slot is neither lost nor doubled (P3).
func TestGrantAndCancelAtTheSameInstant(t *testing.T) {
	outcomes := map[error]int{}
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2, MaxWait: time.Second})
			first, second := acquire(q), acquire(q)
			var g sync.WaitGroup
			g.Go(func() { q.Release(0) })
			g.Go(func() { first.Cancel(errGone) })
			g.Wait()
			synctest.Wait()
			require.True(t, first.done())
			outcomes[first.err()]++
			if first.err() == nil {
				require.False(t, second.done())
				q.Release(0)
			}
			synctest.Wait()
			require.True(t, second.done())
			require.NoError(t, second.err())
			q.Release(0)
			requireQuiet(t, q)
		})
	}
	for err := range outcomes {
		require.Contains(t, []error{nil, errGone}, err)
	}
}

// A late Cancel of the previous request that overlaps Reset either comes before it
// and is forgotten, or hits the next Acquire; it never corrupts the line.
func TestCancelOverlappingResetKeepsTheLineWhole(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1})
	var w queue.Waiter
	var g sync.WaitGroup
	for range 2000 {
		g.Go(func() { w.Cancel(errGone) })
		w.Reset()
		if q.Acquire(&w) == nil {
			q.Release(0)
		}
		g.Wait()
	}
	requireQuiet(t, q)
}
