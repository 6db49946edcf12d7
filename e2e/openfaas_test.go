package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests of OpenFaaS are named after the sections of its contract: what of-watchdog does, and
// where it is wrong, what is right.

// ofWatchdog starts the binary under the name and with the environment of of-watchdog, in http mode.
func ofWatchdog(t *testing.T, environ ...string) *pod {
	t.Helper()
	p := ofPod(t, environ...)
	p.begin()
	require.Eventually(t, func() bool {
		code, _ := p.get("/_/ready")
		return code == http.StatusOK
	}, 20*time.Second, 5*time.Millisecond, "not ready")
	return p
}

func ofPod(t *testing.T, environ ...string) *pod {
	t.Helper()
	_, function, err := net.SplitHostPort(freePort(t))
	require.NoError(t, err)
	script, err := filepath.Abs("testdata/openfaas.py")
	require.NoError(t, err)
	p := &pod{t: t, listen: freePort(t), admin: freePort(t), ended: make(chan struct{})}
	_, port, err := net.SplitHostPort(p.listen)
	require.NoError(t, err)
	_, metrics, err := net.SplitHostPort(p.admin)
	require.NoError(t, err)
	p.cmd = exec.Command(binary)
	p.cmd.Args[0] = "fwatchdog"
	p.cmd.Env = append(os.Environ(), "mode=http", "fprocess=python3 "+script, "upstream_url=http://127.0.0.1:"+function, "LISTEN="+function,
		"port="+port, "metrics_port="+metrics, "TMPDIR="+t.TempDir(), "healthcheck_interval=0")
	p.cmd.Env = append(p.cmd.Env, environ...)
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	p.cmd.WaitDelay = 2 * time.Second
	return p
}

// seen is what the function was sent.
type seen struct {
	Method, Path, Body string
	Headers            [][2]string
	Connections        int // that were opened to it so far
}

func (s *seen) header(name string) (values []string) {
	for _, h := range s.Headers {
		if strings.EqualFold(h[0], name) {
			values = append(values, h[1])
		}
	}
	return values
}

func ofAsk(t *testing.T, p *pod, method, path, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.listen+path, strings.NewReader(body))
	require.NoError(t, err)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

func TestOpenFaaS6HTTPModeForwardsAndAnswers(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t)
	resp, body := ofAsk(t, p, "POST", "/a%20b?x=%2F&y", "hello", "X-A: 1", "X-A: 2", "Host: h", "TE: trailers", "Connection: X-Hop", "X-Hop: 1")
	var got seen
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, "POST", got.Method)
	require.Equal(t, "/a%20b?x=%2F&y", got.Path)
	require.Equal(t, "hello", got.Body)
	require.Equal(t, []string{"1", "2"}, got.header("X-A"))
	require.Equal(t, []string{"5"}, got.header("Content-Length"), "a known length stays one")
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Request-Id", "X-Timeout", "X-Hop", "Transfer-Encoding"} {
		require.Empty(t, got.header(name), name)
	}
	require.Regexp(t, `^\d+\.\d{6}$`, resp.Header.Get("X-Duration-Seconds"))
	require.Empty(t, resp.Header.Get("X-Openfaas-Internal"))

	resp, _ = ofAsk(t, p, "GET", "/fields", "")
	require.Less(t, resp.Header.Get("X-Duration-Seconds"), "100")
	require.Len(t, resp.Header["X-Duration-Seconds"], 1)
	require.Equal(t, []string{"a=1", "b=2"}, resp.Header["Set-Cookie"])
	require.Empty(t, resp.Header.Get("Keep-Alive"))

	resp, _ = ofAsk(t, p, "GET", "/plain", "")
	require.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"), "what has no type is looked at (§4)")
}

