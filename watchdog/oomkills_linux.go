package watchdog

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// OOMCounter follows how often the kernel killed in our control group because it
// was out of memory (rule W15). It is for one goroutine at a time.
type OOMCounter struct {
	file string // with the kernel's count; empty: there is none
	last int64
}

// Begin finds the file, of several, and takes its count as the first.
func (c *OOMCounter) Begin(files []string) {
	for _, file := range files {
		if n, ok := oomKills(file); ok {
			c.file, c.last = file, n
			return
		}
	}
}

// OOMFiles lists where the count of our control group may be.
func OOMFiles() []string {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return oomFiles("/sys/fs/cgroup", groups)
}

// oomFiles lists where the count may be, by what /proc/self/cgroup says.
func oomFiles(root string, groups []byte) (files []string) {
	for _, g := range memoryGroups(root, groups) {
		name := "memory.oom_control"
		if g.unified {
			name = "memory.events"
		}
		files = append(files, filepath.Join(g.dir, name))
	}
	return files
}

// memoryGroup is a folder that may be that of our control group.
type memoryGroup struct {
	dir     string
	unified bool // version 2
}

// memoryGroups lists those folders, by what /proc/self/cgroup says. Inside a
// container the path there may be one of outside, and ours the root.
func memoryGroups(root string, groups []byte) (all []memoryGroup) {
	for line := range bytes.Lines(groups) {
		parts := strings.SplitN(string(bytes.TrimSpace(line)), ":", 3)
		if len(parts) < 3 {
			continue
		}
		controllers, path := parts[1], parts[2]
		switch {
		case controllers == "":
			all = append(all, memoryGroup{filepath.Join(root, path), true}, memoryGroup{root, true})
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			dir := filepath.Join(root, "memory")
			all = append(all, memoryGroup{filepath.Join(dir, path), false}, memoryGroup{dir, false})
		}
	}
	return all
}

// Pending reports whether Next would say yes.
func (c *OOMCounter) Pending() bool {
	n, ok := oomKills(c.file)
	return ok && n > c.last
}

// Next reports whether it happened since the last time.
func (c *OOMCounter) Next() bool {
	n, ok := oomKills(c.file)
	if !ok {
		return false
	}
	more := n > c.last
	c.last = n
	return more
}

// oomKills reads the count, which both versions of control groups write alike.
func oomKills(file string) (int64, bool) { return counted(file, "oom_kill") }
