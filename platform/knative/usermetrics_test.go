package knative_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/knative"
)

// helloPod is what the controller says about a pod.
func helloPod() *knative.Settings {
	return &knative.Settings{
		Concurrency: 1, UserPort: 8080, Namespace: "default", Service: "hello", Configuration: "hello", Revision: "hello-00001",
		Pod: "hello-pod", PodIP: "10.0.0.1",
	}
}

// registered returns series, and how to read them: by name and, in alphabetical order, labels that are not empty.
func registered(t *testing.T, names string, hosts bool) (*knative.UserMetrics, func() map[string]*dto.Metric) {
	t.Helper()
	m := knative.NewUserMetrics(helloPod(), &knative.Tags{}, names, hosts, func() float64 { return 3 })
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m.Collectors()...)
	return m, func() map[string]*dto.Metric {
		families, err := r.Gather()
		require.NoError(t, err)
		all := map[string]*dto.Metric{}
		for _, f := range families {
			for _, s := range f.GetMetric() {
				var labels []string
				for _, l := range s.GetLabel() {
					if l.GetValue() != "" {
						labels = append(labels, l.GetName()+"="+l.GetValue())
					}
				}
				all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = s
			}
		}
		return all
	}
}

var post = knative.Measured{
	Method: []byte("POST"), Version: "1.1", Scheme: "http", Code: 201, Fate: knative.FateAnswered,
	Took: 30 * time.Millisecond, Ran: 20 * time.Millisecond, Received: 7, Sent: 600,
}

func TestKnative132SeriesOfToday(t *testing.T) {
	m, read := registered(t, knative.NamesToday, false)
	m.Observe(post)
	m.Observe(post)
	all := read()
	const http = "http_request_method=POST,http_response_status_code=201,kn_route_tag=kn:disabled,network_protocol_name=http,network_protocol_version=1.1," +
		"otel_scope_name=go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp,"
	for series, sum := range map[string]float64{
		"kn_serving_invocation_duration_seconds{http_response_status_code=201,otel_scope_name=knative.dev/serving/pkg/queue}": 0.04,
		"http_server_request_duration_seconds{" + http + "url_scheme=http}":                                                   0.06,
		"http_server_request_body_size_bytes{" + http + "url_scheme=http}":                                                    14,
		"http_server_response_body_size_bytes{" + http + "url_scheme=http}":                                                   1200,
		"http_client_request_duration_seconds{" + http + "server_address=127.0.0.1,server_port=8080,url_scheme=http}":         0.04,
		"http_client_request_body_size_bytes{" + http + "server_address=127.0.0.1,server_port=8080,url_scheme=http}":          14,
	} {
		require.Contains(t, all, series)
		h := all[series].GetHistogram()
		require.EqualValues(t, 2, h.GetSampleCount(), series)
		require.InDelta(t, sum, h.GetSampleSum(), 1e-9, series)
		switch {
		case strings.Contains(series, "_seconds"):
			require.Len(t, h.GetBucket(), 14, series)
		default:
			require.Len(t, h.GetBucket(), 15, series)
		}
	}
	require.InDelta(t, 3, all["kn_serving_queue_depth{otel_scope_name=knative.dev/serving/pkg/queue}"].GetGauge().GetValue(), 0, "D5: the value of now")
	require.Contains(t, all, "target_info{container_name=queue-proxy,k8s_namespace_name=default,k8s_pod_name=hello-pod,"+
		"kn_configuration_name=hello,kn_revision_name=hello-00001,kn_service_name=hello,service_instance_id=hello-pod,service_name=hello}")
	require.Len(t, all, 8)
}

func TestKnative133OnlyWhatTheFunctionSawIsAnInvocation(t *testing.T) {
	m, read := registered(t, knative.NamesBoth, false)
	refused := post
	refused.Fate, refused.Code, refused.Ran = knative.FateRefused, http.StatusServiceUnavailable, 0
	m.Observe(refused)
	for name := range read() {
		require.False(t, strings.HasPrefix(name, "kn_serving_invocation") || strings.HasPrefix(name, "http_client") || strings.HasPrefix(name, "revision_app"), name)
	}
	for fate, reason := range map[knative.Fate]string{
		knative.FateGone: "canceled", knative.FateTimeout: "timeout", knative.FateFailed: "_OTHER",
	} {
		r := post
		r.Fate = fate
		m.Observe(r)
		found := false
		for name := range read() {
			found = found || strings.HasPrefix(name, "http_client_request_duration_seconds{error_type="+reason+",http_request_method=POST,kn_route_tag=")
		}
		require.True(t, found, reason)
	}
}