// §6.1.2: what the client did not say is not made up; Content-Length: 0 stays, no body stays none.
func TestOpenFaaS6NothingIsMadeUp(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t)
	for framing, want := range map[string][]string{"": nil, "Content-Length: 0\r\n": {"0"}} {
		_, body := p.raw("POST /x HTTP/1.1\r\nHost: own.example\r\nConnection: close\r\n" + framing + "\r\n")
		var got seen
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.Equal(t, want, got.header("Content-Length"))
		require.Equal(t, []string{"own.example"}, got.header("Host"))
		for _, name := range []string{"User-Agent", "Accept-Encoding", "Transfer-Encoding", "Connection"} {
			require.Empty(t, got.header(name), name)
		}
	}
}

// §4: read_timeout ends connections that stall in a head, and those that idle.
func TestOpenFaaS4ReadTimeout(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "read_timeout=1s")
	for _, begin := range []string{"", "GET / HTTP/1.1\r\nHo", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"} {
		nc, err := net.Dial("tcp", p.listen)
		require.NoError(t, err)
		defer nc.Close()
		_, err = io.WriteString(nc, begin)
		require.NoError(t, err)
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err = io.ReadAll(nc)
		require.NoError(t, err, "%q: the connection stays", begin)
	}
}

// §4: several requests in one piece are answered in order; a client that waits is told to send its body.
func TestOpenFaaS4PipeliningAndContinue(t *testing.T) {
	t.Parallel()
	p := ofCommand(t, "serializing", "cat")
	nc, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n2")
	require.NoError(t, err)
	r := bufio.NewReader(nc)
	for _, want := range []string{"1", "2"} {
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(b))
	}
	_, err = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	require.NoError(t, err)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = io.WriteString(nc, "34")
	require.NoError(t, err)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "34", string(b))
}

// Connections to the function are used again by as many clients as there are: more than the hundred that the original
// keeps would open new ones all the time.
func TestOpenFaaS6ConnectionsOfACrowdAreKept(t *testing.T) {
	const crowd = 150 // of which all have come before the first gets its answer
	p := ofWatchdog(t)
	var opened [2]int
	for i := range opened {
		var clients sync.WaitGroup
		for range crowd {
			clients.Go(func() {
				r, body := ofAsk(t, p, "GET", "/crowd", "")
				assert.Equal(t, http.StatusOK, r.StatusCode, body)
			})
		}
		clients.Wait()
		_, body := ofAsk(t, p, "GET", "/", "")
		var s seen
		require.NoError(t, json.Unmarshal([]byte(body), &s))
		opened[i] = s.Connections
	}
	require.GreaterOrEqual(t, opened[0], crowd)
	require.Less(t, opened[1], opened[0]+crowd/10, "the second crowd came over the connections of the first, save who was faster than the end of an answer")
}

func TestOpenFaaS6BasePath(t *testing.T) {
	t.Parallel()
	p := ofPod(t)
	for i, v := range p.cmd.Env {
		if strings.HasPrefix(v, "upstream_url=") {
			p.cmd.Env[i] = v + "/base/"
		}
	}
	p.begin()
	require.Eventually(t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
	_, body := ofAsk(t, p, "GET", "/x?y", "")
	require.Contains(t, body, `"/base/x?y"`)
}

func TestOpenFaaS6Streams(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "exec_timeout=5")
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.listen+"/events", nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "Text/Event-Stream")
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Empty(t, resp.Header.Get("X-Duration-Seconds"))
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "data: 0\n", line)
}

