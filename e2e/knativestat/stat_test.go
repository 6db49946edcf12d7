// Package knativestat reads what fnpod tells Knative's autoscaler with the autoscaler's own code. That brings half of Kubernetes along, so
// it is a module of its own.
package knativestat

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	netheader "knative.dev/networking/pkg/http/header"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/metrics"

	"github.com/fnpod/fnpod/platform/knative"
)

// scraper reads a pod as the autoscaler does: it compares the type as a string, and reads no more than these bytes.
type scraper struct {
	t   *testing.T
	pod *knative.Stat
}

// Scrape implements metrics.StatsScraper.
func (s scraper) Scrape(time.Duration) (stat metrics.Stat, err error) {
	w := httptest.NewRecorder()
	s.pod.ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "/metrics", nil))
	require.Equal(s.t, netheader.ProtobufMIMEType, w.Header().Get("Content-Type"))
	require.LessOrEqual(s.t, w.Body.Len(), 6*10+256+20)
	return stat, stat.Unmarshal(w.Body.Bytes())
}

// running starts the figures of a pod, and lets the clock be a little behind the ends of their windows.
func running(t *testing.T) scraper {
	t.Helper()
	s := scraper{t, knative.NewStat("hello-pod")}
	go s.pod.Run(t.Context())
	time.Sleep(time.Millisecond)
	return s
}

func TestKnative102TheFieldsAreThoseOfTheAutoscaler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := running(t)
		for _, proxied := range []bool{false, false, true} {
			s.pod.Begin(proxied)
		}
		time.Sleep(time.Second)
		got, err := s.Scrape(0)
		require.NoError(t, err)
		require.InDelta(t, 3*0.999, got.AverageConcurrentRequests, 0.004)
		got.AverageConcurrentRequests, got.AverageProxiedConcurrentRequests = 0, 0
		require.Equal(t, metrics.Stat{PodName: "hello-pod", RequestCount: 3, ProxiedRequestCount: 1, ProcessUptime: 1}, got)
	})
}

// traffic is when requests began and ended, with the running ones at the end.
type traffic struct{ begun, ended []time.Duration }

// over returns the average number of requests between two moments, and how many came.
func (r traffic) over(from, to time.Duration) (average, count float64) {
	for i, b := range r.begun {
		e := to
		if i < len(r.ended) {
			e = min(r.ended[i], to)
		}
		average += max(e-max(b, from), 0).Seconds()
		if b >= from && b < to {
			count++
		}
	}
	return average / (to - from).Seconds(), count
}

// What the autoscaler makes of ten scrapes is what the traffic was, without the requests that the activator counts.
func TestKnative104And105TheAutoscalersSums(t *testing.T) {
	const window = 10 * time.Second
	key := types.NamespacedName{Namespace: "default", Name: "hello"}
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			start := time.Now() // of the first window
			s := running(t)
			collector := metrics.NewMetricCollector(func(*v1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) { return s, nil }, zap.NewNop().Sugar())
			metric := &v1alpha1.Metric{Spec: v1alpha1.MetricSpec{StableWindow: window, PanicWindow: window, ScrapeTarget: "hello"}}
			metric.Namespace, metric.Name = key.Namespace, key.Name
			require.NoError(t, collector.CreateOrUpdate(metric))
			defer collector.Delete(key.Namespace, key.Name)
			var direct traffic // first in, first out
			open := map[bool]int{}
			for time.Since(start) < window-10*time.Millisecond {
				proxied := random.IntN(3) == 0
				now := time.Since(start)
				switch {
				case open[proxied] > 0 && random.IntN(2) == 0:
					open[proxied]--
					s.pod.End(proxied)
					if !proxied {
						direct.ended = append(direct.ended, now)
					}
				default:
					open[proxied]++
					s.pod.Begin(proxied)
					if !proxied {
						direct.begun = append(direct.begun, now)
					}
				}
				time.Sleep(time.Duration(random.IntN(int(20*time.Millisecond))) + 1)
			}
			time.Sleep(window - time.Since(start) + 2*time.Millisecond)
			synctest.Wait()
			average, count := direct.over(0, window)
			concurrency, _, err := collector.StableAndPanicConcurrency(key, time.Now())
			require.NoError(t, err)
			require.InDelta(t, average, concurrency, 1e-4)
			rate, _, err := collector.StableAndPanicRPS(key, time.Now())
			require.NoError(t, err)
			require.InDelta(t, count/window.Seconds(), rate, 1e-9)
		})
	}
}
