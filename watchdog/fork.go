package watchdog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/watchdog/zygote"
)

// Why a request that had a process of its own is not answered. Do returns errors
// that wrap one of these, or what its Exchange reported.
var (
	// ErrFailed means that the process ended with another exit code than 0, or by
	// a signal. The error is a *FailedError.
	ErrFailed = errors.New("function failed")
	// ErrMemory means that the kernel ended the process because memory ran out. The
	// error is an ErrFailed, too.
	ErrMemory = errors.New("no memory was left")
	// ErrNotStarted means that the command cannot be started.
	ErrNotStarted = errors.New("function cannot be started")
	// ErrNoRoom means that for now the system gives no process, no memory or no
	// descriptors (rule W16).
	ErrNoRoom = errors.New("no room for another process")
	// ErrRunTimeout means that the process ran longer than ForkConfig.Timeout.
	ErrRunTimeout = errors.New("process ran longer than process-timeout")
	// ErrOutputSize means that the output is larger than ForkConfig.MaxOutput.
	ErrOutputSize = errors.New("output is larger than max-output")
	// ErrVariables means that the request's variables are too large (rule E4).
	ErrVariables = errors.New("request is too large for variables")
	// ErrPath means that the request's path decodes to control bytes, which no
	// variable may hold, or not at all.
	ErrPath = errors.New("path cannot be decoded")
	// ErrForkClosed means that Run has ended or is about to.
	ErrForkClosed = errors.New("no more processes are started")
)

// FailedError is a process that ended badly.
type FailedError struct {
	Exit   Exit
	Memory bool   // the kernel ended it because memory ran out
	Output []byte // what it printed, if ForkConfig.FailedOutput asks for that
}

// Error says how the process ended.
func (e *FailedError) Error() string {
	if e.Memory {
		return fmt.Sprintf("%v: %v, %v", ErrFailed, e.Exit, ErrMemory)
	}
	return fmt.Sprintf("%v: %v", ErrFailed, e.Exit)
}

// Is makes it an ErrFailed, and an ErrMemory if it is that.
func (e *FailedError) Is(target error) bool {
	return target == ErrFailed || e.Memory && target == ErrMemory
}

// Fork runs a process of its own for each request: the body is its standard
// input, its standard output the answer. Methods may be called by several
// goroutines; Do only while Run runs.
type Fork struct {
	cfg   ForkConfig
	base  base
	ahead *ahead // nil with Exec
	epoch time.Time

	refused atomic.Int64 // until then, on now's clock, nothing is started: the system had no room
	pause   atomic.Int64 // how long that was

	mu      sync.Mutex
	closed  bool                 // guarded by mu
	running map[*forked]struct{} // guarded by mu
	oom     OOMCounter           // guarded by mu
	idle    []*forked            // guarded by mu
	live    sync.WaitGroup       // one for each of running

	oomFiles []string // where oom may count

	starts   atomic.Uint64
	failures [forkReasons]atomic.Uint64
	dropped  atomic.Int64 // bytes of standard error
}

// NewFork returns a Fork, or what is wrong with c.
func NewFork(c ForkConfig) (*Fork, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Fork{cfg: c, epoch: time.Now(), running: make(map[*forked]struct{}), oomFiles: OOMFiles()}
	f.base.init(c.Env)
	if _, _, ok := zygote.For(c.Args, c.load()); c.Launcher == Zygote && !ok {
		c.Log.Warn("no zygote for this command: a process is started for each request", "command", strings.Join(c.Args, " "))
		f.cfg.Launcher = Exec
	}
	if f.cfg.Launcher != Exec {
		f.ahead, err = newAhead(f)
	}
	return f, err
}

