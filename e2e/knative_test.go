package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of Knative are named after the sections of its contract: what the queue-proxy does, and where it is wrong,
// what is right.

// queuePod is a pod with the ports of a queue-proxy; admin is that of fnpod, as everywhere.
type queuePod struct {
	*pod

	tls, drain, autoscaler string // addresses
}

// queueProxy starts the binary as the controller starts a queue-proxy, before a function at address.
func queueProxy(t *testing.T, function string, environ ...string) *queuePod {
	t.Helper()
	p := prepareQueueProxy(t, function, environ...)
	p.begin()
	p.waitListening()
	return p
}

func (p *queuePod) waitListening() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		c, err := net.Dial("tcp", p.listen)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond, "does not listen")
}

// prepareQueueProxy is queueProxy without the start.
func prepareQueueProxy(t *testing.T, function string, environ ...string) *queuePod {
	t.Helper()
	p := &queuePod{
		pod: &pod{t: t, listen: freePort(t), admin: freePort(t), ended: make(chan struct{})},
		tls: freePort(t), drain: originally(freePort(t), "8022"), autoscaler: originally(freePort(t), "9090"),
	}
	p.cmd = exec.Command(queueProxyBinary())
	p.cmd.Env = append(os.Environ(),
		"CONTAINER_CONCURRENCY=0", "QUEUE_SERVING_PORT="+portOf(t, p.listen), "QUEUE_SERVING_TLS_PORT="+portOf(t, p.tls), "USER_PORT="+portOf(t, function),
		"REVISION_TIMEOUT_SECONDS=300", "REVISION_RESPONSE_START_TIMEOUT_SECONDS=0", "REVISION_IDLE_TIMEOUT_SECONDS=0",
		"SERVING_NAMESPACE=default", "SERVING_SERVICE=hello", "SERVING_CONFIGURATION=hello", "SERVING_REVISION=hello-00001",
		"SERVING_POD=hello-pod", "SERVING_POD_IP=127.0.0.1", "SERVING_LOGGING_CONFIG=", "SERVING_LOGGING_LEVEL=",
		"SERVING_READINESS_PROBE=", "ENABLE_MULTI_CONTAINER_PROBES=false", "ENABLE_HTTP2_AUTO_DETECTION=false", "ENABLE_HTTP_FULL_DUPLEX=false",
		`OBSERVABILITY_CONFIG={"tracing":{"protocol":"none"},"metrics":{"protocol":"none"},"runtime":{"profiling":"disabled","exportInterval":15000000000},"requestMetrics":{"protocol":"none"}}`,
		"ROOT_CA=", "SYSTEM_NAMESPACE=knative-serving", "HOST_IP=127.0.0.1",
		"QUEUE_PROXY_TLS_MIN_VERSION=", "QUEUE_PROXY_TLS_MAX_VERSION=", "QUEUE_PROXY_TLS_CIPHER_SUITES=", "QUEUE_PROXY_TLS_CURVE_PREFERENCES=",
		"FNPOD_ADMIN="+p.admin, "FNPOD_DRAIN_DELAY=200ms", "FNPOD_KNATIVE_ADMIN_PORT="+portOf(t, p.drain), "FNPOD_KNATIVE_AUTOSCALER_PORT="+portOf(t, p.autoscaler),
	)
	p.cmd.Env = append(p.cmd.Env, environ...)
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	p.cmd.WaitDelay = 2 * time.Second
	return p
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return port
}

// userContainer is a function that handles requests, by HTTP/1.1 alone.
func userContainer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// told is a function that answers with what it was sent.
func told(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what was cut is shorter
	fmt.Fprintf(w, "%s %s %s host=%s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	_ = r.Header.Write(w)
	fmt.Fprintf(w, "body=%s", body)
}

// ask sends a request, of which fields say more: "Name: value".
func (p *queuePod) ask(method, path, body string, fields ...string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.listen+path, strings.NewReader(body))
	require.NoError(p.t, err)
	r.Header.Set("User-Agent", "test")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "User-Agent":
			r.Header.Set(name, value)
		default:
			r.Header.Add(name, value)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp, string(b)
}

