package watchdog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ahead keeps processes that were started ahead of their requests and wait on their standard input, or for word from us if
// a zygote has forked them. One goroutine starts them, sees when one ends, and ends those that nobody wants. A nil *ahead
// has none.
type ahead struct {
	f    *Fork
	wake int                  // an eventfd
	warm atomic.Pointer[warm] // the zygote; nil if there is none

	mu     sync.Mutex
	list   []*waiting    // guarded by mu; oldest first
	wanted int64         // guarded by mu; when the last request came, on Fork.now's clock
	taken  bool          // guarded by mu; since the last look, one that had waited for long
	closed bool          // guarded by mu; wake is
	gate   chan struct{} // guarded by mu; closed when it is known whether there is a zygote

	filled atomic.Bool   // there was a first try
	hits   atomic.Uint64 // requests that found one

	// The rest is the goroutine's.
	busy      func() bool // the processors have no time for what nobody waits for
	backoff   backoff
	notBefore int64 // the next start
	unfit     bool  // there will be no zygote
	started   bool  // there was one
}

// waiting is a process without a request.
type waiting struct {
	proc   *Process
	pidfd  int32
	ours   pipes
	status int32 // where a child of a zygote gets its variables and tells its exit code; -1
	since  int64 // on Fork.now's clock
}

// ended reports whether it is a zombie.
func (w *waiting) ended() bool {
	if w.pidfd < 0 {
		return ended(w.proc.pid)
	}
	fds := [1]unix.PollFd{{Fd: w.pidfd, Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 && err == nil
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
	return &ahead{f: f, wake: wake, busy: busy, gate: make(chan struct{})}, nil
}

// waitFor is take for a request that can wait until there is a zygote, if that is needed.
func (a *ahead) waitFor(x Exchange) (*waiting, error) {
	w := a.take()
	if w != nil || a == nil || !a.f.cfg.Resident {
		return w, nil
	}
	woken := make(waker, 1)
	if err := x.OnInterrupt(woken); err != nil {
		return nil, err
	}
	select {
	case <-a.settled():
	case <-woken:
	}
	if err := x.OnInterrupt(nil); err != nil {
		return nil, err
	}
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return nil, ErrForkClosed
	}
	return a.take(), nil
}

// waker is a goroutine that waits.
type waker chan struct{}

// Interrupt implements what an Exchange calls.
func (w waker) Interrupt() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// settled returns what is closed when it is known whether there is a zygote.
func (a *ahead) settled() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gate
}

// settle tells that it is known.
func (a *ahead) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.gate:
	default:
		close(a.gate)
	}
}

// unsettle tells that a zygote has died. If it is not one of before, another one is to come.
func (a *ahead) unsettle(z *warm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.warm.Load() != z {
		return
	}
	select {
	case <-a.gate:
		a.gate = make(chan struct{})
	default:
	}
}

// take returns a process for a request: the one that waits longest, or a new one of the zygote. It is nil if there is
// none. The next one is started meanwhile.
func (a *ahead) take() *waiting {
	if a == nil {
		return nil
	}
	if w := a.oldest(); w != nil {
		return w
	}
	z := a.warm.Load()
	if z == nil {
		return nil
	}
	w, err := z.fork()
	if err != nil {
		a.f.cfg.Log.Debug("zygote has not forked", "err", err)
		return nil
	}
	return w
}

// oldest takes the process that waits longest.
func (a *ahead) oldest() *waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = a.f.now()
	a.wakeLocked()
	for i, w := range a.list {
		if !w.ended() { // else it is left to the goroutine
			a.list = append(a.list[:i], a.list[i+1:]...)
			a.taken = a.taken || a.wanted-w.since >= int64(firstDelay)
			a.hits.Add(1)
			return w
		}
	}
	return nil
}

func (a *ahead) wakeUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wakeLocked()
}

// wakeLocked needs mu.
func (a *ahead) wakeLocked() {
	if !a.closed {
		one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1}
		_, _ = unix.Write(a.wake, one[:]) // full is as good
	}
}

