package kubeless_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/kubeless"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// front is a front door of Kubeless whose function is a function of the test.
type front struct {
	t     *testing.T
	url   string
	alive atomic.Bool

	mu     sync.Mutex
	log    bytes.Buffer // guarded by mu
	called int          // guarded by mu
}

// newFront serves a function in a language.
func newFront(t *testing.T, language string, do func(x *proxy.Exchange) error, more ...func(*kubeless.Settings)) *front {
	t.Helper()
	s := &kubeless.Settings{Language: language, File: "/kubeless/hello.x", MaxJSON: 10, MaxBody: 10}
	for _, change := range more {
		change(s)
	}
	f := &front{t: t}
	f.alive.Store(true)
	set := metrics.New(1)
	series := kubeless.NewMetrics(s)
	set.Register(series.Collectors()...)
	routes := &kubeless.Routes{Settings: s, Alive: f.alive.Load, Series: set.Text}
	config := proxy.DefaultConfig()
	config.DrainDelay = 0
	server, err := proxy.New(proxy.Parts{
		Config: config, Queue: queue.New(queue.Config{Limit: 10, Depth: 10}), Metrics: set, Log: slog.New(slog.DiscardHandler), Nonce: "n",
		Backend: proxy.BackendFunc(func(x *proxy.Exchange) error {
			f.mu.Lock()
			f.called++
			f.mu.Unlock()
			return do(x)
		}),
		Statuses: s.Statuses(),
		Hooks: proxy.Hooks{Own: routes.Own, Fields: routes.Fields, Ended: func(x *proxy.Exchange, o proxy.Outcome) {
			series.Count(x, o)
			f.mu.Lock()
			defer f.mu.Unlock()
			s.LogRequest(&f.log, x, o, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		}},
	})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections() // the drain gives each of them a second
		cancel()
		require.NoError(t, <-ended)
	})
	f.url = "http://" + l.Addr().String()
	return f
}

// ask sends a request; fields are "Name: value".
func (f *front) ask(method, target, body string, fields ...string) (*http.Response, string) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+target, strings.NewReader(body))
	require.NoError(f.t, err)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(f.t, err)
	return answer, string(text)
}

// series waits for a line of /metrics.
func (f *front) series(line string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		_, text := f.ask("GET", "/metrics", "")
		return strings.Contains(text, line+"\n")
	}, 10*time.Second, time.Millisecond, line)
}

func (f *front) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.called
}

// line waits for a line of the log.
func (f *front) line(text string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return strings.Contains(f.log.String(), text)
	}, 10*time.Second, time.Millisecond, text)
}

// says answers with a text.
func says(text string) func(x *proxy.Exchange) error {
	return func(x *proxy.Exchange) error {
		x.Respond(200, int64(len(text)))
		if _, err := x.Write([]byte(text)); err != nil {
			return err
		}
		return x.Finish()
	}
}

// fails is a function that does not answer.
func fails(err error) func(x *proxy.Exchange) error {
	return func(*proxy.Exchange) error { return err }
}

// Kubeless PY5, N5, G4: health is asked by GET at its path, for all else there is the function.
func TestPY5N5G4Health(t *testing.T) {
	for rule, language := range map[string]string{"PY5": kubeless.Python, "N5": kubeless.Node, "G4": kubeless.Server} {
		t.Run(rule, func(t *testing.T) {
			f := newFront(t, language, says("function"))
			answer, text := f.ask("GET", "/healthz?a=b", "")
			require.Equal(t, 200, answer.StatusCode)
			require.Equal(t, "OK", text)
			require.Empty(t, answer.Header.Get("Access-Control-Allow-Origin"))
			_, text = f.ask("POST", "/healthz", "")
			require.Equal(t, map[bool]string{true: "OK", false: "function"}[language == kubeless.Server], text, "G1, PY7")
			_, text = f.ask("GET", "/healthz/", "")
			require.Equal(t, "function", text)
		})
	}
}

