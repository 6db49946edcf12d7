package workers

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

const (
	tick       = time.Second
	shortTick  = 10 * time.Millisecond       // while an idle worker has much to say
	growAfter  = int64(5 * time.Millisecond) // a request waits as long before a worker is added for it
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second // rule W7
	punchAfter = int64(time.Minute)
	shortAgain = int64(3 * time.Second) // after that memory that was short is looked at again
)

// tend starts the workers that are missing and ends those that are too many. It
// returns when to look again.
func (p *Pool) tend(ctx context.Context) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.retireIdle(now)
	wait := int64(tick)
	n, inFlight := p.counts()
	p.full = n >= p.cfg.Max
	p.herald(ctx)
	if now < p.notBefore {
		return time.Duration(min(wait, p.notBefore-now))
	}
	missing := max(p.cfg.Min-n, 0)
	if n == 0 && p.initError != nil { // requests may be refused, so none would make us try again
		missing = max(missing, 1)
	}
	perWorker := p.cfg.Concurrency
	if unserved := (p.line.n+perWorker-1)/perWorker - inFlight; unserved > missing && !p.full {
		if age := now - p.line.first.since; age >= growAfter || n == 0 {
			missing = p.affordable(missing, min(unserved, p.cfg.Max-n), now)
		} else {
			wait = min(wait, growAfter-age)
		}
	}
	room := runtime.GOMAXPROCS(0) - inFlight // starts are bound by the processor
	for ; missing > 0 && room > 0; room-- {
		p.spawn(ctx, nil)
		missing--
		n++
	}
	if old := p.toReplace(); old != nil && room > 0 {
		p.spawn(ctx, old)
	}
	p.full = n >= p.cfg.Max
	return time.Duration(wait)
}

// affordable returns how many workers, at least and at most as many, there is memory for: as much for each as the
// largest has. It needs mu.
func (p *Pool) affordable(least, most int, now int64) int {
	var largest int64
	begun := 0 // these have not taken yet what they will
	for w := range p.workers {
		switch w.state {
		case idle, busy:
			w.rss = residentBytes(w.proc.Pid())
			largest = max(largest, w.rss)
		case starting:
			begun++
		case leaving:
		}
	}
	switch {
	case most <= least || largest == 0:
		return most
	case now < p.shortTo:
		return least
	}
	left, limited := p.memory.Left()
	n := int(left/largest) - begun
	if !limited || n >= most {
		return most
	}
	p.shortTo = now + shortAgain
	p.log.Warn("memory is short: no more workers are started than there is room for", "left", max(left, 0), "largest_worker", largest)
	return max(n, least)
}

// counts returns how many workers there are, without those that leave and those
// that will replace another, and how many are being started. It needs mu.
func (p *Pool) counts() (n, inFlight int) {
	for w := range p.workers {
		if w.replaces == nil && !w.heralds && !w.retiring && !w.replaced && !w.condemned {
			n++
		}
		if w.state == starting {
			inFlight++
		}
	}
	return n, inFlight
}

// spawn starts a worker; its nurse does the rest. It needs mu.
func (p *Pool) spawn(ctx context.Context, replaces *worker) *worker {
	p.numbers++
	p.stats.Starts++
	w := &worker{
		pool:     p,
		number:   p.numbers,
		index:    p.freeIndex(),
		log:      p.log.With("worker", p.numbers),
		owners:   1,
		replaces: replaces,
		version:  p.serving,
		reason:   Reasons,
		retire:   make(chan struct{}),
	}
	w.lifetime = spread(p.cfg.MaxRequests)
	if age := p.cfg.MaxAge; age > 0 {
		w.oldAt = p.now() + int64(spread(age))
	}
	w.limit.init(p.now, w.overdue)
	p.workers[w] = struct{}{}
	p.nurses.Add(1)
	go p.nurse(ctx, w)
	return w
}

// freeIndex returns the lowest index that no worker has, those that leave aside. It needs mu.
func (p *Pool) freeIndex() int {
	for i := 0; ; i++ {
		taken := false
		for w := range p.workers {
			taken = taken || w.index == i && w.state != leaving
		}
		if !taken {
			return i
		}
	}
}

// spread changes n by a tenth at most in each direction, so that workers that were
// started together are not all replaced together.
func spread[T int | time.Duration](n T) T {
	if n < 10 {
		return n
	}
	return n - n/10 + rand.N(n/5+1)
}

// aged reports whether w should be replaced. It needs mu.
func (p *Pool) aged(w *worker) bool {
	return w.lifetime > 0 && w.served >= w.lifetime ||
		w.oldAt > 0 && p.now() >= w.oldAt ||
		p.cfg.MaxRSS > 0 && w.rss > p.cfg.MaxRSS ||
		w.wantsRecycling.Load()
}

// recycleAged has w replaced if it should be. It needs mu.
func (p *Pool) recycleAged(w *worker) {
	if !w.recycle && p.aged(w) {
		w.recycle = true
		p.look()
	}
}

