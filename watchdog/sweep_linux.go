package watchdog

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a sweep: a descendant that starts new ones faster than we kill
// them, or hangs in the kernel, must not hold us for ever.
const (
	sweepRounds = 64
	sweepDoubts = 8 // rounds for processes that show no environment: those that are in an exec
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
// have overwritten it, and any when we are neither process 1 nor subreaper. The
// kernel's list of children may leave one out while others end: that one is the
// Reaper's.
//
// It runs while the process is a zombie that keeps the group's number ours.
func (p *Process) sweep() {
	if !adopts() {
		return
	}
	deadline := time.Now().Add(sweepWait)
	doubts := 0
	for range sweepRounds {
		found, doubt := p.sweepOnce(deadline)
		if doubt && !found {
			doubts++
			runtime.Gosched()
		}
		if !found && (!doubt || doubts == sweepDoubts) || time.Now().After(deadline) {
			return
		}
	}
}

// sweepOnce kills the descendants that are our children now, waits for their
// end and reports whether there were any, or some that may be.
func (p *Process) sweepOnce(deadline time.Time) (found, doubt bool) {
	var fds []int
	for _, pid := range adopted() {
		if children.has(pid) {
			continue
		}
		fd, unknown := p.killDescendant(pid)
		if fd >= 0 {
			fds = append(fds, fd)
		}
		doubt = doubt || unknown
	}
	for _, fd := range fds {
		awaitDescendant(fd, deadline)
		_ = unix.Close(fd) // only polled, never written
	}
	return len(fds) > 0, doubt
}

// killDescendant kills pid if it descends from p, and returns a pidfd of it,
// else -1, and whether that is unknown. The pidfd is opened first: should the number pass to another
// process meanwhile, the signal does not reach that one. A member of the group
// that is dead already counts too: its children may have been handed to us
// after we looked.
func (p *Process) killDescendant(pid int) (fd int, unknown bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, false
	}
	s, err := readStat(pid)
	inGroup := err == nil && s.group == p.pid
	marked := false
	if err == nil && !inGroup && !s.dead() {
		var mark string
		mark, unknown = markOf(pid)
		marked = mark == p.mark
	}
	if !inGroup && !marked || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		_ = unix.Close(fd) // only polled, never written
		return -1, unknown
	}
	if !inGroup {
		p.log.Info("escaped process killed", "pid", pid, "started_by", p.pid)
	}
	return fd, false
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

// markOf returns the mark that the process was started with, "" if it has none. While it is in an exec it shows no
// environment, and neither does one that was started without.
func markOf(pid int) (mark string, unknown bool) {
	b, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return "", false
	}
	for e := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.HasPrefix(e, []byte(Mark+"=")) {
			return string(e), false
		}
	}
	return "", len(b) == 0
}

// killStrays kills those orphans that a process of ours has left behind although it was collected. No start is between
// fork and registration meanwhile, so every mark that may live is known.
func killStrays(log *slog.Logger) {
	var live map[string]bool
	for _, pid := range adopted() {
		if children.has(pid) {
			continue
		}
		if live == nil {
			live = children.marks()
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		mark, _ := markOf(pid)
		if strings.HasPrefix(mark, Mark+"="+markPrefix()+"-") && !live[mark] &&
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil && log != nil {
			log.Info("stray process killed", "pid", pid)
		}
		_ = unix.Close(fd) // never written
	}
}
