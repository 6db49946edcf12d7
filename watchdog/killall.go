package watchdog

import "syscall"

// KillAll sends SIGKILL to the groups of all processes we started that have not
// been collected, for an end that cannot wait. Any goroutine may call it.
func KillAll() {
	children.mu.Lock()
	defer children.mu.Unlock()
	for pid := range children.own { // not collected, so no other process has the number
		_ = syscall.Kill(-pid, syscall.SIGKILL) // the group may be gone already
	}
}
