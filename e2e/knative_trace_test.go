package e2e_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// tracedSpan is a span as a collector sees it.
type tracedSpan struct {
	trace, id, parent, name string
	kind                    uint64
	start, end              uint64
	attrs                   map[string]string
	failed                  bool
}

// collector takes spans as OpenTelemetry's does, by HTTP or by gRPC.
type collector struct {
	t        *testing.T
	url      string
	mu       sync.Mutex
	resource map[string]string // guarded by mu
	spans    []tracedSpan      // guarded by mu
	series   []pushedSeries    // guarded by mu; of the last message
}

func newCollector(t *testing.T, grpc bool) *collector {
	t.Helper()
	c := &collector{t: t}
	s := httptest.NewUnstartedServer(http.HandlerFunc(c.take))
	if grpc {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	s.Start()
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "not whole", http.StatusBadRequest)
		return
	}
	take := c.takeSpans
	switch r.URL.Path + " " + r.Header.Get("Content-Type") {
	case "/v1/traces application/x-protobuf":
	case "/v1/metrics application/x-protobuf":
		take = c.takeMetrics
	case "/opentelemetry.proto.collector.trace.v1.TraceService/Export application/grpc", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export application/grpc":
		if strings.Contains(r.URL.Path, "Metrics") {
			take = c.takeMetrics
		}
		body = body[5:]
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		defer func() { _, _ = w.Write(make([]byte, 5)) }()
	default:
		http.Error(w, "what is this?", http.StatusNotFound)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	take(body)
}

// takeSpans is called with mu held.
func (c *collector) takeSpans(body []byte) {
	for _, resource := range otlp(body).all(1) {
		c.resource = attributes(otlp(resource).one(1))
		for _, scope := range otlp(resource).all(2) {
			for _, b := range otlp(scope).all(2) {
				m := otlp(b)
				c.spans = append(c.spans, tracedSpan{
					trace: hex.EncodeToString(m.one(1)), id: hex.EncodeToString(m.one(2)), parent: hex.EncodeToString(m.one(4)), name: string(m.one(5)),
					kind: m.number(6), start: m.number(7), end: m.number(8), attrs: attributes(b, 9), failed: otlp(m.one(15)).number(3) == 2,
				})
			}
		}
	}
}

// otlp is a message of protobuf.
type otlp []byte

// each calls see with all fields.
func (m otlp) each(see func(field protowire.Number, bytes []byte, number uint64)) {
	for b := []byte(m); len(b) > 0; {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			panic(protowire.ParseError(n))
		}
		b = b[n:]
		var text []byte
		var v uint64
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type: // the original's flags
			_, n = protowire.ConsumeFixed32(b)
		default:
			text, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			panic(protowire.ParseError(n))
		}
		b = b[n:]
		see(field, text, v)
	}
}

func (m otlp) all(field protowire.Number) (list [][]byte) {
	m.each(func(f protowire.Number, b []byte, _ uint64) {
		if f == field {
			list = append(list, b)
		}
	})
	return list
}

func (m otlp) one(field protowire.Number) []byte {
	for _, b := range m.all(field) {
		return b
	}
	return nil
}

func (m otlp) number(field protowire.Number) (v uint64) {
	m.each(func(f protowire.Number, _ []byte, n uint64) {
		if f == field {
			v = n
		}
	})
	return v
}

// attributes reads a list of them, from field 1 if nothing else is said.
func attributes(b []byte, field ...protowire.Number) map[string]string {
	all := map[string]string{}
	for _, kv := range otlp(b).all(append(field, 1)[0]) {
		value := otlp(otlp(kv).one(2))
		text := string(value.one(1))
		if n := value.number(3); n != 0 {
			text = fmt.Sprint(n)
		}
		all[string(otlp(kv).one(1))] = text
	}
	return all
}

const tracingParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// seesTraceparent is a function that answers with the field it was sent.
func seesTraceparent(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, strings.Join(r.Header.Values("Traceparent"), ","))
}

