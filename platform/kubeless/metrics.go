package kubeless

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fnpod/fnpod/proxy"
)

// methods are the values of the label method, and of its last part in Node's strict form. All others are the last one.
var methods = [...]string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "other"}

// Series of a function. The Help texts are part of what clients of /metrics know.
const (
	callsName, callsHelp       = "function_calls_total", "Number of calls to user function"
	failuresName, failuresHelp = "function_failures_total", "Number of exceptions in user function"
	durationName, durationHelp = "function_duration_seconds", "Duration of user function in seconds"
)

// Metrics are the series of Kubeless' servers. It may be used by any number of goroutines.
type Metrics struct {
	calls, failures *prometheus.CounterVec
	duration        *prometheus.HistogramVec
	labels          [len(methods)]string
	cells           [len(methods)]atomic.Pointer[cell]
}

// cell is what is counted of one method. Finding it by its label costs ten times as much as counting.
type cell struct {
	calls, failures prometheus.Counter
	duration        prometheus.Observer
}

// NewMetrics returns the series of a function.
func NewMetrics(s *Settings) *Metrics {
	label := []string{"method"}
	m := &Metrics{
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: callsName, Help: callsHelp}, label),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: failuresName, Help: failuresHelp}, label),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: durationName, Help: durationHelp, Buckets: buckets(s.Language)}, label),
		labels:   methods,
	}
	if s.Language == Node && s.Strict {
		module := strings.TrimSuffix(filepath.Base(s.File), filepath.Ext(s.File))
		for i := range m.labels {
			m.labels[i] = module + "-" + methods[i]
		}
	}
	return m
}

// buckets are those of the languages' own clients, with the limits that dashboards know.
func buckets(language string) []float64 {
	if language == Python {
		return []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	}
	return prometheus.DefBuckets
}

// Collectors returns what a registry needs to know.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.failures, m.duration}
}

// Count counts a request that has ended, if the function was asked for it.
func (m *Metrics) Count(x *proxy.Exchange, o proxy.Outcome) {
	took := x.Ran()
	if o.Own || took == 0 || errors.Is(o.Err, ErrBody) {
		return
	}
	i := methodOf(x.Request().Method)
	c := m.cells[i].Load()
	if c == nil {
		label := m.labels[i]
		c = &cell{m.calls.WithLabelValues(label), m.failures.WithLabelValues(label), m.duration.WithLabelValues(label)}
		m.cells[i].Store(c)
	}
	c.calls.Inc()
	c.duration.Observe(took.Seconds())
	if failed(o.Err) {
		c.failures.Inc()
	}
}

// failed reports whether the function is to blame.
func failed(err error) bool {
	return err != nil && !errors.Is(err, proxy.ErrClientGone) && !errors.Is(err, ErrNoAnswer)
}

func methodOf(method []byte) int {
	for i, name := range methods {
		if string(method) == name {
			return i
		}
	}
	return len(methods) - 1
}

// announce adds what is known of series that nobody has made yet: clients of the originals find them before the first call.
func announce(text []byte) []byte {
	for _, s := range [...][3]string{{callsName, callsHelp, "counter"}, {failuresName, failuresHelp, "counter"}, {durationName, durationHelp, "histogram"}} {
		if help := "# HELP " + s[0] + " "; !bytes.Contains(text, []byte(help)) {
			text = append(text, help+s[1]+"\n# TYPE "+s[0]+" "+s[2]+"\n"...)
		}
	}
	return text
}
