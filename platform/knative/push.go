package knative

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pushEvery is for controllers that do not say how often.
const pushEvery = time.Minute

// pushed are the names and units that OpenTelemetry has for the series of today.
var pushed = map[string]struct{ name, unit string }{
	"kn_serving_invocation_duration_seconds": {"kn.serving.invocation.duration", "s"},
	"kn_serving_queue_depth":                 {"kn.serving.queue.depth", "{request}"},
	"http_server_request_duration_seconds":   {"http.server.request.duration", "s"},
	"http_server_request_body_size_bytes":    {"http.server.request.body.size", "By"},
	"http_server_response_body_size_bytes":   {"http.server.response.body.size", "By"},
	"http_client_request_duration_seconds":   {"http.client.request.duration", "s"},
	"http_client_request_body_size_bytes":    {"http.client.request.body.size", "By"},
}

// Pusher brings user metrics, by their names of today, to a collector of OpenTelemetry.
type Pusher struct {
	log       *slog.Logger
	every     time.Duration
	collector *collector
	resource  []attr
	start     time.Time
	series    *prometheus.Registry
}

// NewPusher returns a pusher of m, or nil if settings want none. The address of the collector is that of the settings,
// unless another is given. Run must be called.
func NewPusher(s *Settings, address string, log *slog.Logger) (*Pusher, error) {
	o := &s.Observability.RequestMetrics
	if o.Protocol != ProtocolHTTP && o.Protocol != ProtocolGRPC {
		return nil, nil //nolint:nilnil // there is no pusher, and that is right
	}
	p := &Pusher{log: log, every: cmp.Or(max(o.ExportInterval, 0), pushEvery), resource: resource(s), start: time.Now(), series: prometheus.NewRegistry()}
	var err error
	if p.collector, err = newCollector(o.Protocol, cmp.Or(address, o.Endpoint), metricsHTTP, metricsGRPC); err != nil {
		return nil, fmt.Errorf("requestMetrics.endpoint %w", err)
	}
	return p, nil
}

// Register says what is pushed. It is called before Run.
func (p *Pusher) Register(m *UserMetrics) { p.series.MustRegister(m.Collectors()...) }

// Run pushes at intervals until ctx ends, and then once more.
func (p *Pusher) Run(ctx context.Context) {
	defer p.collector.close()
	t := time.NewTicker(p.every)
	defer t.Stop()
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		if err := p.push(whole); err != nil {
			p.log.Warn("metrics were not taken", "err", err)
		}
	}
}

// push sends the values of now. Those that are not taken are part of the next ones.
func (p *Pusher) push(ctx context.Context) error {
	families, err := p.series.Gather()
	if err != nil {
		return err
	}
	now := time.Now()
	var scopes []func([]byte) []byte
	for _, scope := range []string{scopeQueue, scopeHTTP} {
		scopes = append(scopes, func(b []byte) []byte {
			b = appendScope(b, scope)
			for _, f := range families {
				known, ok := pushed[f.GetName()]
				if !ok || strings.HasPrefix(known.name, "kn.") != (scope == scopeQueue) {
					continue
				}
				b = appendMessage(b, 2, func(b []byte) []byte { // Metric
					b = appendText(b, 1, known.name)
					b = appendText(b, 2, f.GetHelp())
					b = appendText(b, 3, known.unit)
					if known.unit == "{request}" { // Gauge
						return appendMessage(b, 5, func(b []byte) []byte {
							for _, m := range f.GetMetric() {
								b = p.appendNumber(b, now, m.GetGauge().GetValue())
							}
							return b
						})
					}
					return appendMessage(b, 9, func(b []byte) []byte { // Histogram
						for _, m := range f.GetMetric() {
							var labels []attr
							for _, l := range m.GetLabel() {
								labels = appendLabel(labels, l.GetName(), l.GetValue())
							}
							h := m.GetHistogram()
							c := counts{count: h.GetSampleCount(), sum: h.GetSampleSum()}
							for _, bucket := range h.GetBucket() {
								c.bounds, c.upTo = append(c.bounds, bucket.GetUpperBound()), append(c.upTo, bucket.GetCumulativeCount())
							}
							b = p.appendCounts(b, now, labels, c)
						}
						return appendVarint(b, 2, 2) // since the start
					})
				})
			}
			return b
		})
	}
	return p.collector.send(ctx, appendResource(nil, p.resource, scopes...))
}

// appendLabel appends a label if OpenTelemetry has it.
func appendLabel(labels []attr, name, value string) []attr {
	key, ok := otelNames[name]
	if !ok || value == "" {
		return labels
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && (name == "http_response_status_code" || name == "server_port") {
		return append(labels, attr{key: key, number: n})
	}
	return append(labels, attr{key: key, text: value})
}

// appendNumber appends a NumberDataPoint.
func (p *Pusher) appendNumber(b []byte, now time.Time, v float64) []byte {
	return appendMessage(b, 1, func(b []byte) []byte {
		b = appendTime(b, 3, now)
		return appendDouble(b, 4, v)
	})
}

// counts are the values of a histogram.
type counts struct {
	count  uint64
	sum    float64
	bounds []float64
	upTo   []uint64 // how many were not above the bound
}

// appendCounts appends a HistogramDataPoint.
func (p *Pusher) appendCounts(b []byte, now time.Time, labels []attr, c counts) []byte {
	return appendMessage(b, 1, func(b []byte) []byte {
		b = appendTime(b, 2, p.start)
		b = appendTime(b, 3, now)
		b = appendFixed64(b, 4, c.count)
		b = appendDouble(b, 5, c.sum)
		b = appendMessage(b, 6, func(b []byte) []byte { // how many in each bucket
			before := uint64(0)
			for _, n := range append(c.upTo, c.count) {
				b = binary.LittleEndian.AppendUint64(b, n-before)
				before = n
			}
			return b
		})
		b = appendMessage(b, 7, func(b []byte) []byte {
			for _, v := range c.bounds {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			}
			return b
		})
		return appendAttrs(b, 9, labels)
	})
}