// Kubeless P6: what kubelet's probe is told: all is well, or the pod should be started again.
func TestP6Liveness(t *testing.T) {
	f := newFront(t, kubeless.Python, says(""))
	answer, _ := f.ask("GET", "/healthz", "", "User-Agent: kube-probe/1.19")
	require.Equal(t, 200, answer.StatusCode)
	f.alive.Store(false)
	answer, text := f.ask("GET", "/healthz", "", "User-Agent: kube-probe/1.19")
	require.Equal(t, 503, answer.StatusCode)
	require.Equal(t, "failing", text)
	require.Zero(t, f.calls())
}

// Kubeless PY6, N6, G5: the series are there before the first call, as text, each of them once.
func TestPY6N6G5Metrics(t *testing.T) {
	for rule, language := range map[string]string{"PY6": kubeless.Python, "N6": kubeless.Node, "G5": kubeless.Server} {
		t.Run(rule, func(t *testing.T) {
			f := newFront(t, language, says(""))
			once := func() {
				t.Helper()
				answer, text := f.ask("GET", "/metrics", "")
				require.Equal(t, 200, answer.StatusCode)
				require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", answer.Header.Get("Content-Type"))
				for _, name := range []string{"function_calls_total", "function_failures_total", "function_duration_seconds"} {
					require.Equal(t, 1, strings.Count(text, "# HELP "+name+" "))
				}
			}
			once()
			f.ask("GET", "/", "")
			f.series(`function_calls_total{method="GET"} 1`)
			once()
		})
	}
}

// Kubeless P7: Prometheus scrapes the function's own port at /metrics, as the pod's annotations say, and reads all of it.
func TestP7Scrape(t *testing.T) {
	f := newFront(t, kubeless.Python, says(""))
	f.ask("GET", "/", "")
	f.series(`function_calls_total{method="GET"} 1`)
	answer, text := f.ask("GET", "/metrics", "", "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", answer.Header.Get("Content-Type"))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	require.Contains(t, families, "function_duration_seconds")
}

// Kubeless P11: the adapter makes the rate function_calls, by which a pod is scaled, of a counter with this name. Probes and scrapes
// are no calls.
func TestP11RateOfCalls(t *testing.T) {
	f := newFront(t, kubeless.Python, says(""))
	f.ask("GET", "/healthz", "")
	f.ask("GET", "/metrics", "")
	for range 3 {
		f.ask("POST", "/", "")
	}
	f.series(`function_calls_total{method="POST"} 3`)
	_, text := f.ask("GET", "/metrics", "")
	require.Contains(t, text, "# TYPE function_calls_total counter\n")
	require.NotContains(t, text, `function_calls_total{method="GET"}`)
}

// Kubeless PY8: HEAD is the route of GET without its body.
func TestPY8Head(t *testing.T) {
	f := newFront(t, kubeless.Python, says("function"))
	for _, target := range []string{"/healthz", "/metrics"} {
		answer, text := f.ask("HEAD", target, "")
		require.Equal(t, 200, answer.StatusCode, target)
		require.Empty(t, text)
	}
	require.Zero(t, f.calls())
	answer, text := f.ask("HEAD", "/", "")
	require.Equal(t, 200, answer.StatusCode)
	require.Empty(t, text)
	require.EqualValues(t, len("function"), answer.ContentLength)
	require.Equal(t, 1, f.calls())
}

