package watchdog

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// MemoryRoom tells how much more memory our control group may take, in bytes. The limit may change at any time.
type MemoryRoom struct {
	limit, usage, stat string // files; empty: there is no group
	cache              string // in stat: what is kept of files and can be given up
}

// FindMemoryRoom finds the control group that we are in.
func FindMemoryRoom() MemoryRoom {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return MemoryRoom{}
	}
	return findMemoryRoom("/sys/fs/cgroup", groups)
}

func findMemoryRoom(root string, groups []byte) MemoryRoom {
	for _, g := range memoryGroups(root, groups) {
		m := MemoryRoom{cache: "total_inactive_file", limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes"}
		if g.unified {
			m = MemoryRoom{cache: "inactive_file", limit: "memory.max", usage: "memory.current"}
		}
		m.limit, m.usage, m.stat = filepath.Join(g.dir, m.limit), filepath.Join(g.dir, m.usage), filepath.Join(g.dir, "memory.stat")
		if _, err := os.Stat(m.limit); err == nil {
			return m
		}
	}
	return MemoryRoom{}
}

// Left returns how much is left; false if there is no limit.
func (m MemoryRoom) Left() (int64, bool) {
	limit, limited := number(m.limit)
	usage, known := number(m.usage)
	if !limited || !known || limit >= 1<<60 { // version 1 has a large number for none
		return 0, false
	}
	return limit - usage + m.cached(), true
}

// cached returns what the kernel takes back before it kills.
func (m MemoryRoom) cached() int64 {
	n, _ := counted(m.stat, m.cache) // 0 without it
	return n
}

// counted reads one number of a file whose lines are names and numbers.
func counted(file, name string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(b) {
		if v, found := bytes.CutPrefix(line, []byte(name+" ")); found {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// number reads a file that holds one; "max" is none.
func number(file string) (int64, bool) {
	if file == "" {
		return 0, false
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}
