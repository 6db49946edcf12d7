package knative

import (
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Generations of names that series have.
const (
	NamesToday = "today" // since 1.19, those of OpenTelemetry
	NamesOlder = "older" // up to 1.18: revision_…
	NamesBoth  = "both"
)

// Scopes are labels of series by OpenTelemetry: who measures.
const (
	scopeQueue = "knative.dev/serving/pkg/queue"
	scopeHTTP  = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

var (
	secondBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	byteBounds   = []float64{0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}
)

// methods are the values of a label; all others are the first.
var methods = [...]string{"_OTHER", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"}

// mostCells is how many combinations of labels there may be; what comes then is told apart by its code alone.
const mostCells = 256

// longestHost is how long a name of the DNS with a port may be; what is longer is left out of labels.
const longestHost = 253 + len(":65535")

// UserMetrics are the series that the users of Knative read. It may be used by any number of goroutines.
type UserMetrics struct {
	tags   *Tags
	hosts  bool // are labels
	series []prometheus.Collector
	today  *todaysMetrics // nil: none
	older  *olderMetrics  // nil: none

	cells atomic.Pointer[map[labels]*cell]
	mu    sync.Mutex // held by who adds a cell
}

// labels are what tells requests apart.
type labels struct {
	method          uint8
	tag             uint8
	fate            Fate
	version, scheme string
	host            string // "" unless hosts are labels
	code            int
}

// cell is what is counted of requests with the same labels. Finding it by their texts costs more than counting.
type cell struct {
	invocation, server, received, sent, client, clientSent prometheus.Observer // today's
	requests, appRequests                                  prometheus.Counter  // the older ones
	latency, appLatency                                    prometheus.Observer
}

// NewUserMetrics returns the series of one of the generations of names, or of both. depth tells how many requests run
// or wait. With hosts the series of today that count what came tell apart which host was asked for, as those of the
// original do; clients can make them up, so they count among the combinations of labels that there may be.
func NewUserMetrics(s *Settings, tags *Tags, names string, hosts bool, depth func() float64) *UserMetrics {
	m := &UserMetrics{tags: tags, hosts: hosts && names != NamesOlder}
	m.cells.Store(&map[labels]*cell{})
	if names != NamesOlder {
		m.today = m.addToday(s, depth)
	}
	if names != NamesToday {
		m.older = m.addOlder(s, depth)
	}
	return m
}

// Collectors returns what a registry needs to know.
func (m *UserMetrics) Collectors() []prometheus.Collector { return m.series }

// Observe counts a request that has ended.
func (m *UserMetrics) Observe(r Measured) {
	l := labels{method: methodOf(r.Method), tag: r.Tag, fate: r.Fate, version: r.Version, scheme: r.Scheme, code: r.Code}
	if m.hosts && len(r.Host) <= longestHost {
		l.host = string(r.Host)
	}
	c := m.cell(l)
	if m.today != nil {
		c.server.Observe(r.Took.Seconds())
		c.received.Observe(float64(r.Received))
		c.sent.Observe(float64(r.Sent))
		if r.Fate != FateRefused {
			c.invocation.Observe(r.Ran.Seconds())
			c.client.Observe(r.Ran.Seconds())
			c.clientSent.Observe(float64(r.Received))
		}
	}
	if m.older != nil {
		const milliseconds = 1e3
		c.requests.Inc()
		c.latency.Observe(r.Took.Seconds() * milliseconds)
		if r.Fate != FateRefused {
			c.appRequests.Inc()
			c.appLatency.Observe(r.Ran.Seconds() * milliseconds)
		}
	}
}

func methodOf(method []byte) uint8 {
	for i := 1; i < len(methods); i++ {
		if string(method) == methods[i] {
			return uint8(i)
		}
	}
	return 0
}

// cell returns where requests with these labels are counted.
func (m *UserMetrics) cell(l labels) *cell {
	if c := (*m.cells.Load())[l]; c != nil {
		return c
	}
	return m.addCell(l)
}

func (m *UserMetrics) addCell(l labels) *cell {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := *m.cells.Load()
	if len(known) >= mostCells {
		l.method, l.tag, l.version, l.scheme, l.host = 0, tagOther, "", "", ""
	}
	if c := known[l]; c != nil {
		return c
	}
	c := &cell{}
	if m.today != nil {
		m.today.fill(c, l, m.tags.name(l.tag, 0))
	}
	if m.older != nil {
		m.older.fill(c, l, m.tags.name(l.tag, 1))
	}
	next := maps.Clone(known)
	next[l] = c
	m.cells.Store(&next)
	return c
}

// todaysMetrics are the series since 1.19.
type todaysMetrics struct {
	hosts                                                  bool // labels of what came say which host was asked for
	port                                                   string
	invocation, server, received, sent, client, clientSent *prometheus.HistogramVec
}

func (m *UserMetrics) addToday(s *Settings, depth func() float64) *todaysMetrics {
	served := []string{"http_request_method", "http_response_status_code", "kn_route_tag", "network_protocol_name", "network_protocol_version", "url_scheme"}
	asked := append([]string{"error_type", "server_address", "server_port"}, served...)
	if m.hosts {
		served = append(served, "server_address", "server_port")
	}
	t := &todaysMetrics{
		hosts: m.hosts, port: strconv.Itoa(s.UserPort),
		invocation: m.histogram(scopeQueue, "kn_serving_invocation_duration_seconds", "The duration of task execution: from the slot to the end of the answer.",
			secondBounds, []string{"http_response_status_code"}),
		server:     m.histogram(scopeHTTP, "http_server_request_duration_seconds", "Duration of requests, with their wait.", secondBounds, served),
		received:   m.histogram(scopeHTTP, "http_server_request_body_size_bytes", "Size of the bodies of requests.", byteBounds, served),
		sent:       m.histogram(scopeHTTP, "http_server_response_body_size_bytes", "Size of the bodies of answers.", byteBounds, served),
		client:     m.histogram(scopeHTTP, "http_client_request_duration_seconds", "Duration of requests to the user container.", secondBounds, asked),
		clientSent: m.histogram(scopeHTTP, "http_client_request_body_size_bytes", "Size of the bodies of requests to the user container.", byteBounds, asked),
	}
	if s.Concurrency > 0 {
		m.series = append(m.series, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kn_serving_queue_depth", Help: "Requests that run or wait.", ConstLabels: scope(scopeQueue),
		}, depth))
	}
	m.series = append(m.series, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "target_info", Help: "What the series are about.", ConstLabels: about(s),
	}, func() float64 { return 1 }))
	return t
}

