package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// parseSchedstat returns the processor time of a thread, the first field of its schedstat.
func parseSchedstat(text []byte) (time.Duration, error) {
	first, _, _ := bytes.Cut(text, []byte(" "))
	ns, err := strconv.ParseInt(string(bytes.TrimSpace(first)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("schedstat %q: %w", text, err)
	}
	return time.Duration(ns), nil
}

// parseIdle returns the time that all processors had nothing to do, or were taken by the hypervisor, from /proc/stat.
// Busy time is the rest: its own fields are sampled by the tick and miss a lot of programs that sleep often.
func parseIdle(text []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat %q: not a line of processor times", line)
	}
	var idle time.Duration
	for _, i := range []int{4, 5, 8} { // idle, iowait, steal
		ticks, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat %q: %w", line, err)
		}
		idle += time.Duration(ticks) * tick
	}
	return idle, nil
}

// parseKB returns a value of a file like /proc/PID/status or /proc/meminfo in bytes.
func parseKB(text []byte, name string) (int64, error) {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: not there", name)
}

// idle is the time that the processors of the machine could not or need not work.
func idle() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseIdle(text)
}

// cpuOf is the processor time of the threads of a process. Threads that ended are not in it; a Go program ends none
// and nginx has one.
func cpuOf(pid int) (time.Duration, error) {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, e := range entries {
		text, err := os.ReadFile(tasks + "/" + e.Name() + "/schedstat")
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		d, err := parseSchedstat(text)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// collectedBy is the processor time of the children that a process has collected, to a tick.
func collectedBy(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseCollected(text)
}

// parseCollected reads the 16th and 17th field of /proc/PID/stat; the second one may have blanks.
func parseCollected(text []byte) (time.Duration, error) {
	rest := string(text[bytes.LastIndexByte(text, ')')+1:])
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, fmt.Errorf("stat %q: too short", text)
	}
	var sum time.Duration
	for _, field := range fields[13:15] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat %q: %w", text, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// childrenOf lists the processes that the threads of pid started.
func childrenOf(pid int) ([]int, error) {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return nil, err
	}
	var children []int
	for _, e := range entries {
		text, err := os.ReadFile(tasks + "/" + e.Name() + "/children")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for word := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("children of %d: %w", pid, err)
			}
			children = append(children, child)
		}
	}
	return children, nil
}

// switchesOf counts how often the threads of a process gave up a processor or lost it.
func switchesOf(pid int) (int64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			if strings.HasSuffix(name, "voluntary_ctxt_switches") {
				n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
				if err != nil {
					return 0, fmt.Errorf("%s of %d: %w", name, pid, err)
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// memoryOf is the resident memory of a process in bytes, and what of it is its own: not pages of its binary, which the
// kernel shares and can drop.
func memoryOf(pid int) (rss, anonymous int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	rss, err = parseKB(text, "VmRSS")
	if err != nil {
		return 0, 0, err
	}
	anonymous, err = parseKB(text, "RssAnon")
	return rss, anonymous, err
}
