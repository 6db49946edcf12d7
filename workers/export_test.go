package workers

import (
	"time"

	"github.com/fnpod/fnpod/watchdog"
)

// SetKill replaces how workers are killed. Call it before Run.
func (p *Pool) SetKill(kill func(*watchdog.Process)) { p.end = kill }

// BackOff counts a start that failed and returns the pause before the next.
func (p *Pool) BackOff() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backOff()
	return time.Duration(p.notBefore - p.now())
}

// SetMemory replaces what is asked how much memory is left. Call it before Run.
func (p *Pool) SetMemory(left func() (int64, bool)) { p.memory = memory(left) }

type memory func() (int64, bool)

func (m memory) Left() (int64, bool) { return m() }

// CountOOM sets where the kernel counts. Call it before Run.
func (p *Pool) CountOOM(files ...string) { p.oomFiles = files }

// Fingerprint is a number that changes with the files of the function.
func (h Handler) Fingerprint() uint64 { return h.fingerprint() }
