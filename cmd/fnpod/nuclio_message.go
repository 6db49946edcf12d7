package main

import (
	"errors"
	"time"

	"github.com/fnpod/fnpod/broker"
	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// mostTries is how often a message is tried whose worker dies.
const mostTries = 3

// work handles messages until no more come.
func (e *nuclioEvents) work(m *nuclioMessages) {
	for {
		message, ok := m.inbox.Take()
		if !ok {
			return
		}
		message.Done(e.handle(m, message))
	}
}

// Pauses before a message is tried again.
const (
	firstTryPause, longestTryPause = 100 * time.Millisecond, 10 * time.Second
)

// handle lets a worker handle a message, and reports whether that is done. What the broker keeps is tried until it has been
// answered, or has cost several workers their lives; what it does not keep is tried once.
func (e *nuclioEvents) handle(m *nuclioMessages, message *broker.Message) bool {
	deaths, asked := 0, message.Came
	for pause := firstTryPause; ; pause = min(2*pause, longestTryPause) {
		err := e.try(m, message, asked)
		switch {
		case err == nil || !message.Kept:
			return true
		case e.over.Err() != nil || errors.Is(err, workers.ErrClosed) || errors.Is(err, watchdog.ErrForkClosed) || errors.Is(err, queue.ErrClosed):
			return false
		case errors.Is(err, queue.ErrTimeout) || errors.Is(err, queue.ErrFull) || errors.Is(err, workers.ErrNotReady):
		case errors.Is(err, workers.ErrDied) || errors.Is(err, workers.ErrMemory) || errors.Is(err, workers.ErrProtocol):
			if deaths++; deaths == mostTries {
				m.log.Error("message is given up", "topic", message.Topic, "id", message.ID, "tries", deaths)
				return true
			}
		default: // a time-out, or an answer that is none: another try would not change it
			return true
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-e.over.Done():
			t.Stop()
			return false
		}
		e.function.statistics[m.source.Name].Asked()
		asked = time.Now()
	}
}

// try lets a worker handle a message that has asked for one at a time.
func (e *nuclioEvents) try(m *nuclioMessages, message *broker.Message, asked time.Time) error {
	call, err := nuclio.NewMessage(m.source, message)
	if err != nil {
		m.log.Error("message cannot be an event", "topic", message.Topic, "err", err)
		return err
	}
	return e.function.send(m.source, call, asked, m.log)
}
