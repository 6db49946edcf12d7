package knative_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/knative"
)

// controller is what a controller of 1.19 or later injects.
func controller(changes ...string) func(string) (string, bool) {
	env := map[string]string{
		"CONTAINER_CONCURRENCY": "10", "QUEUE_SERVING_PORT": "8012", "QUEUE_SERVING_TLS_PORT": "8112", "USER_PORT": "8080",
		"REVISION_TIMEOUT_SECONDS": "300", "REVISION_RESPONSE_START_TIMEOUT_SECONDS": "0", "REVISION_IDLE_TIMEOUT_SECONDS": "0",
		"SERVING_NAMESPACE": "ns", "SERVING_SERVICE": "svc", "SERVING_CONFIGURATION": "svc", "SERVING_REVISION": "svc-00001",
		"SERVING_POD": "svc-00001-abc", "SERVING_POD_IP": "10.0.0.1", "SERVING_LOGGING_CONFIG": "", "SERVING_LOGGING_LEVEL": "",
		"OBSERVABILITY_CONFIG": "{}",
	}
	return changed(env, changes)
}

// changed sets variables NAME=VALUE, and unsets those that are only named.
func changed(env map[string]string, changes []string) func(string) (string, bool) {
	env = maps.Clone(env)
	for _, c := range changes {
		name, value, set := strings.Cut(c, "=")
		if env[name] = value; !set {
			delete(env, name)
		}
	}
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

func TestKnative2SettingsOfTheController(t *testing.T) {
	s, err := knative.Read(controller("CONTAINER_CONCURRENCY=0x10", "REVISION_IDLE_TIMEOUT_SECONDS=7", "ENABLE_HTTP_FULL_DUPLEX=T"))
	require.NoError(t, err)
	require.Equal(t, 16, s.Concurrency)
	require.Equal(t, []int{8012, 8112, 8080}, []int{s.Port, s.TLSPort, s.UserPort})
	require.Equal(t, []time.Duration{300 * time.Second, 0, 7 * time.Second}, []time.Duration{s.Timeout, s.StartTimeout, s.IdleTimeout})
	require.Equal(t, []string{"ns", "svc", "svc", "svc-00001", "svc-00001-abc", "10.0.0.1"}, []string{s.Namespace, s.Service, s.Configuration, s.Revision, s.Pod, s.PodIP})
	require.True(t, s.FullDuplex)
	require.False(t, s.DetectHTTP2)
	require.Empty(t, s.Probes)
	require.Equal(t, knative.ProtocolNone, s.Observability.RequestMetrics.Protocol)
	require.Equal(t, 15*time.Second, s.Observability.Runtime.ExportInterval)

	s, err = knative.Read(controller("CONTAINER_CONCURRENCY=-1"))
	require.NoError(t, err)
	require.Zero(t, s.Concurrency, "less than none is no limit")
}

func TestKnative21WrongSettingsAreOneLine(t *testing.T) {
	tests := []struct{ change, want string }{
		{"CONTAINER_CONCURRENCY", "required key CONTAINER_CONCURRENCY missing value"},
		{"CONTAINER_CONCURRENCY=", `CONTAINER_CONCURRENCY "": must be a number`},
		{"SERVING_POD_IP", "required key SERVING_POD_IP missing value"},
		{"SERVING_LOGGING_CONFIG", "required key SERVING_LOGGING_CONFIG missing value"},
		{"QUEUE_SERVING_PORT=80120", `QUEUE_SERVING_PORT "80120": must be a port, 1 to 65535`},
		{"REVISION_TIMEOUT_SECONDS=5m", `REVISION_TIMEOUT_SECONDS "5m": must be a number`},
		{"REVISION_IDLE_TIMEOUT_SECONDS=", `REVISION_IDLE_TIMEOUT_SECONDS "": must be a number`},
		{"ENABLE_HTTP_FULL_DUPLEX=yes", `ENABLE_HTTP_FULL_DUPLEX "yes": must be true or false`},
		{"ENABLE_HTTP_FULL_DUPLEX=", `ENABLE_HTTP_FULL_DUPLEX "": must be true or false`},
		{`OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"statsd"}}`, `OBSERVABILITY_CONFIG: requestMetrics.protocol "statsd": must be one of ["none" "prometheus" "http/protobuf" "grpc"]`},
		{"OBSERVABILITY_CONFIG={", "OBSERVABILITY_CONFIG: unexpected end of JSON input"},
		{"SERVING_READINESS_PROBE={", "SERVING_READINESS_PROBE: unexpected end of JSON input"},
	}
	for _, tt := range tests {
		t.Run(tt.change, func(t *testing.T) {
			_, err := knative.Read(controller(tt.change))
			require.EqualError(t, err, tt.want)
		})
	}
	_, err := knative.Read(controller("USER_PORT=x", "SERVING_POD"))
	require.EqualError(t, err, `USER_PORT "x": must be a port, 1 to 65535; required key SERVING_POD missing value`)
}

func TestKnative23ObservabilityBeatsItsDefaults(t *testing.T) {
	s, err := knative.Read(controller(`OBSERVABILITY_CONFIG={"tracing":{},"metrics":{"protocol":"none"},"unknown":1,"runtime":{"profiling":"enabled"},` +
		`"requestMetrics":{"protocol":"prometheus","exportInterval":30000000000},"enableRequestLog":true,"requestLogTemplate":"x"}`))
	require.NoError(t, err)
	o := s.Observability
	require.Equal(t, knative.ProtocolPrometheus, o.RequestMetrics.Protocol)
	require.Equal(t, 30*time.Second, o.RequestMetrics.ExportInterval)
	require.Equal(t, knative.ProtocolNone, o.Tracing.Protocol)
	require.Equal(t, "enabled", o.Runtime.Profiling)
	require.Equal(t, 15*time.Second, o.Runtime.ExportInterval)
	require.True(t, o.RequestLog)
	require.False(t, o.ProbeRequestLog || o.Legacy)
	require.Equal(t, "x", o.RequestLogTemplate)
}

func TestKnative22OpenTelemetrysOwnVariables(t *testing.T) {
	const half = `OBSERVABILITY_CONFIG={"tracing":{"protocol":"grpc","samplingRate":0.5},"requestMetrics":{"protocol":"grpc","exportInterval":5}}`
	for _, tt := range []struct {
		changes []string
		rate    float64
		follow  bool
	}{
		{nil, 0.5, true},
		{[]string{`OBSERVABILITY_CONFIG={"tracing":{"protocol":"grpc","samplingRate":1}}`}, 1, false},
		{[]string{`OBSERVABILITY_CONFIG={"tracing":{"protocol":"grpc"}}`}, 0, false},
		{[]string{`OBSERVABILITY_CONFIG={"tracing":{"protocol":"stdout"}}`}, 1, false},
		{[]string{"OTEL_TRACES_SAMPLER_ARG=0.25"}, 0.25, true},
		{[]string{"OTEL_TRACES_SAMPLER_ARG=1"}, 1, false},
		{[]string{"OTEL_TRACES_SAMPLER=always_on"}, 1, false},
		{[]string{"OTEL_TRACES_SAMPLER=always_off"}, 0, false},
		{[]string{"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"}, 0.1, false},
		{[]string{"OTEL_TRACES_SAMPLER=parentbased_always_on"}, 1, true},
		{[]string{"OTEL_TRACES_SAMPLER=parentbased_always_off"}, 0, true},
		{[]string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"}, 0.1, true},
	} {
		s, err := knative.Read(controller(append([]string{half}, tt.changes...)...))
		require.NoError(t, err, tt.changes)
		require.InDelta(t, tt.rate, s.Observability.Tracing.SamplingRate, 0, tt.changes)
		require.Equal(t, tt.follow, s.Observability.Tracing.Follow, tt.changes)
		require.EqualValues(t, 5, max(s.Observability.RequestMetrics.ExportInterval, 5))
	}
	s, err := knative.Read(controller(half, "OTEL_METRIC_EXPORT_INTERVAL=1500", "OTEL_SERVICE_NAME=mine"))
	require.NoError(t, err)
	require.Equal(t, 1500*time.Millisecond, s.Observability.RequestMetrics.ExportInterval)
	require.Equal(t, "mine", s.Observability.ServiceName)
	for change, want := range map[string]string{
		"OTEL_TRACES_SAMPLER=jaeger_remote": `OTEL_TRACES_SAMPLER "jaeger_remote": is none of OpenTelemetry's that are known here`,
		"OTEL_TRACES_SAMPLER_ARG=many":      `OTEL_TRACES_SAMPLER_ARG "many": must be a number`,
		"OTEL_METRIC_EXPORT_INTERVAL=1s":    `OTEL_METRIC_EXPORT_INTERVAL "1s": must be a number`,
	} {
		_, err := knative.Read(controller(change))
		require.EqualError(t, err, want)
	}
}

func TestKnative24OlderControllers(t *testing.T) {
	old := []string{
		"OBSERVABILITY_CONFIG", "SERVING_REQUEST_METRICS_BACKEND=prometheus", "SERVING_ENABLE_REQUEST_LOG=true",
		"SERVING_ENABLE_PROBE_REQUEST_LOG=false", "SERVING_REQUEST_LOG_TEMPLATE=x", "ENABLE_PROFILING=true",
		"TRACING_CONFIG_BACKEND=none", "TRACING_CONFIG_SAMPLE_RATE=0.1", "METRICS_DOMAIN=knative.dev/internal/serving",
	}
	s, err := knative.Read(controller(old...))
	require.NoError(t, err)
	o := s.Observability
	require.True(t, o.Legacy && o.RequestLog)
	require.False(t, o.ProbeRequestLog)
	require.Equal(t, knative.ProtocolPrometheus, o.RequestMetrics.Protocol)
	require.Equal(t, "enabled", o.Runtime.Profiling)
	require.Equal(t, knative.ProtocolNone, o.Tracing.Protocol)
	s, err = knative.Read(controller(append(old, "TRACING_CONFIG_BACKEND=zipkin", "TRACING_CONFIG_ZIPKIN_ENDPOINT=http://z", "TRACING_CONFIG_DEBUG=true")...))
	require.NoError(t, err)
	require.Equal(t, knative.ProtocolZipkin, s.Observability.Tracing.Protocol)
	require.Equal(t, "http://z", s.Observability.Tracing.Endpoint)
	require.InDelta(t, 1, s.Observability.Tracing.SamplingRate, 0, "all, for debugging")
	s, err = knative.Read(controller(append(old, "SERVING_REQUEST_METRICS_BACKEND=")...))
	require.NoError(t, err)
	require.Equal(t, knative.ProtocolNone, s.Observability.RequestMetrics.Protocol)
}

func TestKnative11TheEnvironmentTells(t *testing.T) {
	require.True(t, knative.Named(controller()))
	require.False(t, knative.Named(controller("QUEUE_SERVING_PORT")))
	require.False(t, knative.Named(controller("CONTAINER_CONCURRENCY")))
}
