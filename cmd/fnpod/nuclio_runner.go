package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// nuclioWorkers is a pool whose workers are all there from the start.
type nuclioWorkers struct{ *workersFunction }

func (f *nuclioWorkers) up() <-chan struct{} { return f.pool.Ready() }

// Ready says no when one worker of the pool is not ready.
func (f *nuclioWorkers) Ready() error {
	if st := f.pool.Stats(); st.Idle+st.Busy < f.config.Max {
		return errStarting
	}
	return nil
}

func (f *nuclioWorkers) run(x workers.Exchange) error {
	err := f.pool.Do(x)
	if raised, ok := errors.AsType[*workers.HandlerError](err); ok {
		return &raisedError{raised}
	}
	return err
}

// nuclioShell is a process for each event.
type nuclioShell struct {
	forkFunction

	shell *nuclio.Shell
	times *nuclio.WorkerTimes
}

func newNuclioShell(s *nuclio.Settings, times *nuclio.WorkerTimes, inv *invocation, log *slog.Logger) (*nuclioShell, error) {
	shell, err := s.NewShell(inv.env.or("NUCLIO_SHELL_HANDLER_DIR", "/opt/nuclio"))
	if err != nil {
		return nil, err
	}
	config := shell.Config()
	config.ClientGone, config.Log = proxy.ErrClientGone, log
	fork, err := watchdog.NewFork(config)
	if err != nil {
		return nil, err
	}
	return &nuclioShell{forkFunction: forkFunction{Fork: fork, mode: "serializing", path: config.Path}, shell: shell, times: times}, nil
}

// closedChannel is a channel of what needs no start.
func closedChannel() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (f *nuclioShell) up() <-chan struct{} { return closedChannel() }

// run counts all events for the worker 0: processes have no place.
func (f *nuclioShell) run(x workers.Exchange) error {
	from := time.Now()
	err := f.shell.Failed(x, f.Fork.Do(x))
	f.times.Add(0, time.Since(from))
	return err
}
