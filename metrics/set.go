package metrics

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// Set holds all series of a program on a registry of their own. Its methods may be
// called by several goroutines at the same time.
type Set struct {
	shards   []Shard
	registry *prometheus.Registry
	descs    [len(table)]*prometheus.Desc

	mu    sync.Mutex
	funcs []function // guarded by mu
}

// function is a series whose value is read elsewhere.
type function struct {
	id     ID
	values []string
	read   func() float64
}

// New returns a set with that many shards, at least one. One per processor is
// right; each takes 2 KB. The series of the Go runtime and of the process are part
// of every set.
func New(shards int) *Set {
	s := &Set{shards: make([]Shard, max(1, shards)), registry: prometheus.NewRegistry()}
	for id, t := range table {
		var names []string
		for _, l := range t.labels {
			names = append(names, l.name)
		}
		s.descs[id] = prometheus.NewDesc(t.name, t.help, names, nil)
	}
	s.registry.MustRegister(s.collector(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// Shard returns the shard for number i, modulo their count. Look it up once per
// connection or loop and keep it.
func (s *Set) Shard(i int) *Shard {
	return &s.shards[uint(i)%uint(len(s.shards))]
}

// Func makes read the source of a series, from BuildInfo on, for these values of
// its labels. It is called at every scrape, by any goroutine, so it must be quick
// and must not block; a counter must never go down. A series without a source is
// not exposed. Func panics when the series has a source already or the values are
// not in its table, because that can only be a bug.
func (s *Set) Func(id ID, read func() float64, values ...string) {
	t := table[id]
	if id < BuildInfo || len(values) != len(t.labels) {
		panic(fmt.Sprintf("metrics: %s cannot be read from a function with %d label values", t.name, len(values)))
	}
	for i, l := range t.labels {
		if l.values != nil && !slices.Contains(l.values, values[i]) {
			panic(fmt.Sprintf("metrics: %s has no %s %q", t.name, l.name, values[i]))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.funcs {
		if f.id == id && (slices.Equal(f.values, values) || id == BuildInfo) {
			panic(fmt.Sprintf("metrics: %s%q has two sources", t.name, values))
		}
	}
	s.funcs = append(s.funcs, function{id, values, read})
}

// Collector is where series come from that are not ours.
type Collector = prometheus.Collector

// Register adds the series of a platform. It panics when one has the name of another.
func (s *Set) Register(c ...Collector) { s.registry.MustRegister(c...) }

// Gather reads all series. It implements prometheus.Gatherer.
func (s *Set) Gather() ([]*dto.MetricFamily, error) { return s.registry.Gather() }