// Kubeless PY7, PY9, PY10: methods and paths of Python's functions.
func TestPY7PY9PY10Methods(t *testing.T) {
	strict := func(s *kubeless.Settings) { s.Strict = true }
	for _, c := range []struct {
		rule, method, target string
		code, strictCode     int
	}{
		{"PY7", "GET", "/any/path?q=1", 200, 200},
		{"PY7", "POST", "/metrics", 200, 200},
		{"PY7", "PATCH", "/", 200, 200},
		{"PY7", "DELETE", "/", 200, 200},
		{"PY10", "GET", "/", 200, 200},
		{"PY9", "PUT", "/", 200, 405},
		{"PY9", "OPTIONS", "/", 405, 405},
		{"PY9", "PROPFIND", "/", 405, 405},
	} {
		t.Run(c.rule+" "+c.method, func(t *testing.T) {
			for code, f := range map[*int]*front{
				&c.code: newFront(t, kubeless.Python, says("")), &c.strictCode: newFront(t, kubeless.Python, says(""), strict),
			} {
				answer, text := f.ask(c.method, c.target, "", "Origin: https://a.example")
				require.Equal(t, *code, answer.StatusCode)
				for name := range answer.Header {
					require.NotContains(t, name, "Access-Control-", "PY10")
				}
				if *code == 405 {
					require.Contains(t, text, "<h1>Error: 405 Method Not Allowed</h1>")
					require.Zero(t, f.calls())
					_, text = f.ask("GET", "/metrics", "")
					require.NotContains(t, text, `method="`+c.method)
				}
			}
		})
	}
	f := newFront(t, kubeless.Python, says(""), strict)
	answer, _ := f.ask("PUT", "/", "")
	require.Equal(t, 405, answer.StatusCode, "PY9")
	require.Equal(t, "GET, HEAD, POST, PATCH, DELETE", answer.Header.Get("Allow"))
}

// Section 8 of Kubeless' contract, PY10: pages of other origins may call Python's functions if the pod says so.
func TestPY10CrossOrigin(t *testing.T) {
	f := newFront(t, kubeless.Python, says(""), func(s *kubeless.Settings) { s.CORS = true })
	answer, _ := f.ask("GET", "/", "")
	require.Equal(t, "*", answer.Header.Get("Access-Control-Allow-Origin"))
	answer, _ = f.ask("OPTIONS", "/", "", "Access-Control-Request-Method: PUT")
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, "PUT", answer.Header.Get("Access-Control-Allow-Methods"))
	require.Equal(t, 1, f.calls())
}

// Kubeless PY13: what is JSON has a limit, what is not has none.
func TestPY13Sizes(t *testing.T) {
	f := newFront(t, kubeless.Python, says(""))
	for _, c := range []struct {
		kind string
		size int
		code int
	}{
		{"application/json", 10, 200},
		{"application/json", 11, 413},
		{"application/json; charset=utf-8", 11, 413},
		{"text/plain", 11, 200},
	} {
		answer, _ := f.ask("POST", "/", strings.Repeat("1", c.size), "Content-Type: "+c.kind)
		require.Equal(t, c.code, answer.StatusCode, c)
	}
	f = newFront(t, kubeless.Python, says(""), func(s *kubeless.Settings) { s.Strict = true })
	answer, _ := f.ask("POST", "/", strings.Repeat("1", 11), "Content-Type: application/json; charset=utf-8")
	require.Equal(t, 200, answer.StatusCode, "it is none, PY11")
}

// Kubeless N2, N10: what is too large for Node's functions is refused before it is counted; a form with files has no limit.
func TestN2Sizes(t *testing.T) {
	f := newFront(t, kubeless.Node, says(""))
	answer, text := f.ask("POST", "/", strings.Repeat("1", 11))
	require.Equal(t, 413, answer.StatusCode)
	require.Equal(t, "Request Entity Too Large", text)
	require.Equal(t, "*", answer.Header.Get("Access-Control-Allow-Origin"))
	answer, _ = f.ask("POST", "/", strings.Repeat("1", 10))
	require.Equal(t, 200, answer.StatusCode)
	answer, _ = f.ask("POST", "/", strings.Repeat("1", 11), "Content-Type: Multipart/form-data; boundary=x")
	require.Equal(t, 200, answer.StatusCode)
	f.series(`function_calls_total{method="POST"} 2`)
}

