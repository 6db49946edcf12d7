package watchdog

import (
	"bytes"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a sweep: a descendant that starts new ones faster than we kill
// them, or hangs in the kernel, must not hold us for ever.
const (
	sweepRounds = 64
	sweepWait   = time.Second
)

// sweep kills descendants that escaped the group kill: a process that made a
// session or group of its own (setsid, daemons). When the parent of such a
// process dies, the kernel hands it to process 1 or the nearest subreaper; if
// that is us, it appears among our children. Those are killed that are in the
// process's group or carry its mark in their environment, which no process of
// another worker does. Their death hands us the next generation, so this is
// repeated until nobody is found.
//
// Not found are processes that were started with an emptied environment or
// have overwritten it, and any when we are neither process 1 nor subreaper.
//
// It runs while the process is a zombie that keeps the group's number ours.
func (p *Process) sweep() {
	if !adopts() {
		return
	}
	deadline := time.Now().Add(sweepWait)
	for range sweepRounds {
		if !p.sweepOnce(deadline) || time.Now().After(deadline) {
			return
		}
	}
}

// sweepOnce kills the descendants that are our children now, waits for their
// end and reports whether there were any.
func (p *Process) sweepOnce(deadline time.Time) bool {
	var fds []int
	for _, pid := range adopted() {
		if children.has(pid) {
			continue
		}
		if fd := p.killDescendant(pid); fd >= 0 {
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		awaitDescendant(fd, deadline)
		_ = unix.Close(fd) // only polled, never written
	}
	return len(fds) > 0
}

// killDescendant kills pid if it descends from p, and returns a pidfd of it,
// else -1. The pidfd is opened first: should the number pass to another
// process meanwhile, the signal does not reach that one. A member of the group
// that is dead already counts too: its children may have been handed to us
// after we looked.
func (p *Process) killDescendant(pid int) int {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	s, err := readStat(pid)
	inGroup := err == nil && s.group == p.pid
	if err != nil || !inGroup && (s.dead() || !hasEnv(pid, p.mark)) ||
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		_ = unix.Close(fd) // only polled, never written
		return -1
	}
	if !inGroup {
		p.log.Info("escaped process killed", "pid", pid, "started_by", p.pid)
	}
	return fd
}

// awaitDescendant waits for the end of a killed descendant and collects it.
func awaitDescendant(fd int, deadline time.Time) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(max(0, time.Until(deadline)).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			return
		default:
			_, _ = waitid(unix.P_PIDFD, fd, unix.WNOHANG) // fails when the reaper was faster
			return
		}
	}
}

// hasEnv reports whether the process was started with the environment entry.
func hasEnv(pid int, entry string) bool {
	b, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return false
	}
	for e := range bytes.SplitSeq(b, []byte{0}) {
		if string(e) == entry {
			return true
		}
	}
	return false
}