// Run returns when ctx has ended and all processes with it: those that still run
// then are asked to end, and killed after the grace time. An error tells that a
// zygote that is needed (ForkConfig.Resident) has not started.
func (f *Fork) Run(ctx context.Context) error {
	f.mu.Lock()
	f.oom.Begin(f.oomFiles)
	f.mu.Unlock()
	var err error
	if f.ahead != nil {
		err = f.ahead.run(ctx)
	}
	if err == nil {
		<-ctx.Done()
	}
	f.mu.Lock()
	f.closed = true
	for r := range f.running {
		r.closing.Store(true)
		r.wakeUp()
	}
	f.mu.Unlock()
	f.live.Wait()
	if f.ahead != nil {
		f.ahead.end()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.idle {
		r.free()
	}
	f.idle = nil
	return err
}

// Launcher returns how processes come to be at the moment: Exec where a zygote cannot be, or is not there.
func (f *Fork) Launcher() Launcher {
	if f.cfg.Launcher == Zygote && f.ahead.warm.Load() == nil {
		return Exec
	}
	return f.cfg.Launcher
}

// Prepared reports whether Run has tried to have processes wait for requests, if the launcher does that. Requests may
// come before.
func (f *Fork) Prepared() bool { return f.ahead == nil || f.ahead.filled.Load() }

// Do runs a process for one request and writes its answer to x. When it returns,
// the process and its group are gone (invariant P4), unless the error is a
// *Lingering.
func (f *Fork) Do(x Exchange) error {
	if until := f.refused.Load(); until > 0 && f.now() < until {
		f.failures[forkNoRoom].Add(1)
		return fmt.Errorf("%w: a moment ago there was none", ErrNoRoom)
	}
	r, err := f.take()
	if err == nil {
		err = r.serve(x)
	}
	if err != nil {
		f.failures[reasonOf(err)].Add(1)
	}
	return err
}

// Lingering is an error after which what was asked to handle a request still works on it: it is being ended, or may
// finish for a client that has left.
type Lingering struct {
	err  error
	gone <-chan struct{}
}

// Error is the text of what happened.
func (l *Lingering) Error() string { return l.err.Error() }

// Unwrap returns what happened.
func (l *Lingering) Unwrap() error { return l.err }

// Linger returns when nothing works on the request any more. Any goroutine may call it.
func (l *Lingering) Linger() { <-l.gone }

// NewLingering returns err as one whose work goes on until the caller closes gone.
func NewLingering(err error) (l *Lingering, gone chan<- struct{}) {
	c := make(chan struct{})
	return &Lingering{err: err, gone: c}, c
}

func (f *Fork) take() (*forked, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrForkClosed
	}
	var r *forked
	if n := len(f.idle); n > 0 {
		r, f.idle = f.idle[n-1], f.idle[:n-1]
	} else {
		var err error
		if r, err = newForked(f); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoRoom, err)
		}
	}
	f.running[r] = struct{}{}
	f.live.Add(1)
	return r, nil
}

// keepIdle is how many buffers and descriptors are kept for later requests.
const keepIdle = 32

func (f *Fork) put(r *forked) {
	r.reset()
	f.mu.Lock()
	delete(f.running, r)
	if f.closed || len(f.idle) >= keepIdle {
		r.free()
	} else {
		f.idle = append(f.idle, r)
	}
	f.mu.Unlock()
	f.live.Done()
}

// memoryRanOut reports whether the kernel is to blame for an end.
func (f *Fork) memoryRanOut(e Exit) bool {
	if e.Signal != syscall.SIGKILL {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.oom.Next()
}

// now is the time since f was made, in nanoseconds.
func (f *Fork) now() int64 { return int64(time.Since(f.epoch)) }

// Pauses after the system had no room for a process.
const firstPause, lastPause = 5 * time.Millisecond, time.Second

// noRoom tells errors of this moment from those that stay.
func noRoom(err error) bool {
	for _, e := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// startFailed judges why a process did not start, and lets nobody try again for a
// while if the system had no room.
func (f *Fork) startFailed(err error) error {
	if !noRoom(err) {
		return fmt.Errorf("%w: %s: %w", ErrNotStarted, f.cfg.Path, err)
	}
	pause := min(max(2*f.pause.Load(), int64(firstPause)), int64(lastPause))
	f.pause.Store(pause)
	f.refused.Store(f.now() + pause)
	return fmt.Errorf("%w: %w", ErrNoRoom, err)
}

// started counts a process and ends the pauses.
func (f *Fork) started() {
	f.starts.Add(1)
	if f.refused.Load() != 0 {
		f.refused.Store(0)
		f.pause.Store(0)
	}
}
