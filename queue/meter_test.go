package queue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// steady sends one request every gap, each of which takes service, for d.
func steady(q *queue.Queue, gap, service, d time.Duration) {
	time.Sleep(7 * time.Millisecond) // no sample is taken in the moment in which requests begin and end: it could see any of them
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(gap) {
		go func() {
			var w queue.Waiter
			if q.Acquire(&w) != nil {
				return
			}
			time.Sleep(service)
			q.Observe(service)
			q.Release(0)
		}()
	}
}

func TestSignalsOfASteadyLoad(t *testing.T) {
	for _, test := range []struct {
		name     string
		limit    int
		gap      time.Duration
		want     queue.Signals
		saturate float64
	}{
		{"half", 8, 50 * time.Millisecond, queue.Signals{Arrivals: 20, Executing: 4, Utilisation: 0.5, Replicas: 0.71, Limit: 4}, 0.5},
		{"twice", 2, 50 * time.Millisecond, queue.Signals{Arrivals: 20, Executing: 2, Utilisation: 1, Replicas: 2.86, Limit: 2}, 2},
		{"no limit", 0, 50 * time.Millisecond, queue.Signals{Arrivals: 20, Executing: 4, Replicas: 1.43, Limit: 4}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: test.limit, Depth: 10_000, MaxWait: time.Second})
				m := queue.NewMeter(q)
				ctx, cancel := context.WithCancel(t.Context())
				go m.Run(ctx)
				steady(q, test.gap, 200*time.Millisecond, 2*time.Minute)
				s := m.Signals()
				cancel()
				time.Sleep(time.Minute)
				require.InEpsilon(t, test.want.Arrivals, s.Arrivals, 0.05)
				require.InEpsilon(t, test.want.Executing, s.Executing, 0.1)
				require.InDelta(t, test.want.Utilisation, s.Utilisation, 0.1)
				require.InDelta(t, test.saturate, s.Saturation, 0.1)
				require.InEpsilon(t, test.want.Replicas, s.Replicas, 0.2)
				require.InDelta(t, test.want.Limit, s.Limit, 1)
				require.Less(t, s.SinceLast, time.Second)
			})
		})
	}
}

func TestSignalsOfAnIdleQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 8, Depth: 10})
		m := queue.NewMeter(q)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go m.Run(ctx)
		steady(q, 50*time.Millisecond, 200*time.Millisecond, 10*time.Second)
		time.Sleep(2 * time.Minute)
		s := m.Signals()
		require.InDelta(t, 119, s.SinceLast.Seconds(), 2)
		s.SinceLast, s.Limit = 0, 0
		require.Equal(t, queue.Signals{}, s)
	})
}

// The meter looks less often while nothing comes; what comes then is measured as ever.
func TestSignalsOfALoadAfterALongTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 8, Depth: 10})
		m := queue.NewMeter(q)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go m.Run(ctx)
		time.Sleep(10 * time.Minute)
		require.InDelta(t, 600, m.Signals().SinceLast.Seconds(), 1)
		steady(q, 50*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond)
		require.Zero(t, m.Signals().SinceLast, "seen although no sample was taken")
		steady(q, 50*time.Millisecond, 100*time.Millisecond, 30*time.Second)
		s := m.Signals()
		require.InEpsilon(t, 10, s.Arrivals, 0.05, "of the last minute")
		require.InEpsilon(t, 1, s.Executing, 0.1)
		time.Sleep(10 * time.Minute)
		s = m.Signals()
		require.Zero(t, s.Arrivals)
		require.InDelta(t, 600, s.SinceLast.Seconds(), 2)
	})
}
