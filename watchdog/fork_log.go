package watchdog

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// log reads what the process has written to standard error.
func (r *forked) log() {
	if !r.logging {
		r.logging = true
		r.stderr.rate.init(r.f.cfg.OutputRate, time.Now())
		r.lines = lines{output: &r.stderr, stream: Stderr, rule: r.f.cfg.Lines, buf: buffers.Get().(*buffer)}
	}
	n, err := unix.Read(int(r.fds[onStderr].Fd), r.lines.space())
	switch {
	case errors.Is(err, unix.EINTR):
	case err != nil || n == 0:
		r.closeFile(onStderr)
	default:
		r.lines.add(n)
	}
}

// line stamps a line with the request.
func (r *forked) line(l Line) {
	r.f.dropped.Add(l.Dropped)
	r.f.cfg.Output(r.id, l)
}

// drainLog reads standard error to its end. The group is dead: only who left it
// can hold it open.
func (r *forked) drainLog() {
	var until int64
	for r.fds[onStderr].Fd >= 0 {
		timeout := 0
		if until != 0 {
			timeout = int((until - r.f.now()) / int64(time.Millisecond))
			if timeout <= 0 {
				return
			}
		}
		n, err := unix.Poll(r.fds[onStderr:onStderr+1], timeout)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		case n > 0:
			r.log()
		case until == 0:
			until = r.f.now() + int64(drainTime)
		}
	}
}

// endLog hands on what is left of the last line.
func (r *forked) endLog() {
	if !r.logging {
		return
	}
	r.logging = false
	r.lines.end()
	buffers.Put(r.lines.buf)
	r.lines = lines{}
}
