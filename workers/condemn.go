package workers

// A worker that runs several requests at once cannot be killed for one that does not end without harm to the others. It is
// condemned: it gets no more requests, a successor is started, and it is killed when nobody waits any more for what it does,
// or when it has stopped listening, as one does whose event loop is blocked.

// abandon counts a request on w whose answer is not wanted any more.
func (p *Pool) abandon(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.abandoned++
	if w.condemned {
		p.execute(w)
	}
}

// condemn is for a worker with a request that was given up and has not ended within the grace time.
func (p *Pool) condemn(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.condemned {
		return
	}
	w.log.Warn("worker has a request that does not end", "pid", w.proc.Pid(), "requests", w.calls, "given_up", w.abandoned)
	w.condemned = true
	w.state = leaving
	p.withdraw(w)
	p.execute(w)
	if w.killReason() == Reasons {
		w.pinged = p.now()
		w.shared.ping()
	}
	p.look()
}

// execute kills a condemned worker when nobody waits for it any more. It needs mu.
func (p *Pool) execute(w *worker) {
	if w.calls == w.abandoned {
		w.kill(ReasonTimeout)
		w.ch.wake()
	}
}

// askCondemned kills a condemned worker that has not listened for the grace time. It needs mu.
func (p *Pool) askCondemned(w *worker, now int64) {
	switch {
	case w.killReason() != Reasons:
	case w.shared.ponged.Load():
		w.pinged = now
		w.shared.ping()
	case now-w.pinged >= int64(p.cfg.Grace):
		w.kill(ReasonTimeout)
		w.ch.wake()
	}
}

// noMore makes w, which said that it ends now, get no requests.
func (p *Pool) noMore(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.unfit.Store(true)
	w.limit.set(p.now() + max(int64(p.cfg.Grace), 1))
	p.withdraw(w)
	if w.state == idle {
		w.state = leaving
	}
}
