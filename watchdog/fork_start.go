package watchdog

import (
	"errors"
	"math"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// pageSize is what a pipe can always take, even of a user who has too many.
const pageSize = 4096

// begin starts the process with as much of the body as is there.
func (r *forked) begin(x Exchange) error {
	c := &r.f.cfg
	r.vars.reset(&r.f.base, c.Credentials, c.MaxVariables)
	c.Variables(&r.vars, x)
	env, mark, err := r.vars.build()
	if err != nil {
		return err
	}
	body, inMemory := x.Body()
	if !inMemory {
		if err := x.Continue(); err != nil {
			return err
		}
	}
	files, err := r.pipes(body, !inMemory)
	if err == nil {
		err = r.fork(env, mark, files)
	}
	for _, fd := range files.opened {
		_ = unix.Close(fd) // the process has its own
	}
	if err != nil {
		return r.f.startFailed(err)
	}
	r.f.started()
	if c.Timeout > 0 {
		r.deadline = r.f.now() + int64(c.Timeout)
	}
	if !inMemory {
		r.startUpload(x)
	}
	return nil
}

// childFiles are the ends of the process.
type childFiles struct {
	list   [3]uintptr
	opened []int // to be closed here when the process has them
}

// pipes makes the pipes of the process and writes what fits of the body.
func (r *forked) pipes(body []byte, streamed bool) (childFiles, error) {
	f := childFiles{opened: make([]int, 0, 3)}
	null, err := nullInput()
	if err != nil {
		return f, err
	}
	f.list = [3]uintptr{null.Fd(), 0, 2}
	reads, writes, err := r.pipe(&f)
	if err != nil {
		return f, err
	}
	f.take(1, writes)
	r.fds[onStdout].Fd = int32(reads)
	switch {
	case r.f.cfg.Combined:
		f.list[2] = f.list[1]
	case r.f.cfg.Output != nil:
		if reads, writes, err = r.pipe(&f); err != nil {
			return f, err
		}
		f.take(2, writes)
		r.fds[onStderr].Fd = int32(reads)
	}
	if len(body) == 0 && !streamed {
		return f, nil
	}
	if reads, writes, err = r.pipe(&f); err != nil {
		return f, err
	}
	f.take(0, reads)
	r.fds[onStdin].Fd = int32(writes)
	return f, r.load(body, streamed)
}

// take gives the process an end.
func (f *childFiles) take(i, fd int) {
	f.list[i] = uintptr(fd)
	f.opened = append(f.opened, fd)
}

// pipe makes a pipe, if descriptors are left for others too (rule L12).
func (r *forked) pipe(f *childFiles) (reads, writes int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, err
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil &&
		slices.Max(fds[:]) >= int(min(limit.Cur, math.MaxInt32))-spareFiles {
		f.opened = append(f.opened, fds[0], fds[1])
		return 0, 0, syscall.EMFILE
	}
	return fds[0], fds[1], nil
}

// load writes the body, or its beginning, into the empty pipe: the process finds
// it there, and nobody has to wait.
func (r *forked) load(body []byte, streamed bool) error {
	fd := int(r.fds[onStdin].Fd)
	if streamed || len(body) > pageSize {
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
	}
	if streamed {
		return nil
	}
	r.rest = body
	r.feed()
	return nil
}

// feed writes what the pipe takes of the body and closes it behind the end. That
// the process reads no more is no error (rule W13).
func (r *forked) feed() {
	for len(r.rest) > 0 {
		n, err := unix.Write(int(r.fds[onStdin].Fd), r.rest)
		switch {
		case err == nil:
			r.rest = r.rest[n:]
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return
		default:
			r.rest = nil
		}
	}
	r.rest = nil
	r.closeFile(onStdin)
}

// fork starts the program.
func (r *forked) fork(env []string, mark string, files childFiles) error {
	c := &r.f.cfg
	pidfd := -1
	attr := syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   env,
		Files: files.list[:],
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd},
	}
	pid, err := children.start(mark, func() (int, error) { return syscall.ForkExec(c.Path, c.Args, &attr) })
	if err != nil {
		return err
	}
	r.proc = &Process{pid: pid, grace: c.Grace, log: c.Log, mark: mark, killed: make(chan struct{})}
	r.fds[onExit].Fd = int32(pidfd)
	forbidCore(pid, c.Log)
	r.yieldAt = r.f.now() + int64(yieldAfter)
	return nil
}