// §6.1.5, §24.6: a stream has to begin within exec_timeout, and may then take until write_timeout.
func TestOpenFaaS6StreamsAndTimeouts(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "exec_timeout=1s", "write_timeout=8s")
	var streams sync.WaitGroup
	for _, accept := range []string{"Accept: text/event-stream", "Accept: a, APPLICATION/X-NDJSON"} {
		streams.Go(func() {
			resp, body := ofAsk(t, p, "GET", "/events?0.7", "", accept)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, "data: 0\n\ndata: 1\n\ndata: 2\n\n", body, "it took two seconds")
		})
		streams.Go(func() {
			resp, _ := ofAsk(t, p, "GET", "/sleep?5", "", accept)
			assert.Equal(t, 504, resp.StatusCode)
		})
	}
	streams.Wait()
	r, err := http.Get("http://" + p.listen + "/events?0.7")
	require.NoError(t, err)
	defer r.Body.Close()
	_, err = io.ReadAll(r.Body)
	require.Error(t, err, "another answer ends with exec_timeout, and does not look whole (§24.3)")

	p = ofWatchdog(t, "write_timeout=1s")
	r, err = http.Get("http://" + p.listen + "/events?0.7")
	require.NoError(t, err)
	defer r.Body.Close()
	_, err = io.ReadAll(r.Body)
	require.Error(t, err, "§10: write_timeout cuts a stream")
}

// §11, §24.3, §24.7: what a function that breaks off makes of an answer.
func TestOpenFaaS11BrokenAnswers(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t)
	for _, field := range []string{"A: b", "Accept: text/event-stream"} {
		resp, body := ofAsk(t, p, "POST", "/drop", "x", field)
		require.Equal(t, 500, resp.StatusCode)
		require.Empty(t, body)
		require.Equal(t, "of-watchdog", resp.Header.Get("X-Openfaas-Internal"))
	}
	r, err := http.Get("http://" + p.listen + "/cut")
	require.NoError(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.Error(t, err, "it looks whole")
	require.Equal(t, "part", string(b))
	resp, body := p.raw("GET http://other.example/abs?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	require.Equal(t, 200, resp.StatusCode, "the absolute form of a target")
	require.Contains(t, body, `"path": "/abs?x"`)
}

// §9, §24.19: who leaves a stream gives its place back.
func TestOpenFaaS9StreamsThatAreLeft(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "max_inflight=1")
	for range 5 {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.listen+"/events?0.5", nil)
		require.NoError(t, err)
		r.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Eventually(t, func() bool { code, _ := p.get("/"); return code == 200 }, 10*time.Second, 5*time.Millisecond)
	}
	require.Eventually(t, func() bool { return p.series(`http_requests_total{code="499",method="get"}`) == 5 }, 10*time.Second, 5*time.Millisecond, "§15")
}

func TestOpenFaaS10Timeouts(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "exec_timeout=500ms")
	for _, test := range []struct {
		path, timeout string
		code          int
	}{
		{"/sleep?5", "X-Nothing: 1", 504},
		{"/sleep?0.2", "X-Timeout: 50ms", 504},
		{"/sleep?0.2", "X-Timeout: 10s", 200},
		{"/sleep?0.2", "X-Timeout: 0", 200},
		{"/sleep?0.2", "X-Timeout: -1s", 200},
		{"/sleep?5", "X-Timeout: 0s", 504},
	} {
		resp, body := ofAsk(t, p, "GET", test.path, "", test.timeout)
		require.Equal(t, test.code, resp.StatusCode, test)
		if test.code == 504 {
			require.Empty(t, body)
			require.Equal(t, "of-watchdog", resp.Header.Get("X-Openfaas-Internal"))
			require.NotEmpty(t, resp.Header.Get("X-Duration-Seconds"))
		}
	}
}

func TestOpenFaaS9Limiter(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "max_inflight=1")
	var first sync.WaitGroup
	first.Go(func() { _, _ = p.get("/sleep?1") })
	require.Eventually(t, func() bool { return p.series("http_requests_in_flight") == 1 }, 10*time.Second, time.Millisecond)
	resp, body := ofAsk(t, p, "GET", "/", "")
	require.Equal(t, 429, resp.StatusCode)
	require.Equal(t, "Concurrent request limit exceeded. Max concurrent requests: 1\n", body)
	require.Equal(t, "faas-middleware", resp.Header.Get("X-Openfaas-Internal"))
	require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
	code, _ := p.get("/_/ready")
	require.Equal(t, 429, code)
	code, _ = p.get("/_/health")
	require.Equal(t, 200, code)
	require.Eventually(t, func() bool { return p.series(`http_requests_total{code="429",method="get"}`) == 1 }, 10*time.Second, time.Millisecond, "§15")
	first.Wait()
	code, _ = p.get("/_/ready")
	require.Equal(t, 200, code)
}

