package openfaas

import (
	"errors"
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

// clientGone is the code of a request whose client left before it was answered.
const clientGone = 499

// codeOf returns the status that the client was sent, unless it left.
func codeOf(o proxy.Outcome) int {
	if o.Status < 100 || o.Status > 599 || !o.Whole && errors.Is(o.Err, proxy.ErrClientGone) {
		return clientGone
	}
	return o.Status
}

// Count counts a request.
func (m *Metrics) Count(method []byte, o proxy.Outcome) {
	code, took := codeOf(o), o.Took
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
