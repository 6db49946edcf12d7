package watchdog

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// Process is one started process and the group it leads. Its methods may be
// called by several goroutines, at any time.
type Process struct {
	pid    int
	grace  time.Duration
	log    *slog.Logger
	mark   string
	output *output // nil when the process writes to our own streams
	parent *warm   // nil when it is our child

	killOnce sync.Once
	killed   chan struct{} // closed by the first Kill
	done     chan struct{} // closed last
	exit     Exit          // set before done is closed

	mu       sync.Mutex
	stopping bool        // guarded by mu; SIGTERM was sent, or is no longer needed
	term     *time.Timer // guarded by mu; kills at the end of the grace time
	reaped   bool        // guarded by mu; the pid may belong to somebody else
}

// Pid returns the process's id, which is also its group's. After Done it may
// belong to another process.
func (p *Process) Pid() int { return p.pid }

// Done returns a channel that is closed when the process has ended, its exit
// status was collected and its output was read to the end. A descendant that
// still holds the output open delays it by a quarter of a second at most.
func (p *Process) Done() <-chan struct{} { return p.done }

// EndsWithin waits for Done, for d at most, and reports whether it was closed. With d of 0
// it only looks. Safe for use by several goroutines.
func (p *Process) EndsWithin(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// Exit returns how the process ended. It blocks until Done.
func (p *Process) Exit() Exit {
	<-p.done
	return p.exit
}

// Dropped returns the bytes of output that did not reach Config.Output
// because they came faster than Config.OutputRate.
func (p *Process) Dropped() int64 {
	if p.output == nil {
		return 0
	}
	return p.output.dropped.Load()
}

// Admit counts bytes that the process wrote another way, such as a log record, as output. It reports
// whether Config.OutputRate allows them; if not they are to be left out, and Dropped counts them.
func (p *Process) Admit(bytes int) bool {
	if p.output == nil || p.output.rate.take(max(int64(bytes), leastCost), time.Now()) {
		return true
	}
	p.output.dropped.Add(int64(bytes))
	return false
}

// Signal sends sig to the process group. It returns os.ErrProcessDone once
// the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signalLocked(sig)
}

// Kill sends SIGKILL to the process group, at once and without waiting. It
// has no effect once the process has ended.
func (p *Process) Kill() {
	p.killOnce.Do(func() { close(p.killed) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
}

// Stop sends SIGTERM to the process group, gives the whole group the grace
// time to end, kills what is left with SIGKILL, also descendants that left
// the group, and returns when Done is closed. A process that the kernel holds
// in uninterruptible sleep keeps Stop waiting: a caller that cannot wait
// calls Kill and watches Done.
func (p *Process) Stop() {
	p.terminate()
	<-p.done
}

// terminate starts the orderly end; the grace time runs once.
func (p *Process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || p.reaped {
		return
	}
	p.stopping = true
	p.term = time.AfterFunc(p.grace, p.Kill)
	_ = p.signalLocked(syscall.SIGTERM) // fails only when nobody is left
}

// signalLocked needs mu: as long as the process is not reaped, its number
// cannot be given to another process or group.
func (p *Process) signalLocked(sig syscall.Signal) error {
	if p.reaped {
		return os.ErrProcessDone
	}
	err := syscall.Kill(-p.pid, sig)
	if errors.Is(err, syscall.ESRCH) { // the process went to another group
		err = syscall.Kill(p.pid, sig)
	}
	return err
}

// killLocked needs mu. The errors mean that nobody is left to be killed, or
// that all who are left changed their user and are out of our reach.
func (p *Process) killLocked() {
	if p.reaped {
		return
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have gone to another group
}

// run sees the process through from start to end. It is the only goroutine
// that collects it.
func (p *Process) run(pidfd int) {
	awaitExit(p.pid, pidfd)
	p.awaitGroup()
	p.endGroup()
	p.sweep()
	p.collect()
	p.drain()
	close(p.done)
}

// awaitGroup leaves the rest of the group the rest of the grace time when the
// process itself ended on SIGTERM first, like a shell around a server. A
// group whose leader ended without being asked gets no such time.
func (p *Process) awaitGroup() {
	p.mu.Lock()
	stopping := p.stopping
	p.mu.Unlock()
	if !stopping {
		return
	}
	pause := time.NewTimer(groupPoll)
	defer pause.Stop()
	for groupAlive(p.pid) {
		select {
		case <-p.killed:
			return
		case <-pause.C:
			pause.Reset(groupPoll)
		}
	}
}

// groupPoll is the time between two looks at the rest of a group.
const groupPoll = 10 * time.Millisecond

// endGroup kills who is left of the group. The leader is a zombie and keeps
// the group's number from being used again.
func (p *Process) endGroup() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term != nil {
		p.term.Stop()
	}
	p.stopping = true // nothing is left to be asked

	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // fails when all who are left changed their user
}

// collect takes the exit status and gives the pid back.
func (p *Process) collect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	children.collect(p.pid, func() {
		if p.parent != nil {
			p.parent.collect(p.pid)
			return
		}
		p.exit = reap(p.pid)
	})
	p.reaped = true
}

// drain waits for the output, up to the bound.
func (p *Process) drain() {
	if p.output != nil {
		p.output.finish()
	}
}
