package watchdog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// reapPause is the least time between two rounds of the Reaper: most
	// SIGCHLD are for children of our own, which need no Reaper.
	reapPause = 100 * time.Millisecond
	// reapBatch bounds how many orphans are collected while starts wait.
	reapBatch = 256
)

// SetSubreaper makes us the parent of orphaned descendants where we are not
// process 1. Together with a Reaper it keeps them from piling up, and lets
// Kill and Stop find those that left their process group.
func SetSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("watchdog: become subreaper: %w", err)
	}
	return nil
}

// adopts reports whether orphans are handed to us.
func adopts() bool {
	if os.Getpid() == 1 {
		return true
	}
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	return err == nil && subreaper != 0
}

// Reaper collects orphans that were handed to us as process 1 or subreaper, and
// ends those that a process of ours left behind and nobody found in time.
// It never touches a child that Start began; every child of the binary has to
// begin there.
type Reaper struct {
	// Signals brings SIGCHLD. It needs a buffer of one. Without it only Every
	// counts.
	Signals <-chan os.Signal
	// Every is the time between two looks without a signal; 0 means 10 s.
	Every time.Duration
	// Log gets a debug record per orphan; nil discards it.
	Log *slog.Logger

	reaped atomic.Int64
}

// Reaped returns how many orphans were collected. Any goroutine may call it.
func (r *Reaper) Reaped() int64 { return r.reaped.Load() }

// Run collects orphans until ctx ends, then returns nil.
func (r *Reaper) Run(ctx context.Context) error {
	every := r.Every
	if every <= 0 {
		every = 10 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	pause := time.NewTimer(reapPause)
	defer pause.Stop()
	signals := r.Signals
	for {
		ended := children.ended.Load()
		more := r.reap()
		pause.Reset(reapPause)
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		if more || children.ended.Load() != ended {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-signals:
			if !open {
				signals = nil
			}
		case <-tick.C:
		}
	}
}

// reap collects the orphans that are dead now and reports whether there may
// be more. No start is between fork and registration meanwhile, so an
// unregistered child is an orphan.
func (r *Reaper) reap() bool {
	children.gate.Lock()
	defer children.gate.Unlock()
	killStrays(r.Log)
	for range reapBatch {
		info, err := waitid(unix.P_ALL, 0, unix.WNOHANG|unix.WNOWAIT)
		if err != nil || info.pid == 0 {
			return false
		}
		if children.has(int(info.pid)) {
			r.reapBehind()
			return false
		}
		r.collect(int(info.pid))
	}
	return true
}

// reapBehind collects orphans that the look at any child does not show,
// because it shows the same child of our own until that is collected.
func (r *Reaper) reapBehind() {
	for _, pid := range adopted() {
		if !children.has(pid) {
			r.collect(pid)
		}
	}
}

func (r *Reaper) collect(pid int) {
	info, err := waitid(unix.P_PID, pid, unix.WNOHANG)
	if err != nil || info.pid == 0 {
		return // a sweep was faster, or it still runs
	}
	r.reaped.Add(1)
	if r.Log != nil {
		r.Log.Debug("orphan reaped", "pid", pid, "exit", info.exit().String())
	}
}
