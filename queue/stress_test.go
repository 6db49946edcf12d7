package queue_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// Goroutines acquire, hold, cancel each other and change the limit, all at once
// and in real time. There are never more slots out than the largest limit allows,
// every Acquire ends, and the counters add up. A lost wake-up would hang the test.
//
// P2, P3: the limit holds and no slot is lost under load.
func TestStress(t *testing.T) {
	const (
		goroutines = 32
		turns      = 2000
		largest    = 4
	)
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: largest, Depth: 20, MaxWait: 2 * time.Millisecond})
	var inside, ends, granted atomic.Int64
	waiters := make([]queue.Waiter, goroutines)
	var g sync.WaitGroup
	for i := range goroutines {
		g.Go(func() {
			w := &waiters[i]
			r := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for range turns {
				w.Reset()
				err := q.Acquire(w)
				ends.Add(1)
				switch p := r.IntN(100); {
				case p < 20:
					waiters[r.IntN(goroutines)].Cancel(errGone)
				case p < 25:
					q.SetLimit(1 + r.IntN(largest))
				}
				if err != nil {
					continue
				}
				granted.Add(1)
				if n := inside.Add(1); n > largest {
					t.Errorf("%d slots are out, the limit is %d", n, largest)
				}
				for range r.IntN(1000) { // hold the slot for a moment
					q.Observe(time.Microsecond)
				}
				inside.Add(-1)
				q.Release(0)
			}
		})
	}
	g.Wait()
	requireQuiet(t, q)
	s := q.Stats()
	require.EqualValues(t, granted.Load(), s.Granted)
	require.EqualValues(t, ends.Load(), s.Granted+s.Refused+s.TimedOut+s.Cancelled)
	require.Positive(t, s.Granted)
}

// P1: every wait ends.
func TestCloseUnderLoadEndsEveryAcquire(t *testing.T) {
	for range 50 {
		q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 2, Depth: 100})
		var g sync.WaitGroup
		for range 16 {
			g.Go(func() {
				var w queue.Waiter
				for {
					w.Reset()
					if err := q.Acquire(&w); err != nil {
						if !errors.Is(err, queue.ErrClosed) {
							t.Errorf("want ErrClosed, got %v", err)
						}
						return
					}
					q.Release(0)
				}
			})
		}
		g.Go(q.Close)
		g.Wait()
		requireQuiet(t, q)
	}
}