func TestOpenFaaS12LockHealthAndReady(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	p := ofPod(t, "TMPDIR="+dir, "DELAY=1", "ready_path=/unready?a")
	p.begin()
	require.Eventually(t, func() bool { code, body := p.get("/_/health"); return code == 200 && body == "OK" }, 20*time.Second, 5*time.Millisecond)
	code, _ := p.get("/_/ready")
	require.Equal(t, 503, code, "the function does not listen yet")
	require.Eventually(t, func() bool {
		_, body := p.get("/_/ready")
		return strings.Contains(body, `"path": "/unready?a"`)
	}, 20*time.Second, 5*time.Millisecond, "the function's own answer")
	for _, path := range []string{"/_/health", "/_/ready"} {
		resp, _ := ofAsk(t, p, "POST", path, "")
		require.Equal(t, 405, resp.StatusCode)
	}
	_, body := ofAsk(t, p, "GET", "/_/health/", "")
	require.Contains(t, body, `"/_/health/"`, "the function's")
	lock := filepath.Join(dir, ".lock")
	require.FileExists(t, lock)
	require.NoError(t, os.Remove(lock))
	for _, path := range []string{"/_/health", "/_/ready"} {
		code, _ := p.get(path)
		require.Equal(t, 503, code)
	}
	code, _ = p.get("/")
	require.Equal(t, 200, code, "the function still answers")
}

// §2, §12, §24.11: without a lock file the pod is healthy; with one, the file is new, empty, and for user and group.
func TestOpenFaaS12LockFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := ofWatchdog(t, "suppress_lock=true", "TMPDIR="+dir)
	code, body := p.get("/_/health")
	require.Equal(t, 200, code)
	require.Equal(t, "OK", body)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
	lock := filepath.Join(dir, ".lock")
	require.NoError(t, os.WriteFile(lock, []byte("old"), 0o600))
	require.NoError(t, os.Remove(lock))
	ofWatchdog(t, "TMPDIR="+dir)
	info, err := os.Stat(lock)
	require.NoError(t, err)
	require.Zero(t, info.Size())
	require.Zero(t, info.Mode().Perm()&^0o660)
}

func TestOpenFaaS1Arguments(t *testing.T) {
	t.Parallel()
	run := func(env []string, args ...string) (int, string) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Args[0], cmd.Env = "/usr/bin/fwatchdog", env
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	code, out := run(nil, "-version")
	require.Equal(t, 0, code)
	require.Regexp(t, `^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d Version: \S+\tSHA: \S*\n$`, out)
	dir := t.TempDir()
	code, out = run([]string{"TMPDIR=" + dir}, "-run-healthcheck")
	require.Equal(t, 1, code)
	require.Contains(t, out, "unable to find lock file.")
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".lock"), nil, 0o600))
	code, _ = run([]string{"TMPDIR=" + dir}, "-run-healthcheck")
	require.Equal(t, 0, code)
	code, _ = run(nil, "-what")
	require.Equal(t, 2, code)
	code, out = run(nil)
	require.Equal(t, 1, code)
	require.Contains(t, strings.ToLower(out), "error loading config: fprocess")
}

func TestOpenFaaS6TheEndOfTheFunction(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"0", "3"} {
		p := ofWatchdog(t)
		_, _ = p.get("/exit?" + code)
		require.Equal(t, 1, p.exit(), "also after a function that ended well")
		require.Contains(t, p.log.String(), "forked function has terminated")
	}
}

