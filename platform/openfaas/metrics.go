package openfaas

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fnpod/fnpod/proxy"
)

// methods are the values of the label method, in lower case; all others are "unknown".
var methods = [...]string{"unknown", "get", "post", "put", "patch", "delete", "head", "options", "connect", "trace"}

// Metrics are the series of of-watchdog. It may be used by any number of goroutines.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.GaugeFunc
	cells    [len(methods)][600]atomic.Pointer[cell]
}

// cell is what is counted of one method and code. Finding it by its labels costs ten times as much as counting.
type cell struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

// NewMetrics returns the series; inFlight tells how many requests the function has.
func NewMetrics(inFlight func() float64) *Metrics {
	labels := []string{"code", "method"}
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Total number of HTTP requests.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Seconds spent serving HTTP requests.", Buckets: prometheus.DefBuckets,
		}, labels),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "http_requests_in_flight", Help: "Number of HTTP requests in flight.",
		}, inFlight),
	}
}

// Collectors returns what a registry needs to know.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.inFlight}
}

// Count counts a request. One whose client left before there was a status is a 499.
func (m *Metrics) Count(method []byte, o proxy.Outcome) {
	code, took := o.Status, o.Took
	if code < 100 || code > 599 {
		code = 499
	}
	i := methodOf(method)
	c := m.cells[i][code].Load()
	if c == nil {
		values := []string{strconv.Itoa(code), methods[i]}
		c = &cell{m.requests.WithLabelValues(values...), m.duration.WithLabelValues(values...)}
		m.cells[i][code].Store(c)
	}
	c.requests.Inc()
	c.duration.Observe(took.Seconds())
}

func methodOf(method []byte) int {
	for i := 1; i < len(methods); i++ {
		if len(method) == len(methods[i]) && strings.EqualFold(string(method), methods[i]) {
			return i
		}
	}
	return 0
}
