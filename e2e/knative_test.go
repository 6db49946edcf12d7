package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
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
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", p.listen)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond, "does not listen")
	return p
}

// prepareQueueProxy is queueProxy without the start.
func prepareQueueProxy(t *testing.T, function string, environ ...string) *queuePod {
	t.Helper()
	p := &queuePod{
		pod: &pod{t: t, listen: freePort(t), admin: freePort(t), ended: make(chan struct{})},
		tls: freePort(t), drain: freePort(t), autoscaler: freePort(t),
	}
	p.cmd = exec.Command(binary)
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
