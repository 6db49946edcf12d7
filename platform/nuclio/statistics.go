package nuclio

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// Statistics are what is counted of one trigger. It is a prometheus.Collector, and may be used by any number of
// goroutines.
type Statistics struct {
	success, failure           atomic.Uint64
	allocations                atomic.Uint64
	immediate, waited, timeout atomic.Uint64
	waitedMilliseconds         atomic.Int64
	availablePercent           atomic.Uint64

	queue   *queue.Queue
	workers *WorkerTimes
	labels  prometheus.Labels
	waiting func() int // before queue; nil: nothing waits there
}

// WorkerTimes are how many events each worker of an allocator had, and how long they took.
type WorkerTimes struct {
	mu  sync.Mutex
	all map[int]workerTime // guarded by mu; by the index of the worker
}

type workerTime struct {
	events uint64
	took   time.Duration
}

// Add counts an event of a worker.
func (w *WorkerTimes) Add(worker int, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[int]workerTime{}
	}
	t := w.all[worker]
	t.events++
	t.took += took
	w.all[worker] = t
}

// Statistics returns what will be counted of a trigger, whose events wait in q for workers that are counted in w.
func (s *Settings) Statistics(src *Source, q *queue.Queue, w *WorkerTimes) *Statistics {
	return &Statistics{queue: q, workers: w, labels: prometheus.Labels{
		"instance": s.Instance, "trigger_kind": src.Kind, "trigger_id": src.Name, "namespace": s.Metadata.Namespace,
		"function": s.Metadata.Name, "project": s.Metadata.Labels["nuclio.io/project-name"],
	}}
}

// handled counts an event that has ended.
func (s *Statistics) handled(well bool) {
	if well {
		s.success.Add(1)
	} else {
		s.failure.Add(1)
	}
}

// asked counts an event that asks for a worker.
func (s *Statistics) asked() {
	s.allocations.Add(1)
	if st := s.queue.Stats(); st.Limit > 0 {
		s.availablePercent.Add(uint64(100 * max(st.Limit-st.Executing, 0) / st.Limit))
	}
}

// Asked counts an event that no client sent and that asks for a worker. Whatever comes of that, Granted follows.
func (s *Statistics) Asked() { s.asked() }

// Granted counts an event that was given a worker after a wait, or was not.
func (s *Statistics) Granted(wait time.Duration, err error) {
	switch {
	case errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrTimeout):
		s.timeout.Add(1)
		s.failure.Add(1)
	case err != nil:
		s.failure.Add(1)
	case wait == 0:
		s.immediate.Add(1)
	default:
		s.waited.Add(1)
		s.waitedMilliseconds.Add(wait.Milliseconds())
	}
}

// Lost counts an event for which there was no room to wait for a worker.
func (s *Statistics) Lost() {
	s.asked()
	s.Granted(0, queue.ErrFull)
}

// Waits adds those who wait for a worker elsewhere than in its queue. It must be called before the first Collect.
func (s *Statistics) Waits(waiting func() int) { s.waiting = waiting }

// Handled counts an event that has ended. An answer with a status of 500 or more is a failure.
func (s *Statistics) Handled(status int, err error) { s.handled(err == nil && status < 500) }

// Ended implements proxy.Hooks.Ended. What never asked for a worker is not counted.
func (s *Statistics) Ended(x *proxy.Exchange, o proxy.Outcome) {
	switch {
	case o.Own:
	case x.Ran() > 0:
		s.Granted(x.Waited(), nil)
		s.Handled(o.Status, o.Err)
	case errors.Is(o.Err, queue.ErrFull) || errors.Is(o.Err, queue.ErrTimeout) || errors.Is(o.Err, queue.ErrClosed) || errors.Is(o.Err, proxy.ErrDraining):
		s.Granted(0, o.Err)
	}
}

// Describe implements prometheus.Collector: the series are known when they are collected.
func (s *Statistics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Statistics) Collect(out chan<- prometheus.Metric) {
	send := func(name, help string, value float64, label ...string) {
		var names []string
		if len(label) == 2 {
			names = label[:1]
		}
		desc := prometheus.NewDesc("nuclio_processor_"+name, help, names, s.labels)
		kind := prometheus.CounterValue
		if strings.HasSuffix(name, "_current") {
			kind = prometheus.GaugeValue
		}
		out <- prometheus.MustNewConstMetric(desc, kind, value, label[len(names):]...)
	}
	count := func(name, help string, n uint64, label ...string) { send(name, help, float64(n), label...) }
	const handled, allocated = "Events that have ended.", "Events that were given a worker, or were not in time."
	count("handled_events_total", handled, s.success.Load(), "result", "success")
	count("handled_events_total", handled, s.failure.Load(), "result", "failure")
	count("worker_allocation_count", "Events that asked for a worker.", s.allocations.Load())
	count("worker_allocation_total", allocated, s.immediate.Load(), "result", "success_immediate")
	count("worker_allocation_total", allocated, s.waited.Load(), "result", "success_after_wait")
	count("worker_allocation_total", allocated, s.timeout.Load(), "result", "error_timeout")
	const waited = "Time that events waited for a worker which they were given."
	send("worker_allocation_wait_duration_milliseconds_sum", waited, float64(s.waitedMilliseconds.Load()))
	send("worker_allocation_wait_duration_ms_sum", waited, float64(s.waitedMilliseconds.Load())) // as autoscalers are told
	pending := s.queue.Stats().Queued
	if s.waiting != nil {
		pending += s.waiting()
	}
	send("worker_pending_allocation_current", "Events that wait for a worker.", float64(pending))
	count("worker_allocation_workers_available_percentage", "Sum of the percentages of idle workers, one for each event that asked.", s.availablePercent.Load())
	s.workers.mu.Lock()
	defer s.workers.mu.Unlock()
	for i, t := range s.workers.all {
		worker := strconv.Itoa(i)
		send("handled_events_duration_milliseconds_sum", "Time that a worker ran events.", float64(t.took.Microseconds())/1000, "worker_index", worker)
		count("handled_events_duration_milliseconds_count", "Events that a worker ran.", t.events, "worker_index", worker)
	}
}