// toReplace returns a worker whose successor should be started; one at a time. It
// needs mu.
func (p *Pool) toReplace() *worker {
	var old *worker
	for w := range p.workers {
		if w.replaces != nil {
			return nil
		}
		if w.recycle && w.state != leaving && (old == nil || w.number < old.number) {
			old = w
		}
	}
	return old
}

// retireIdle ends workers that had nothing to do for long, oldest first. It needs
// mu.
func (p *Pool) retireIdle(now int64) {
	n, _ := p.counts()
	for len(p.idle) > 0 && (n > p.cfg.Max || p.idleTooLong(n, now)) {
		w := p.idle[0]
		p.idle = append(p.idle[:0], p.idle[1:]...)
		p.retire(w, ReasonIdle)
		n--
	}
}

// idleTooLong tells whether, of n workers, the one that is idle longest need not be
// kept. It needs mu.
func (p *Pool) idleTooLong(n int, now int64) bool {
	return p.cfg.IdleTimeout > 0 && n > p.cfg.Min && now-p.idle[0].idleSince >= int64(p.cfg.IdleTimeout)
}

// SetMax changes the most workers there may be, at least 1. Surplus workers finish what
// they do and end. Any goroutine may call it.
func (p *Pool) SetMax(n int) {
	p.mu.Lock()
	p.cfg.Max = max(n, 1)
	p.cfg.Min = min(p.cfg.Min, p.cfg.Max)
	p.mu.Unlock()
	p.look()
}

// backOff sets the pause before the next start: doubled with each failure, and
// spread, so that pods that fail together do not all try again together. It needs
// mu.
func (p *Pool) backOff() {
	pause := mostPause
	if p.failures < 9 {
		pause = min(firstPause<<p.failures, mostPause)
	}
	p.failures++
	pause = pause/2 + rand.N(pause/2+1)
	p.notBefore = p.now() + int64(pause)
}

// inspect looks after workers beside the requests: what idle ones write and how
// large they are, and that no busy one waits for us to read. It reports whether an
// idle one had something to say.
func (p *Pool) inspect() (more bool) {
	now := p.now()
	var resting, measured []*worker
	p.mu.Lock()
	p.explainKills()
	for w := range p.workers {
		switch {
		case w.state == busy && w.seen == w.engaged+1:
			w.ch.wake() // the same request as at the last look
		case w.state == busy:
			w.seen = w.engaged + 1
		}
		if w.state == idle || w.state == busy {
			measured = append(measured, w)
		}
		if w.state == idle {
			p.recycleAged(w)
		}
		if w.condemned {
			p.askCondemned(w, now)
		}
	}
	p.idle = slices.DeleteFunc(p.idle, func(w *worker) bool {
		rests := w.shared == nil && now-w.idleSince >= int64(tick) // others are listened to all the time
		if rests {
			resting = append(resting, w)
			w.state = busy // until it is put back
			w.owners++
		}
		return rests
	})
	p.mu.Unlock()
	for _, w := range resting {
		more = p.check(w, now) || more
	}
	if p.cfg.MaxRSS > 0 {
		p.measure(measured)
	}
	return more
}

// explainKills tells of kills for want of memory that were no worker's: of programs that a function has started. Those of
// workers are told of when they die, which is sooner than the second look. It needs mu.
func (p *Pool) explainKills() {
	switch {
	case !p.oom.Pending():
		p.killed = false
	case !p.killed:
		p.killed = true
	default:
		p.killed = false
		p.oom.Next()
		p.log.Warn("the kernel killed a process for want of memory, and no worker: one that the function started, or another of the pod")
	}
}

// check looks at the pipe and the lane of a worker that is idle. It reports
// whether there was anything in the pipe.
func (p *Pool) check(w *worker, now int64) (came bool) {
	defer w.survive(func() { p.putBack(w) })
	came, err := w.ch.poll()
	if err == nil {
		err = w.asides()
	}
	if err != nil {
		p.nurses.Go(func() { // its end may take a while, and others want to be looked after
			w.broken(err)
			p.putBack(w)
		})
		return false
	}
	if w.lane != nil && now-w.idleSince >= punchAfter {
		if err := w.lane.punch(); err != nil {
			w.log.Warn("memory of idle worker not given back", "err", err)
		}
	}
	p.putBack(w)
	return came
}

// putBack is release for a worker that was not used: it stays as old as it was.
func (p *Pool) putBack(w *worker) {
	p.mu.Lock()
	w.owners--
	p.settleDown(w)
}

// measure reads how much memory workers use. One that is too large is replaced.
func (p *Pool) measure(ws []*worker) {
	for _, w := range ws {
		size := residentBytes(w.proc.Pid())
		p.mu.Lock()
		w.rss = size
		if w.state == idle {
			p.recycleAged(w)
		}
		p.mu.Unlock()
	}
}