func TestOpenFaaS13Shutdown(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "healthcheck_interval=500ms")
	lock := ""
	for _, v := range p.cmd.Env {
		if dir, ok := strings.CutPrefix(v, "TMPDIR="); ok {
			lock = filepath.Join(dir, ".lock")
		}
	}
	require.FileExists(t, lock)
	var running sync.WaitGroup
	var code int
	running.Go(func() { code, _ = p.get("/sleep?1") })
	require.Eventually(t, func() bool { return p.series("http_requests_in_flight") == 1 }, 10*time.Second, time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { code, _ := p.get("/_/health"); return code == 503 }, 10*time.Second, time.Millisecond)
	require.NoFileExists(t, lock)
	ok, _ := p.get("/")
	require.Equal(t, 200, ok, "still served while endpoints notice")
	running.Wait()
	require.Equal(t, 200, code, "what ran is not lost")
	require.Equal(t, 0, p.exit())
}

// §13: the function gets SIGTERM when its requests are done, or at once if that is asked for.
func TestOpenFaaS13WhenTheFunctionIsTold(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "healthcheck_interval=1")
	p.signal(syscall.SIGTERM)
	p.logged("SIGTERM: no new connections in 1s")
	code, _ := p.get("/")
	require.Equal(t, 200, code)
	require.NotContains(t, p.log.String(), "told to end")
	require.Equal(t, 0, p.exit())
	require.Contains(t, p.log.String(), "told to end")

	p = ofWatchdog(t, "healthcheck_interval=1h", "sigterm_at_once=true")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 1, p.exit(), "with the function, as the original")
}

func TestOpenFaaS8Logs(t *testing.T) {
	t.Parallel()
	for _, prefix := range []bool{true, false} {
		p := ofWatchdog(t, "prefix_logs="+map[bool]string{true: "true", false: "false"}[prefix], "log_callid=true")
		_, _ = ofAsk(t, p, "GET", "/log?a", "", "X-Call-Id: call-1")
		_, _ = ofAsk(t, p, "GET", "/probed", "", "User-Agent: kube-probe/1.30")
		_, _ = ofAsk(t, p, "GET", "/last", "")
		has := func(pattern string) func() bool {
			line := regexp.MustCompile("(?m)" + pattern)
			return func() bool { return line.MatchString(p.log.String()) }
		}
		const stamp = `^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `
		if prefix {
			require.Eventually(t, has(stamp+"stdout: to stdout$"), 10*time.Second, time.Millisecond)
			require.Eventually(t, has(stamp+"stderr: to stderr$"), 10*time.Second, time.Millisecond)
		} else {
			require.Eventually(t, has("^to stdout$"), 10*time.Second, time.Millisecond)
			require.Eventually(t, has("^to stderr$"), 10*time.Second, time.Millisecond)
		}
		require.Eventually(t, has(stamp+`GET /log\?a - 200 OK - ContentLength: \d+B \(\d\.\d{4}s\) \[call-1\]$`), 10*time.Second, time.Millisecond)
		require.Eventually(t, has(stamp+`GET /last - 200 OK - ContentLength: \d+B \(\d\.\d{4}s\) \[none\]$`), 10*time.Second, time.Millisecond)
		require.NotContains(t, p.log.String(), "/probed")
		require.NotContains(t, p.log.String(), "/_/ready")
	}
}

// §8, §24.9: lines up to log_buffer_size are one, longer ones are split; nothing is lost, and no request hangs.
func TestOpenFaaS8LongLines(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"", "100", "-1"} {
		env := []string{"prefix_logs=false"}
		if size != "" {
			env = append(env, "log_buffer_size="+size)
		}
		http, serializing := ofWatchdog(t, env...), ofScript(t, "serializing", `head -c "$Http_Query" /dev/zero | tr '\0' x >&2; echo >&2`, env...)
		for _, p := range []*pod{http, serializing} {
			for range 3 {
				code, _ := p.get("/long?60000")
				require.Equal(t, 200, code)
			}
			require.Eventually(t, func() bool {
				line := regexp.MustCompile("(?m)^(x+)$")
				all := 0
				for _, m := range line.FindAllString(p.log.String(), -1) {
					all += len(m)
					if size == "100" && len(m) > 100 || size != "100" && len(m) != 60000 {
						return false
					}
				}
				return all == 3*60000
			}, 10*time.Second, 5*time.Millisecond, size)
		}
	}
}

