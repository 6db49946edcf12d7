package watchdog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nullInput is the standard input of processes that have none. It is opened
// once and kept.
var nullInput = sync.OnceValues(func() (*os.File, error) { return os.Open(os.DevNull) })

// Start begins the process that c describes, in a process group of its own.
// The process ends with Stop or Kill or by itself; nothing else has to be
// called. An error wraps the system's (ENOENT, EAGAIN …).
func Start(c Config) (*Process, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Process{
		grace:  c.Grace,
		log:    c.Log,
		mark:   newMark(),
		killed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	pidfd, err := p.fork(c)
	if err != nil {
		return nil, fmt.Errorf("watchdog: start %s: %w", c.Path, err)
	}
	confine(p.pid, c)
	go p.run(pidfd)
	return p, nil
}

// fork starts the program and the readers of its output, sets p.pid and
// returns a pidfd, -1 where the kernel has none.
func (p *Process) fork(c Config) (int, error) {
	null, err := nullInput()
	if err == nil {
		err = roomToStart(null)
	}
	if err != nil {
		return -1, err
	}
	stdin := c.Stdin
	if stdin == nil {
		stdin = null
	}
	files := make([]uintptr, 0, 8)
	files = append(files, stdin.Fd(), uintptr(syscall.Stdout), uintptr(syscall.Stderr))
	if c.Output != nil {
		out, err := newOutput(c)
		if err != nil {
			return -1, err
		}
		defer out.closeWriters()
		p.output = out
		files[1], files[2] = uintptr(out.stdout.w), uintptr(out.stderr.w)
	}
	for _, f := range c.Extra {
		files = append(files, f.Fd())
	}

	pidfd := -1
	attr := syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   withMark(c.Env, p.mark),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd},
	}
	pid, err := children.start(p.mark, func() (int, error) { return syscall.ForkExec(c.Path, c.Args, &attr) })
	runtime.KeepAlive(c)
	if err != nil {
		if p.output != nil {
			p.output.abandon()
		}
		return -1, err
	}
	p.pid = pid
	if p.output != nil {
		p.output.start()
	}
	return pidfd, nil
}

// confine applies what the system call for starting has no parameter for. The
// process may run for some microseconds without; a failure is no reason to
// do without the process.
func confine(pid int, c Config) {
	forbidCore(pid, c.Log)
	yieldMemory(pid, c.OOMScoreAdj, c.Log)
}

// forbidCore keeps a process from writing core dumps.
func forbidCore(pid int, log *slog.Logger) {
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		log.Warn("core dumps of process not disabled", "pid", pid, "err", err)
	}
}

// yieldMemory lets the kernel, short of memory, take a process before us.
func yieldMemory(pid, by int, log *slog.Logger) {
	if by <= 0 {
		return
	}
	if err := raiseOOMScore(pid, by); err != nil {
		log.Debug("oom score of process not raised", "pid", pid, "err", err)
	}
}
