package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPythonIsServedByWarmWorkers(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2")
	code, body := p.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "hello", body)

	r, body := p.do("POST", "/json", []byte(`{"a": [1, 2]}`))
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.JSONEq(t, `{"got": {"a": [1, 2]}}`, body)

	for _, size := range []int{100, 9_000, 70_000, 900_000, 10_000_000} {
		data := bytes.Repeat([]byte("0123456789abcdef\n"), size/17+1)[:size]
		sum := sha256.Sum256(data)
		_, body = p.do("POST", "/sum", data)
		require.Equal(t, hex.EncodeToString(sum[:]), body, size)
	}

	r, body = p.do("GET", "/stream", nil)
	require.Equal(t, "part 0\npart 1\npart 2\n", body)
	require.EqualValues(t, -1, r.ContentLength)

	out, err := exec.Command("curl", "-sS", "-I", "http://"+p.listen+"/").CombinedOutput()
	require.NoError(t, err, "curl is needed: %s", out)
	require.Contains(t, string(out), "HTTP/1.1 200 OK\r\n")
	require.Contains(t, string(out), "Content-Length: 5\r\n")
	require.Contains(t, string(out), "Date: ")
}

func TestNodeIsServedByWarmWorkers(t *testing.T) {
	p := start(t, "serve", "testdata/handler.js")
	_, body := p.get("/")
	require.Equal(t, "hello from node", body)
	_, body = p.do("POST", "/", make([]byte, 2_000_000))
	require.JSONEq(t, `{"bytes": 2000000}`, body)
	_, body = p.get("/stream")
	require.Equal(t, "ab", body)
	r, body := p.do("GET", "/raise", nil)
	require.Equal(t, 500, r.StatusCode)
	require.NotContains(t, body, "secret")
}

func TestExamplesAnswer(t *testing.T) {
	for _, file := range []string{"python/handler.py", "node/handler.js", "ruby/handler.rb", "php/handler.php", "perl/handler.pl", "java/Handler.java", "go"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			handler := "../examples/" + file
			if file == "go" {
				handler = filepath.Join(t.TempDir(), "handler")
				out, err := exec.Command("go", "build", "-buildvcs=false", "-o", handler, "../examples/go").CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			p := start(t, "serve", handler)
			_, body := p.get("/?name=pod")
			require.Equal(t, "hello pod\n", body)
			_, body = p.do("PUT", "/", []byte("abc"))
			require.Contains(t, body, "ba7816bf8f01cfea")
			_, body = p.get("/stream")
			require.Equal(t, "part 0\npart 1\npart 2\npart 3\npart 4\n", body)
		})
	}
}

// W9, W4, M6: a failure costs one request, what it started is killed, the client reads no secrets.
func TestAFunctionThatFailsCostsItsOwnRequest(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2", "--workers-timeout", "700ms", "--max-body", "1MB")

	r, body := p.do("GET", "/raise", nil)
	require.Equal(t, 500, r.StatusCode)
	require.Equal(t, "function_error", r.Header.Get("Fnpod-Error"))
	require.NotContains(t, body, "secret")
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "the secret reason") }, 5*time.Second, time.Millisecond)
	require.Contains(t, p.log.String(), "Traceback")

	r, body = p.do("GET", "/set", nil)
	require.Equal(t, 500, r.StatusCode)
	require.Contains(t, body, "set")

	r, _ = p.do("GET", "/exit", nil)
	require.Equal(t, 502, r.StatusCode)
	require.Equal(t, "worker_exit", r.Header.Get("Fnpod-Error"))
	code, _ := p.get("/")
	require.Equal(t, 200, code)

	r, _ = p.do("GET", "/hang", nil)
	require.Equal(t, 504, r.StatusCode)
	require.Eventually(t, func() bool {
		return exec.Command("pgrep", "-f", "^sleep 1000.25$").Run() != nil
	}, 5*time.Second, 10*time.Millisecond, "what the stuck function started is still there")

	r, _ = p.do("POST", "/sum", make([]byte, 1_000_001))
	require.Equal(t, 413, r.StatusCode)

	require.Eventually(t, func() bool { return p.number("function", "idle") == 2 }, 10*time.Second, 10*time.Millisecond)
}

