//go:build !race

package queue_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

func TestAcquireOfAFreeSlotDoesNotAllocate(t *testing.T) {
	q := queue.New(queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: time.Minute})
	var w queue.Waiter
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		w.Reset()
		if q.Acquire(&w) != nil {
			t.Fatal("slot is not free")
		}
		q.Observe(time.Millisecond)
		q.Release(0)
	}))
}

func TestRefusalDoesNotAllocate(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1})
	q.Observe(time.Second)
	var w queue.Waiter
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if !errors.Is(q.Acquire(&w), queue.ErrFull) || q.RetryAfter() != 1 {
			t.Fatal("not refused")
		}
	}))
}

func TestHandOffToAReusedWaiterDoesNotAllocate(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: time.Minute})
	granted := make(chan error)
	next := make(chan struct{})
	go func() {
		var w queue.Waiter
		for range next {
			w.Reset()
			granted <- q.Acquire(&w)
		}
	}()
	defer close(next)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		next <- struct{}{}
		for q.Stats().Queued == 0 {
			runtime.Gosched() // AllocsPerRun leaves us one processor
		}
		q.Release(0)
		if <-granted != nil {
			t.Fatal("no slot")
		}
	}))
}

func TestCancelDoesNotAllocate(t *testing.T) {
	q := full(t, queue.Config{Discipline: queue.FIFO, Limit: 1, Depth: 1, MaxWait: time.Minute})
	var w queue.Waiter
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		w.Reset()
		w.Cancel(errGone)
		if !errors.Is(q.Acquire(&w), errGone) {
			t.Fatal("not cancelled")
		}
	}))
}
