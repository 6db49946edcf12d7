package watchdog

import (
	"sync"
	"sync/atomic"
)

// children is the process's table of the children it started. There is one
// because the kernel keeps one set of children per process.
var children table

// table tells our own children from orphans that were handed to us.
type table struct {
	// gate is held shared from before a fork until its pid is in the table,
	// and alone while foreign zombies are collected: a child that ends before
	// it is registered cannot be taken for an orphan. Starts do not wait for
	// each other.
	gate sync.RWMutex

	mu  sync.Mutex
	own map[int]string // guarded by mu: the mark of each

	ended atomic.Uint64 // how many were collected
}

// start calls fork and registers the pid it returns, with the mark that its descendants carry.
func (t *table) start(mark string, fork func() (int, error)) (int, error) {
	t.gate.RLock()
	defer t.gate.RUnlock()
	pid, err := fork()
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own == nil {
		t.own = make(map[int]string)
	}
	t.own[pid] = mark
	return pid, nil
}

// collect calls reap, which frees the pid, and takes the pid out. Both happen
// under mu, so that a child that gets the same number registers afterwards.
func (t *table) collect(pid int, reap func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	reap()
	delete(t.own, pid)
	t.ended.Add(1)
}

// has reports whether pid is a child we started and have not collected.
func (t *table) has(pid int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.own[pid]
	return ok
}

// marks returns the marks of all children that were not collected.
func (t *table) marks() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]bool, len(t.own))
	for _, mark := range t.own {
		all[mark] = true
	}
	return all
}