// W9: a client that stalls its upload does not delay the time-out of the function.
func TestW9AStalledUploadIsAnsweredInTime(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py", "--workers-timeout", "300ms", "--body-timeout", "5m")
	for _, framing := range []string{"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "Content-Length: 5000000\r\n\r\nabc"} {
		nc, err := net.Dial("tcp", p.listen)
		require.NoError(t, err)
		defer nc.Close()
		_, err = io.WriteString(nc, "POST /sum HTTP/1.1\r\nHost: h\r\n"+framing)
		require.NoError(t, err)
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(20*time.Second)))
		r, err := http.ReadResponse(bufio.NewReader(nc), nil)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		require.Equal(t, 504, r.StatusCode)
	}
	code, _ := p.get("/")
	require.Equal(t, 200, code)
}

// W14: lines without end, floods on both streams.
func TestAFloodOfOutputDisturbsNothing(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py")
	for range 3 {
		code, body := p.get("/flood")
		require.Equal(t, 200, code)
		require.Equal(t, "flooded", body)
	}
}

// P9: 503 with Retry-After, at once.
func TestAFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", "testdata/handler.py", "--workers-max", "1", "--queue-depth", "0")
	busy := make(chan int, 1)
	go func() {
		code, _ := p.get("/wait?3")
		busy <- code
	}()
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 5*time.Second, 5*time.Millisecond)
	r, _ := p.do("GET", "/", nil)
	require.Equal(t, 503, r.StatusCode)
	require.Equal(t, "queue_full", r.Header.Get("Fnpod-Error"))
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	require.Equal(t, 200, <-busy)
	require.InDelta(t, 1, p.series(`fnpod_rejected_total{reason="queue_full"}`), 0)
}

// W8: a function that cannot start ends the pod.
func TestStartFailures(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for _, test := range []struct{ name, file, want string }{
		{"syntax error", file("syntax.py", "def handle(req:\n"), "SyntaxError"},
		{"missing function", file("none.py", "x = 1\n"), "handle"},
		{"exception at import", file("import.py", "import nonexistent_module\n"), "nonexistent_module"},
		{"exception in init", file("init.py", "def init():\n    raise OSError('no disk')\ndef handle(req):\n    return ''\n"), "no disk"},
		{"node syntax error", file("syntax.js", "module.exports = (req => \n"), "SyntaxError"},
		{"a program that speaks nothing", "/bin/true", "exit status 0 before the function was ready; a program that is served has to speak the worker protocol"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := begin(t, nil, "serve", test.file, "--workers-min", "4", "--workers-max", "4")
			require.Equal(t, 1, p.exit())
			require.Contains(t, p.log.String(), test.want)
			require.Equal(t, 1, strings.Count(p.log.String(), `"function did not start"`), "once, not once per worker")
		})
	}
}

func TestUsageErrorsAreOneLineEach(t *testing.T) {
	handler := "testdata/handler.py"
	for _, test := range []struct {
		name  string
		env   []string
		args  []string
		wants []string
	}{
		{"no such file", nil, []string{"serve", "nowhere.py"}, []string{"nowhere.py"}},
		{"unknown extension", nil, []string{"serve", "testdata"}, []string{"testdata"}},
		{"unknown command", nil, []string{"srve"}, []string{`"srve"`, "serve"}},
		{"no such program", nil, []string{"run", "--", "fnpod-nowhere"}, []string{"fnpod-nowhere"}},
		{"bad URL", nil, []string{"proxy", "ftp://x"}, []string{"ftp://x"}},
		{
			"bad settings, all at once",
			[]string{"FNPOD_TIMEOUT=never"},
			[]string{"serve", handler, "--queue-depth", "-1", "--head-bytes", "12"},
			[]string{`queue-depth "-1"`, `head-bytes "12"`, `timeout "never" (variable FNPOD_TIMEOUT)`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stderr := short(t, test.env, test.args...)
			require.Equal(t, 2, code, stderr)
			for _, want := range test.wants {
				require.Contains(t, stderr, want)
			}
			require.Equal(t, max(1, len(test.wants)/3*3), max(1, strings.Count(stderr, "\n")), stderr)
		})
	}
}

func TestATakenPortIsOneLine(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py")
	for _, flags := range [][]string{{"--listen", p.listen, "--admin", "off"}, {"--listen", freePort(t), "--admin", p.listen}} {
		code, stderr := short(t, nil, append([]string{"serve", "testdata/handler.py"}, flags...)...)
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "address already in use")
		require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	}
}

func TestAnUpgradeIsAnOrdinaryRequest(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.listen+"/", nil)
	require.NoError(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	r, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, 200, r.StatusCode)
}
