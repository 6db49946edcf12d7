package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/broker"
	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/nuclio"
)

// eventSource receives messages for a trigger. One more broker is one more implementation, and a line in newEventSource.
type eventSource interface {
	// Run puts messages into the inbox until ctx ends. Then it lets no more come, closes the inbox, and stays connected as
	// long as it has to acknowledge some. An error means that it will never work.
	Run(ctx context.Context, in *broker.Inbox) error
	// Up returns a channel that is closed when messages come, for the first time.
	Up() <-chan struct{}
	// Connected tells whether messages come now.
	Connected() bool
}

// newEventSource returns what receives the messages of a trigger; nil if it is none of a broker.
//
//nolint:ireturn // there are two
func newEventSource(src *nuclio.Source, log *slog.Logger) eventSource {
	switch {
	case src.NATS != nil:
		c := *src.NATS
		c.Log = log
		return broker.NewNATS(c)
	case src.MQTT != nil:
		c := *src.MQTT
		c.Log = log
		return broker.NewMQTT(c)
	default:
		return nil
	}
}

// How many messages of a trigger may wait for workers.
const (
	mostMessages     = 1024
	mostMessageBytes = 64 << 20
)

// nuclioEvents lets workers handle the messages of brokers: as many at once as there are workers.
type nuclioEvents struct {
	function *nuclioFunction
	limit    time.Duration // of the drain
	triggers []*nuclioMessages
	all      sync.WaitGroup  // what works on messages
	over     context.Context // ends when no more tries are made: a worker that dies then was ended by us
	giveUp   context.CancelFunc
}

// nuclioMessages are those of one trigger.
type nuclioMessages struct {
	source *nuclio.Source
	from   eventSource
	inbox  *broker.Inbox
	log    *slog.Logger
	lost   atomic.Int64
}

func newNuclioEvents(f *nuclioFunction, limit time.Duration, log *slog.Logger) *nuclioEvents {
	e := &nuclioEvents{function: f, limit: limit}
	e.over, e.giveUp = context.WithCancel(context.Background())
	for i := range f.settings.Triggers {
		m := &nuclioMessages{source: &f.settings.Triggers[i]}
		m.log = log.With("trigger", m.source.Name)
		if m.from = newEventSource(m.source, m.log); m.from == nil {
			continue
		}
		st := f.statistics[m.source.Name]
		m.inbox = broker.NewInbox(mostMessages, mostMessageBytes, st.Asked, func(reason error) {
			st.Lost()
			if n := m.lost.Add(1); n&(n-1) == 0 { // 1, 2, 4 and so on: a flood is no flood of lines
				m.log.Error("messages are lost", "count", n, "err", reason)
			}
		})
		st.Waits(m.inbox.Waiting)
		e.triggers = append(e.triggers, m)
	}
	return e
}

// ready tells that all brokers have taken their subscriptions.
func (e *nuclioEvents) ready() bool {
	for _, m := range e.triggers {
		select {
		case <-m.from.Up():
		default:
			return false
		}
	}
	return true
}

// series adds whether brokers are connected.
func (e *nuclioEvents) series(set *metrics.Set) {
	for _, m := range e.triggers {
		set.Func(metrics.BrokerConnected, func() float64 {
			if m.from.Connected() {
				return 1
			}
			return 0
		}, m.source.Name)
	}
}

// run receives messages, from when the workers are ready until ctx ends, and returns when those that came have been handled,
// or the time for that is over. An error names the trigger that will never work.
func (e *nuclioEvents) run(ctx context.Context) error {
	select {
	case <-e.function.up:
	case <-ctx.Done():
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, m := range e.triggers {
		var working sync.WaitGroup
		for range m.source.Workers {
			working.Go(func() { e.work(m) })
		}
		failed := make(chan error, 1)
		e.all.Go(func() { failed <- m.from.Run(gctx, m.inbox) })
		done := make(chan struct{})
		e.all.Go(func() {
			working.Wait()
			close(done)
		})
		g.Go(func() error { return e.watch(gctx, m, failed, done) })
	}
	return g.Wait()
}

// watch waits for the end of a trigger, and bounds its drain.
func (e *nuclioEvents) watch(ctx context.Context, m *nuclioMessages, failed <-chan error, done <-chan struct{}) error {
	select {
	case err := <-failed:
		if err != nil {
			m.inbox.Abandon()
			return fmt.Errorf("trigger %s: %w", m.source.Name, err)
		}
	case <-ctx.Done():
	}
	<-ctx.Done()
	t := time.NewTimer(e.limit)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		n := m.inbox.Abandon()
		e.giveUp()
		m.log.Warn("messages are left: the drain took too long", "waiting", n, "limit", e.limit.String())
		return nil
	}
}

// end returns when nothing works on messages any more. The function has ended, or is about to.
func (e *nuclioEvents) end(ctx context.Context) error {
	<-ctx.Done()
	e.giveUp()
	e.all.Wait()
	return nil
}