func TestKnative5RequestsReachTheFunctionAsTheyAre(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, told))
	resp, body := p.ask("POST", "/a%2Fb?a=b;c&%zz", "hello", "Host: example.com", "K-Proxy-Request: activator", "K-Passthrough-Lb: true",
		"Knative-Serving-Tag: t", "Knative-Serving-Revision: r", "Knative-Serving-Namespace: n", "Connection: X-Hop", "X-Hop: 1", "K-Network-Probe: other",
		"X-Request-Id: id", "X-Timeout: 5", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "POST /a%2Fb?a=b;c&%zz HTTP/1.1 host=example.com\n"+
		"Accept-Encoding: gzip\r\nContent-Length: 5\r\nK-Network-Probe: other\r\nK-Passthrough-Lb: true\r\nK-Proxy-Request: activator\r\nKnative-Serving-Tag: t\r\n"+
		"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nUser-Agent: test\r\nX-Forwarded-For: 127.0.0.1\r\nX-Request-Id: id\r\nX-Timeout: 5\r\nbody=hello", body)

	_, body = p.ask("GET", "/", "", "Host: internal", "K-Original-Host: outside.example.com:80")
	require.Contains(t, body, "host=outside.example.com:80\n")
	require.NotContains(t, body, "K-Original-Host")
}

func TestKnative53Forwarded(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, told))
	tests := []struct {
		fields []string
		want   string
	}{
		{[]string{"X-Forwarded-For: 127.0.0.1, ::1", "X-Forwarded-Host: h", "X-Forwarded-Proto: p"}, "for=127.0.0.1;host=h;proto=p, for=\"[::1]\"\r\n"},
		{[]string{"X-Forwarded-Proto: https"}, "proto=https\r\n"},
		{[]string{"X-Forwarded-Proto: https", "X-Forwarded-Host: h"}, "host=h;proto=https\r\n"},
		{[]string{"X-Forwarded-For: ,,,"}, "for=, for=, for=\r\n"},
		{[]string{"Forwarded: for=a", "X-Forwarded-For: b"}, "for=a\r\n"},
	}
	for _, tt := range tests {
		_, body := p.ask("GET", "/", "", tt.fields...)
		require.Contains(t, body, "\nForwarded: "+tt.want, tt.fields)
	}
	_, body := p.ask("GET", "/", "", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2")
	require.Contains(t, body, "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1\r\n")
	require.Contains(t, body, "Forwarded: for=1.1.1.1\r\n", "of the first line")
	_, body = p.ask("GET", "/", "")
	require.NotContains(t, body, "\nForwarded:")
}

func TestKnative77ControlProbes(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, told))
	const nosniff = "nosniff"
	tests := []struct {
		name   string
		fields []string
		code   int
		body   string
		sniff  string
	}{
		{"kubelet", []string{"User-Agent: kube-probe/1.30", "K-Network-Probe: queue"}, 200, "queue", ""},
		{"activator", []string{"User-Agent: Knative-Activator-Probe", "K-Network-Probe: queue"}, 200, "queue", ""},
		{"autoscaler", []string{"User-Agent: Knative-Autoscaling-Probe", "K-Network-Probe: activator"}, 400, "unexpected probe header value: activator\n", nosniff},
		{"kubelet without a field", []string{"User-Agent: kube-probe/1.30"}, 400, "unexpected probe header value: \n", nosniff},
		{"ingress", []string{"K-Network-Probe: probe", "K-Network-Hash: h"}, 200, "", ""},
		{"ingress without a hash", []string{"K-Network-Probe: probe"}, 400, "a probe request must contain a non-empty \"K-Network-Hash\" header\n", nosniff},
	}
	for _, tt := range tests {
		resp, body := p.ask("GET", "/any", "", tt.fields...)
		require.Equal(t, tt.code, resp.StatusCode, tt.name)
		require.Equal(t, tt.body, body, tt.name)
		require.Equal(t, tt.sniff, resp.Header.Get("X-Content-Type-Options"), tt.name)
	}
	resp, _ := p.ask("GET", "/", "", "K-Network-Probe: probe", "K-Network-Hash: h")
	require.Equal(t, "h", resp.Header.Get("K-Network-Hash"))
	for _, agent := range []string{"Knative-Ingress-Probe", "Knative-Queue-Proxy-Probe", "kube-probe", "Kube-Probe/1"} {
		_, body := p.ask("GET", "/", "", "User-Agent: "+agent, "K-Network-Probe: queue")
		require.Contains(t, body, "GET / HTTP/1.1", "%s gets no special treatment", agent)
	}
}

