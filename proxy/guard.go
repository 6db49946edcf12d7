package proxy

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// never is a moment that does not come, in nanoseconds on the server's clock.
const never = math.MaxInt64

// watchAfter is how long a request runs, or a connection waits for the first time,
// before we watch for its client leaving. Short requests never pay for it.
const watchAfter = int64(25 * time.Millisecond)

// sleepAfter is how long a connection is idle before it sleeps. One that is woken in half
// that time stays awake: to be woken costs more than to wait.
const sleepAfter = int64(2 * time.Second)

type phase uint8

const (
	phaseIdle   phase = iota // no byte of a request yet
	phaseHead                // a head has begun
	phaseBody                // the body is read, before queueing
	phaseRun                 // queued or running
	phaseTunnel              // the protocol was switched: either side may end by itself
	phaseClose               // the owner ends the connection under a deadline of its own
)

// guard knows when a connection must be looked at and how its work is stopped.
// The owner moves it through the phases; the sweeper, the hang-up watcher and
// the drain look at it from outside.
type guard struct {
	due    atomic.Int64 // when the sweeper must look, on the server's clock
	active atomic.Int64 // when the tunnel last moved a byte

	mu      sync.Mutex
	phase   phase       // guarded by mu
	since   int64       // guarded by mu: start of the phase
	limit   int64       // guarded by mu: end of the phase, in phaseRun the latest start of the answer, in phaseTunnel the next look at active
	total   int64       // guarded by mu: the request's deadline
	watchAt int64       // guarded by mu
	watched bool        // guarded by mu: the hang-up watcher tells when the client ends its side
	sleeps  bool        // guarded by mu: the owner sleeps when it has been idle for long
	hungUp  bool        // guarded by mu: the client has ended its side
	begun   bool        // guarded by mu: the answer has begun
	cause   error       // guarded by mu: why the work was stopped; the first cause stays
	stop    Interrupter // guarded by mu: what to stop
	tunnel  *tunnel     // guarded by mu: what is told of a drain, in phaseTunnel
	ending  bool        // guarded by mu: the drain has told
	srv     *Server     // set once
	owner   owner       // set once
}

// enter starts a phase that may last until limit.
func (g *guard) enter(p phase, now, limit int64) {
	g.mu.Lock()
	g.begin(p, now, limit, never, g.watchFrom(p, now))
	due := g.nextDue()
	g.mu.Unlock()
	g.setDue(due)
}

// watchFrom is when to look after a client that is waited for: the event that
// brought its last bytes may have brought the end of its side, too, and comes
// once. Called under mu.
func (g *guard) watchFrom(p phase, now int64) int64 {
	switch {
	case p == phaseClose:
		return never
	case g.hungUp:
		return now
	case !g.watched:
		return now + watchAfter
	case g.sleeps && p == phaseIdle:
		return now + sleepAfter
	default:
		return never
	}
}

// run starts phaseRun for one request. answerBy and total may be never.
func (g *guard) run(now, answerBy, total int64) {
	g.mu.Lock()
	g.begin(phaseRun, now, answerBy, total, now+watchAfter)
	g.mu.Unlock()
	g.setDue(min(now+watchAfter, answerBy, total))
}

// startTunnel starts phaseTunnel, in which only the idle limit and the drain strike,
// unless something struck before.
func (g *guard) startTunnel(t *tunnel, now int64) error {
	g.mu.Lock()
	if g.cause != nil {
		defer g.mu.Unlock()
		return g.cause
	}
	g.active.Store(now)
	total := int64(never)
	if g.srv.hooks.Rules.BoundTunnels {
		total = g.total
	}
	g.begin(phaseTunnel, now, now+int64(g.srv.cfg.TunnelIdleTimeout), total, never)
	g.stop, g.tunnel = t, t
	if g.ending {
		t.goAway()
	}
	due := g.nextDue()
	g.mu.Unlock()
	g.setDue(due)
	return nil
}

// endTunnel tells the tunnel, in progress or to come, that it is to end.
func (g *guard) endTunnel() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return
	}
	g.ending = true
	if g.tunnel != nil {
		g.tunnel.goAway()
	}
}

// begin forgets a time-out of the phase before, which struck too late to matter.
func (g *guard) begin(p phase, now, limit, total, watchAt int64) {
	g.phase, g.since, g.limit, g.total, g.watchAt, g.begun = p, now, limit, total, watchAt, false
	if g.cause != nil {
		g.cause = nil
		g.owner.clearDeadlines()
	}
}

// answerBy moves the latest start of the answer, if that is still to come.
func (g *guard) answerBy(limit int64) {
	g.mu.Lock()
	if g.cause == nil && !g.begun {
		g.limit = limit
	}
	due := g.nextDue()
	g.mu.Unlock()
	g.setDue(due)
}

// answering ends the limit on the start of the answer, for good. The error is what has interrupted the request before.
// What is said when the request does not run, or not any more, is ours, and the limit is another one.
func (g *guard) answering() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != phaseRun {
		return nil
	}
	if g.cause != nil {
		return g.cause
	}
	g.begun, g.limit = true, never
	if g.srv.hooks.Rules.QuietTimeout > 0 {
		g.active.Store(g.srv.now())
		g.limit = g.quietUntil()
		g.srv.sweeper.schedule(g.limit)
	}
	g.due.Store(g.nextDue())
	return nil
}

