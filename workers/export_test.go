package workers

import "github.com/fnpod/fnpod/watchdog"

// SetKill replaces how workers are killed. Call it before Run.
func (p *Pool) SetKill(kill func(*watchdog.Process)) { p.end = kill }

// CountOOM sets where the kernel counts. Call it before Run.
func (p *Pool) CountOOM(files ...string) { p.oomFiles = files }
