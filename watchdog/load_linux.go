package watchdog

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"
)

// saturation is the share of our processors from which on nothing is started ahead: it would take time from requests.
const saturation = 0.85

// loadWindow is the least time over which the share is taken.
const loadWindow = 100 * time.Millisecond

// cpuLoad follows how busy the processors are that we may use. The zero value is ready.
type cpuLoad struct {
	at   time.Time
	used time.Duration // until then
	busy bool
}

// saturated reports whether our control group, or the machine where that is not told, used more than saturation of
// GOMAXPROCS processors lately.
func (l *cpuLoad) saturated(now time.Time) bool {
	elapsed := now.Sub(l.at)
	if elapsed < loadWindow {
		return l.busy
	}
	used := cpuUsed()
	if l.used > 0 && elapsed < 10*loadWindow { // an older picture says little
		l.busy = float64(used-l.used) > saturation*float64(elapsed)*float64(runtime.GOMAXPROCS(0))
	} else {
		l.busy = false
	}
	l.at, l.used = now, used
	return l.busy
}

// cpuUsed is the processor time that was used; 0 if nobody tells.
func cpuUsed() time.Duration {
	if b, err := os.ReadFile("/sys/fs/cgroup/cpu.stat"); err == nil {
		return parseUsage(b)
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/cpuacct/cpuacct.usage"); err == nil {
		ns, _ := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64) // 0 means that nobody tells
		return time.Duration(ns)
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseTicks(b)
}

// parseUsage reads usage_usec of the second version of control groups.
func parseUsage(b []byte) time.Duration {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("usage_usec ")); ok {
			us, _ := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			return time.Duration(us) * time.Microsecond
		}
	}
	return 0
}

// parseTicks adds up the first line of /proc/stat but for what was idle: "cpu USER NICE SYSTEM IDLE IOWAIT …" in
// hundredths of a second.
func parseTicks(b []byte) time.Duration {
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	var sum int64
	for i, f := range bytes.Fields(line) {
		if i == 0 || i == 4 || i == 5 {
			continue
		}
		n, _ := strconv.ParseInt(string(f), 10, 64)
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond
}