func TestKnative136Spans(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t, protocol == "grpc")
			p := queueProxy(t, userContainer(t, seesTraceparent), "CONTAINER_CONCURRENCY=1",
				`OBSERVABILITY_CONFIG={"tracing":{"protocol":"`+protocol+`","endpoint":"`+c.url+`","samplingRate":1}}`)
			_, seen := p.ask("GET", "/a?secret=1", "", "Traceparent: "+tracingParent, "Tracestate: a=b")
			require.Regexp(t, "^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$", seen)
			p.ask("GET", "/", "", "User-Agent: kube-probe/1.30", "K-Network-Probe: queue") // has none
			p.ask("GET", "/", "", "K-Network-Probe: other")                                // likewise
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			require.Equal(t, 0, p.exit()) // and what was left is there (11.4)

			c.mu.Lock()
			defer c.mu.Unlock()
			otherwise(t, "spans of us and of HTTP have scopes of their own; a K-Network-Probe that it does not answer has some")
			require.Len(t, c.spans, 4)
			require.Equal(t, map[string]string{
				"service.name": "hello", "service.instance.id": "hello-pod", "container.name": "queue-proxy", "k8s.namespace.name": "default",
				"k8s.pod.name": "hello-pod", "kn.service.name": "hello", "kn.configuration.name": "hello", "kn.revision.name": "hello-00001",
			}, c.resource)
			parent := "b7ad6b7169203331"
			for i, name := range []string{"GET", "kn.queueproxy.proxy", "kn.queueproxy.wait", "HTTP GET"} {
				s := c.spans[i]
				require.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.trace)
				require.Equal(t, name, s.name)
				require.Equal(t, parent, s.parent, name)
				require.Equal(t, []uint64{2, 1, 1, 3}[i], s.kind)
				require.False(t, s.failed)
				require.LessOrEqual(t, s.start, s.end)
				parent = s.id
			}
			require.Equal(t, parent, seen[36:52], "the function's spans are below ours")
			server := c.spans[0].attrs
			require.Equal(t, "200", server["http.response.status_code"])
			require.Equal(t, "/a", server["url.path"], "a query may hold secrets")
			require.Equal(t, "kn:disabled", server["kn.route.tag"])
		})
	}
}

func TestKnative136WhoDecides(t *testing.T) {
	t.Parallel()
	spans := func(tracing string) (*queuePod, func() int) {
		c := newCollector(t, false)
		p := queueProxy(t, userContainer(t, seesTraceparent), `OBSERVABILITY_CONFIG={"tracing":{`+strings.ReplaceAll(tracing, "URL", c.url)+`}}`)
		return p, func() int {
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			require.Equal(t, 0, p.exit())
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.spans)
		}
	}
	unsampled := tracingParent[:54] + "0"
	p, count := spans(`"protocol":"http/protobuf","endpoint":"URL","samplingRate":0.000001`)
	_, seen := p.ask("GET", "/", "", "Traceparent: "+unsampled)
	otherwise(t, "also who is not sampled gets an id of its own")
	require.Equal(t, unsampled, seen, "the client has decided")
	_, seen = p.ask("GET", "/", "", "Traceparent: "+tracingParent)
	require.NotEqual(t, tracingParent, seen)
	require.Equal(t, tracingParent[:35], seen[:35])
	_, seen = p.ask("GET", "/", "", "Traceparent: "+tracingParent, "Traceparent: "+unsampled)
	require.Equal(t, tracingParent+","+unsampled, seen, "nobody knows which")
	require.Equal(t, 3, count(), "server, proxy, client of one request; without a limit there is no wait")

	p, count = spans(`"protocol":"http/protobuf","endpoint":"URL","samplingRate":0`)
	_, seen = p.ask("GET", "/", "", "Traceparent: "+tracingParent)
	require.Equal(t, tracingParent, seen)
	require.Zero(t, count())

	p, count = spans(`"protocol":"none","endpoint":"URL","samplingRate":1`)
	_, seen = p.ask("GET", "/", "", "Traceparent: "+tracingParent)
	require.Equal(t, tracingParent, seen)
	require.Zero(t, count())
}

func TestKnative136SpansOnStandardOutput(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, freePort(t), `OBSERVABILITY_CONFIG={"tracing":{"protocol":"stdout"}}`)
	resp, _ := p.ask("BREW", "/%22", "") // nobody listens
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 0, p.exit())
	var names []string
	for line := range strings.Lines(p.log.String()) {
		var span struct {
			Name       string
			Attributes []struct{ Key string }
		}
		require.NoError(t, json.Unmarshal([]byte(line), &span), line)
		if span.Name != "" {
			names = append(names, span.Name)
		}
	}
	otherwise(t, "spans come in the order in which they end; that of the client has any method in its name")
	require.Equal(t, []string{"HTTP", "kn.queueproxy.proxy", "HTTP"}, names)
}

