package workers

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
// was out of memory (rule W15).
type oomCounter struct {
	file string // with the kernel's count; empty: there is none
	last int64
}

// begin finds the file and takes its count as the first.
func (c *oomCounter) begin(files []string) {
	for _, file := range files {
		if n, ok := oomKills(file); ok {
			c.file, c.last = file, n
			return
		}
	}
}

// ownOOMFiles are those of our control group.
func ownOOMFiles() []string {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return oomFiles("/sys/fs/cgroup", groups)
}

// oomFiles lists where the count may be, by what /proc/self/cgroup says. Inside a
// container the path there may be one of outside, and ours the root.
func oomFiles(root string, groups []byte) (files []string) {
	for line := range bytes.Lines(groups) {
		parts := strings.SplitN(string(bytes.TrimSpace(line)), ":", 3)
		if len(parts) < 3 {
			continue
		}
		controllers, path := parts[1], parts[2]
		switch {
		case controllers == "":
			files = append(files, filepath.Join(root, path, "memory.events"), filepath.Join(root, "memory.events"))
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			dir := filepath.Join(root, "memory")
			files = append(files, filepath.Join(dir, path, "memory.oom_control"), filepath.Join(dir, "memory.oom_control"))
		}
	}
	return files
}

// next reports whether it happened since the last time.
func (c *oomCounter) next() bool {
	n, ok := oomKills(c.file)
	if !ok {
		return false
	}
	more := n > c.last
	c.last = n
	return more
}

// oomKills reads the count, which both versions of control groups write alike.
func oomKills(file string) (int64, bool) {
	b, err := os.ReadFile(file)
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
