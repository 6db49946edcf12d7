package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests says what became of all requests so far. At any time
//
//	Accepted = sum of Answered + ClientGone + Aborted + InFlight
type Requests struct {
	Accepted   uint64
	Answered   [6]uint64 // by status/100
	ClientGone uint64
	Aborted    uint64
	InFlight   uint64
}

// Requests adds up the shards while they go on counting. A request that ends is
// counted after it was accepted, so the ends are read first: whoever is seen to
// have ended is then seen to have been accepted, and what is left is in flight.
func (s *Set) Requests() Requests {
	var r Requests
	for i := range s.shards {
		for class := range r.Answered {
			r.Answered[class] += s.shards[i].Answered[class].Load()
		}
		r.ClientGone += s.shards[i].ClientGone.Load()
		r.Aborted += s.shards[i].Aborted.Load()
	}
	ended := r.ClientGone + r.Aborted
	for _, n := range r.Answered {
		ended += n
	}
	r.Accepted = s.sum(func(h *Shard) *atomic.Uint64 { return &h.Accepted })
	r.InFlight = r.Accepted - ended
	return r
}

// sum adds up one counter.
func (s *Set) sum(of func(*Shard) *atomic.Uint64) (total uint64) {
	for i := range s.shards {
		total += of(&s.shards[i]).Load()
	}
	return total
}

// collector hides the methods the registry needs from the users of a Set.
func (s *Set) collector() prometheus.Collector { return collector{s} }

type collector struct{ *Set }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	scrape := scrape{c.Set, out}
	scrape.requests()
	scrape.connections()
	scrape.counters()
	scrape.histograms()
	scrape.functions()
}

// scrape is one reading of a set.
type scrape struct {
	*Set
	out chan<- prometheus.Metric
}

func (s scrape) send(id ID, v float64, values ...string) {
	t := prometheus.GaugeValue
	if table[id].kind == counter {
		t = prometheus.CounterValue
	}
	s.out <- prometheus.MustNewConstMetric(s.descs[id], t, v, values...)
}

func (s scrape) requests() {
	r := s.Requests()
	s.send(accepted, float64(r.Accepted))
	for class, n := range r.Answered[1:] {
		s.send(answered, float64(n), classes[class+1])
	}
	s.send(clientGone, float64(r.ClientGone))
	s.send(aborted, float64(r.Aborted))
	s.send(inFlight, float64(r.InFlight))
	var open int64
	for i := range s.shards {
		open += s.shards[i].Tunnels.Load()
	}
	s.send(tunnels, float64(open))
}

// connections reads those closed before those opened, as Requests does.
func (s scrape) connections() {
	closed := s.sum(func(h *Shard) *atomic.Uint64 { return &h.ConnectionsClosed })
	opened := s.sum(func(h *Shard) *atomic.Uint64 { return &h.ConnectionsOpened })
	s.send(connectionsClosed, float64(closed))
	s.send(connectionsOpened, float64(opened))
	s.send(connections, float64(opened-closed))
}

func (s scrape) counters() {
	plain := func(id ID, of func(*Shard) *atomic.Uint64) { s.send(id, float64(s.sum(of))) }
	plain(acceptErrors, func(h *Shard) *atomic.Uint64 { return &h.AcceptErrors })
	plain(bytesIn, func(h *Shard) *atomic.Uint64 { return &h.BytesIn })
	plain(bytesOut, func(h *Shard) *atomic.Uint64 { return &h.BytesOut })
	plain(retries, func(h *Shard) *atomic.Uint64 { return &h.Retries })
	plain(panics, func(h *Shard) *atomic.Uint64 { return &h.Panics })
	for i := 1; i < len(rejectReasons); i++ {
		n := s.sum(func(h *Shard) *atomic.Uint64 { return &h.Rejected[i] })
		s.send(rejected, float64(n), rejectReasons[i])
	}
	for i := 1; i < len(upstreamReasons); i++ {
		n := s.sum(func(h *Shard) *atomic.Uint64 { return &h.UpstreamErrors[i] })
		s.send(upstreamErrors, float64(n), upstreamReasons[i])
	}
}

func (s scrape) histograms() {
	for id, of := range map[ID]func(*Shard) *Histogram{
		queueWait: func(h *Shard) *Histogram { return &h.QueueWait },
		firstByte: func(h *Shard) *Histogram { return &h.FirstByte },
		runTime:   func(h *Shard) *Histogram { return &h.RunTime },
		duration:  func(h *Shard) *Histogram { return &h.Duration },
	} {
		var r reading
		for i := range s.shards {
			r.add(of(&s.shards[i]))
		}
		total, upTo := r.cumulative()
		s.out <- prometheus.MustNewConstHistogram(s.descs[id], total, r.sum.Seconds(), upTo)
	}
}

func (s scrape) functions() {
	s.mu.Lock()
	funcs := s.funcs // only ever grows
	s.mu.Unlock()
	for _, f := range funcs {
		s.send(f.id, f.read(), f.values...)
	}
}
