package watchdog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

var errStat = errors.New("unknown format")

// stat is what we need of /proc/PID/stat.
type stat struct {
	state  byte
	parent int
	group  int
}

// dead reports whether the process only waits to be collected.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' }

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads "PID (NAME) STATE PARENT GROUP …". The name is the
// process's own choice and may contain anything, also ") R 1 2".
func parseStat(b []byte) (stat, error) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return stat{}, errStat
	}
	f := bytes.Fields(b[end+1:])
	if len(f) < 3 || len(f[0]) != 1 {
		return stat{}, errStat
	}
	parent, err1 := strconv.Atoi(string(f[1]))
	group, err2 := strconv.Atoi(string(f[2]))
	if err1 != nil || err2 != nil {
		return stat{}, errStat
	}
	return stat{state: f[0][0], parent: parent, group: group}, nil
}

// groupAlive reports whether the group has a member that still runs. Without
// procfs it has none.
func groupAlive(group int) bool {
	dir, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && s.group == group && !s.dead() {
			return true
		}
	}
	return false
}

// adopted lists our children among which orphans appear: those of our first
// thread, which the kernel picks as their new parent. Children that we
// started ourselves may be among them. Without procfs the list is empty.
func adopted() []int {
	file, err := childrenFile()
	if err != nil {
		return nil
	}
	var room [512]byte
	n, err := unix.Pread(file, room[:], 0)
	b := room[:max(n, 0)]
	for n == len(room) && err == nil { // there may be more
		n, err = unix.Pread(file, room[:], int64(len(b)))
		b = append(b, room[:max(n, 0)]...)
	}
	if err != nil {
		return nil
	}
	var pids []int
	for f := range bytes.FieldsSeq(b) {
		if pid, err := strconv.Atoi(string(f)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// childrenFile lists our children. It is opened once and kept: it is read at the end of every process. A plain
// descriptor, since an os.File would be offered to the network poller.
var childrenFile = sync.OnceValues(func() (int, error) {
	self := os.Getpid()
	return unix.Open(procPath(self, "task/"+strconv.Itoa(self)+"/children"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
})

// RSS returns the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	b, err := os.ReadFile(procPath(pid, "statm"))
	if err != nil {
		return 0, fmt.Errorf("watchdog: resident memory: %w", err)
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, fmt.Errorf("watchdog: resident memory of process %d: %w", pid, errStat)
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("watchdog: resident memory of process %d: %w", pid, errStat)
	}
	return pages * int64(os.Getpagesize()), nil
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}
