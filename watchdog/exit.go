package watchdog

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code; -1 when a signal ended the process, or when the
	// status was lost because somebody else collected it.
	Code int
	// Signal is the signal that ended the process; 0 when it exited.
	Signal syscall.Signal
}

// Status returns the status a shell would show: the exit code, or 128+n when
// signal n ended the process. An unknown end is 255.
func (e Exit) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code & 0xff
}

// String says how the process ended, like "exit status 3" or "killed by
// SIGKILL".
func (e Exit) String() string {
	switch {
	case e.Signal != 0:
		return "killed by " + signalName(e.Signal)
	case e.Code < 0:
		return "exit status unknown"
	default:
		return fmt.Sprintf("exit status %d", e.Code)
	}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
