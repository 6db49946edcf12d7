package main

import (
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/watchdog"
)

// passage passes the output of the function on where our own goes, line by line and otherwise as it is, without ever
// waiting (rules M5, W14): the function would wait with us.
type passage struct {
	stdout, stderr *logPipe
	log            *slog.Logger
	dropped        atomic.Int64 // bytes

	mu     sync.Mutex
	untold int64     // guarded by mu: bytes dropped that were not logged yet
	told   time.Time // guarded by mu
}

// cutMark is the end of a line that was too long.
var cutMark = []byte(" [cut by fnpod]\n")

var newline = []byte("\n")

// line takes one line of output.
func (p *passage) line(l watchdog.Line) {
	if l.Dropped > 0 {
		p.dropped.Add(l.Dropped)
		p.tell(l.Dropped, len(l.Text) == 0)
		if len(l.Text) == 0 {
			return
		}
	}
	to, end := p.stdout, newline
	if l.Stream == watchdog.Stderr {
		to = p.stderr
	}
	if l.Cut {
		end = cutMark
	}
	to.add(l.Text, end)
}

// tell logs what was dropped, once a second or when it is the last.
func (p *passage) tell(bytes int64, last bool) {
	p.mu.Lock()
	p.untold += bytes
	if !last && time.Since(p.told) < time.Second {
		p.mu.Unlock()
		return
	}
	bytes, p.untold, p.told = p.untold, 0, time.Now()
	p.mu.Unlock()
	p.log.Warn("output of the function was dropped: it came too fast", "bytes", bytes)
}

// lines is standard output for what the function prints: it never waits.
func (inv *invocation) lines(log *slog.Logger) *logPipe {
	p := inv.output()
	p.tell(func(lost uint64) {
		log.Warn("lines of output were dropped: standard output was not read", "count", lost)
	})
	return p
}

// output is lines without anybody who is told of losses.
func (inv *invocation) output() *logPipe {
	if inv.pipe == nil {
		inv.pipe = newLogPipe(inv.stdout)
	}
	return inv.pipe
}

// tellLosses lets the log tell of records that it lost.
func (inv *invocation) tellLosses(log *slog.Logger) {
	if p, ok := inv.stderr.(*logPipe); ok {
		p.tell(func(lost uint64) { log.Warn("log records were dropped: standard error was not read", "count", lost) })
	}
}

// passOn returns a passage if writing to one of our streams may wait for somebody; nil if the function may as well have
// them itself, because they are files or a terminal.
func (inv *invocation) passOn(log *slog.Logger) *passage {
	stderr, ok := inv.stderr.(*logPipe)
	if !ok || !hasReader(inv.stdout) && !hasReader(stderr.w) {
		return nil
	}
	return &passage{stdout: inv.lines(log), stderr: stderr, log: log}
}

func hasReader(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
}
