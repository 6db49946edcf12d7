package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
)

// newServer returns a server that is ready and has a small status.
func newServer() *metrics.Server {
	return &metrics.Server{
		Set:    complete(),
		Ready:  func() error { return nil },
		Status: func() any { return map[string]int{"queued": 3} },
		Log:    slog.New(slog.DiscardHandler),
	}
}

// start runs s on a port of its own until the test ends and returns its URL.
func start(t *testing.T, s *metrics.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return "http://" + ln.Addr().String()
}

// do sends one request on a connection of its own.
func do(t *testing.T, method, url string, body io.Reader, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(r)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(b)
}

func TestEndpoints(t *testing.T) {
	url := start(t, newServer())
	const text = "text/plain; charset=utf-8"
	for _, test := range []struct {
		name, method, path string
		code               int
		kind, body         string
	}{
		{"alive", "GET", "/healthz", 200, text, "ok\n"},
		{"ready", "GET", "/readyz", 200, text, "ready\n"},
		{"query is ignored", "GET", "/readyz?verbose=1", 200, text, "ready\n"},
		{"status", "GET", "/status", 200, "application/json", "{\n  \"queued\": 3\n}\n"},
		{"root", "GET", "/", 404, text, "not found\n"},
		{"below", "GET", "/metrics/x", 404, text, "not found\n"},
		{"profile", "GET", "/debug/pprof/", 404, text, "not found\n"},
		{"unknown path comes before method", "POST", "/quit", 404, text, "not found\n"},
		{"post", "POST", "/metrics", 405, text, "method not allowed\n"},
		{"put", "PUT", "/healthz", 405, text, "method not allowed\n"},
		{"delete", "DELETE", "/readyz", 405, text, "method not allowed\n"},
		{"options", "OPTIONS", "/status", 405, text, "method not allowed\n"},
		{"head", "HEAD", "/healthz", 200, text, ""},
		{"head of status", "HEAD", "/status", 200, "application/json", ""},
		{"head of nothing", "HEAD", "/nothing", 404, text, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			res, body := do(t, test.method, url+test.path, nil)
			require.Equal(t, test.code, res.StatusCode)
			require.Equal(t, fmt.Sprint(test.code, " ", http.StatusText(test.code)), res.Status)
			require.Equal(t, test.kind, res.Header.Get("Content-Type"))
			require.Equal(t, test.body, body)
			require.Empty(t, res.Header.Get("Server"), "nobody needs to know what we are made of")
			require.NotEmpty(t, res.Header.Get("Date"))
			if test.code == 405 {
				require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
			}
		})
	}
}

func TestMetricsInTheFormatTheScraperAsksFor(t *testing.T) {
	url := start(t, newServer()) + "/metrics"
	for _, test := range []struct{ name, accept, kind, part string }{
		{"plain", "", "text/plain; version=0.0.4", "\nfnpod_workers{state=\"idle\"} 1\n"},
		{"text", "text/plain;version=0.0.4", "text/plain; version=0.0.4", "\nfnpod_worker_starts_total "},
		{"openmetrics", "application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0", "\n# EOF\n"},
		{"protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "fnpod_run_seconds"},
		{"anything else", "application/json", "text/plain; version=0.0.4", "# TYPE fnpod_run_seconds histogram\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			res, body := do(t, "GET", url, nil, "Accept", test.accept)
			require.Equal(t, 200, res.StatusCode)
			require.True(t, strings.HasPrefix(res.Header.Get("Content-Type"), test.kind), res.Header.Get("Content-Type"))
			require.Contains(t, body, test.part)
		})
	}
}

func TestNotReadySaysWhy(t *testing.T) {
	s := newServer()
	s.Ready = func() error { return errors.New("draining") }
	url := start(t, s)
	res, body := do(t, "GET", url+"/readyz", nil)
	require.Equal(t, 503, res.StatusCode)
	require.Equal(t, "draining\n", body)
	res, _ = do(t, "GET", url+"/healthz", nil)
	require.Equal(t, 200, res.StatusCode, "alive all the same")
}

func TestAStatusThatIsNoJSONIsOurFault(t *testing.T) {
	s := newServer()
	s.Status = func() any { return math.Inf(1) }
	res, body := do(t, "GET", start(t, s)+"/status", nil)
	require.Equal(t, 500, res.StatusCode)
	require.Equal(t, "status cannot be written\n", body)
}

func TestASourceThatBreaksTheFormatIsOurFault(t *testing.T) {
	s := newServer()
	s.Set = metrics.New(1)
	s.Set.Func(metrics.BuildInfo, one, "not \xff UTF-8", "go1")
	res, _ := do(t, "GET", start(t, s)+"/metrics", nil)
	require.Equal(t, 500, res.StatusCode)
}

func TestAPanicEndsOneRequestOnly(t *testing.T) {
	s := newServer()
	s.Status = func() any { panic("bug") }
	url := start(t, s)
	res, body := do(t, "GET", url+"/status", nil)
	require.Equal(t, 500, res.StatusCode)
	require.Equal(t, "internal error\n", body)
	_, body = do(t, "GET", url+"/metrics", nil)
	require.Contains(t, body, "\nfnpod_panics_total 1\n")
}

// R6: GET and HEAD alone, no bodies.
func TestRequestBodiesAreRefused(t *testing.T) {
	url := start(t, newServer())
	res, _ := do(t, "GET", url+"/metrics", strings.NewReader("x"))
	require.Equal(t, 413, res.StatusCode)
	res, _ = do(t, "GET", url+"/metrics", io.MultiReader(strings.NewReader("x"))) // chunked
	require.Equal(t, 413, res.StatusCode)
	res, _ = do(t, "POST", url+"/status", strings.NewReader("{}"))
	require.Equal(t, 405, res.StatusCode)
	res, _ = do(t, "POST", url+"/status", strings.NewReader("{}"), "Expect", "100-continue")
	require.Equal(t, 417, res.StatusCode)
}

func TestALargeHeadIsRefused(t *testing.T) {
	url := start(t, newServer())
	res, _ := do(t, "GET", url+"/healthz", nil, "X", strings.Repeat("x", 15<<10))
	require.Equal(t, 200, res.StatusCode)
	res, _ = do(t, "GET", url+"/healthz", nil, "X", strings.Repeat("x", 17<<10))
	require.Equal(t, 431, res.StatusCode)
}

func TestRunReportsAListenerThatBreaks(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	require.ErrorIs(t, newServer().Run(t.Context(), ln), net.ErrClosed)
}

func TestAnswerTakesThePlaceOfAllPages(t *testing.T) {
	s := newServer()
	s.Answer = func(method, path, query string) metrics.Answer {
		if method != "GET" {
			return metrics.Answer{Code: 405, Allow: "GET"}
		}
		return metrics.Answer{Code: 503, Type: "a/b", Body: []byte(path + "?" + query)}
	}
	url := start(t, s)
	res, body := do(t, "GET", url+"/metrics?full=1", nil)
	require.Equal(t, 503, res.StatusCode)
	require.Equal(t, "a/b", res.Header.Get("Content-Type"))
	require.Equal(t, "/metrics?full=1", body)
	res, body = do(t, "POST", url+"/metrics", nil)
	require.Equal(t, 405, res.StatusCode)
	require.Equal(t, "GET", res.Header.Get("Allow"))
	require.Empty(t, res.Header["Content-Type"])
	require.Empty(t, body)
}
