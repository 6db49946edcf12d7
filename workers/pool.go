package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fnpod/fnpod/watchdog"
)

// Pool keeps workers ready and gives each request to one of them. Do and the
// questions about its state may be called by any goroutine, before and while Run
// runs.
type Pool struct {
	cfg   Config
	log   *slog.Logger
	base  time.Time     // zero of the pool's clock
	ready chan struct{} // closed when the first worker is ready
	kick  chan struct{} // makes Run look at what is to do
	fatal chan error    // the function does not start: Run ends

	command  command
	nurses   sync.WaitGroup
	end      func(*watchdog.Process) // Kill; tests replace it
	oom      watchdog.OOMCounter     // used under mu
	oomFiles []string                // the first that is there counts for oom
	slots    sync.Pool               // of *slot
	memory   interface {             // of our control group; tests replace it
		Left() (bytes int64, limited bool)
	}

	mu        sync.Mutex
	workers   map[*worker]struct{} // guarded by mu: all whose process is not gone
	idle      []*worker            // guarded by mu: newest last
	sharing   []*worker            // guarded by mu: those that have a request and can run several
	line      line                 // guarded by mu
	numbers   int                  // guarded by mu: workers started so far
	full      bool                 // guarded by mu: no more workers allowed
	wasReady  bool                 // guarded by mu: ready is closed
	failures  int                  // guarded by mu: starts in a row that led to nothing
	notBefore int64                // guarded by mu: next start
	shortTo   int64                // guarded by mu: until then memory counts as short
	killed    bool                 // guarded by mu: the kernel has killed, and nobody has said whom
	initError *InitError           // guarded by mu: of the last start; nil if it worked
	version   int                  // guarded by mu: of the function, as it was loaded last
	serving   int                  // guarded by mu: the version that gets requests
	heralded  int                  // guarded by mu: the version whose first worker was started
	stuck     int                  // guarded by mu: workers that were killed and do not end
	closed    error                // guarded by mu: why there are no workers any more
	stats     Stats                // guarded by mu: only the counters
}

// New returns a pool that has no workers yet. The Config must be valid.
func New(c Config) *Pool {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Pool{
		cfg:      c,
		log:      log,
		base:     time.Now(),
		ready:    make(chan struct{}),
		kick:     make(chan struct{}, 1),
		fatal:    make(chan error, 1),
		workers:  make(map[*worker]struct{}),
		end:      (*watchdog.Process).Kill,
		oomFiles: watchdog.OOMFiles(),
		memory:   watchdog.FindMemoryRoom(),
	}
}

// now is the pool's clock, in nanoseconds; never 0.
func (p *Pool) now() int64 { return int64(time.Since(p.base)) + 1 }

// Run starts workers and keeps their number right until ctx ends; then it lets
// those that are busy finish within the grace time, kills what is left and
// returns nil when all processes are gone. If the function fails to start before
// any worker was ready, it returns an *InitError. It may be called once.
func (p *Pool) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := p.command.prepare(ctx, &p.cfg, p.log)
	if err == nil {
		p.oom.Begin(p.oomFiles)
		if p.cfg.Watch {
			p.nurses.Go(func() { p.watch(ctx) })
		}
		err = p.keep(ctx)
	}
	cancel()
	p.stop(err)
	return errors.Join(err, p.command.close())
}

// keep looks after the workers until ctx or the pool ends.
func (p *Pool) keep(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	rounds := time.NewTicker(tick)
	defer rounds.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.fatal:
			return err
		case <-p.kick:
		case <-t.C:
		case <-rounds.C:
			if p.inspect() { //nolint:contextcheck // only log records are written without a context
				rounds.Reset(shortTick)
			} else {
				rounds.Reset(tick)
			}
		}
		t.Reset(p.tend(ctx))
	}
}

// stop sends everybody home and waits for the end of all processes.
func (p *Pool) stop(err error) {
	p.mu.Lock()
	p.closed = ErrClosed
	if err != nil {
		p.closed = fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	p.dismissLine(p.closed)
	for w := range p.workers {
		switch {
		case w.state == idle:
			p.retire(w, ReasonStopped)
		case w.calls > 0 && w.calls == w.abandoned: // nobody waits for what it does
			w.kill(ReasonStopped)
		}
	}
	p.idle = nil
	p.mu.Unlock()
	last := time.AfterFunc(p.cfg.Grace, p.killAll)
	defer last.Stop()
	p.nurses.Wait()
}

func (p *Pool) killAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		if w.state != starting { // these are killed by the end of their context
			w.kill(ReasonStopped)
		}
	}
}

// Ready returns a channel that is closed when the first worker is ready.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Health returns nil if a request would find a worker, or one that can be
// started, and otherwise why not.
func (p *Pool) Health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return p.closed
	}
	if p.serves() {
		return nil
	}
	if err := p.hopeless(); err != nil {
		return err
	}
	switch {
	case p.initError != nil:
		return fmt.Errorf("%w: %w", ErrNotReady, p.initError)
	case p.cfg.Min > 0:
		return fmt.Errorf("%w: still starting", ErrNotReady)
	}
	return nil
}

// Do runs one request on a worker, waiting for one if all are busy. With an
// error the answer is incomplete or was not begun; an error of the Exchange or a
// cause of interruption is returned as it is. When Do returns, nothing works on
// the request any more.
func (p *Pool) Do(x Exchange) error {
	for tries := mostTries; ; tries-- {
		w, err := p.take(x)
		if err != nil {
			return err
		}
		again, err := p.lend(w, x)
		if !again || tries <= 1 {
			return err
		}
	}
}

// mostTries is how many workers may die before they read anything of a request.
const mostTries = 3

