package workers

import "context"

// A reload starts one worker with the new version of the function, the herald, beside the others. When it is ready the others
// get no more requests and end with those they have, and the pool is filled up with new ones. If it does not become ready,
// nothing has changed.

// Reload has the function loaded anew: requests go on, and those that come when the new version is ready are its own. A version that does
// not start is logged and not used. Any goroutine may call it; a version that is still starting is overtaken.
func (p *Pool) Reload() {
	p.mu.Lock()
	p.version++
	p.failures, p.notBefore = 0, 0
	p.log.Info("function is loaded anew", "version", p.version)
	p.mu.Unlock()
	p.look()
}

// herald starts the first worker of a new version, unless it is there. It needs mu.
func (p *Pool) herald(ctx context.Context) {
	if p.version == p.serving || p.heralded == p.version {
		return
	}
	p.heralded = p.version
	w := p.spawn(ctx, nil)
	w.version, w.heralds = p.version, true
}

// arrived takes notice of a worker that is ready and reports whether it is of use. It needs mu.
func (p *Pool) arrived(w *worker) bool {
	if w.heralds {
		w.heralds = false
		if w.version != p.version { // overtaken
			return false
		}
		p.serving = w.version
		w.log.Info("new version of the function serves", "version", w.version)
		for old := range p.workers {
			if old.version != p.serving {
				p.replace(old)
			}
		}
	}
	return w.version == p.serving
}
