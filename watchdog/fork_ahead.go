package watchdog

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ahead keeps processes that were started ahead of their requests and wait on their standard input. One goroutine starts
// them, sees when one ends, and ends those that nobody wants. A nil *ahead has none.
type ahead struct {
	f      *Fork
	launch func() (*waiting, error)
	wake   int // an eventfd

	mu     sync.Mutex
	list   []*waiting // guarded by mu; oldest first
	wanted int64      // guarded by mu; when the last request came, on Fork.now's clock
	taken  bool       // guarded by mu; since the last look, one that had waited for long
	closed bool       // guarded by mu; wake is

	filled atomic.Bool   // there was a first try
	hits   atomic.Uint64 // requests that found one

	// The rest is the goroutine's.
	busy      func() bool // the processors have no time for what nobody waits for
	backoff   backoff
	notBefore int64 // the next start
}

// waiting is a process without a request.
type waiting struct {
	proc  *Process
	pidfd int32
	ours  pipes
	since int64 // on Fork.now's clock
}

// busyPause is the time between two looks at processors that are saturated.
const busyPause = 100 * time.Millisecond

func newAhead(f *Fork) (*ahead, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	var load cpuLoad
	busy := func() bool { return load.saturated(time.Now()) }
	return &ahead{f: f, launch: f.standby, wake: wake, busy: busy}, nil
}

// take returns the process that waits longest, nil if there is none, and has the next one started.
func (a *ahead) take() *waiting {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = a.f.now()
	a.wakeLocked()
	for i, w := range a.list {
		if !ended(w.proc.pid) { // else it is left to the goroutine
			a.list = append(a.list[:i], a.list[i+1:]...)
			a.taken = a.taken || a.wanted-w.since >= int64(firstDelay)
			a.hits.Add(1)
			return w
		}
	}
	return nil
}

// wakeLocked needs mu.
func (a *ahead) wakeLocked() {
	if !a.closed {
		one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1}
		_, _ = unix.Write(a.wake, one[:]) // full is as good
	}
}

// run keeps processes until ctx ends. Then all that wait are killed, and are gone when Fork.live is done.
func (a *ahead) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.wakeLocked()
	})
	defer stop()
	a.mu.Lock()
	a.wanted = a.f.now()
	a.mu.Unlock()
	for ctx.Err() == nil {
		a.wait(a.tend())
	}
	a.mu.Lock()
	list := a.list
	a.list, a.closed = nil, true
	_ = unix.Close(a.wake) // an eventfd
	a.mu.Unlock()
	for _, w := range list {
		a.discard(w)
	}
}

// tend starts what is missing and ends what is too much. It returns when to look again at the latest; 0 means never.
func (a *ahead) tend() time.Duration {
	now := a.f.now()
	a.mu.Lock()
	var dead, old []*waiting
	kept := a.list[:0]
	idle := a.f.cfg.StandbyIdle
	var left time.Duration // until they are too many
	if idle > 0 {
		left = time.Duration(a.wanted + int64(idle) - now)
	}
	for _, w := range a.list {
		switch {
		case ended(w.proc.pid):
			dead = append(dead, w)
		case idle > 0 && left <= 0:
			old = append(old, w)
		default:
			kept = append(kept, w)
		}
	}
	clear(a.list[len(kept):])
	a.list = kept
	missing := a.f.cfg.Standby - len(kept)
	if a.taken {
		a.taken, a.backoff = false, backoff{}
	}
	a.mu.Unlock()
	for _, w := range old {
		a.discard(w)
	}
	for _, w := range dead {
		exit := "unknown"
		if info, err := waitid(unix.P_PID, w.proc.pid, unix.WNOHANG|unix.WNOWAIT); err == nil {
			exit = info.exit().String()
		}
		a.discard(w)
		a.pause("process ended before its request", "exit", exit)
	}
	defer a.filled.Store(true)
	if idle > 0 && left <= 0 {
		return 0 // until a request comes
	}
	if missing > 0 {
		return a.fill(missing, left)
	}
	return left
}

// fill starts processes, unless that has to wait.
func (a *ahead) fill(missing int, left time.Duration) time.Duration {
	for missing > 0 {
		if wait := time.Duration(a.notBefore - a.f.now()); wait > 0 {
			return wait
		}
		if a.busy() {
			return busyPause
		}
		w, err := a.launch()
		if err != nil {
			a.pause("process not started ahead", "err", err)
			continue
		}
		missing--
		w.since = a.f.now()
		a.mu.Lock()
		a.list = append(a.list, w)
		a.mu.Unlock()
	}
	return left
}

// pause lets no process be started for a while, longer each time.
func (a *ahead) pause(msg, key string, value any) {
	delay := a.backoff.wait()
	a.notBefore = a.f.now() + int64(delay)
	a.f.cfg.Log.Warn(msg, key, value, "delay", delay.String()) //nolint:sloglint // msg is a constant of the callers
}

// wait returns when a process has ended, somebody wants us or the time has come.
func (a *ahead) wait(d time.Duration) {
	fds := []unix.PollFd{{Fd: int32(a.wake), Events: unix.POLLIN}}
	a.mu.Lock()
	for _, w := range a.list {
		fds = append(fds, unix.PollFd{Fd: w.pidfd, Events: unix.POLLIN})
	}
	a.mu.Unlock()
	timeout := -1
	if d > 0 {
		timeout = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	if n, err := unix.Poll(fds, timeout); err == nil && n > 0 && fds[0].Revents != 0 {
		var n [8]byte
		_, _ = unix.Read(a.wake, n[:]) // empty is as good
	}
}

// discard kills a process that gets no request, passes on what it said, and collects it.
func (a *ahead) discard(w *waiting) {
	w.proc.Kill()
	r, err := a.f.take()
	if err != nil { // no descriptor is left: what it said is lost
		awaitExit(w.proc.pid, int(w.pidfd))
		w.proc.endGroup()
		w.proc.sweep()
		w.proc.collect()
		w.ours.close()
		return
	}
	r.adopt(w)
	r.withhold()
	r.told = true
	go r.linger(make(chan struct{}))
}

// standby starts a process that waits for its request.
func (f *Fork) standby() (*waiting, error) {
	ours, theirs, err := f.cfg.pipes(true)
	defer theirs.close()
	if err == nil {
		err = unix.SetNonblock(int(ours.stdin), true)
	}
	w := &waiting{ours: ours}
	if err == nil {
		mark := newMark()
		w.proc, w.pidfd, err = f.exec(f.cfg.Args, append(slices.Clip(f.base.entries), mark), mark, theirs)
	}
	if err != nil {
		ours.close()
		return nil, err
	}
	yieldMemory(w.proc.pid, f.cfg.OOMScoreAdj, f.cfg.Log)
	return w, nil
}

// adopt gives the request a process that was waiting.
func (r *forked) adopt(w *waiting) {
	r.proc = w.proc
	r.fds[onExit].Fd = w.pidfd
	r.fds[onStdin].Fd, r.fds[onStdout].Fd, r.fds[onStderr].Fd = w.ours.stdin, w.ours.stdout, w.ours.stderr
}
