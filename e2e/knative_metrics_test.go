package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// measuredPod is a queue-proxy with user metrics. It returns how to read the series that begin with a name.
func measuredPod(t *testing.T, function string, environ ...string) (*queuePod, func(prefix string) string) {
	t.Helper()
	address := freePort(t)
	p := queueProxy(t, function, append([]string{
		`OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"prometheus","endpoint":"` + address + `"}}`,
	}, environ...)...)
	return p, func(prefix string) string {
		resp, body := p.at(http.MethodGet, "http://"+address+"/metrics")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Contains(t, resp.Header.Get("Content-Type"), "text/plain; version=0.0.4")
		var lines []string
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, prefix) {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
}

// at asks one of the other ports.
func (p *queuePod) at(method, url string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, url, nil)
	require.NoError(p.t, err)
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp, string(b)
}

func TestKnative131UserMetricsAreOffByDefault(t *testing.T) {
	t.Parallel()
	address := freePort(t)
	queueProxy(t, userContainer(t, told), "FNPOD_KNATIVE_METRICS_PORT="+portOf(t, address))
	_, err := http.Get("http://" + address + "/metrics")
	require.Error(t, err)
	on := originally(freePort(t), "9091")
	p := queueProxy(t, userContainer(t, told), "FNPOD_KNATIVE_METRICS_PORT="+portOf(t, on), `OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"prometheus"}}`)
	for path, code := range map[string]int{"GET /metrics": 200, "POST /metrics": 405, "GET /": 404, "GET /healthz": 404, "GET /readyz": 404, "GET /status": 404} {
		method, path, _ := strings.Cut(path, " ")
		resp, _ := p.at(method, "http://"+on+path)
		require.Equal(t, code, resp.StatusCode, path)
	}
}

// 2.2: the variables of Knative's own library beat what the controller says.
func TestKnative22WherePrometheusFindsMetrics(t *testing.T) {
	t.Parallel()
	at := freePort(t)
	queueProxy(t, userContainer(t, told), "METRICS_PROMETHEUS_HOST=127.0.0.1", "METRICS_PROMETHEUS_PORT="+portOf(t, at),
		`OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"prometheus","endpoint":"`+freePort(t)+`"}}`)
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + at + "/metrics")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond)
	for change, want := range map[string]string{
		"METRICS_PROMETHEUS_PORT=80": `METRICS_PROMETHEUS_PORT "80": must be a port, 1024 to 65535`,
		`OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"prometheus","endpoint":"9091"}}`: `requestMetrics.endpoint "9091": must be HOST:PORT`,
	} {
		p := prepareQueueProxy(t, freePort(t), `OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"prometheus"}}`, change)
		p.begin()
		require.Equal(t, 1, p.exit())
		otherwise(t, "other words")
		require.Contains(t, p.log.String(), want)
	}
}

func TestKnative132UserMetrics(t *testing.T) {
	t.Parallel()
	otherwise(t, "D6, D10: more labels, fewer requests")
	p, series := measuredPod(t, userContainer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("part"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(append(body, body...))
	}))
	resp, _ := p.ask("POST", "/", "hello", "Knative-Serving-Tag: blue", "Host: example.com", "K-Kubelet-Probe: x") // D10
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	p.ask("GET", "/", "", "K-Network-Probe: other")                                // reaches the function and is not measured (13.3)
	p.ask("GET", "/", "", "User-Agent: kube-probe/1.30", "K-Network-Probe: queue") // ours
	const http1 = `http_request_method="POST",http_response_status_code="201",kn_route_tag="blue",network_protocol_name="http",network_protocol_version="1.1",` +
		`otel_scope_name="go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",otel_scope_schema_url="",otel_scope_version="",`
	require.Eventually(t, func() bool { return series("http_server_request_duration_seconds_count") != "" }, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, `http_server_request_duration_seconds_count{`+http1+`url_scheme="http"} 1`+"\n", series("http_server_request_duration_seconds_count"))
	require.Equal(t, `http_server_request_body_size_bytes_sum{`+http1+`url_scheme="http"} 5`+"\n", series("http_server_request_body_size_bytes_sum"))
	require.Equal(t, `http_server_response_body_size_bytes_sum{`+http1+`url_scheme="http"} 10`+"\n", series("http_server_response_body_size_bytes_sum"))
	require.Contains(t, series("http_client_request_duration_seconds_count"), `server_address="127.0.0.1"`)
	require.Equal(t, `kn_serving_invocation_duration_seconds_count{http_response_status_code="201",otel_scope_name="knative.dev/serving/pkg/queue",`+
		`otel_scope_schema_url="",otel_scope_version=""} 1`+"\n", series("kn_serving_invocation_duration_seconds_count"))
	require.NotContains(t, series("http_server"), "example.com", "D6")
	require.Empty(t, series("kn_serving_queue_depth"), "there is no queue")
	require.Contains(t, series("target_info"), `kn_revision_name="hello-00001"`)
	require.NotEmpty(t, series("go_goroutines"))
	require.NotEmpty(t, series("process_open_fds"))

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.listen+"/cut", nil)
	require.NoError(t, err)
	if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		require.Error(t, err)
	}
	require.Eventually(t, func() bool {
		return strings.Contains(series("http_server_request_duration_seconds_count"), `http_response_status_code="500"`) // cut, not whole
	}, 10*time.Second, 10*time.Millisecond)
}

