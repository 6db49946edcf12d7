package queue_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fnpod/fnpod/queue"
)

// acquirer is what the benchmarks compare: acquire returns when a slot is held.
type acquirer struct {
	acquire func(*queue.Waiter)
	release func()
}

func ours(slots int) acquirer {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: slots, Depth: 1 << 20, MaxWait: time.Minute})
	return acquirer{
		func(w *queue.Waiter) {
			if err := q.Acquire(w); err != nil {
				panic(err)
			}
		},
		func() { q.Release(0) },
	}
}

func channel(slots int) acquirer {
	c := make(chan struct{}, slots)
	return acquirer{func(*queue.Waiter) { c <- struct{}{} }, func() { <-c }}
}

func weighted(slots int) acquirer {
	s := semaphore.NewWeighted(int64(slots))
	return acquirer{
		func(*queue.Waiter) {
			if err := s.Acquire(context.Background(), 1); err != nil {
				panic(err)
			}
		},
		func() { s.Release(1) },
	}
}

// breaker is a queue made of two semaphores: one for those who are in, one for those
// who run.
func breaker(slots int) acquirer {
	in := semaphore.NewWeighted(int64(slots) + 1<<20)
	running := semaphore.NewWeighted(int64(slots))
	return acquirer{
		func(*queue.Waiter) {
			if !in.TryAcquire(1) {
				panic("full")
			}
			if err := running.Acquire(context.Background(), 1); err != nil {
				panic(err)
			}
		},
		func() {
			running.Release(1)
			in.Release(1)
		},
	}
}

// many is ours with all that it can do: classes, keys, the adaptive discipline.
func many(slots int) acquirer {
	q := queue.New(queue.Config{
		Limit: slots, Depth: 1 << 20, MaxWait: time.Minute, Discipline: queue.Adaptive, Lanes: 64,
		Classes: []queue.Class{{Share: 0.5}, {Share: 0.3, Keep: 0.5}, {}},
	})
	return acquirer{
		func(w *queue.Waiter) {
			w.Class, w.Key = 0, 7
			if err := q.Acquire(w); err != nil {
				panic(err)
			}
		},
		func() { q.Release(0) },
	}
}

var acquirers = []struct {
	name string
	make func(slots int) acquirer
}{{"queue", ours}, {"queue with classes", many}, {"channel", channel}, {"semaphore", weighted}, {"two semaphores", breaker}}

func BenchmarkUncontended(b *testing.B) {
	for _, a := range acquirers {
		b.Run(a.name, func(b *testing.B) {
			q := a.make(8)
			var w queue.Waiter
			b.ReportAllocs()
			for b.Loop() {
				w.Reset()
				q.acquire(&w)
				q.release()
			}
		})
	}
}

// One slot, a fixed number of goroutines that all want it all the time: every
// grant is a hand-off from one goroutine to the next.
func BenchmarkHandOff(b *testing.B) {
	contend(b, 1, 10)
}

func BenchmarkContended(b *testing.B) {
	contend(b, 8, 200)
}

func contend(b *testing.B, slots, goroutines int) {
	for _, a := range acquirers {
		b.Run(a.name, func(b *testing.B) {
			q := a.make(slots)
			b.ReportAllocs()
			var g sync.WaitGroup
			for i := range goroutines {
				turns := b.N / goroutines
				if i < b.N%goroutines {
					turns++
				}
				g.Go(func() {
					var w queue.Waiter
					for range turns {
						w.Reset()
						q.acquire(&w)
						q.release()
					}
				})
			}
			g.Wait()
		})
	}
}
