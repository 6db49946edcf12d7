package watchdog

import (
	"os"

	"golang.org/x/sys/unix"
)

// awaitExit returns when our child pid has ended and leaves it a zombie. It
// closes pidfd. A goroutine waits parked on the network poller; only where
// the kernel has no pidfd a thread has to wait.
func awaitExit(pid, pidfd int) {
	if pidfd < 0 || !pollExit(pid, pidfd) {
		_, _ = waitid(unix.P_PID, pid, unix.WNOWAIT) // an error too means that it is gone
	}
}

// pollExit waits on the network poller. It reports false when the poller does
// not take the pidfd.
func pollExit(pid, pidfd int) bool {
	if err := unix.SetNonblock(pidfd, true); err != nil {
		_ = unix.Close(pidfd) // only looked at, never written
		return false
	}
	f := os.NewFile(uintptr(pidfd), "pidfd")
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	return conn.Read(func(uintptr) bool { return ended(pid) }) == nil
}

// reap collects our zombie pid. The status is unknown when it was taken by
// somebody else, for example by a wait for any child.
func reap(pid int) Exit {
	info, err := waitid(unix.P_PID, pid, 0)
	if err != nil {
		return Exit{Code: -1}
	}
	return info.exit()
}
