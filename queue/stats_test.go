package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// P9: who is refused is told when to come again.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		name    string
		limit   int
		queued  int
		service time.Duration
		want    int
	}{
		{"nothing observed", 1, 3, 0, 1},
		{"fast function", 2, 4, 10 * time.Millisecond, 1},
		{"exact seconds", 1, 4, time.Second, 5},
		{"rounded up", 2, 2, time.Second, 2},
		{"more slots, shorter wait", 10, 9, 20 * time.Second, 20},
		{"never more than a minute", 1, 9, time.Hour, 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := full(t, queue.Config{Discipline: queue.FIFO, Limit: test.limit, Depth: test.queued})
				for range test.queued {
					acquire(q)
				}
				if test.service > 0 {
					q.Observe(test.service)
				}
				require.Equal(t, test.want, q.RetryAfter())
				q.Close()
			})
		})
	}
}

func TestRetryAfterWithoutALimit(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO})
	q.Observe(time.Hour)
	require.Equal(t, 1, q.RetryAfter())
}

func TestObserveFollowsTheServiceTime(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 1})
	q.Observe(time.Second)
	require.Equal(t, time.Second, q.Stats().Service, "the first observation counts in full")
	q.Observe(17 * time.Second)
	require.Equal(t, 2*time.Second, q.Stats().Service)
	for range 200 {
		q.Observe(10 * time.Second)
	}
	require.InDelta(t, 10, q.Stats().Service.Seconds(), 0.001)
	for range 1000 {
		q.Observe(0)
	}
	require.Less(t, q.Stats().Service, time.Millisecond)
}

func TestStatsCountEveryEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 3, MaxWait: time.Second})
		acquire(q)
		acquire(q).Cancel(errGone)
		acquire(q)
		acquire(q)
		acquire(q)
		require.Equal(t, queue.Stats{
			Limit: 1, Depth: 3, Executing: 1, Queued: 3, Granted: 1, Refused: 1, Cancelled: 1,
		}, q.Stats())
		q.Release(0)
		time.Sleep(time.Second)
		synctest.Wait()
		q.Close()
		acquire(q)
		require.Equal(t, queue.Stats{
			Limit: 1, Depth: 3, Executing: 1, Granted: 2, Refused: 1, Cancelled: 1, TimedOut: 2, Closed: 1,
		}, q.Stats())
	})
}