// 13.3: who waits for a slot is no invocation yet.
func TestKnative133TheWaitIsInOneSeriesAlone(t *testing.T) {
	t.Parallel()
	p, series := measuredPod(t, userContainer(t, func(http.ResponseWriter, *http.Request) { time.Sleep(100 * time.Millisecond) }), "CONTAINER_CONCURRENCY=1")
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { p.ask("GET", "/", "") })
	}
	clients.Wait()
	sum := func(name string) float64 {
		line := strings.TrimSpace(series(name + "_sum"))
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		require.NoError(t, err)
		return v
	}
	require.Eventually(t, func() bool {
		return strings.HasSuffix(series("http_server_request_duration_seconds_count"), " 4\n") && strings.HasSuffix(series("kn_serving_invocation_duration_seconds_count"), " 4\n")
	}, 10*time.Second, 10*time.Millisecond)
	require.GreaterOrEqual(t, sum("kn_serving_invocation_duration_seconds"), 0.4)
	require.GreaterOrEqual(t, sum("http_server_request_duration_seconds"), sum("kn_serving_invocation_duration_seconds")+0.3, "one, two and three waited for")
}

func TestKnativeD4TimeoutsAndClientsThatLeaveAreNotGood(t *testing.T) {
	t.Parallel()
	otherwise(t, "D4: they count as 200")
	address, release := blocked(t)
	p, series := measuredPod(t, address, "REVISION_TIMEOUT_SECONDS=1", "CONTAINER_CONCURRENCY=1")
	t.Cleanup(release)
	leaves := &http.Client{Timeout: 100 * time.Millisecond}
	_, err := leaves.Get("http://" + p.listen)
	require.Error(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(series("kn_serving_invocation_duration_seconds_count"), `http_response_status_code="499"`)
	}, 10*time.Second, 10*time.Millisecond)
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
	require.Eventually(t, func() bool {
		return strings.Contains(series("kn_serving_invocation_duration_seconds_count"), `http_response_status_code="504"`)
	}, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, series("http_client_request_duration_seconds_count"), `error_type="timeout"`)
	require.Contains(t, series("http_client_request_duration_seconds_count"), `error_type="canceled"`)
	require.Regexp(t, `^kn_serving_queue_depth\{.*\} 0\n$`, series("kn_serving_queue_depth"), "D5")
}

func TestKnativeD12AnOpenWebSocketIsInTheGauge(t *testing.T) {
	t.Parallel()
	otherwise(t, "a tunnel counts as 200")
	p, series := measuredPod(t, userContainer(t, new(echo).ServeHTTP), "CONTAINER_CONCURRENCY=1")
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.listen, nil)
	require.NoError(t, err)
	require.Regexp(t, `^kn_serving_queue_depth\{.*\} 1\n$`, series("kn_serving_queue_depth"))
	require.NoError(t, c.CloseNow())
	require.Eventually(t, func() bool {
		return strings.Contains(series("kn_serving_invocation_duration_seconds_count"), `http_response_status_code="101"`)
	}, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, series("http_server_request_duration_seconds_count"), `network_protocol_version="1.1"`)
}

