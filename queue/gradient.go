package queue

import (
	"math"
	"sync"
	"time"
)

// Constants of Gradient. Smoothing, tolerance and queue are those of Netflix'
// concurrency-limits, class Gradient2Limit. There the service time is compared with its
// own long-term mean, which a function that is always busy drags along: the limit then
// grows for ever. Here it is compared with what it is while fewer requests run.
const (
	gradientSmoothing = 0.2 // part of a new estimate that is taken over
	gradientTolerance = 1.5 // growth of the service time that is not taken for a queue
	gradientQueue     = 4   // requests that may queue inside the function
	gradientSlowest   = 0.5 // most that one estimate shrinks
	gradientWindow    = 20  // least observations that make an estimate, and
	gradientRounds    = 2   // least times that every slot was used meanwhile
	gradientProbe     = 50  // every so many estimates half the limit is tried
)

// Gradient estimates how many requests a function can run at once, from nothing but
// their service times: as long as those are what they are with fewer requests, the
// limit grows; when they rise, requests queue inside the function, and it shrinks. Make
// it with NewGradient; its methods may be called by several goroutines.
type Gradient struct {
	least, most float64

	mu      sync.Mutex
	limit   float64 // guarded by mu
	base    float64 // guarded by mu; service time in nanoseconds with fewer requests
	sum     float64 // guarded by mu; of the service times in this window
	count   int     // guarded by mu; of observations in this window
	peak    int     // guarded by mu; most that ran in this window
	windows int     // guarded by mu; since the last probe
}

// NewGradient returns an estimate that begins at start and stays within least and most.
func NewGradient(start, least, most int) *Gradient {
	return &Gradient{least: float64(least), most: float64(most), limit: float64(min(max(start, least), most))}
}

// Limit returns how many requests should run at once.
func (g *Gradient) Limit() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current()
}

// current is the estimate, or half of it while that is tried. Called with mu held.
func (g *Gradient) current() int {
	if g.probing() {
		return int(max(g.limit/2, g.least))
	}
	return int(g.limit)
}

func (g *Gradient) probing() bool { return g.windows == gradientProbe }

// Observe takes the service time of a request and how many ran when it ended, itself
// included, and returns how many should run at once now.
func (g *Gradient) Observe(service time.Duration, executing int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sum += float64(service)
	g.count++
	g.peak = max(g.peak, executing)
	if g.count >= max(gradientWindow, gradientRounds*g.current()) {
		g.estimate(max(g.sum/float64(g.count), 1))
		g.sum, g.count, g.peak = 0, 0, 0
	}
	return g.current()
}

// estimate ends a window with its mean service time. Called with mu held.
func (g *Gradient) estimate(mean float64) {
	if g.probing() {
		g.windows, g.base = 0, mean
		return
	}
	if g.base == 0 || mean < g.base {
		g.base = mean
	}
	if float64(g.peak) < g.limit/2 { // the limit is not what bounds it: nothing is learnt
		return
	}
	g.windows++
	gradient := max(gradientSlowest, min(1, gradientTolerance*g.base/mean))
	next := g.limit*(1-gradientSmoothing) + (g.limit*gradient+gradientQueue)*gradientSmoothing
	g.limit = math.Min(g.most, math.Max(g.least, next))
}