// lend runs a request on a worker and takes the worker back on every path.
func (p *Pool) lend(w *worker, x Exchange) (again bool, err error) {
	if w.shared != nil {
		return p.lendShared(w, x)
	}
	whole, from := false, int64(0)
	if p.cfg.Ran != nil {
		from = p.now()
	}
	defer func() {
		if u := w.call.upload; u != nil {
			u.end()
		}
		if err != nil {
			p.countFailed(err)
		}
		if !whole { // a panic: nobody knows where the conversation stands
			w.kill(ReasonCanceled)
			w.proc.EndsWithin(deathTime)
		}
		if p.cfg.Ran != nil && w.call.begun {
			p.cfg.Ran(w.index, time.Duration(p.now()-from))
		}
		through := w.call.over
		w.call.progress = progress{}
		p.release(w, through)
	}()
	again, err = w.serve(x)
	whole = true
	return again, err
}

func (p *Pool) countFailed(err error) {
	if raised := new(HandlerError); errors.As(err, &raised) {
		p.mu.Lock()
		p.stats.Failed++
		p.mu.Unlock()
	}
}

// take returns the worker whose turn it is, or waits for one.
func (p *Pool) take(x Exchange) (*worker, error) {
	p.mu.Lock()
	if err := p.hopeless(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	if p.line.n == 0 {
		if w := p.free(); w != nil {
			p.engage(w)
			p.mu.Unlock()
			return w, nil
		}
	}
	t := tickets.Get().(*ticket)
	p.line.push(t, p.now())
	full := p.full
	p.mu.Unlock()
	if !full {
		p.look()
	}
	return p.await(x, t)
}

// free takes the worker whose turn it is: one that has nothing to do, else the one that has least and room for more; nil
// if there is none. It needs mu.
func (p *Pool) free() *worker {
	if n := len(p.idle); n > 0 {
		if p.cfg.Turns {
			w := p.idle[0]
			p.idle = slices.Delete(p.idle, 0, 1)
			return w
		}
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		return w
	}
	var least *worker
	for _, w := range p.sharing {
		if w.calls < w.capacity && (least == nil || w.calls < least.calls) {
			least = w
		}
	}
	return least
}

// failuresToGiveUp is the number of failed starts in a row after which requests
// are refused instead of waiting for the next try.
const failuresToGiveUp = 5

// hopeless returns why no worker is expected soon. It needs mu.
func (p *Pool) hopeless() error {
	if p.closed != nil {
		return p.closed
	}
	failing := p.failures >= failuresToGiveUp && p.initError != nil
	if !failing && p.stuck < p.cfg.Max {
		return nil
	}
	if p.serves() {
		return nil
	}
	if !failing {
		return fmt.Errorf("%w: %d workers were killed and do not end", ErrNotReady, p.stuck)
	}
	return fmt.Errorf("%w: %w", ErrNotReady, p.initError)
}

// engage makes w run a request. It needs mu.
func (p *Pool) engage(w *worker) {
	w.state = busy
	w.owners++
	w.calls++
	w.served++
	if w.calls == 1 && w.capacity > 1 {
		p.sharing = append(p.sharing, w)
	}
	w.engaged = p.stats.Requests
	p.stats.Requests++
}

// release takes w back from a request; through tells that it has seen it to the end.
func (p *Pool) release(w *worker, through bool) {
	now := p.now()
	p.mu.Lock()
	w.owners--
	w.calls--
	w.proven = w.proven || through
	if w.fit() {
		w.idleSince, w.spent = now, now
	}
	p.settleDown(w)
}

// settleDown finds out what becomes of a worker that somebody has stopped using, and unlocks mu.
func (p *Pool) settleDown(w *worker) {
	switch {
	case !w.fit():
		w.state = leaving
		p.withdraw(w)
	case w.condemned && w.calls > 0:
		p.execute(w)
	case (w.replaced || w.condemned) && w.calls == 0:
		p.retire(w, ReasonRecycled)
	case w.state == busy && w.calls == 0:
		if w.capacity > 1 { // else it is in no list
			p.withdraw(w)
		}
		p.place(w)
	case w.state == busy:
		p.recycleAged(w)
		p.serveLine(w)
	}
	buried := w.owners == 0
	p.mu.Unlock()
	if buried {
		w.bury()
	}
}

// place finds the next use for a worker that is ready and has nothing to do. It
// needs mu.
func (p *Pool) place(w *worker) {
	if w.retiring {
		return
	}
	w.state = idle
	if p.closed != nil {
		p.retire(w, ReasonStopped)
		return
	}
	p.recycleAged(w)
	if p.serveLine(w); w.calls > 0 {
		return
	}
	i := len(p.idle)
	for i > 0 && p.idle[i-1].idleSince > w.idleSince {
		i--
	}
	p.idle = slices.Insert(p.idle, i, w)
}

// serveLine gives w as many of those who wait as it takes. It needs mu.
func (p *Pool) serveLine(w *worker) {
	for p.line.n > 0 && w.calls < w.capacity {
		p.engage(w)
		p.line.call(w, nil)
	}
}

// retire lets a worker that has nothing to do end. It needs mu; the worker is not
// among the idle ones any more.
func (p *Pool) retire(w *worker, r Reason) {
	if w.retiring {
		return
	}
	w.state = leaving
	w.retiring = true
	w.killed.CompareAndSwap(0, int32(r)+1)
	close(w.retire)
}

// dismissLine sends all who wait away. It needs mu.
func (p *Pool) dismissLine(err error) {
	for p.line.n > 0 {
		p.line.call(nil, err)
	}
}

// look makes Run look at what is to do.
func (p *Pool) look() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}