func TestKnative135NamesOfOlderControllers(t *testing.T) {
	t.Parallel()
	otherwise(t, "the older names are gone")
	address := freePort(t)
	p := prepareQueueProxy(t, userContainer(t, told), "SERVING_REQUEST_METRICS_BACKEND=prometheus", "FNPOD_KNATIVE_METRICS_PORT="+portOf(t, address))
	p.older()
	p.begin()
	p.waitListening()
	p.ask("GET", "/", "")
	require.Eventually(t, func() bool {
		_, body := p.at(http.MethodGet, "http://"+address+"/metrics")
		return strings.Contains(body, "revision_request_count{") && strings.Contains(body, `route_tag="DISABLED"`) && !strings.Contains(body, "kn_serving")
	}, 10*time.Second, 10*time.Millisecond)
	wrong := prepareQueueProxy(t, address, `OBSERVABILITY_CONFIG={"requestMetrics":{"protocol":"prometheus"}}`, "FNPOD_KNATIVE_METRICS=all")
	wrong.begin()
	require.Equal(t, 1, wrong.exit())
	require.Contains(t, wrong.log.String(), `FNPOD_KNATIVE_METRICS "all": must be one of ["today" "older" "both"]`)
}

// Clients name what they like, and the series stay few and readable (13.2, D6).
func TestKnative132LabelsDoNotFollowClients(t *testing.T) {
	t.Parallel()
	otherwise(t, "D6: labels follow clients")
	p, series := measuredPod(t, userContainer(t, told))
	long, noText := strings.Repeat("x", 10_000), "\xff\xfe"
	for i := range 50 {
		n := strconv.Itoa(i)
		p.ask("M"+n, "/"+n, "", "Host: "+n+".example.com", "Knative-Serving-Tag: "+n, "User-Agent: "+n, "K-Original-Host: h"+n, "X-Forwarded-Proto: "+n)
		p.ask("GET", "/", "", "Knative-Serving-Tag: "+long+n)
		p.ask("GET", "/", "", "Knative-Serving-Tag: "+noText+n, "Knative-Serving-Default-Route: "+noText)
	}
	const name = "http_server_request_duration_seconds_count"
	require.Eventually(t, func() bool {
		total := 0
		for line := range strings.Lines(series(name)) {
			n, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]))
			require.NoError(t, err)
			total += n
		}
		return total == 150
	}, 10*time.Second, 10*time.Millisecond, "all are counted")
	all := series("")
	require.LessOrEqual(t, strings.Count(all, name), 30)
	for _, text := range []string{long, noText, "example.com", "M1", "h1"} {
		require.NotContains(t, all, `"`+text)
	}
	require.NotContains(t, p.log.String(), "panic")
}

// older takes out what controllers up to 1.18 do not say.
func (p *queuePod) older() {
	p.cmd.Env = slices.DeleteFunc(p.cmd.Env, func(v string) bool {
		return strings.HasPrefix(v, "OBSERVABILITY_CONFIG=") || strings.HasPrefix(v, "QUEUE_PROXY_TLS_")
	})
}

func TestKnative132VersionsOfHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(told))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	p, series := measuredPod(t, s.Listener.Addr().String(), "FNPOD_KNATIVE_METRICS_HOSTS=true") // as the original (D6)
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	client := &http.Transport{Protocols: &h2c}
	t.Cleanup(client.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), "BREW", "http://"+p.listen, strings.NewReader("hello"))
	require.NoError(t, err)
	resp, err := client.RoundTrip(r)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	c, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	_, err = io.ReadAll(c)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		all := series("http_server_request_body_size_bytes_sum")
		return strings.Contains(all, `http_request_method="_OTHER",http_response_status_code="200",kn_route_tag="kn:disabled",network_protocol_name="http",network_protocol_version="2.0"`) &&
			strings.Contains(all, `http_request_method="GET",http_response_status_code="200",kn_route_tag="kn:disabled",network_protocol_name="http",network_protocol_version="1.0"`)
	}, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, series("http_server_request_body_size_bytes_sum"), "} 5\n")
	require.Contains(t, series("http_server_request_body_size_bytes_sum"), `server_address="127.0.0.1",server_port="`+portOf(t, p.listen)+`",url_scheme="http"`)
}
