package watchdog

import (
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// spareFiles is how many descriptors have to be left for a process to be started
// (rule L12): logs and metrics need some, too.
const spareFiles = 8

// roomToStart returns an error that wraps EMFILE when descriptors are running
// out. They are given by number, the lowest first; any is asked for a copy.
func roomToStart(any *os.File) error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil // the start itself will tell
	}
	n, err := unix.FcntlInt(any.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("descriptors are running out: %w", err)
	}
	_ = unix.Close(n) // nothing was done with it
	if most := int(min(limit.Cur, math.MaxInt32)); n >= most-spareFiles {
		return fmt.Errorf("descriptors are running out: %w", syscall.EMFILE)
	}
	return nil
}