// Kubeless N7 and section 6: preflights are answered for the function.
func TestN7Preflight(t *testing.T) {
	for rule, language := range map[string]string{"N7": kubeless.Node, "section 6": kubeless.Server} {
		f := newFront(t, language, says(""))
		answer, text := f.ask("OPTIONS", "/any", "", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: X-A, X-B")
		require.Equal(t, 200, answer.StatusCode)
		require.Empty(t, text)
		require.Equal(t, "*", answer.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "PUT", answer.Header.Get("Access-Control-Allow-Methods"))
		require.Equal(t, "X-A, X-B", answer.Header.Get("Access-Control-Allow-Headers"))
		answer, _ = f.ask("OPTIONS", "/", "")
		require.Equal(t, "undefined", answer.Header.Get("Access-Control-Allow-Methods"), rule)
		require.Zero(t, f.calls())
		_, text = f.ask("GET", "/metrics", "")
		require.NotContains(t, text, "OPTIONS")
	}
}

// Kubeless N8 and section 6: every other method and path is a call, and pages of other origins may read the answer.
func TestN8CrossOrigin(t *testing.T) {
	for _, language := range []string{kubeless.Node, kubeless.Server} {
		f := newFront(t, language, says(""))
		for i, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "PROPFIND"} {
			answer, _ := f.ask(method, "/any/path?a=b", "")
			require.Equal(t, 200, answer.StatusCode, method)
			require.Equal(t, []string{"*"}, answer.Header.Values("Access-Control-Allow-Origin"), "N8")
			require.Equal(t, i+1, f.calls())
		}
		f.series(`function_calls_total{method="other"} 1`)
	}
}

// A function's own field stays.
func TestN17OwnOrigin(t *testing.T) {
	f := newFront(t, kubeless.Node, func(x *proxy.Exchange) error {
		x.Respond(201, 0)
		if err := x.AddField([]byte("access-control-allow-origin"), []byte("https://a.example")); err != nil {
			return err
		}
		return x.Finish()
	})
	answer, _ := f.ask("GET", "/", "")
	require.Equal(t, []string{"https://a.example"}, answer.Header.Values("Access-Control-Allow-Origin"))
}

// Kubeless PY12, PY23 to PY26, N18, N19, G2, G3 and section 8: how failures are answered, and which are counted.
func TestPY25Failures(t *testing.T) {
	raised := func(kind string) error {
		return &workers.HandlerError{Status: 500, Type: kind, Message: "the secret <reason>"}
	}
	const counted, uncounted, uncalled = "counted", "not counted", "no call"
	for _, c := range []struct {
		rule     string
		language string
		err      error
		code     int
		text     string
		failure  string
	}{
		{"PY25 raised", kubeless.Python, raised("ValueError"), 500, "<h1>Error: 500 Internal Server Error</h1>\n<pre></pre>", counted},
		{"PY12 no JSON", kubeless.Python, raised("UnusableBody"), 500, "<h1>Error: 500 Internal Server Error</h1>", uncalled},
		{"PY23 no answer", kubeless.Python, raised("UnusableResult"), 500, "<pre>the secret &lt;reason&gt;</pre>", uncounted},
		{"PY26 late", kubeless.Python, watchdog.ErrRunTimeout, 408, "Timeout while processing the function", counted},
		{"PY26 late, warm", kubeless.Python, workers.ErrTimeout, 408, "Timeout while processing the function", counted},
		{"PY17 dead", kubeless.Python, &watchdog.FailedError{}, 500, "<h1>Error: 500 Internal Server Error</h1>", counted},
		{"PY17 no memory", kubeless.Python, &watchdog.FailedError{Memory: true}, 500, "<h1>Error: 500 Internal Server Error</h1>", counted},
		{"PY17 dead, warm", kubeless.Python, workers.ErrDied, 500, "<h1>Error: 500 Internal Server Error</h1>", counted},
		{"N18 raised", kubeless.Node, raised("Error"), 500, "Internal Server Error", counted},
		{"N19 late", kubeless.Node, workers.ErrTimeout, 408, "Timeout while processing the function", counted},
		{"N19 dead", kubeless.Node, workers.ErrDied, 500, "Internal Server Error", counted},
		{"G2 refused", kubeless.Server, fmt.Errorf("%w: nonsense", proxy.ErrBadAnswer), 500, "Error: malformed", counted},
		{"G3 late", kubeless.Server, proxy.ErrTimeout, 408, "Timeout exceeded", counted},
		{"bug", kubeless.Python, errors.New("of ours"), 500, "internal", counted},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := &kubeless.Settings{Language: c.language}
			f := newFront(t, c.language, fails(s.Failed(c.err)))
			answer, text := f.ask("POST", "/", "")
			require.Equal(t, c.code, answer.StatusCode)
			require.Contains(t, text, c.text)
			require.NotContains(t, text, "the secret <reason>")
			if c.failure == uncalled {
				_, text := f.ask("GET", "/metrics", "")
				require.NotContains(t, text, `method="POST"`)
				return
			}
			f.series(`function_calls_total{method="POST"} 1`)
			f.series(`function_duration_seconds_count{method="POST"} 1`)
			f.series(map[string]string{counted: `function_failures_total{method="POST"} 1`, uncounted: `function_failures_total{method="POST"} 0`}[c.failure])
		})
	}
}

