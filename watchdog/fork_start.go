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

// begin starts the process with as much of the body as is there, or takes one that waits.
func (r *forked) begin(x Exchange) error {
	c := &r.f.cfg
	r.vars.reset(&r.f.base, c.Credentials, c.MaxVariables)
	if c.Launcher != Standby {
		c.Variables(&r.vars, x)
	}
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
	w, err := r.f.ahead.waitFor(x)
	if err != nil {
		return err
	}
	if w != nil {
		r.adopt(w)
		if w.status >= 0 {
			r.request(r.vars.own())
		}
		r.give(body, !inMemory)
	} else if err := r.exec(r.arguments(x), env, mark, body, !inMemory); err != nil {
		return r.f.startFailed(err)
	}
	if c.Timeout > 0 {
		r.deadline = r.f.now() + int64(c.Timeout)
	}
	if !inMemory {
		r.startUpload(x)
	}
	return nil
}

// arguments returns those of the process of a request.
func (r *forked) arguments(x Exchange) []string {
	c := &r.f.cfg
	if c.Arguments == nil {
		return c.Args
	}
	return append(slices.Clip(c.Args), c.Arguments(x)...)
}

// exec starts a process for one request.
func (r *forked) exec(args, env []string, mark string, body []byte, streamed bool) error {
	ours, theirs, err := r.f.cfg.pipes(len(body) > 0 || streamed)
	r.fds[onStdin].Fd, r.fds[onStdout].Fd, r.fds[onStderr].Fd = ours.stdin, ours.stdout, ours.stderr
	if err == nil && ours.stdin >= 0 {
		if streamed || len(body) > pageSize {
			err = unix.SetNonblock(int(ours.stdin), true)
		}
		r.give(body, streamed) // before the process is there: it finds it, and nobody has to wait
	}
	if err == nil {
		r.proc, r.fds[onExit].Fd, err = r.f.exec(args, env, mark, theirs)
	}
	theirs.close()
	if err == nil {
		r.yieldAt = r.f.now() + int64(yieldAfter)
	}
	return err
}

// give writes the body, or its beginning, to the process, which has read nothing. One that is streamed follows.
func (r *forked) give(body []byte, streamed bool) {
	if !streamed {
		r.rest = body
		r.feed()
	}
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

// noFile is where a process has no descriptor.
const noFile = ^uintptr(0)

// exec starts the program. The pidfd is -1 where the kernel has none.
func (f *Fork) exec(args, env []string, mark string, files childFiles) (*Process, int32, error) {
	c := &f.cfg
	pidfd := -1
	attr := syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   env,
		Files: files.list[:],
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd},
	}
	if c.Script != nil {
		attr.Files = append(attr.Files, noFile, noFile, c.Script.Fd())
	}
	pid, err := children.start(mark, func() (int, error) { return syscall.ForkExec(c.Path, args, &attr) })
	if err != nil {
		return nil, -1, err
	}
	forbidCore(pid, c.Log)
	f.started()
	return &Process{pid: pid, grace: c.Grace, log: c.Log, mark: mark, killed: make(chan struct{})}, int32(pidfd), nil
}

// pipes are our ends of the streams of a process; -1 where there is none.
type pipes struct{ stdin, stdout, stderr int32 }

// close closes what is open. Nothing of ours is buffered in it.
func (p *pipes) close() {
	for _, fd := range []*int32{&p.stdin, &p.stdout, &p.stderr} {
		if *fd >= 0 {
			_ = unix.Close(int(*fd))
			*fd = -1
		}
	}
}

// childFiles are the ends of the process.
type childFiles struct {
	list   [3]uintptr
	opened []int // to be closed here when the process has them
}

// pipes makes the streams of a process. Without input it has an end at once. After an error what is open is returned, too.
func (c *ForkConfig) pipes(input bool) (ours pipes, theirs childFiles, err error) {
	ours = pipes{-1, -1, -1}
	theirs.opened = make([]int, 0, 3)
	null, err := nullInput()
	if err != nil {
		return ours, theirs, err
	}
	theirs.list = [3]uintptr{null.Fd(), 0, 2}
	reads, writes, err := theirs.pipe()
	if err != nil {
		return ours, theirs, err
	}
	theirs.take(1, writes)
	ours.stdout = int32(reads)
	switch {
	case c.Combined:
		theirs.list[2] = theirs.list[1]
	case c.Output != nil:
		if reads, writes, err = theirs.pipe(); err != nil {
			return ours, theirs, err
		}
		theirs.take(2, writes)
		ours.stderr = int32(reads)
	}
	if !input {
		return ours, theirs, nil
	}
	if reads, writes, err = theirs.pipe(); err != nil {
		return ours, theirs, err
	}
	theirs.take(0, reads)
	ours.stdin = int32(writes)
	return ours, theirs, nil
}

// take gives the process an end.
func (f *childFiles) take(i, fd int) {
	f.list[i] = uintptr(fd)
	f.opened = append(f.opened, fd)
}

// close closes the ends: the process has its own.
func (f *childFiles) close() {
	for _, fd := range f.opened {
		_ = unix.Close(fd)
	}
}

// pipe makes a pipe, if descriptors are left for others too (rule L12).
func (f *childFiles) pipe() (reads, writes int, err error) {
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