// finish is settle for a link that carries one request and then ends.
func (g *guard) finish(now int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	cause := g.cause
	g.stop = nil
	g.begin(phaseClose, now, never, never, never)
	g.due.Store(never)
	return cause
}

// settle ends a phase: the connection is idle, and may be so until limit. No
// interruption happens after it. It returns what had interrupted the request, or
// nil; deadlines of the connection are clear again.
func (g *guard) settle(now, limit int64) error {
	g.mu.Lock()
	cause := g.cause
	g.stop, g.tunnel = nil, nil
	g.begin(phaseIdle, now, limit, never, g.watchFrom(phaseIdle, now))
	due := g.nextDue()
	g.mu.Unlock()
	g.setDue(due)
	return cause
}

// onInterrupt registers what an interruption stops. It returns the cause if the
// request was interrupted before.
func (g *guard) onInterrupt(i Interrupter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop = i
	return g.cause
}

// tunnels reports whether the protocol was switched.
func (g *guard) tunnels() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phase == phaseTunnel
}

// interrupted returns the cause if the request was interrupted.
func (g *guard) interrupted() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cause
}

// interrupt stops the request in progress and reports whether one is lost by that: a
// tunnel is not, it was told before.
func (g *guard) interrupt(cause error) (lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase == phaseRun || g.phase == phaseTunnel {
		g.interruptLocked(cause)
	}
	return g.phase == phaseRun
}

func (g *guard) interruptLocked(cause error) {
	if g.cause != nil {
		return
	}
	g.cause = cause
	g.limit, g.total, g.watchAt = never, never, never
	if g.stop != nil {
		g.stop.Interrupt()
		g.stop = nil
	}
	g.owner.unblock() // the owner may be writing to a client that does not read
}

// clientLeft is told that the client has ended its side.
func (g *guard) clientLeft() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hungUp = true
	g.leave()
}

// leave acts on a client that has ended its side: its request is stopped, and a
// connection that waits for more of it reads to the end. A tunnel passes the end on.
func (g *guard) leave() {
	switch g.phase {
	case phaseRun:
		g.interruptLocked(ErrClientGone)
	case phaseClose, phaseTunnel:
	default:
		if g.cause == nil {
			g.cause = errHungUp
			g.owner.wake()
		}
	}
}

// resume lets a connection go on that was woken for a cause which ends nothing. It
// reports false if something else woke it.
func (g *guard) resume(cause error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !errors.Is(g.cause, cause) {
		return false
	}
	g.cause = nil
	g.owner.clearDeadlines()
	return true
}

// expire does what is due and returns when to look again.
func (g *guard) expire(now int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.phase == phaseClose:
	case now >= g.limit && g.phase == phaseTunnel:
		if g.limit = g.active.Load() + int64(g.srv.cfg.TunnelIdleTimeout); now >= g.limit {
			g.interruptLocked(errTunnelIdle)
		}
	case now >= g.limit && g.phase != phaseRun:
		g.limit = never
		if g.cause == nil {
			g.cause = timeoutOf(g.phase)
			g.owner.wake()
		}
	case now >= g.total:
		g.interruptLocked(ErrTimeout)
	case now >= g.limit && g.begun:
		if g.limit = g.quietUntil(); now >= g.limit {
			g.interruptLocked(ErrTimeout)
		}
	case now >= g.limit:
		g.interruptLocked(ErrAnswerTimeout)
	case now >= g.watchAt:
		g.watchAt = never
		g.lookAfterClient()
	}
	due := g.nextDue()
	g.due.Store(due)
	return due
}

// lookAfterClient is called when the client has been waited for, or its request has run, for a while. Under mu.
func (g *guard) lookAfterClient() {
	switch {
	case g.hungUp:
		g.leave()
	case !g.watched:
		g.watched = true
		g.owner.watch()
		if g.sleeps && g.phase == phaseIdle {
			g.watchAt = g.since + sleepAfter
		}
	case g.sleeps && g.phase == phaseIdle && g.cause == nil:
		g.cause = errSleep
		g.owner.wake()
	}
}

// shorten ends an idle phase early, at its start plus idle.
func (g *guard) shorten(idle int64) {
	g.mu.Lock()
	if g.phase == phaseIdle {
		g.limit = min(g.limit, g.since+idle)
	}
	due := g.nextDue()
	g.mu.Unlock()
	g.setDue(due)
}

// idleSince returns when the connection became idle, or never if it is not, or is
// about to end.
func (g *guard) idleSince() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != phaseIdle || g.cause != nil {
		return never
	}
	return g.since
}

// endIdle ends the connection if it is still idle.
func (g *guard) endIdle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != phaseIdle || g.cause != nil {
		return false
	}
	g.cause = errIdle
	g.owner.wake()
	return true
}

func (g *guard) nextDue() int64 { return min(g.limit, g.total, g.watchAt) }

func (g *guard) setDue(t int64) {
	g.due.Store(t)
	g.srv.sweeper.schedule(t)
}

func timeoutOf(p phase) error {
	switch p {
	case phaseHead:
		return errHeadTimeout
	case phaseBody:
		return errBodyTimeout
	default:
		return errIdle
	}
}
