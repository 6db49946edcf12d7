package watchdog

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// SealFiles keeps the descriptors that we ourselves inherited, beyond the
// three standard streams, from reaching the processes we start. Call it once,
// before the first Start.
func SealFiles() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err == nil {
		return nil
	}
	return sealEach() // the kernel is older than 5.11
}

// SetUndumpable hides our memory and environment from functions that run
// under our user id, and keeps us from writing core dumps.
func SetUndumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("watchdog: hide from other processes: %w", err)
	}
	return nil
}

func sealEach() error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("watchdog: close inherited descriptors on exec: %w", err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
