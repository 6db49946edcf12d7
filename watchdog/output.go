package watchdog

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Stream names one of the two output streams of a process.
type Stream uint8

// The output streams.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// String returns "stdout" or "stderr".
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// drainTime is how long after the end of a process its output may stay open
// in a descendant that was out of reach.
const drainTime = 250 * time.Millisecond

// output reads both streams of one process.
type output struct {
	stdout, stderr pipe
	deliver        func(Line)
	failed         func(any) // told when deliver panicked
	rule           LineRule
	rate           rate
	dropped        atomic.Int64
	open           atomic.Int32  // readers that still run
	drained        chan struct{} // closed by the last reader
}

// pipe carries one stream; w is a plain descriptor because it only has to
// reach the child.
type pipe struct {
	r *os.File
	w int
}

func newOutput(c Config) (*output, error) {
	o := &output{deliver: c.Output, rule: c.Lines, drained: make(chan struct{})}
	o.rate.init(c.OutputRate, time.Now())
	o.failed = func(v any) { c.Log.Error("output handler panicked", "panic", v) }
	var err error
	if o.stdout, err = newPipe("stdout"); err != nil {
		return nil, err
	}
	if o.stderr, err = newPipe("stderr"); err != nil {
		o.stdout.close()
		return nil, err
	}
	return o, nil
}

// newPipe makes a pipe of which only our end is non-blocking.
func newPipe(name string) (pipe, error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return pipe{}, err
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		_ = errors.Join(syscall.Close(fds[0]), syscall.Close(fds[1])) // both are empty
		return pipe{}, err
	}
	return pipe{r: os.NewFile(uintptr(fds[0]), name), w: fds[1]}, nil
}

func (p *pipe) close() {
	_ = p.r.Close()        // nothing was read
	_ = syscall.Close(p.w) // nothing was written
}

// closeWriters closes our copies of the child's ends.
func (o *output) closeWriters() {
	_ = syscall.Close(o.stdout.w) // the child has its own
	_ = syscall.Close(o.stderr.w)
}

// abandon closes our ends when there is no process.
func (o *output) abandon() {
	_ = o.stdout.r.Close()
	_ = o.stderr.r.Close()
}

func (o *output) start() {
	o.open.Store(2)
	go o.read(Stdout, o.stdout.r)
	go o.read(Stderr, o.stderr.r)
}

// read hands on the lines of one stream until its end.
func (o *output) read(s Stream, f *os.File) {
	defer func() {
		_ = f.Close() // a writer that is left gets EPIPE
		if o.open.Add(-1) == 0 {
			close(o.drained)
		}
	}()
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	l := lines{output: o, stream: s, rule: o.rule, buf: b}
	for {
		n, err := f.Read(l.space())
		l.add(n)
		if err != nil { // io.EOF, or the deadline that finish set
			l.end()
			return
		}
	}
}

// finish waits for the readers and makes those stop that wait in vain. One
// that is held up in Config.Output ends when that returns.
func (o *output) finish() {
	bound := time.NewTimer(2 * drainTime)
	defer bound.Stop()
	until := time.Now().Add(drainTime)
	_ = o.stdout.r.SetReadDeadline(until) // fails when the reader is through
	_ = o.stderr.r.SetReadDeadline(until)
	select {
	case <-o.drained:
	case <-bound.C:
	}
}
