package queue_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// call is an Acquire that runs in a goroutine of its own.
type call struct {
	queue.Waiter
	ended  chan struct{}
	result error
}

// acquire starts an Acquire and returns when it has ended or waits.
func acquire(q *queue.Queue) *call {
	c := &call{ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.result = q.Acquire(&c.Waiter)
	}()
	synctest.Wait()
	return c
}

// done tells whether the Acquire has ended.
func (c *call) done() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// err returns what the Acquire returned, nil as long as it has not ended.
func (c *call) err() error {
	if !c.done() {
		return nil
	}
	return c.result
}

// full returns a queue all of whose slots are taken.
func full(t *testing.T, c queue.Config) *queue.Queue {
	t.Helper()
	q := queue.New(c)
	for range c.Limit {
		require.True(t, q.TryAcquire(0))
	}
	return q
}

// requireQuiet checks that no slot is out and nobody waits (P3).
func requireQuiet(t *testing.T, q *queue.Queue) {
	t.Helper()
	s := q.Stats()
	require.Zero(t, s.Executing, "slots that are still out")
	require.Zero(t, s.Queued, "waiters that are still in line")
}

func TestAcquireTakesAFreeSlotAtOnce(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 2})
	var w queue.Waiter
	require.NoError(t, q.Acquire(&w))
	require.NoError(t, q.Acquire(&w))
	require.Zero(t, w.Waited())
	require.Equal(t, 2, q.Stats().Executing)
	q.Release(0)
	q.Release(0)
	requireQuiet(t, q)
}

// P8: first come, first served.
func TestWaitersAreServedInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 10})
		var calls []*call
		for range 10 {
			calls = append(calls, acquire(q))
		}
		for i := range calls {
			q.Release(0)
			synctest.Wait()
			for j, c := range calls {
				require.Equal(t, j <= i, c.done(), "waiter %d after release %d", j, i)
				require.NoError(t, c.err())
			}
		}
		q.Release(0)
		requireQuiet(t, q)
	})
}

// P8: nobody is skipped.
func TestNewcomersNeverPassWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2})
		first := acquire(q)
		q.Release(0) // the slot belongs to the first waiter from here on
		require.False(t, q.TryAcquire(0))
		second := acquire(q)
		require.True(t, first.done())
		require.False(t, second.done())
		q.Release(0)
		q.Release(0)
		synctest.Wait()
		require.True(t, second.done())
		requireQuiet(t, q)
	})
}

// P9: a full queue refuses without waiting.
func TestFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: time.Minute})
		waiting := acquire(q)
		require.ErrorIs(t, q.Acquire(&queue.Waiter{}), queue.ErrFull)
		require.EqualValues(t, 1, q.Stats().Refused)
		q.Release(0)
		synctest.Wait()
		require.True(t, waiting.done())
		q.Release(0)
		requireQuiet(t, q)
	})
}

func TestDepthZeroMeansNobodyWaits(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 3, Depth: 0})
	require.ErrorIs(t, q.Acquire(&queue.Waiter{}), queue.ErrFull)
	q.Release(0)
	require.NoError(t, q.Acquire(&queue.Waiter{}))
}

func TestLimitZeroNeverWaitsButCounts(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 0, Depth: 0})
	var w queue.Waiter
	for range 1000 {
		require.NoError(t, q.Acquire(&w))
	}
	require.Equal(t, 1000, q.Stats().Executing)
	for range 1000 {
		q.Release(0)
	}
	requireQuiet(t, q)
}

func TestTryAcquireDoesNotCountItsRefusal(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1})
	require.False(t, q.TryAcquire(0))
	require.Equal(t, queue.Stats{Limit: 1, Depth: 1, Executing: 1, Granted: 1}, q.Stats())
}

func TestReleaseWithoutASlotPanics(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1})
	q.Release(0)
	require.PanicsWithValue(t, "queue: Release without a slot", func() { q.Release(0) })
	require.True(t, q.TryAcquire(0), "the queue must stay usable")
}

func TestReleaseTellsWhetherTheSlotWasPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1})
		c := acquire(q)
		synctest.Wait()
		require.True(t, q.Release(0), "somebody waits")
		synctest.Wait()
		require.True(t, c.done())
		require.False(t, q.Release(0), "nobody waits")
	})
}

func TestWaitedTellsTheTimeInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1})
		c := acquire(q)
		time.Sleep(3 * time.Second)
		q.Release(0)
		synctest.Wait()
		require.True(t, c.done())
		require.Equal(t, 3*time.Second, c.Waited())

		q.Release(0)
		require.NoError(t, q.Acquire(&c.Waiter))
		require.Zero(t, c.Waited(), "the last Acquire counts, and it did not wait")
	})
}

func TestResetForgetsTheTimeWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: time.Second})
		var w queue.Waiter
		require.ErrorIs(t, q.Acquire(&w), queue.ErrTimeout)
		require.Equal(t, time.Second, w.Waited())
		w.Reset()
		require.Zero(t, w.Waited())
	})
}

// D5, P1: who waits at the end of a drain has an answer.
func TestCloseRefusesWaitersAndNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 3, MaxWait: time.Minute})
		calls := []*call{acquire(q), acquire(q), acquire(q)}
		q.Close()
		q.Close()
		synctest.Wait()
		for _, c := range calls {
			require.True(t, c.done())
			require.ErrorIs(t, c.err(), queue.ErrClosed)
		}
		require.ErrorIs(t, q.Acquire(&queue.Waiter{}), queue.ErrClosed)
		require.False(t, q.TryAcquire(0))
		q.Release(0) // slots that were out stay valid
		require.ErrorIs(t, q.Acquire(&queue.Waiter{}), queue.ErrClosed, "a free slot changes nothing")
		require.EqualValues(t, 5, q.Stats().Closed)
		requireQuiet(t, q)
	})
}

func TestCloseRefusesWithoutALimitToo(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO})
	q.Close()
	require.ErrorIs(t, q.Acquire(&queue.Waiter{}), queue.ErrClosed)
}

func TestAWaiterServesOneAcquireAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2})
		c := acquire(q)
		require.PanicsWithValue(t, "queue: waiter is in line already", func() { _ = q.Acquire(&c.Waiter) })
		c.Cancel(errors.New("over"))
	})
}

func TestFreezeGivesOutNoMoreSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 2})
		require.True(t, q.TryAcquire(0))
		var results [2]error
		var waiters [2]queue.Waiter
		go func() { results[0] = q.Acquire(&waiters[0]) }()
		synctest.Wait()
		q.Freeze()
		q.Release(0)
		go func() { results[1] = q.Acquire(&waiters[1]) }()
		synctest.Wait()
		require.Equal(t, 2, q.Stats().Queued)
		require.Zero(t, q.Stats().Executing)
		waiters[0].Cancel(errGone)
		q.Close()
		synctest.Wait()
		require.Equal(t, [2]error{errGone, queue.ErrClosed}, results)
	})
}