// histogram makes a series.
func (m *UserMetrics) histogram(by, name, help string, bounds []float64, names []string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds, ConstLabels: scope(by)}, names)
	m.series = append(m.series, h)
	return h
}

func scope(name string) prometheus.Labels {
	return prometheus.Labels{"otel_scope_name": name, "otel_scope_schema_url": "", "otel_scope_version": ""}
}

// about names the pod.
func about(s *Settings) prometheus.Labels {
	service := s.Revision
	for _, name := range []string{s.Configuration, s.Service, s.Observability.ServiceName} {
		if name != "" {
			service = name
		}
	}
	return prometheus.Labels{
		"container_name": "queue-proxy", "k8s_namespace_name": s.Namespace, "k8s_pod_name": s.Pod,
		"kn_service_name": s.Service, "kn_configuration_name": s.Configuration, "kn_revision_name": s.Revision,
		"service_name": service, "service_instance_id": s.Pod,
	}
}

// fill finds the series with these labels.
func (t *todaysMetrics) fill(c *cell, l labels, tag string) {
	code := strconv.Itoa(l.code)
	served := []string{methods[l.method], code, tag, "http", l.version, l.scheme}
	if t.hosts {
		address, port := splitHost(l.host)
		served = append(served, address, port)
	}
	c.server = t.server.WithLabelValues(served...)
	c.received, c.sent = t.received.WithLabelValues(served...), t.sent.WithLabelValues(served...)
	if l.fate == FateRefused {
		return
	}
	c.invocation = t.invocation.WithLabelValues(code)
	failed := l.fate.reason()
	if failed != "" {
		code = "" // there was none
	}
	asked := []string{failed, "127.0.0.1", t.port, methods[l.method], code, tag, "http", l.version, "http"}
	c.client, c.clientSent = t.client.WithLabelValues(asked...), t.clientSent.WithLabelValues(asked...)
}

// splitHost takes a host apart; the port is "" if there is none.
func splitHost(host string) (address, port string) {
	if address, port, err := net.SplitHostPort(host); err == nil {
		return address, port
	}
	return strings.Trim(host, "[]"), ""
}