// Kubeless PY24: an answer is no failure, whatever its status.
func TestPY24StatusIsNoFailure(t *testing.T) {
	f := newFront(t, kubeless.Python, func(x *proxy.Exchange) error {
		x.Respond(500, 0)
		return x.Finish()
	})
	f.ask("GET", "/", "")
	f.series(`function_calls_total{method="GET"} 1`)
	f.series(`function_failures_total{method="GET"} 0`)
}

// Sections 3.6 and 4.5 of Kubeless' contract, G5: buckets by language.
func TestG5SeriesByLanguage(t *testing.T) {
	for _, c := range []struct {
		rule, language string
		bucket         bool // of .075 s
	}{{"3.6", kubeless.Python, true}, {"4.5", kubeless.Node, false}, {"G5", kubeless.Server, false}} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFront(t, c.language, says(""))
			f.ask("GET", "/", "")
			f.series(`function_duration_seconds_count{method="GET"} 1`)
			_, text := f.ask("GET", "/metrics", "")
			require.Equal(t, c.bucket, strings.Contains(text, `function_duration_seconds_bucket{method="GET",le="0.075"}`))
			require.Contains(t, text, `function_duration_seconds_bucket{method="GET",le="+Inf"} 1`)
		})
	}
	t.Run("4.5 strict", func(t *testing.T) {
		f := newFront(t, kubeless.Node, says(""), func(s *kubeless.Settings) { s.Strict = true })
		f.ask("GET", "/", "")
		f.series(`function_calls_total{method="hello-GET"} 1`)
	})
}

// Sections 3.7 and 4.6 of Kubeless' contract, G8: a line for each request, probes included, without what could forge another one.
func TestG8AccessLog(t *testing.T) {
	t.Run("4.6", func(t *testing.T) {
		f := newFront(t, kubeless.Node, says("four"))
		f.ask("POST", "/a?b=c", "", "User-Agent: a\"b", "Referer: http://a.example")
		f.line("127.0.0.1 - - [02/Jan/2026:03:04:05 +0000] \"POST /a?b=c HTTP/1.1\" 200 4 \"http://a.example\" \"a\\\"b\"\n")
		f.ask("GET", "/healthz", "", "User-Agent: kube-probe/1.19")
		f.line("\"GET /healthz HTTP/1.1\" 200 2 \"-\" \"kube-probe/1.19\"\n")
	})
	t.Run("3.7", func(t *testing.T) {
		f := newFront(t, kubeless.Python, says("four"))
		f.ask("GET", "/", "", "User-Agent: curl")
		f.line("\"GET / HTTP/1.1\" 200 4 \"-\" \"curl\" 0/")
	})
	t.Run("G8", func(t *testing.T) {
		f := newFront(t, kubeless.Server, says("four"))
		f.ask("GET", "/", "", "User-Agent: curl")
		f.line("2026/01/02 03:04:05 127.0.0.1:")
		f.line(" \"GET / HTTP/1.1\" 200 curl\n")
	})
}
