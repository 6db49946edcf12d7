package workers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/protocol"
)

// healthyLife is how long a worker has to live, without having seen a request to
// its end, for its own end not to count as a failed start (rule W7).
const healthyLife = 10 * time.Second

// fastLife is how long it has to live for its end in its first request to be laid
// to the request, and not to the function.
const fastLife = time.Second

// nurse sees one worker through from its start to its end.
func (p *Pool) nurse(ctx context.Context, w *worker) {
	defer p.nurses.Done()
	err := w.live(ctx)
	if w.ended != nil {
		<-w.ended
	}
	if w.heard {
		<-w.shared.done
	}
	p.gone(ctx, w, err)
}

// live returns when the worker has ended, or is about to after a bug of ours
// (rules R7, W20). The error tells that it did not become ready.
func (w *worker) live(ctx context.Context) (err error) {
	defer w.survive(func() { err = errPanic })
	if err := w.start(ctx); err != nil {
		return err
	}
	leave := w.leave
	if w.shared != nil {
		go w.shared.run() //nolint:contextcheck // only log records are written without a context
		w.heard = true
		leave = w.shared.leave
	}
	if err := w.warmUp(ctx); err != nil {
		return err
	}
	w.pool.joined(w)
	select {
	case <-w.proc.Done():
	case <-w.retire:
		leave()
	}
	return nil
}

// survive keeps a bug of ours, found with what a worker has sent, to that worker.
// It is deferred.
func (w *worker) survive(met func()) {
	bug := recover()
	if bug == nil {
		return
	}
	w.unfit.Store(true)
	if w.proc != nil {
		w.kill(ReasonProtocol)
	}
	w.pool.log.Error("worker met a panic", "worker", w.number, "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
	met()
}

// joined takes a worker that is ready.
func (p *Pool) joined(w *worker) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	w.idleSince, w.spent = now, now
	p.initError = nil
	if !p.wasReady {
		p.wasReady = true
		close(p.ready)
	}
	p.look()
	if !p.arrived(w) {
		p.retire(w, ReasonRecycled)
		return
	}
	if old := w.replaces; old != nil {
		w.replaces = nil
		p.replace(old)
	}
	p.place(w)
}

// replace lets a worker end whose successor is ready, when it has finished what it does. It needs mu.
func (p *Pool) replace(old *worker) {
	if old.state != idle && old.state != busy {
		return
	}
	old.replaced = true
	p.withdraw(old)
	if old.calls == 0 && old.owners == 1 {
		p.retire(old, ReasonRecycled)
		return
	}
	old.state = leaving
}

// gone takes a worker off the books whose process has ended.
func (p *Pool) gone(ctx context.Context, w *worker, err error) {
	p.mu.Lock()
	delete(p.workers, w)
	if w.stuck {
		p.stuck--
	}
	p.withdraw(w)
	for other := range p.workers {
		if other.replaces == w {
			other.replaces = nil
		}
	}
	w.state = leaving
	p.judge(ctx, w, err)
	w.owners--
	buried := w.owners == 0
	p.mu.Unlock()
	if buried {
		w.bury()
	}
	p.look()
}

// judge counts the end of a worker, tells of it, and decides when the next one
// may be started. It needs mu.
func (p *Pool) judge(ctx context.Context, w *worker, err error) {
	if ctx.Err() != nil && err != nil {
		p.stats.Ends[ReasonStopped]++
		return
	}
	if err != nil {
		p.stats.Failures++
		p.stats.Ends[ReasonStart]++
		p.startFailed(w, err)
		return
	}
	r := w.reasonOfDeath()
	p.stats.Ends[r]++
	if r >= ReasonIdle {
		w.log.Info("worker stopped", "pid", w.proc.Pid(), "reason", r.String())
		return
	}
	facts := []any{"pid", w.proc.Pid(), "reason", r.String(), "exit", w.proc.Exit().String(), "requests", w.served}
	if id := w.request.inFlight(); id != "" {
		facts = append(facts, "request_id", id)
	}
	w.log.Warn("worker died", facts...)
	life := time.Since(w.born)
	switch {
	case w.proven || life >= healthyLife:
		p.failures, p.notBefore = 0, 0
		return
	case w.served > 0 && life >= fastLife: // the request is to blame
		return
	}
	p.initError = &InitError{Type: "Exited", Message: fmt.Sprintf("%v before it had answered anything", w.proc.Exit())}
	p.backOff()
	if err := p.hopeless(); err != nil {
		p.dismissLine(err)
	}
}

// startFailed handles a start that led to nothing. It needs mu.
func (p *Pool) startFailed(w *worker, err error) {
	init := new(InitError)
	if !errors.As(err, &init) {
		init.Type, init.Message = "Exec", err.Error()
	}
	if w.heralds && p.serves() {
		w.log.Error("new version of the function did not start: the old one goes on", "type", init.Type, "message", init.Message,
			"traceback", init.Traceback)
		return
	}
	p.initError = init
	if !p.wasReady && !watchdog.Transient(err) && !p.cfg.Watch {
		select {
		case p.fatal <- init:
		default: // one is enough
		}
		return
	}
	p.backOff()
	w.log.Error("worker did not start", "type", init.Type, "message", init.Message, "traceback", init.Traceback,
		"failures", p.failures, "retry_in", time.Duration(p.notBefore-p.now()).Round(time.Millisecond).String())
	if err := p.hopeless(); err != nil {
		p.dismissLine(err)
	}
}

// serves reports whether a worker gets requests. It needs mu.
func (p *Pool) serves() bool {
	for w := range p.workers {
		if w.state == idle || w.state == busy {
			return true
		}
	}
	return false
}

// leave lets the worker finish what it does on its own account and end; the
// grace time limits that.
func (w *worker) leave() {
	w.limit.set(w.pool.now() + max(int64(w.pool.cfg.Grace), 1))
	err := w.ch.send(appendFrame(w.call.frames[:0], protocol.Drain, 0, 0, nil))
	err = errors.Join(err, w.ch.closeInput())
	for err == nil || errors.Is(err, errInputClosed) {
		if err = w.ch.wait(); err == nil {
			err = w.asides()
		}
	}
	if !errors.Is(err, ErrProtocol) {
		<-w.proc.Done()
	}
	w.proc.Kill()
}

// withdraw makes w get no requests. It needs mu.
func (p *Pool) withdraw(w *worker) {
	for _, list := range []*[]*worker{&p.idle, &p.sharing} {
		if i := slices.Index(*list, w); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
}
