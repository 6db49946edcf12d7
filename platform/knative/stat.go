package knative

import (
	"context"
	"encoding/binary"
	"math"
	"net/http"
	"sync/atomic"
	"time"
)

// window is how long figures are collected before the autoscaler sees them.
const window = time.Second

// longestName keeps a Stat below the 336 bytes that the autoscaler reads. Names of Kubernetes have 253 at most.
const longestName = 256

// Stat is what the autoscaler of Knative asks a pod for every second: how many requests there were at once on average,
// and how many came. Its methods may be called by any number of goroutines.
type Stat struct {
	pod   string
	start time.Time

	all, proxied flow

	text atomic.Pointer[[]byte] // the last window as a message
}

// NewStat returns the figures of a pod without requests.
func NewStat(pod string) *Stat {
	s := &Stat{pod: pod[:min(len(pod), longestName)], start: time.Now()}
	s.publish(figures{})
	return s
}

// Begin counts a request that has come, before it queues; proxied ones were counted by the activator, too. End must
// follow.
func (s *Stat) Begin(proxied bool) {
	now := time.Since(s.start)
	s.all.begin(now)
	if proxied {
		s.proxied.begin(now)
	}
}

// End counts that a request is over, for which Begin was called with the same argument.
func (s *Stat) End(proxied bool) {
	now := time.Since(s.start)
	s.all.end(now)
	if proxied {
		s.proxied.end(now)
	}
}

// Run sums up every second, until ctx ends.
func (s *Stat) Run(ctx context.Context) {
	t := time.NewTicker(window)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.sumUp()
		}
	}
}

// sumUp ends a window and shows it. One goroutine calls it.
func (s *Stat) sumUp() {
	now := time.Since(s.start)
	f := figures{uptime: now.Seconds()}
	f.concurrency, f.requests = s.all.window(now)
	f.proxiedConcurrency, f.proxiedRequests = s.proxied.window(now)
	s.publish(f)
}

// figures are the fields of the message besides the pod's name, in the order of their numbers from 2 on.
type figures struct {
	concurrency, proxiedConcurrency, requests, proxiedRequests, uptime float64
}

// publish writes the message Stat in protobuf's encoding. A field that is 0 is left out.
func (s *Stat) publish(f figures) {
	const text, double = 2, 1 // types on the wire
	b := make([]byte, 0, longestName+48)
	b = append(b, 1<<3|text)
	b = binary.AppendUvarint(b, uint64(len(s.pod)))
	b = append(b, s.pod...)
	for i, v := range [...]float64{f.concurrency, f.proxiedConcurrency, f.requests, f.proxiedRequests, f.uptime} {
		if v != 0 {
			b = append(b, byte(i+2)<<3|double)
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	s.text.Store(&b)
}

// ServeHTTP answers /metrics, of any method, with the last window. Reading changes nothing.
func (s *Stat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/protobuf") // compared as a string
	_, _ = w.Write(*s.text.Load())                         // who has left does not care
}

// flow sums up how many requests there were at once, over time.
//
// The sum over a window is: for each that ended, when; less for each that began, when; plus for each that is still there,
// now. So nothing has to be known of single requests, and no lock is needed: the lowest bits of level say how many there
// are and the others hold the sum of times, modulo their size. One addition changes both, and one read sees both.
type flow struct {
	level atomic.Uint64
	begun atomic.Uint64

	seen    uint64 // level at the end of the last window; of window's goroutine, as are the next
	counted uint64
	since   time.Duration
}

const (
	countBits = 20 // more requests than connections can be
	tick      = 7  // times are in units of 128 ns, so that a window of all of them fits
)

func ticks(t time.Duration) uint64 { return uint64(t) >> tick }

func (f *flow) begin(now time.Duration) {
	f.level.Add(1 - ticks(now)<<countBits)
	f.begun.Add(1)
}

func (f *flow) end(now time.Duration) { f.level.Add(ticks(now)<<countBits - 1) }

// window returns the average number of requests since it was called last, and how many came per second.
func (f *flow) window(now time.Duration) (concurrency, rate float64) {
	level, begun := f.level.Load(), f.begun.Load()
	const mask = 1<<countBits - 1
	before := f.seen>>countBits + (f.seen&mask)*ticks(f.since)
	after := level>>countBits + (level&mask)*ticks(now)
	sum := max(int64((after-before)<<countBits)>>countBits, 0) // less than 0 if only what began after now was seen
	if length := ticks(now) - ticks(f.since); length > 0 {
		concurrency = float64(sum) / float64(length)
	}
	rate = float64(begun-f.counted) / window.Seconds()
	f.seen, f.counted, f.since = level, begun, now
	return concurrency, rate
}