func TestKnative77ReadinessIsTheFunctions(t *testing.T) {
	t.Parallel()
	function := freePort(t)
	p := queueProxy(t, function, `SERVING_READINESS_PROBE={"tcpSocket":{"port":`+portOf(t, function)+`,"host":"127.0.0.1"},"successThreshold":1}`)
	kubelet := []string{"User-Agent: kube-probe/1.30", "K-Network-Probe: queue"}
	asked := make(chan int, 1) // the answer
	go func() {
		r, err := http.NewRequest(http.MethodGet, "http://"+p.listen, nil)
		if err != nil {
			asked <- 0
			return
		}
		r.Header = http.Header{"User-Agent": {"Knative-Activator-Probe"}, "K-Network-Probe": {"queue"}}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			asked <- 0
			return
		}
		_ = resp.Body.Close()
		asked <- resp.StatusCode
	}()
	require.Never(t, func() bool { return len(asked) > 0 }, 300*time.Millisecond, 50*time.Millisecond, "the probe polls")
	l, err := net.Listen("tcp", function)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, 200, <-asked, "as soon as the function listens")
	resp, body := p.ask("GET", "/", "", kubelet...)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "queue", body)

	p = queueProxy(t, freePort(t), `SERVING_READINESS_PROBE={"tcpSocket":{"port":1},"periodSeconds":10}`)
	resp, body = p.ask("GET", "/", "", kubelet...)
	require.Equal(t, 503, resp.StatusCode)
	require.Empty(t, body)
	require.Empty(t, resp.Header.Get("Content-Type"))
	resp, _ = p.ask("GET", "/", "", "K-Network-Probe: probe", "K-Network-Hash: h")
	require.Equal(t, 200, resp.StatusCode, "a route does not depend on readiness")
}

// holdingFunction speaks both protocols, answers when it is let, and knows how many requests it had at once.
type holdingFunction struct {
	address       string
	running, most atomic.Int64
	let           chan struct{}
	release       func() // answers all
}

func newHoldingFunction(t *testing.T) *holdingFunction {
	t.Helper()
	f := &holdingFunction{let: make(chan struct{})}
	f.release = sync.OnceFunc(func() { close(f.let) })
	f.address = dualContainer(t, func(_ http.ResponseWriter, r *http.Request) {
		n := f.running.Add(1)
		defer f.running.Add(-1)
		f.most.Store(max(n, f.most.Load()))
		select {
		case <-f.let:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(f.release)
	return f
}

// dualContainer is a function that speaks both protocols.
func dualContainer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// clientOf speaks one protocol, h2c on one connection.
func clientOf(t *testing.T, protocol string) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == "http1")
	protocols.SetUnencryptedHTTP2(protocol == "h2c")
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestKnative111AtMostElevenPerSlot(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := newHoldingFunction(t)
			p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1")
			client := clientOf(t, protocol)
			codes := make(chan int, 20) // all answers
			send := func() {
				resp, err := client.Get("http://" + p.listen + "/")
				if err != nil {
					codes <- 0
					return
				}
				_ = resp.Body.Close()
				codes <- resp.StatusCode
			}
			for range 11 {
				go send()
			}
			otherwise(t, "there is no admin port to read")
			require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 && p.number("queue", "queued") == 10 }, 10*time.Second, 5*time.Millisecond)
			resp, err := client.Get("http://" + p.listen + "/")
			require.NoError(t, err)
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode)
			require.Equal(t, "pending request queue full\n", string(b))
			require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			require.Empty(t, resp.Header.Get("Retry-After"))

			resp, body := p.ask("GET", "/", "", "User-Agent: kube-probe/1", "K-Network-Probe: queue")
			require.Equal(t, 200, resp.StatusCode, "probes do not wait")
			require.Equal(t, "queue", body)
			require.Eventually(t, func() bool { return f.most.Load() == 1 }, 10*time.Second, time.Millisecond)
			f.release()
			for range 11 {
				require.Equal(t, 200, <-codes)
			}
			require.EqualValues(t, 1, f.most.Load(), "one at a time")
		})
	}
}

