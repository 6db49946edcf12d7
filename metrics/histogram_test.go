package metrics_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
)

// family returns one family of a set.
func family(t *testing.T, s *metrics.Set, name string) *dto.MetricFamily {
	t.Helper()
	families, err := s.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	require.Fail(t, "no such series", name)
	return nil
}

// buckets are the bounds of our histograms, as they are exposed.
func buckets(t *testing.T) []float64 {
	t.Helper()
	var bounds []float64
	for _, b := range family(t, metrics.New(1), "fnpod_run_seconds").Metric[0].Histogram.Bucket {
		bounds = append(bounds, b.GetUpperBound())
	}
	return bounds
}

// reference returns a histogram of the Prometheus client with our bounds.
func reference(t *testing.T) prometheus.Histogram {
	t.Helper()
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "reference", Buckets: buckets(t)})
}

func TestHistogramAgreesWithThePrometheusClient(t *testing.T) {
	s := metrics.New(3)
	want := reference(t)
	var sum time.Duration
	n := 0
	observe := func(d time.Duration) {
		s.Shard(n).RunTime.Observe(d)
		want.Observe(d.Seconds())
		sum += d
		n++
	}
	for _, b := range buckets(t) {
		d := time.Duration(math.Round(b * 1e9))
		for _, off := range []time.Duration{-2, -1, 0, 1, 2} {
			observe(d + off)
		}
	}
	for e := range 40 {
		for off := range time.Duration(16) {
			observe(max(0, 1<<e+off-8))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		observe(time.Duration(math.Exp(r.Float64() * math.Log(200e9))))
	}

	var m dto.Metric
	require.NoError(t, want.Write(&m))
	got := family(t, s, "fnpod_run_seconds").Metric[0].Histogram
	require.EqualValues(t, n, got.GetSampleCount())
	require.InDelta(t, sum.Seconds(), got.GetSampleSum(), 1e-6)
	require.Len(t, got.Bucket, len(m.Histogram.Bucket))
	for i, b := range m.Histogram.Bucket {
		require.Equal(t, b.GetCumulativeCount(), got.Bucket[i].GetCumulativeCount(), "up to %v s", b.GetUpperBound())
	}
}

func TestHistogramTakesAnyDuration(t *testing.T) {
	s := metrics.New(1)
	h := &s.Shard(0).RunTime
	h.Observe(math.MaxInt64)
	got := family(t, s, "fnpod_run_seconds").Metric[0].Histogram
	require.EqualValues(t, 1, got.GetSampleCount())
	require.Zero(t, got.Bucket[len(got.Bucket)-1].GetCumulativeCount(), "longer than the last bound")

	s = metrics.New(1)
	h = &s.Shard(0).RunTime
	h.Observe(math.MinInt64)
	h.Observe(-1)
	got = family(t, s, "fnpod_run_seconds").Metric[0].Histogram
	require.EqualValues(t, 2, got.Bucket[0].GetCumulativeCount(), "negative counts as 0")
	require.Zero(t, got.GetSampleSum())
}

func TestBoundsReachFrom50MicrosecondsTo60Seconds(t *testing.T) {
	bounds := buckets(t)
	require.InDelta(t, 50e-6, bounds[0], 0)
	require.InDelta(t, 60.0, bounds[len(bounds)-1], 0)
	for i := 1; i < len(bounds); i++ {
		require.Greater(t, bounds[i]/bounds[i-1], 1.25, "two bounds in one cell: %v, %v", bounds[i-1], bounds[i])
	}
}

func TestHistogramLosesNothingUnderLoad(t *testing.T) {
	s := metrics.New(2)
	var g sync.WaitGroup
	for i := range 4 {
		g.Go(func() {
			for range 10_000 {
				s.Shard(i).Duration.Observe(time.Millisecond)
			}
		})
	}
	g.Wait()
	got := family(t, s, "fnpod_request_duration_seconds").Metric[0].Histogram
	require.EqualValues(t, 40_000, got.GetSampleCount())
	require.InDelta(t, 40, got.GetSampleSum(), 1e-6)
}

func TestQuantilesOfRecentWaits(t *testing.T) {
	set := metrics.New(2)
	var none metrics.Waits
	w := set.Waits()
	require.Zero(t, w.Quantile(0.5, &none))
	for range 90 {
		set.Shard(0).QueueWait.Observe(0)
		set.Shard(1).QueueWait.Observe(3 * time.Millisecond)
	}
	for range 20 {
		set.Shard(0).QueueWait.Observe(time.Hour)
	}
	w = set.Waits()
	require.LessOrEqual(t, w.Quantile(0.4, &none), 50*time.Microsecond)
	require.InDelta(t, 3.5*float64(time.Millisecond), float64(w.Quantile(0.675, &none)), float64(time.Millisecond))
	require.Equal(t, time.Minute, w.Quantile(0.99, &none), "the last bucket has no upper end")
	before := w
	set.Shard(1).QueueWait.Observe(0)
	w = set.Waits()
	require.LessOrEqual(t, w.Quantile(0.99, &before), 50*time.Microsecond, "what was before is forgotten")
}
