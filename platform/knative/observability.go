package knative

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Protocols by which figures and traces are given away.
const (
	ProtocolNone       = "none"
	ProtocolPrometheus = "prometheus"    // figures alone
	ProtocolStdout     = "stdout"        // traces alone
	ProtocolHTTP       = "http/protobuf" // to a collector
	ProtocolGRPC       = "grpc"          // to a collector
	ProtocolZipkin     = "zipkin"        // traces alone, to Zipkin, for controllers up to 1.18
)

// Observability says what is measured, logged and traced.
type Observability struct {
	RequestMetrics struct {
		Protocol       string        `json:"protocol"`
		Endpoint       string        `json:"endpoint"`       // Prometheus: where to listen, "" is :9091
		ExportInterval time.Duration `json:"exportInterval"` // nanoseconds
	} `json:"requestMetrics"`
	Tracing struct {
		Protocol     string  `json:"protocol"`
		Endpoint     string  `json:"endpoint"`
		SamplingRate float64 `json:"samplingRate"` // 0 to 1
		Follow       bool    `json:"-"`            // who has decided before us about a request has decided
	} `json:"tracing"`
	Runtime struct {
		Profiling      string        `json:"profiling"`      // "enabled" or "disabled"
		ExportInterval time.Duration `json:"exportInterval"` // nanoseconds
	} `json:"runtime"`
	RequestLog         bool   `json:"enableRequestLog"`
	ProbeRequestLog    bool   `json:"enableProbeRequestLog"`
	RequestLogTemplate string `json:"requestLogTemplate"` // "" is the built-in one

	ServiceName string `json:"-"` // beats the one that is made of the other names; may be empty
	Legacy      bool   `json:"-"` // the controller is of 1.18 or older and has separate variables
}

// observability reads OBSERVABILITY_CONFIG, or what controllers up to 1.18 have instead, and what of OpenTelemetry's own
// variables beats it.
func (r *reader) observability() Observability {
	o := r.controllers()
	if o.Tracing.Protocol == ProtocolStdout {
		o.Tracing.SamplingRate = 1
	}
	o.Tracing.Follow = o.Tracing.SamplingRate > 0 && o.Tracing.SamplingRate < 1
	r.openTelemetry(&o)
	return o
}

func (r *reader) controllers() Observability {
	var o Observability
	o.RequestMetrics.Protocol, o.Tracing.Protocol = ProtocolNone, ProtocolNone
	o.Runtime.Profiling, o.Runtime.ExportInterval = "disabled", 15*time.Second
	text, ok := r.lookup("OBSERVABILITY_CONFIG")
	if !ok {
		r.legacy(&o)
		return o
	}
	if text == "" {
		return o
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		r.fail("OBSERVABILITY_CONFIG: %v", err)
		return o
	}
	r.oneOf("requestMetrics.protocol", &o.RequestMetrics.Protocol, ProtocolNone, ProtocolPrometheus, ProtocolHTTP, ProtocolGRPC)
	r.oneOf("tracing.protocol", &o.Tracing.Protocol, ProtocolNone, ProtocolStdout, ProtocolHTTP, ProtocolGRPC)
	r.oneOf("runtime.profiling", &o.Runtime.Profiling, "disabled", "enabled")
	return o
}

// oneOf makes the first word the default of a value that is empty, and refuses what is none of the words.
func (r *reader) oneOf(key string, value *string, words ...string) {
	if *value == "" {
		*value = words[0]
	}
	if slices.Contains(words, *value) {
		return
	}
	r.fail("OBSERVABILITY_CONFIG: %s %q: must be one of %q", key, *value, words)
}

// legacy reads the variables of controllers up to 1.18.
func (r *reader) legacy(o *Observability) {
	backend, ok := r.lookup("SERVING_REQUEST_METRICS_BACKEND")
	if !ok {
		return // neither generation says anything
	}
	o.Legacy = true
	if backend == "prometheus" {
		o.RequestMetrics.Protocol = ProtocolPrometheus
	}
	o.RequestLogTemplate = r.text("SERVING_REQUEST_LOG_TEMPLATE")
	o.RequestLog = r.flag("SERVING_ENABLE_REQUEST_LOG") && o.RequestLogTemplate != ""
	o.ProbeRequestLog = r.flag("SERVING_ENABLE_PROBE_REQUEST_LOG")
	if r.flag("ENABLE_PROFILING") {
		o.Runtime.Profiling = "enabled"
	}
	if r.text("TRACING_CONFIG_BACKEND") != ProtocolZipkin {
		return
	}
	o.Tracing.Protocol, o.Tracing.Endpoint = ProtocolZipkin, r.text("TRACING_CONFIG_ZIPKIN_ENDPOINT")
	if rate, err := strconv.ParseFloat(r.text("TRACING_CONFIG_SAMPLE_RATE"), 64); err == nil {
		o.Tracing.SamplingRate = rate
	}
	if r.flag("TRACING_CONFIG_DEBUG") {
		o.Tracing.SamplingRate = 1
	}
}

// openTelemetry reads what of OpenTelemetry's own variables there is a use for, besides the addresses of collectors.
func (r *reader) openTelemetry(o *Observability) {
	o.ServiceName = r.text("OTEL_SERVICE_NAME")
	if text := r.text("OTEL_METRIC_EXPORT_INTERVAL"); text != "" {
		o.RequestMetrics.ExportInterval = time.Duration(max(r.integer("OTEL_METRIC_EXPORT_INTERVAL", text), 0)) * time.Millisecond
	}
	const sampler, arg = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	t := &o.Tracing
	rate := 1.0
	if text := r.text(arg); text != "" {
		var err error
		if rate, err = strconv.ParseFloat(text, 64); err != nil {
			r.fail("%s %q: must be a number", arg, text)
		}
		t.SamplingRate, t.Follow = rate, rate > 0 && rate < 1
	}
	word := r.text(sampler)
	kind, follow := strings.CutPrefix(word, "parentbased_")
	switch kind {
	case "":
		return
	case "always_on":
		t.SamplingRate = 1
	case "always_off":
		t.SamplingRate = 0
	case "traceidratio":
		t.SamplingRate = rate
	default:
		r.fail("%s %q: is none of OpenTelemetry's that are known here", sampler, word)
	}
	t.Follow = follow
}