func TestTracesOfADeadCollectorAreNoTrouble(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, seesTraceparent), `OBSERVABILITY_CONFIG={"tracing":{"protocol":"grpc","endpoint":"http://`+freePort(t)+`","samplingRate":1}}`)
	for range 300 {
		p.ask("GET", "/", "")
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 0, p.exit())
	require.Contains(t, p.log.String(), "traces were not taken")
	wrong := prepareQueueProxy(t, freePort(t), `OBSERVABILITY_CONFIG={"tracing":{"protocol":"grpc","endpoint":"10.0.0.1:4317","samplingRate":1}}`)
	wrong.begin()
	require.Equal(t, 1, wrong.exit())
	require.Contains(t, wrong.log.String(), `tracing.endpoint`)
}

// 2.4: controllers up to 1.18 know Zipkin, and functions of that time B3.
func TestKnative24TracesForZipkin(t *testing.T) {
	t.Parallel()
	otherwise(t, "older controllers are not understood")
	type span struct {
		TraceID, ID, ParentID, Name, Kind string
		Timestamp, Duration               int64
		LocalEndpoint                     struct{ ServiceName string }
		Tags                              map[string]string
	}
	messages := make(chan []span, 10) // all
	zipkin := userContainer(t, func(w http.ResponseWriter, r *http.Request) {
		var list []span
		if r.Method+r.URL.Path+r.Header.Get("Content-Type") != "POST/api/v2/spansapplication/json" || json.NewDecoder(r.Body).Decode(&list) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		messages <- list
		w.WriteHeader(http.StatusAccepted)
	})
	p := prepareQueueProxy(t, userContainer(t, told), "CONTAINER_CONCURRENCY=1", "SERVING_REQUEST_METRICS_BACKEND=", "TRACING_CONFIG_BACKEND=zipkin",
		"TRACING_CONFIG_ZIPKIN_ENDPOINT=http://"+zipkin+"/api/v2/spans", "TRACING_CONFIG_SAMPLE_RATE=0.000001", "TRACING_CONFIG_DEBUG=false")
	p.older()
	p.begin()
	p.waitListening()
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	_, seen := p.ask("GET", "/a", "", "X-B3-Traceid: "+trace, "X-B3-Spanid: "+parent, "X-B3-Sampled: 1", "X-B3-Parentspanid: 0000000000000001")
	require.Regexp(t, `Traceparent: 00-`+trace+`-[0-9a-f]{16}-01\r\n(?s:.*)X-B3-Sampled: 1\r\nX-B3-Spanid: [0-9a-f]{16}\r\nX-B3-Traceid: `+trace+`\r\n`, seen)
	require.NotContains(t, seen, "X-B3-Parentspanid")
	_, seen = p.ask("GET", "/", "", "X-B3-Traceid: "+trace, "X-B3-Spanid: "+parent, "X-B3-Sampled: 0")
	require.Contains(t, seen, "X-B3-Spanid: "+parent, "the client has decided")
	require.NotContains(t, seen, "Traceparent")
	_, seen = p.ask("GET", "/", "", "X-B3-Traceid: 8448eb211c80319c", "X-B3-Spanid: "+parent, "X-B3-Flags: 1")
	require.Contains(t, seen, "X-B3-Traceid: 00000000000000008448eb211c80319c\r\n", "half of one is allowed")
	_, seen = p.ask("GET", "/", "", "X-B3-Traceid: none", "X-B3-Spanid: "+parent, "X-B3-Sampled: 1")
	require.Contains(t, seen, "X-B3-Traceid: none\r\n", "and what is none is not ours")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	var all []span
	for len(messages) > 0 {
		all = append(all, <-messages...)
	}
	require.Len(t, all, 8, "of two requests")
	above := parent
	for i, name := range []string{"GET", "kn.queueproxy.proxy", "kn.queueproxy.wait", "HTTP GET"} {
		s := all[i]
		require.Equal(t, []string{trace, above, name, []string{"SERVER", "", "", "CLIENT"}[i], "hello"}, []string{s.TraceID, s.ParentID, s.Name, s.Kind, s.LocalEndpoint.ServiceName})
		require.Positive(t, s.Duration)
		require.WithinDuration(t, time.Now(), time.UnixMicro(s.Timestamp), time.Minute)
		above = s.ID
	}
	require.Equal(t, "200", all[0].Tags["http.response.status_code"])
}
