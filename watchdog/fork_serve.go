package watchdog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What a forked process waits for, as indices of forked.fds.
const (
	onWake   = iota
	onStatus // of a child of a zygote
	onExit
	onStdout
	onStderr
	onStdin
	events
)

// pieceSize is the capacity of a pipe, unless somebody changed it: what is written
// before the process exists, and what is read at once.
const pieceSize = 64 << 10

// settleTime is how long a short output that is complete waits for the exit code
// before it goes to the client: with it, a failure can still be told, and a good
// answer is one piece.
const settleTime = 5 * time.Millisecond

// yieldAfter is when a process becomes one that the kernel, short of memory, takes
// before us. Short ones have not the time to be the reason, and saying so for each
// costs a tenth of its start.
const yieldAfter = 10 * time.Millisecond

// forked is a process that runs for one request, and what belongs to it. One
// goroutine, the request's own, waits for all that can happen, in poll(2): that is
// cheaper than a goroutine for each pipe, and blocks a thread for each process,
// of which there are few. It is used again for later requests.
type forked struct {
	f *Fork

	wake        int         // an eventfd
	woken       atomic.Bool // wake was written to
	interrupted atomic.Bool // the request is given up
	closing     atomic.Bool // Run ends

	x      Exchange // nil when nobody waits for an answer any more
	id     string   // of the request
	proc   *Process
	fds    [events]unix.PollFd
	rest   []byte // of a body in memory, not yet written
	block  []byte // of variables, for a child of a zygote
	pidfd  int32  // of a child of a zygote that has told its exit code and is about to end; -1: none
	stdin  int32  // our end of the pipe when nothing more is written; -1: none
	upload *bodyPipe
	vars   Variables

	told   bool // to end: then nobody waits for its output
	exited bool
	exit   Exit

	deadline, yieldAt, graceAt, settleAt int64 // on Fork.now's clock; 0 means never

	piece   [pieceSize]byte
	held    int  // bytes of piece that are not sent
	begun   bool // the answer has
	blocks  [][]byte
	size    int64 // of blocks
	stderr  output
	lines   lines
	logging bool // lines has its buffer
}

func newForked(f *Fork) (*forked, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	r := &forked{f: f, wake: wake}
	r.stderr.deliver = r.line
	r.stderr.failed = func(v any) { f.cfg.Log.Error("output handler panicked", "panic", v) }
	r.reset()
	return r, nil
}

// reset forgets the request. All descriptors but wake are closed.
func (r *forked) reset() {
	if r.woken.Swap(false) {
		r.clearWake()
	}
	r.interrupted.Store(false)
	r.closing.Store(false)
	r.x, r.proc, r.id, r.rest, r.upload = nil, nil, "", nil, nil
	r.told, r.exited, r.exit = false, false, Exit{}
	r.deadline, r.yieldAt, r.graceAt, r.settleAt = 0, 0, 0, 0
	r.stdin, r.pidfd = -1, -1
	r.held, r.begun = 0, false
	r.blocks = freeBlocks(r.blocks)
	r.size = 0
	for i := range r.fds {
		r.fds[i] = unix.PollFd{Fd: -1, Events: unix.POLLIN}
	}
	r.fds[onWake].Fd = int32(r.wake)
	r.fds[onStdin].Events = unix.POLLOUT
}

func (r *forked) free() { _ = unix.Close(r.wake) } // nothing is in it that matters

// Interrupt makes serve give the request up.
func (r *forked) Interrupt() {
	r.interrupted.Store(true)
	r.wakeUp()
}

func (r *forked) wakeUp() {
	r.woken.Store(true)
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1}
	_, _ = unix.Write(r.wake, one[:]) // full is as good
}

func (r *forked) clearWake() {
	var n [8]byte
	_, _ = unix.Read(r.wake, n[:]) // empty is as good
}

// serve runs the process for one request, from start to end.
func (r *forked) serve(x Exchange) error {
	r.x, r.id = x, string(x.AppendID(nil))
	if err := r.begin(x); err != nil {
		r.closeAll()
		r.f.put(r)
		return err
	}
	err := x.OnInterrupt(r)
	if err == nil {
		err = r.relay()
		if cause := x.OnInterrupt(nil); cause != nil && err != nil {
			err = cause
		}
	}
	whole, bodyErr := r.endUpload()
	if bodyErr != nil && err != nil {
		err = bodyErr // it led to the other one (rule R5)
	}
	r.x = nil
	if r.exited {
		r.end()
		r.f.put(r)
		return err
	}
	l, gone := NewLingering(err)
	if whole && r.mayFinish(err) {
		r.rest = append([]byte(nil), r.rest...) // the rest is the Exchange's
	} else {
		r.withhold()
		r.terminate()
	}
	go r.linger(gone)
	return l
}

// withhold stops writing the body, whose memory is the Exchange's, and keeps standard input open: nothing cut may look
// whole (rule R2).
func (r *forked) withhold() {
	r.rest = nil
	r.stdin, r.fds[onStdin].Fd = r.fds[onStdin].Fd, -1
}

// terminate starts the end of the process and its group.
func (r *forked) terminate() {
	r.told = true
	r.graceAt = 0
	r.proc.terminate()
}

// mayFinish reports that the process may run on although its request is given up.
func (r *forked) mayFinish(err error) bool {
	c := &r.f.cfg
	return c.Finish && c.ClientGone != nil && errors.Is(err, c.ClientGone) && !r.closing.Load()
}

// linger looks after the process until it is gone. While the group has time to end, its output is still read.
func (r *forked) linger(gone chan<- struct{}) {
	for !r.done() {
		if err := r.turn(); err != nil {
			r.terminate()
		}
	}
	r.end()
	r.f.put(r)
	close(gone)
}

