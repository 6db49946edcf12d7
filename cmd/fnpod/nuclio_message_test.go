package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/broker"
	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/workers"
)

// scripted is a function whose events end as it is told; at the end they end well.
type scripted struct {
	ends []error
	runs int
}

func (s *scripted) run(workers.Exchange) error {
	if s.runs++; s.runs > len(s.ends) {
		return nil
	}
	return s.ends[s.runs-1]
}

func (*scripted) up() <-chan struct{}       { return closedChannel() }
func (*scripted) Run(context.Context) error { return nil }
func (*scripted) Ready() error              { return nil }
func (*scripted) Series(*metrics.Set)       {}
func (*scripted) Status() any               { return nil }

// scriptedEvents returns what handles messages of one mqtt trigger.
func scriptedEvents(t *testing.T, fn *scripted) (*nuclioEvents, *nuclioMessages) {
	t.Helper()
	c, err := nuclio.ParseConfig([]byte("spec: {runtime: python, triggers: {m: {kind: mqtt, url: h, attributes: {subscriptions: [{topic: a}]}}}}"))
	require.NoError(t, err)
	s, err := nuclio.Read(c, nuclio.Platform{}, func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	src := &s.Triggers[0]
	a := &nuclioAllocator{queue: queue.New(queueSettings{Limit: 1, Discipline: queue.FIFO}.config()), function: fn}
	f := &nuclioFunction{
		settings: s, allocators: map[string]*nuclioAllocator{src.Allocator: a},
		statistics: map[string]*nuclio.Statistics{src.Name: s.Statistics(src, a.queue, &a.times)},
	}
	e := newNuclioEvents(f, time.Second, slog.New(slog.DiscardHandler))
	return e, e.triggers[0]
}

// T5, W3 and beyond: what a broker keeps is tried again when it was not the handler that ended it.
func TestNuclioMessagesAreTriedAgain(t *testing.T) {
	again := func(err error, n int) (all []error) {
		for range n {
			all = append(all, err)
		}
		return all
	}
	for _, test := range []struct {
		name    string
		ends    []error
		kept    bool
		handled bool
		runs    int
	}{
		{"well", nil, true, true, 1},
		{"a worker dies", again(workers.ErrDied, 2), true, true, 3},
		{"workers die", again(workers.ErrMemory, 5), true, true, 3},
		{"there are no workers for a while", again(workers.ErrNotReady, 20), true, true, 21},
		{"a time-out", again(workers.ErrTimeout, 1), true, true, 1},
		{"no answer", again(workers.ErrBadAnswer, 1), true, true, 1},
		{"the end", again(workers.ErrClosed, 1), true, false, 1},
		{"a worker dies, not kept", again(workers.ErrDied, 1), false, true, 1},
		{"there are no workers, not kept", again(workers.ErrNotReady, 1), false, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fn := &scripted{ends: test.ends}
				e, m := scriptedEvents(t, fn)
				require.Equal(t, test.handled, e.handle(m, &broker.Message{Topic: "a", Kept: test.kept, Came: time.Now()}))
				require.Equal(t, test.runs, fn.runs)
			})
		})
	}
}

// W3: while others have all workers, a message that is kept waits, and one that is not is lost.
func TestNuclioMessagesWaitForWorkersOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := &scripted{}
		e, m := scriptedEvents(t, fn)
		q := e.function.allocators[m.source.Allocator].queue
		require.True(t, q.TryAcquire(0))
		require.True(t, e.handle(m, &broker.Message{Topic: "a"}))
		require.Zero(t, fn.runs)
		handled := make(chan bool, 1)
		go func() { handled <- e.handle(m, &broker.Message{Topic: "a", Kept: true}) }()
		time.Sleep(time.Minute)
		require.Zero(t, fn.runs)
		q.Release(0)
		require.True(t, <-handled)
		require.Equal(t, 1, fn.runs)
	})
}

// §16: what we end ourselves is no death of the message's.
func TestNuclioMessagesAreLeftAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := &scripted{ends: []error{workers.ErrDied, workers.ErrDied, workers.ErrDied}}
		e, m := scriptedEvents(t, fn)
		handled := make(chan bool, 1)
		go func() { handled <- e.handle(m, &broker.Message{Topic: "a", Kept: true}) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, e.end(ctx))
		require.False(t, <-handled)
		require.Equal(t, 1, fn.runs)
		require.False(t, e.handle(m, &broker.Message{Topic: "a", Kept: true}))
	})
}
