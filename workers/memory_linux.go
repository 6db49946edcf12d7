package workers

import (
	"bytes"
	"os"
	"strconv"
)

// residentBytes returns the memory of a process, 0 if it is gone.
func residentBytes(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// oomCounter follows how often the kernel killed in our control group because it
// was out of memory.
type oomCounter struct{ last int64 }

// next reports whether that happened since the last time.
func (c *oomCounter) next() bool {
	n, ok := oomKills()
	if !ok {
		return false
	}
	more := n > c.last
	c.last = n
	return more
}

// oomKills reads the count of version 2 control groups.
func oomKills() (int64, bool) {
	b, err := os.ReadFile("/sys/fs/cgroup/memory.events")
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(b) {
		if v, found := bytes.CutPrefix(line, []byte("oom_kill ")); found {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