// relay passes the body to the process and its output to the client, until both
// the output and the process have ended.
func (r *forked) relay() error {
	for !r.done() {
		if err := r.turn(); err != nil {
			return err
		}
	}
	return r.finish()
}

// done reports that the process has ended and its output with it, or the grace
// time of those that hold it open.
func (r *forked) done() bool {
	return r.exited && (r.fds[onStdout].Fd < 0 || r.f.now() >= r.graceAt)
}

// turn waits until something happens and handles it. What happened last comes
// last: the exit code counts when the output before it is known.
func (r *forked) turn() error {
	r.wait()
	if r.fds[onWake].Revents != 0 {
		if err := r.called(); err != nil {
			return err
		}
	}
	if r.fds[onStdin].Revents != 0 {
		r.feed()
	}
	if r.fds[onStdout].Revents != 0 {
		if err := r.output(); err != nil {
			return err
		}
	}
	if r.fds[onStderr].Revents != 0 {
		r.log()
	}
	if r.fds[onStatus].Revents != 0 {
		r.hear()
	}
	if r.fds[onExit].Revents != 0 || r.fds[onExit].Fd < 0 {
		r.look()
	}
	return r.due()
}

// withoutPidfd is the time between two looks where the kernel has no pidfd.
const withoutPidfd = 5 * time.Millisecond

// wait returns when a descriptor is ready or a moment has come.
func (r *forked) wait() {
	timeout := -1
	for _, at := range [...]int64{r.deadline, r.yieldAt, r.graceAt, r.settleAt} {
		if at == 0 {
			continue
		}
		left := time.Duration(max(at-r.f.now(), 0))
		if ms := int((left + time.Millisecond - 1) / time.Millisecond); timeout < 0 || ms < timeout {
			timeout = ms
		}
	}
	if r.fds[onExit].Fd < 0 && !r.exited && (timeout < 0 || timeout > int(withoutPidfd.Milliseconds())) {
		timeout = int(withoutPidfd.Milliseconds())
	}
	if _, err := unix.Poll(r.fds[:], timeout); err != nil { // EINTR
		for i := range r.fds {
			r.fds[i].Revents = 0
		}
	}
}

// called finds out who wrote to wake.
func (r *forked) called() error {
	r.woken.Store(false)
	r.clearWake()
	switch {
	case r.interrupted.Load() && r.x != nil:
		return errGivenUp
	case r.closing.Load():
		return ErrForkClosed
	case r.upload != nil && r.upload.broken.Load():
		return r.upload.err
	}
	return nil
}

// errGivenUp stands for the cause that the Exchange knows.
var errGivenUp = errors.New("request was given up")

// due handles what is to happen at a time.
func (r *forked) due() error {
	if r.deadline == 0 && r.yieldAt == 0 && r.settleAt == 0 {
		return nil
	}
	now := r.f.now()
	if r.yieldAt != 0 && now >= r.yieldAt {
		r.yieldAt = 0
		yieldMemory(r.proc.pid, r.f.cfg.OOMScoreAdj, r.f.cfg.Log)
	}
	if r.settleAt != 0 && now >= r.settleAt {
		r.settleAt = 0
		if err := r.send(); err != nil {
			return err
		}
	}
	if r.deadline != 0 && now >= r.deadline && !r.exited {
		r.deadline = 0
		return fmt.Errorf("%w: %v", ErrRunTimeout, r.f.cfg.Timeout)
	}
	return nil
}

// look finds out whether the process has ended, and how. It stays a zombie.
func (r *forked) look() {
	if r.exited {
		return
	}
	if w := r.proc.parent; w != nil {
		r.hear() // it may have told it since
		if !r.exited {
			r.over(w.how(r.proc.pid))
		}
		return
	}
	info, err := waitid(unix.P_PID, r.proc.pid, unix.WNOHANG|unix.WNOWAIT)
	switch {
	case err != nil:
		r.over(Exit{Code: -1})
	case info.pid != 0:
		r.over(info.exit())
	}
}

// over notes how the process has ended.
func (r *forked) over(exit Exit) {
	r.exited, r.exit = true, exit
	r.closeFile(onExit)
	if r.fds[onStdout].Fd >= 0 && !r.told {
		r.graceAt = r.f.now() + int64(r.f.cfg.OutputGrace)
		if r.deadline != 0 {
			r.graceAt = min(r.graceAt, r.deadline)
		}
	}
	r.deadline, r.yieldAt = 0, 0
}

// end ends who is left of the group, collects the process and closes what is open.
// The answer is out, as far as there is one.
func (r *forked) end() {
	p := r.proc
	p.awaitGroup()
	p.endGroup()
	r.awaitZombie()
	r.drainLog()
	p.sweep()
	p.collect()
	if r.stdin >= 0 {
		r.fds[onStdin].Fd = r.stdin
	}
	r.closeAll()
	if r.upload != nil {
		r.upload.close()
	}
	r.endLog()
}

func (r *forked) closeAll() {
	for i := onStatus; i < events; i++ {
		r.closeFile(i)
	}
}

// awaitZombie waits for the end of a process that has told its exit code.
func (r *forked) awaitZombie() {
	if r.pidfd < 0 {
		return
	}
	fds := []unix.PollFd{{Fd: r.pidfd, Events: unix.POLLIN}}
	for n := 0; n == 0; {
		n, _ = unix.Poll(fds, -1) // again after EINTR
	}
	_ = unix.Close(int(r.pidfd)) // only polled, never written
	r.pidfd = -1
}

func (r *forked) closeFile(i int) {
	if fd := r.fds[i].Fd; fd >= 0 {
		_ = unix.Close(int(fd)) // a pipe or pidfd, without a buffer of ours
		r.fds[i].Fd, r.fds[i].Revents = -1, 0
	}
}
