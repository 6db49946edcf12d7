package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/queue"
)

// nuclioClocks send the events of cron and kickstart triggers.
type nuclioClocks struct {
	function *nuclioFunction
	log      *slog.Logger
	ended    chan struct{} // closed when the pod drains
	once     sync.Once
}

func newNuclioClocks(f *nuclioFunction, log *slog.Logger) *nuclioClocks {
	return &nuclioClocks{function: f, log: log, ended: make(chan struct{})}
}

// stop lets no more events begin.
func (c *nuclioClocks) stop() { c.once.Do(func() { close(c.ended) }) }

// run sends the events of all clocks until stop, and waits for those that run.
func (c *nuclioClocks) run(context.Context) {
	var first, all sync.WaitGroup
	for i := range c.function.settings.Triggers {
		src := &c.function.settings.Triggers[i]
		switch src.Kind {
		case nuclio.KindKickstart:
			first.Go(func() { c.send(src) })
		case nuclio.KindCron:
			all.Go(func() { c.tick(src) })
		}
	}
	first.Wait()
	close(c.function.kicked)
	all.Wait()
}

// tick sends an event whenever the schedule is due. A time that passed meanwhile is made up for once, at once.
func (c *nuclioClocks) tick(src *nuclio.Source) {
	last := time.Now()
	for {
		next := src.Schedule.Next(last)
		if next.IsZero() {
			c.log.Warn("schedule is never due", "trigger", src.Name)
			return
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-t.C:
		case <-c.ended:
			t.Stop()
			return
		}
		c.send(src)
		if last = next; src.Schedule.Next(last).Before(time.Now()) {
			if last = time.Now(); !c.running() {
				return
			}
			c.send(src)
		}
	}
}

func (c *nuclioClocks) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *nuclioClocks) send(src *nuclio.Source) {
	c.function.statistics[src.Name].Asked()
	_ = c.function.send(src, nuclio.NewCall(src), time.Now(), c.log.With("trigger", src.Name)) // the log has it
}

// send lets a worker run one event that has asked for one at a time, and logs what came of it if that was not good.
func (f *nuclioFunction) send(src *nuclio.Source, call *nuclio.Call, asked time.Time, log *slog.Logger) error {
	a, st := f.allocators[src.Allocator], f.statistics[src.Name]
	var w queue.Waiter
	w.Reset()
	err := a.queue.Acquire(&w)
	st.Granted(time.Since(asked).Truncate(time.Millisecond), err)
	if err != nil {
		log.Error("no worker for the event", "err", err)
		return err
	}
	defer a.queue.Release(0)
	err = a.function.run(call)
	st.Handled(call.Status, err)
	if err != nil || call.Status >= 500 {
		log.Error("event was not handled", "status", call.Status, "answer", string(call.Text), "err", err)
	}
	return err
}
