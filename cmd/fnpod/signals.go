package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/fnpod/fnpod/watchdog"
)

// stopSignals returns a context that ends with the first SIGTERM or SIGINT; the second ends the process and all it
// started at once. As process 1 we must do that ourselves: the kernel drops signals that process 1 does not handle.
func stopSignals(exit func(int), hurried *atomic.Int32) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // one to begin the end, one to hurry it
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() { // ends with the process
		<-signals
		cancel()
		s := <-signals
		watchdog.KillAll()
		if code := hurried.Load(); code != 0 {
			exit(int(code))
		}
		if number, ok := s.(syscall.Signal); ok {
			exit(128 + int(number))
		}
	}()
	return ctx, cancel
}

// catchSignals catches, from now on, what does not end the pod (rule W6).
func catchSignals() chan os.Signal {
	signals := make(chan os.Signal, 8) // a burst of signals for the function
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	return signals
}

// otherSignals handles the signals that were caught until ctx ends: SIGQUIT writes all goroutines to standard error,
// SIGPIPE means nothing, and the rest goes to the function, if it is a process that wants signals.
func otherSignals(ctx context.Context, signals chan os.Signal, log *slog.Logger, stderr io.Writer, forward func(syscall.Signal) error) {
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			handleSignal(s, log, stderr, forward)
		}
	}
}

func handleSignal(s os.Signal, log *slog.Logger, stderr io.Writer, forward func(syscall.Signal) error) {
	number, ok := s.(syscall.Signal)
	switch {
	case !ok || number == syscall.SIGPIPE:
	case number == syscall.SIGQUIT:
		stacks := make([]byte, 1<<20)
		_, _ = stderr.Write(stacks[:runtime.Stack(stacks, true)]) // nobody to tell if it fails
	case forward != nil:
		if err := forward(number); err != nil {
			log.Warn("signal not passed on", "signal", number.String(), "err", err)
		}
	}
}