func TestOpenFaaS15Metrics(t *testing.T) {
	t.Parallel()
	p := ofWatchdog(t, "exec_timeout=200ms")
	require.Zero(t, p.series("http_requests_in_flight"), "there from the start")
	_, _ = ofAsk(t, p, "POST", "/", "x")
	_, _ = ofAsk(t, p, "GET", "/sleep?2", "")
	require.Eventually(t, func() bool { return p.series(`http_requests_total{code="504",method="get"}`) == 1 }, 10*time.Second, time.Millisecond)
	require.InDelta(t, 1, p.series(`http_requests_total{code="200",method="post"}`), 0)
	require.InDelta(t, 1, p.series(`http_request_duration_seconds_count{code="200",method="post"}`), 0)
	require.InDelta(t, 0, p.series(`http_request_duration_seconds_bucket{code="504",method="get",le="0.1"}`), 0)
}

// §2, §12: what cannot work ends the start with one line and a code that is not 0.
func TestOpenFaaSBadStarts(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.Close() // not before, by the garbage collector
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	for _, test := range []struct{ setting, want string }{
		{"mode=afterburn", `mode "afterburn": must be`},
		{"upstream_url=", "upstream_url"},
		{"fprocess=no-such-program", "fprocess no-such-program"},
		{"port=abc", `port "abc"`},
		{"port=" + port, "address already in use"},
		{"metrics_port=" + port, "address already in use"},
		{"write_timeout=0", `write_timeout "0"`},
		{"TMPDIR=/proc/nowhere", "suppress_lock"},
	} {
		p := ofPod(t, test.setting)
		p.begin()
		require.Equal(t, 1, p.exit(), test.setting)
		require.Contains(t, p.log.String(), test.want)
	}
}

func TestOpenFaaS6Static(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("0123456789"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".dot"), []byte("dot"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "index.html"), []byte("<p>index"), 0o600))
	p := ofWatchdog(t, "mode=static", "fprocess=", "static_path="+dir)
	for _, test := range []struct {
		method, path, field string
		code                int
		body                string
	}{
		{"GET", "/a.txt", "A: b", 200, "0123456789"},
		{"DELETE", "/a.txt", "A: b", 200, "0123456789"},
		{"HEAD", "/a.txt", "A: b", 200, ""},
		{"GET", "/a.txt", "Range: bytes=2-4", 206, "234"},
		{"GET", "/.dot", "A: b", 200, "dot"},
		{"GET", "/sub/", "A: b", 200, "<p>index"},
		{"GET", "/sub", "A: b", 301, ""},
		{"GET", "/sub/index.html", "A: b", 301, ""},
		{"GET", "/none", "A: b", 404, "404 page not found\n"},
		{"GET", "/../../etc/passwd", "A: b", 404, "404 page not found\n"},
		{"GET", "/%2e%2e/%2e%2e/etc/passwd", "A: b", 404, "404 page not found\n"},
	} {
		resp, body := ofAsk(t, p, test.method, test.path, "", test.field)
		require.Equal(t, test.code, resp.StatusCode, test.path)
		require.Equal(t, test.body, body, test.path)
		if test.code == 200 && test.method == "GET" {
			resp, _ := ofAsk(t, p, "GET", test.path, "", "If-Modified-Since: "+resp.Header.Get("Last-Modified"))
			require.Equal(t, 304, resp.StatusCode, test.path)
		}
	}
	_, body := ofAsk(t, p, "GET", "/", "")
	require.Contains(t, body, `<a href="a.txt">`)
}
