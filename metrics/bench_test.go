package metrics_test

import (
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/fnpod/fnpod/metrics"
)

func BenchmarkObserve(b *testing.B) {
	bounds := []float64{
		50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1, 2, 5, 10, 20, 30, 60,
	}
	client := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: bounds})
	labels := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "v", Buckets: bounds}, []string{"code"})
	ours := &metrics.New(1).Shard(0).RunTime
	for _, h := range []struct {
		name    string
		observe func(time.Duration)
	}{
		{"ours", ours.Observe},
		{"client_golang", func(d time.Duration) { client.Observe(d.Seconds()) }},
		{"client_golang_labels", func(d time.Duration) { labels.WithLabelValues("200").Observe(d.Seconds()) }},
	} {
		b.Run(h.name, func(b *testing.B) {
			b.ReportAllocs()
			d := time.Microsecond
			for b.Loop() {
				h.observe(d)
				d = (d*3 + 7919) & (1<<30 - 1) // all buckets in turn
			}
		})
	}
}

func BenchmarkCounter(b *testing.B) {
	h := metrics.New(1).Shard(0)
	client := prometheus.NewCounter(prometheus.CounterOpts{Name: "c"})
	labels := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "v"}, []string{"code"})
	for _, c := range []struct {
		name string
		add  func()
	}{
		{"ours", func() { h.Accepted.Add(1) }},
		{"client_golang", client.Inc},
		{"client_golang_labels", func() { labels.WithLabelValues("200").Inc() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.add()
			}
		})
	}
}

func BenchmarkScrape(b *testing.B) {
	s := metrics.New(2)
	b.ReportAllocs()
	for b.Loop() {
		families, err := s.Gather()
		if err != nil {
			b.Fatal(err)
		}
		e := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain))
		for _, f := range families {
			if err := e.Encode(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}
