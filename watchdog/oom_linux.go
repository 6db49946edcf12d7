package watchdog

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// maxOOMScoreAdj is the kernel's upper bound.
const maxOOMScoreAdj = 1000

var ownOOMScoreAdj = sync.OnceValues(func() (int, error) {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b)))
})

// raiseOOMScore sets the score of pid to ours plus by.
func raiseOOMScore(pid, by int) error {
	own, err := ownOOMScoreAdj()
	if err != nil {
		return err
	}
	score := min(own+by, maxOOMScoreAdj)
	if score == own {
		return nil
	}
	// Plain system calls: os.WriteFile would also register the file with the
	// network poller, for each process started.
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = syscall.Write(fd, strconv.AppendInt(nil, int64(score), 10))
	_ = syscall.Close(fd) // nothing is buffered
	return err
}