func TestKnative135SeriesUpTo118(t *testing.T) {
	m, read := registered(t, knative.NamesOlder, false)
	m.Observe(post)
	all := read()
	const pod = "configuration_name=hello,container_name=queue-proxy,namespace_name=default,pod_name=hello-pod"
	const code, revision = ",response_code=201,response_code_class=2xx", ",revision_name=hello-00001"
	labels := "{" + pod + code + revision + ",route_tag=DISABLED,service_name=hello}"
	app := "{" + pod + code + revision + ",service_name=hello}"
	require.InDelta(t, 1, all["revision_request_count"+labels].GetCounter().GetValue(), 0)
	require.InDelta(t, 1, all["revision_app_request_count"+app].GetCounter().GetValue(), 0)
	require.InDelta(t, 30, all["revision_request_latencies"+labels].GetHistogram().GetSampleSum(), 1e-9)
	require.Len(t, all["revision_request_latencies"+labels].GetHistogram().GetBucket(), 26)
	require.InDelta(t, 20, all["revision_app_request_latencies"+app].GetHistogram().GetSampleSum(), 1e-9)
	require.InDelta(t, 3, all["revision_queue_depth{"+pod+revision+",service_name=hello}"].GetGauge().GetValue(), 0)
	require.Len(t, all, 5)
}

// The labels that the original has, of which there are no more than of the others.
func TestKnativeD6TheSwitchForHosts(t *testing.T) {
	m, read := registered(t, knative.NamesToday, true)
	for _, host := range []string{"example.com", "example.com:8080", "[::1]:80", "[::1]", strings.Repeat("x", 300)} {
		r := post
		r.Host = []byte(host)
		m.Observe(r)
	}
	found := 0
	for name := range read() {
		for _, labels := range []string{
			",server_address=example.com,url", ",server_address=example.com,server_port=8080,url", ",server_address=::1,server_port=80,url",
			",server_address=::1,url", "otelhttp,url",
		} {
			if strings.HasPrefix(name, "http_server_request_duration_seconds{") && strings.Contains(name, labels) {
				found++
			}
		}
		require.False(t, strings.HasPrefix(name, "http_client") && strings.Contains(name, "example"), name)
	}
	require.Equal(t, 5, found)
	for i := range 1000 {
		r := post
		r.Host = []byte(strconv.Itoa(i))
		m.Observe(r)
	}
	series := 0
	for name := range read() {
		if strings.HasPrefix(name, "http_server_request_duration_seconds{") {
			series++
		}
	}
	require.LessOrEqual(t, series, 257)
}

func TestUserMetricsAreBounded(t *testing.T) {
	m, read := registered(t, knative.NamesToday, false)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "get", "BREW", "FOO"} {
		for _, version := range []string{"1.0", "1.1", "2.0"} {
			for code := range 100 {
				r := post
				r.Method, r.Version, r.Code = []byte(method), version, 200+code
				m.Observe(r)
			}
		}
	}
	seen, series := uint64(0), 0
	for name, s := range read() {
		if strings.HasPrefix(name, "http_server_request_duration_seconds{") {
			series++
			seen += s.GetHistogram().GetSampleCount()
		}
		require.NotContains(t, name, "BREW")
	}
	require.EqualValues(t, 3000, seen, "all are counted")
	require.LessOrEqual(t, series, 256+100)
}

func TestUserMetricsCountFromManyGoroutines(t *testing.T) {
	m, read := registered(t, knative.NamesOlder, false)
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			for code := range 400 {
				r := post
				r.Code = 100 + (code+i)%400
				m.Observe(r)
			}
		})
	}
	done.Wait()
	sum := 0.0
	for name, s := range read() {
		if strings.HasPrefix(name, "revision_app_request_count{") {
			sum += s.GetCounter().GetValue()
		}
	}
	require.InDelta(t, 3200, sum, 0)
}

func TestUserMetricsDoNotAllocate(t *testing.T) {
	m, _ := registered(t, knative.NamesBoth, false)
	m.Observe(post)
	require.Zero(t, testing.AllocsPerRun(1000, func() { m.Observe(post) }))
}

func BenchmarkUserMetrics(b *testing.B) {
	for _, names := range []string{knative.NamesToday, knative.NamesOlder} {
		b.Run(names, func(b *testing.B) {
			m := knative.NewUserMetrics(helloPod(), &knative.Tags{}, names, false, func() float64 { return 0 })
			for b.Loop() {
				m.Observe(post)
			}
		})
	}
}