// Who leaves the line gives its place to another, and that is nobody's error.
func TestKnative111WhoLeavesFreesItsPlace(t *testing.T) {
	t.Parallel()
	otherwise(t, "there is no admin port to read")
	f := newHoldingFunction(t)
	p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1")
	first := p.later("/")
	var line []<-chan answer
	for range 9 {
		line = append(line, p.later("/"))
	}
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.listen, nil)
	require.NoError(t, err)
	left := make(chan error, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		left <- err
	}()
	p.waitRequests(1, 10)
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 503, resp.StatusCode)
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	p.waitRequests(1, 9)
	line = append(line, p.later("/"))
	p.waitRequests(1, 10)
	f.release()
	for _, got := range append(line, first) {
		require.Equal(t, 200, (<-got).code)
	}
	require.NotContains(t, p.log.String(), `"ERROR"`)
	require.NotContains(t, p.log.String(), `"WARN"`)
}

func TestKnative14Errors(t *testing.T) {
	t.Parallel()
	nobody := freePort(t)
	p := queueProxy(t, nobody)
	resp, body := p.ask("POST", "/", "x")
	require.Equal(t, 502, resp.StatusCode)
	require.Equal(t, "dial tcp "+nobody+": connect: connection refused\n", body)
	require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))

	p = queueProxy(t, userContainer(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	resp, body = p.ask("POST", "/", "x")
	require.Equal(t, 502, resp.StatusCode)
	require.Equal(t, "EOF\n", body)

	otherwise(t, "its answer may be lost in a reset")
	resp, body = p.ask("GET", "/", "", "X-Large: "+strings.Repeat("x", 1<<20))
	require.Equal(t, 431, resp.StatusCode)
	require.Equal(t, "431 Request Header Fields Too Large", body)
}

func TestKnative15SettingsThatAreWrongOpenNoPort(t *testing.T) {
	t.Parallel()
	p := prepareQueueProxy(t, freePort(t), "CONTAINER_CONCURRENCY=", "ENABLE_HTTP_FULL_DUPLEX=maybe")
	p.begin()
	require.Equal(t, 1, p.exit())
	require.Contains(t, p.log.String(), "CONTAINER_CONCURRENCY")
	otherwise(t, "it tells of one, in other words")
	require.Equal(t, "fnpod: CONTAINER_CONCURRENCY \"\": must be a number; ENABLE_HTTP_FULL_DUPLEX \"maybe\": must be true or false\n", p.log.String())

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, name := range []string{"QUEUE_SERVING_PORT", "FNPOD_KNATIVE_ADMIN_PORT", "FNPOD_KNATIVE_AUTOSCALER_PORT"} {
		p = prepareQueueProxy(t, freePort(t), name+"="+portOf(t, l.Addr().String()))
		p.begin()
		require.Equal(t, 1, p.exit(), "a port that is taken: %s", name)
	}
}