// run keeps processes until ctx ends. Then all that wait are killed, and are gone when Fork.live is done. An error tells
// that a zygote that is needed has not started.
func (a *ahead) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, a.wakeUp)
	defer stop()
	a.mu.Lock()
	a.wanted = a.f.now()
	a.mu.Unlock()
	var err error
	for ctx.Err() == nil {
		var cold time.Duration
		if cold, err = a.keepWarm(ctx); err != nil {
			break
		}
		wait := a.tend()
		if cold > 0 && (wait == 0 || cold < wait) {
			wait = cold
		}
		a.wait(wait)
	}
	a.mu.Lock()
	list := a.list
	a.list, a.closed = nil, true
	_ = unix.Close(a.wake) // an eventfd
	a.mu.Unlock()
	a.settle()
	for _, w := range list {
		a.discard(w)
	}
	return err
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
		case w.ended():
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
		if wait := time.Duration(a.notBefore - a.f.now()); wait > 0 && !a.unfit {
			return wait
		}
		if a.busy() {
			return busyPause
		}
		w, err := a.start()
		if w == nil && err == nil {
			return left
		}
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
	z := a.warm.Load()
	if z != nil {
		fds = append(fds, unix.PollFd{Fd: int32(z.fd)}) // of its end alone
	}
	a.mu.Lock()
	for _, w := range a.list {
		fds = append(fds, unix.PollFd{Fd: w.pidfd, Events: unix.POLLIN})
	}
	a.mu.Unlock()
	timeout := -1
	if d > 0 {
		timeout = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	if n, err := unix.Poll(fds, timeout); err != nil || n == 0 {
		return
	}
	if fds[0].Revents != 0 {
		var n [8]byte
		_, _ = unix.Read(a.wake, n[:]) // empty is as good
	}
	if z != nil && fds[1].Revents != 0 {
		z.dead.Store(true)
		a.unsettle(z)
	}
}

// keepWarm starts the zygote, if there is to be one, and again when it has died. It returns when to try again; 0 means
// that there is no need.
func (a *ahead) keepWarm(ctx context.Context) (time.Duration, error) {
	if a.f.cfg.Launcher != Zygote || a.unfit {
		return 0, nil
	}
	z := a.warm.Load()
	if z != nil && !z.dead.Load() {
		a.settle()
		return 0, nil
	}
	if z != nil {
		a.warm.Store(nil)
		z.end()
		a.pause("zygote ended", "exit", z.proc.Exit().String())
	}
	if wait := time.Duration(a.notBefore - a.f.now()); wait > 0 {
		return wait, nil
	}
	z, err := a.f.startWarm(ctx)
	if err == nil {
		a.warm.Store(z)
		a.started = true
	}
	if a.f.cfg.Resident && !a.started && ctx.Err() == nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	a.settle()
	switch {
	case err == nil || ctx.Err() != nil:
		return 0, nil
	case errors.Is(err, errUnfit):
		a.unfit = true
		a.f.cfg.Log.Warn("no zygote: a process is started for each request", "err", err)
		return 0, nil
	default:
		a.pause("zygote not started", "err", err)
		return time.Duration(a.notBefore - a.f.now()), nil
	}
}

// start starts a process that waits; nil without an error if there is no zygote to do it.
func (a *ahead) start() (*waiting, error) {
	if a.f.cfg.Launcher != Zygote {
		return a.f.standby()
	}
	if z := a.warm.Load(); z != nil {
		return z.fork()
	}
	return nil, nil
}

// end ends the zygote, when its children are gone.
func (a *ahead) end() {
	if z := a.warm.Swap(nil); z != nil {
		z.end()
	}
}

// discard kills a process that gets no request, passes on what it said, and collects it.
func (a *ahead) discard(w *waiting) {
	w.proc.Kill()
	r, err := a.f.take()
	if err != nil { // no descriptor is left: what it said is lost
		r := forked{pidfd: w.pidfd}
		r.awaitZombie()
		w.proc.endGroup()
		w.proc.sweep()
		w.proc.collect()
		w.ours.close()
		if w.status >= 0 {
			_ = unix.Close(int(w.status)) // nothing was said
		}
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
	w := &waiting{ours: ours, status: -1}
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
	r.fds[onExit].Fd, r.fds[onStatus].Fd = w.pidfd, w.status
	r.fds[onStdin].Fd, r.fds[onStdout].Fd, r.fds[onStderr].Fd = w.ours.stdin, w.ours.stdout, w.ours.stderr
}
