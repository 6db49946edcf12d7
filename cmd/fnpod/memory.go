package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// When memory is given back: after the start, as soon as there was no request for a second, and later whenever a
// quiet minute ends and this much was allocated since the last time, for example by scrapes.
const (
	quietAfterStart = time.Second
	quietLater      = time.Minute
	worthGivingBack = 1 << 20
)

// giveBack returns to the kernel what was needed once: the start has touched most of the binary, and three quarters of
// what it allocated are garbage. It costs 3 ms of a processor, at a time when
// nobody waits; what is needed after all comes back from the page cache, 64 KB at a time.
func (p *pod) giveBack(ctx context.Context) {
	quiet := quietAfterStart
	t := time.NewTicker(quiet)
	defer t.Stop()
	for before := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if p.metrics.Requests().InFlight > 0 || p.meter.Signals().SinceLast < quiet {
			continue
		}
		now := allocated()
		if quiet == quietLater && now-before < worthGivingBack {
			continue
		}
		before = now
		debug.FreeOSMemory()
		if err := dropCode(); err != nil {
			p.log.Debug("pages of the binary not given back", "err", err)
		}
		quiet = quietLater
		t.Reset(quiet)
	}
}

// allocated returns how many bytes were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// dropCode unmaps the pages of the binary's code and constants. They stay in the page cache.
func dropCode() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("find the pages of the binary: %w", err)
	}
	defer f.Close()
	for _, m := range unchangedFiles(f) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("drop the pages of the binary: %w", errno)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// unchangedFiles returns the private mappings of files in a text of /proc/PID/smaps whose every page is as it is in
// the file, and which the program cannot write to: only those come back as they were.
func unchangedFiles(smaps io.Reader) []mapping {
	var all []mapping
	var m mapping
	var constant bool
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		var rights, offset, device string
		var inode uint64
		line := lines.Text()
		if first, _, _ := strings.Cut(line, " "); strings.Contains(first, "-") {
			n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &m.start, &m.end, &rights, &offset, &device, &inode)
			constant = n == 6 && inode != 0 && strings.HasPrefix(rights, "r-") && strings.HasSuffix(rights, "p")
			continue
		}
		if name, value, _ := strings.Cut(line, ":"); constant && name == "Anonymous" && strings.TrimSpace(value) == "0 kB" {
			all = append(all, m)
		}
	}
	return all
}
