package knative

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// millisecondBounds are the buckets of the older series.
var millisecondBounds = []float64{
	5, 10, 20, 40, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900,
	1000, 2000, 5000, 10000, 20000, 50000, 100000,
}

// olderMetrics are the series up to 1.18.
type olderMetrics struct {
	requests, appRequests *prometheus.CounterVec
	latency, appLatency   *prometheus.HistogramVec
}

func (m *UserMetrics) addOlder(s *Settings, depth func() float64) *olderMetrics {
	names := prometheus.Labels{
		"namespace_name": s.Namespace, "service_name": s.Service, "configuration_name": s.Configuration, "revision_name": s.Revision,
		"pod_name": s.Pod, "container_name": "queue-proxy",
	}
	app := []string{"response_code", "response_code_class"}
	all := append([]string{"route_tag"}, app...)
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: names}, labels)
	}
	histogram := func(name, help string, labels []string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: millisecondBounds, ConstLabels: names}, labels)
	}
	o := &olderMetrics{
		requests:    counter("revision_request_count", "Requests that came to the pod.", all),
		appRequests: counter("revision_app_request_count", "Requests that the user container was given.", app),
		latency:     histogram("revision_request_latencies", "Duration of requests in milliseconds, with their wait.", all),
		appLatency:  histogram("revision_app_request_latencies", "Duration of requests in the user container, in milliseconds.", app),
	}
	m.series = append(m.series, o.requests, o.appRequests, o.latency, o.appLatency)
	if s.Concurrency > 0 {
		m.series = append(m.series, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "revision_queue_depth", Help: "Requests that run or wait.", ConstLabels: names,
		}, depth))
	}
	return o
}

// fill finds the series with these labels.
func (o *olderMetrics) fill(c *cell, l labels, tag string) {
	app := []string{strconv.Itoa(l.code), strconv.Itoa(l.code/100) + "xx"}
	all := append([]string{tag}, app...)
	c.requests, c.latency = o.requests.WithLabelValues(all...), o.latency.WithLabelValues(all...)
	if l.fate != FateRefused {
		c.appRequests, c.appLatency = o.appRequests.WithLabelValues(app...), o.appLatency.WithLabelValues(app...)
	}
}
