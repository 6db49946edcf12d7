package e2e_test

import (
	"math"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// pushedSeries is a series as a collector sees it.
type pushedSeries struct {
	scope, name, unit string
	attrs             map[string]string
	value             float64 // of a gauge
	count             uint64  // of a histogram, as are the next
	sum               float64
	buckets           []uint64
	bounds            []float64
	start, at         uint64
}

// takeMetrics is called with mu held.
func (c *collector) takeMetrics(body []byte) {
	c.series = nil
	for _, resource := range otlp(body).all(1) {
		c.resource = attributes(otlp(resource).one(1))
		for _, scope := range otlp(resource).all(2) {
			for _, b := range otlp(scope).all(2) {
				m := otlp(b)
				s := pushedSeries{scope: string(otlp(otlp(scope).one(1)).one(1)), name: string(m.one(1)), unit: string(m.one(3))}
				for _, point := range otlp(m.one(5)).all(1) {
					s.value = math.Float64frombits(otlp(point).number(4))
					c.series = append(c.series, s)
				}
				histogram := otlp(m.one(9))
				for _, point := range histogram.all(1) {
					p := otlp(point)
					s.start, s.at, s.count, s.sum, s.attrs = p.number(2), p.number(3), p.number(4), math.Float64frombits(p.number(5)), attributes(point, 9)
					s.buckets, s.bounds = packed(p.one(6)), nil
					for _, bits := range packed(p.one(7)) {
						s.bounds = append(s.bounds, math.Float64frombits(bits))
					}
					c.series = append(c.series, s)
				}
				if len(histogram) > 0 && histogram.number(2) != 2 {
					panic("not cumulative")
				}
			}
		}
	}
}

// packed returns numbers of 64 bits, one behind the other.
func packed(b []byte) (list []uint64) {
	for len(b) > 0 {
		v, n := protowire.ConsumeFixed64(b)
		if n < 0 {
			panic(protowire.ParseError(n))
		}
		list, b = append(list, v), b[n:]
	}
	return list
}

// named returns the series with a name.
func (c *collector) named(name string) (list []pushedSeries) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.series {
		if s.name == name {
			list = append(list, s)
		}
	}
	return list
}

func TestKnative23MetricsArePushed(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t, protocol == "grpc")
			p := queueProxy(t, userContainer(t, told), "CONTAINER_CONCURRENCY=1",
				`OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"`+protocol+`","endpoint":"`+c.url+`","exportInterval":50000000}}`)
			p.ask("POST", "/", "hello", "Knative-Serving-Tag: blue")
			require.Eventually(t, func() bool { return len(c.named("http.server.request.duration")) == 1 }, 10*time.Second, 10*time.Millisecond)
			p.ask("POST", "/", "hello!", "Knative-Serving-Tag: blue")
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			require.Equal(t, 0, p.exit()) // after a last push (11.4)

			require.Equal(t, "hello-00001", c.resource["kn.revision.name"])
			http := map[string]string{
				"http.request.method": "POST", "http.response.status_code": "200", "kn.route.tag": "blue", "network.protocol.name": "http",
				"network.protocol.version": "1.1", "url.scheme": "http",
			}
			size := c.named("http.server.request.body.size")
			require.Len(t, size, 1)
			require.Equal(t, "By", size[0].unit)
			require.Equal(t, "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", size[0].scope)
			otherwise(t, "D6: more labels")
			require.Equal(t, http, size[0].attrs)
			require.EqualValues(t, 2, size[0].count)
			require.InDelta(t, 11, size[0].sum, 0)
			require.Equal(t, []uint64{0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, size[0].buckets, "5 bytes are in the second bucket")
			require.Equal(t, []float64{0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}, size[0].bounds)
			require.Less(t, size[0].start, size[0].at)
			invocation := c.named("kn.serving.invocation.duration")
			require.Len(t, invocation, 1)
			require.Equal(t, "knative.dev/serving/pkg/queue", invocation[0].scope)
			require.Equal(t, map[string]string{"http.response.status_code": "200"}, invocation[0].attrs)
			require.EqualValues(t, 2, invocation[0].count)
			http["server.address"], http["server.port"] = "127.0.0.1", c.named("http.client.request.duration")[0].attrs["server.port"]
			require.Equal(t, http, c.named("http.client.request.duration")[0].attrs)
			require.Len(t, c.named("kn.serving.queue.depth"), 1)
			require.Equal(t, "{request}", c.named("kn.serving.queue.depth")[0].unit)
		})
	}
}

func TestKnative23ACollectorThatFailsIsNoTrouble(t *testing.T) {
	t.Parallel()
	otherwise(t, "other messages")
	failing := userContainer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	p := queueProxy(t, userContainer(t, told), `OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"http/protobuf","exportInterval":20000000}}`,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+failing)
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "metrics were not taken") }, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, p.log.String(), "503 Service Unavailable")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, 0, p.exit())
}
