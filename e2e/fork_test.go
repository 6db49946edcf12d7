package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Modes that start a process for each request.
var forkModes = []string{"streaming", "serializing"}

// forkPod starts a pod whose command runs once for each request. flags ends with "--" and the command.
func forkPod(t *testing.T, mode string, flags ...string) *pod {
	t.Helper()
	return start(t, "run", append([]string{"--mode", mode}, flags...)...)
}

// inForkModes runs a test with a pod in each mode.
func inForkModes(t *testing.T, test func(t *testing.T, mode string)) {
	t.Helper()
	for _, mode := range forkModes {
		t.Run(mode, func(t *testing.T) { test(t, mode) })
	}
}

// echoes are real programs that answer with their request.
var echoes = map[string][]string{
	"cat":     {"cat"},
	"sh":      {"sh", "-c", "cat"},
	"python3": {"python3", "-S", "-c", "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"},
	"node":    {"node", "-e", "process.stdin.pipe(process.stdout)"},
}

// Bodies of all sizes go through unchanged, known in length or not (W13, E10).
func TestW13ForkBodiesOfRealPrograms(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		for name, command := range echoes {
			p := forkPod(t, mode, append([]string{"--"}, command...)...)
			for _, size := range []int{0, 1, 60_000, 200_000, 2_000_000} {
				body := bytes.Repeat([]byte("\x00\xff\r\nbinary\n"), size/11+1)[:size]
				r, got := p.do("POST", "/", body)
				require.Equal(t, 200, r.StatusCode, name)
				require.Equal(t, "application/octet-stream", r.Header.Get("Content-Type"))
				require.True(t, bytes.Equal(body, []byte(got)), "%s: %d bytes, not %d", name, len(got), size)

				req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.listen, struct{ io.Reader }{bytes.NewReader(body)})
				require.NoError(t, err)
				r, err = http.DefaultClient.Do(req)
				require.NoError(t, err)
				chunked, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.NoError(t, r.Body.Close())
				require.True(t, bytes.Equal(body, chunked), "%s: %d bytes, not %d", name, len(chunked), size)
			}
			require.Zero(t, p.series("fnpod_panics_total"))
		}
	})
}

// requireGrowth sends size bytes there and back and bounds the memory that it takes.
func requireGrowth(t *testing.T, p *pod, mode string, size int, most int64) {
	t.Helper()
	grown := p.grows(func() {
		r, err := http.Post("http://"+p.listen, "", &zeros{size})
		require.NoError(t, err)
		defer r.Body.Close()
		n, err := io.Copy(io.Discard, r.Body)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
	})
	t.Logf("%s: 50 MiB both ways, %.1f MiB of memory", mode, float64(grown)/(1<<20))
	require.Less(t, grown, most, mode)
}

// Streaming holds nothing of a large body, serializing holds the answer once.
func TestMemoryOfForkModes(t *testing.T) {
	const size = 50 << 20
	for mode, most := range map[string]int64{"streaming": 4 << 20, "serializing": size + size/5} {
		p := startPlain(t, nil, "run", "--mode", mode, "--", "cat")
		p.do("POST", "/", make([]byte, 1<<20))
		requireGrowth(t, p, mode, size, most)
	}
}

func TestStreamingAnswersComeAtOnce(t *testing.T) {
	p := forkPod(t, "streaming", "--", "sh", "-c", conversation)
	requireLinesAtOnce(t, p)
}

// conversation is a program that answers a part of its request before the rest of that has come.
const conversation = `echo first; read line; echo "$line"`

// requireLinesAtOnce talks with a conversation.
func requireLinesAtOnce(t *testing.T, p *pod) {
	t.Helper()
	nc, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer nc.Close()
	_, err = fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	require.NoError(t, err)
	r, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	defer r.Body.Close()
	body := bufio.NewReader(r.Body)
	line, err := body.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	_, err = fmt.Fprintf(nc, "7\r\nsecond\n\r\n0\r\n\r\n")
	require.NoError(t, err)
	line, err = body.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "second\n", line)
}

// E8, P11: an exit code other than 0, and a signal from elsewhere, are a 500 before the first byte and a cut after it.
func TestE8ExitCodes(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		for script, fault := range map[string]string{"exit 3": "exit status 3", "kill -9 $$": "killed by SIGKILL", "echo log >&2; false": "exit status 1"} {
			p := forkPod(t, mode, "--", "sh", "-c", script)
			r, body := p.do("POST", "/", []byte("x"))
			require.Equal(t, 500, r.StatusCode)
			require.Equal(t, "function_error", r.Header.Get("Fnpod-Error"))
			require.Equal(t, "function_error\n", body)
			require.Eventually(t, func() bool { return strings.Contains(p.log.String(), fault) }, 5*time.Second, 5*time.Millisecond, fault)
			require.InDelta(t, 1, p.series(`fnpod_upstream_errors_total{reason="worker_exit"}`), 0)
		}
		p := forkPod(t, mode, "--", "sh", "-c", "echo part; sleep 0.3; exit 3")
		r, err := http.Get("http://" + p.listen)
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if mode == "streaming" {
			require.Error(t, err, "it looks whole")
			return
		}
		require.Equal(t, 500, r.StatusCode)
		require.NotContains(t, string(b), "part")
	})
}

// E8: an empty output is an answer; one that is too large is none.
func TestE8EmptyAndEndlessOutput(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		p := forkPod(t, mode, "--content-type", "text/plain", "--", "true")
		r, body := p.do("POST", "/", make([]byte, 1<<20))
		require.Equal(t, 200, r.StatusCode)
		require.Equal(t, "text/plain", r.Header.Get("Content-Type"))
		require.EqualValues(t, 0, r.ContentLength)
		require.Empty(t, body)
	})
	p := forkPod(t, "serializing", "--max-output", "1MB", "--", "cat", "/dev/zero")
	r, _ := p.do("GET", "/", nil)
	require.Equal(t, 502, r.StatusCode)
	require.Equal(t, "body_size", r.Header.Get("Fnpod-Error"))
	p = forkPod(t, "streaming", "--", "cat", "/dev/zero") // until the client leaves
	resp, err := http.Get("http://" + p.listen)
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, resp.Body, 10<<20)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 0 && len(p.children()) == 0 }, 10*time.Second, 5*time.Millisecond)
}

// E1 to E7: what a function sees of a request.
func TestE1toE7Environment(t *testing.T) {
	t.Setenv("FNPOD_TIMEOUT", "1m")
	p := forkPod(t, "serializing", "--", "sh", "-c", `env; echo "args: $0 $*"`)
	ask := func(fields string) string {
		nc, err := net.Dial("tcp", p.listen)
		require.NoError(t, err)
		defer nc.Close()
		_, err = fmt.Fprintf(nc, "GET /a%%20b?x=$(id) HTTP/1.1\r\nHost: pod:80\r\nConnection: close\r\n%s\r\n", fields)
		require.NoError(t, err)
		b, err := io.ReadAll(nc)
		require.NoError(t, err)
		return string(b)
	}
	env := ask("Proxy: evil\r\npath: evil\r\nLD-PRELOAD: evil\r\nX_A: evil\r\nX-A: 1\r\nx-a: 2\r\nAuthorization: secret\r\nCookie: secret\r\n")
	for _, line := range []string{
		"REQUEST_METHOD=GET", "PATH_INFO=/a b", "QUERY_STRING=x=$(id)", "HTTP_HOST=pod:80", "HTTP_PATH=evil", "HTTP_X_A=1, 2",
		"REMOTE_ADDR=127.0.0.1", "PATH=" + os.Getenv("PATH"), "args: sh ",
	} {
		require.Contains(t, env, "\n"+line+"\n")
	}
	for _, line := range []string{"HTTP_PROXY", "\nLD_PRELOAD", "secret", "FNPOD_TIMEOUT"} {
		require.NotContains(t, env, line)
	}
	require.Contains(t, ask("X-Long: "+strings.Repeat("x", 16384)+"\r\n"), " 431 ", "of the head as a whole")
	p = forkPod(t, "serializing", "--head-bytes", "60000", "--", "env")
	require.Contains(t, ask("X-Long: "+strings.Repeat("x", 16385)+"\r\n"), "431 Request Header Fields Too Large", "E4")
	require.Contains(t, ask("X-Long: "+strings.Repeat("x", 16384)+"\r\n"), "200 OK")
	require.InDelta(t, 1, p.series("fnpod_process_starts_total"), 0)
	r, _ := p.do("GET", "/%0aX=1", nil)
	require.Equal(t, 400, r.StatusCode)
}

// W14: a line of ten megabytes, a flood and bytes that are no text delay nothing, and each line knows its request.
func TestW14ForkLogs(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		p := forkPod(t, mode, "--", "sh", "-c", `echo hello >&2; head -c 10000000 /dev/zero >&2; yes flood | head -c 5000000 >&2; printf '\nlast' >&2; cat`)
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.listen, strings.NewReader("body"))
		require.NoError(t, err)
		req.Header.Set("X-Request-Id", "the-request")
		r, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "body", string(b))
		require.Eventually(t, func() bool {
			return strings.Contains(p.log.String(), `"line":"hello","request_id":"the-request"`)
		}, 5*time.Second, 5*time.Millisecond)
		require.Contains(t, p.log.String(), `"cut":true`)
		require.Positive(t, p.series("fnpod_function_output_dropped_bytes_total"))
	})
}

// W3, W4, P4: who keeps the output open does not hold the answer, and is gone when the slot is free.
func TestW3ForkGrandchildren(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		p := forkPod(t, mode, "--output-grace", "200ms", "--", "sh", "-c",
			`sleep 1000 & setsid sleep 1001 & (setsid sh -c 'sleep 1002 & sleep 1003' &) ; echo answer`)
		for range 10 {
			code, body := p.get("/")
			require.Equal(t, 200, code)
			require.Equal(t, "answer\n", body)
		}
		require.Eventually(t, func() bool { return p.number("queue", "executing") == 0 }, 5*time.Second, 5*time.Millisecond)
		require.Empty(t, p.children())
	})
}

// W3, P4: a time-out is answered at once, and the slot is kept until the group is gone.
func TestP4ForkTimeouts(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--process-timeout", "--timeout", "--answer-timeout"} {
		inForkModes(t, func(t *testing.T, mode string) {
			p := forkPod(t, mode, flag, "300ms", "--stop-grace", "1500ms", "--queue-limit", "1", "--", "sh", "-c", `trap "" TERM; sleep 1000; sleep 1000`)
			r, _ := p.do("POST", "/", []byte("x"))
			require.Equal(t, 504, r.StatusCode)
			require.Equal(t, "timeout", r.Header.Get("Fnpod-Error"))
			require.InDelta(t, 1, p.number("queue", "executing"), 0, "somebody still works")
			require.InDelta(t, 1, p.number("function", "running"), 0)
			require.Eventually(t, func() bool { return p.number("queue", "executing") == 0 }, 10*time.Second, 5*time.Millisecond)
			require.Empty(t, p.children())
			require.InDelta(t, 1, p.series(`fnpod_upstream_errors_total{reason="timeout"}`), 0)
		})
	}
}

// What becomes of a process when its client leaves is a setting.
func TestP7ForkClientsThatLeave(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		for _, what := range []string{"kill", "finish"} {
			file := filepath.Join(t.TempDir(), "done")
			p := forkPod(t, mode, "--on-client-gone", what, "--process-timeout", "1m", "--", "sh", "-c", `cat >/dev/null; touch "$0.begun"; sleep 1; touch "$0"`, file)
			nc, err := net.Dial("tcp", p.listen)
			require.NoError(t, err)
			_, err = fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
			require.NoError(t, err)
			require.Eventually(t, func() bool { _, err := os.Stat(file + ".begun"); return err == nil }, 10*time.Second, 5*time.Millisecond)
			require.NoError(t, nc.Close())
			require.Eventually(t, func() bool { return p.series("fnpod_requests_client_gone_total") == 1 }, 10*time.Second, 5*time.Millisecond)
			require.Eventually(t, func() bool { return p.number("queue", "executing") == 0 }, 10*time.Second, 5*time.Millisecond)
			_, err = os.Stat(file)
			require.Equal(t, what == "finish", err == nil, what)
			require.Empty(t, p.children())
		}
	})
}

// A thousand requests, eight at a time, leave nothing behind.
func TestForksLeaveNothingBehind(t *testing.T) {
	inForkModes(t, func(t *testing.T, mode string) {
		p := forkPod(t, mode, "--queue-limit", "8", "--", "cat")
		crowd := func(n int) {
			var wg sync.WaitGroup
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
			defer client.CloseIdleConnections()
			for i := range 8 {
				wg.Go(func() {
					for j := range n / 8 {
						want := fmt.Sprint("request ", i, j)
						r, err := client.Post("http://"+p.listen, "", strings.NewReader(want))
						if err != nil {
							t.Error(err)
							return
						}
						b, _ := io.ReadAll(r.Body)
						_ = r.Body.Close()
						if string(b) != want || r.StatusCode != 200 {
							t.Errorf("%q is the answer to %q", b, want)
						}
					}
				})
			}
			wg.Wait()
		}
		crowd(80)
		quiet := func() holdings {
			require.Eventually(t, func() bool { h := p.holds(); return h.executing == 0 && h.inFlight == 0 }, 10*time.Second, 5*time.Millisecond)
			return p.holds()
		}
		before := quiet()
		crowd(1000)
		require.Eventually(t, func() bool {
			now := quiet() // one descriptor is kept for each that ran at once
			return now.files <= before.files+8 && now.goroutines <= before.goroutines+1
		}, 10*time.Second, 50*time.Millisecond)
		require.Empty(t, p.children())
		require.InDelta(t, 1080, p.series("fnpod_process_starts_total"), 0)
		require.InDelta(t, 0, p.series("fnpod_processes"), 0)
	})
}

// D3, D4: what runs and what waits is answered; no process is told before its request has ended.
func TestD3D4ForksFinishInADrain(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		p := forkPod(t, mode, "--queue-limit", "1", "--drain-delay", "0s", "--", "sh", "-c", `trap "echo told" TERM; sleep 0.5; echo done`)
		running, waiting := p.later("/"), p.later("/")
		p.signal(syscall.SIGTERM)
		require.Equal(t, answer{200, "done\n", true}, <-running)
		require.Equal(t, answer{200, "done\n", true}, <-waiting)
		require.Equal(t, 0, p.exit())
	})
}

// D5, D6: at the limit of a drain, and at a second signal, no process is left.
func TestD5D6ForksEndWithThePod(t *testing.T) {
	t.Parallel()
	inForkModes(t, func(t *testing.T, mode string) {
		for _, signals := range []int{1, 2} {
			file := filepath.Join(t.TempDir(), "pid")
			limit := map[int]string{1: "200ms", 2: "1m"}[signals]
			p := forkPod(t, mode, "--drain-delay", "0s", "--drain-timeout", limit, "--stop-grace", "200ms", "--", "sh", "-c", `trap "" TERM; echo $$ >"$0"; sleep 1000; sleep 1000`, file)
			running := p.later("/")
			var pid string
			require.Eventually(t, func() bool {
				b, err := os.ReadFile(file)
				pid = strings.TrimSpace(string(b))
				return err == nil && pid != ""
			}, 10*time.Second, 5*time.Millisecond)
			p.signal(syscall.SIGTERM)
			code := 1
			if signals == 2 {
				p.waitDraining()
				p.signal(syscall.SIGTERM)
				code = 128 + int(syscall.SIGTERM)
			}
			require.NotEqual(t, 200, (<-running).code)
			require.Equal(t, code, p.exit())
			require.Eventually(t, func() bool { _, err := os.Stat("/proc/" + pid); return err != nil }, 5*time.Second, 5*time.Millisecond)
		}
	})
}

// The pod is ready at once; a command that is gone later is a 500 and comes back.
func TestForkReadinessAndStart(t *testing.T) {
	program := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho here\n"), 0o755))
	p := forkPod(t, "streaming", "--", program)
	code, body := p.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "here\n", body)
	require.InDelta(t, 0, p.number("function", "failures", "start"), 0)
	require.NoError(t, os.Rename(program, program+".gone"))
	code, body = p.get("/")
	require.Equal(t, 500, code)
	require.Equal(t, "not_started\n", body)
	require.InDelta(t, 1, p.number("function", "failures", "start"), 0)
	require.NoError(t, os.Rename(program+".gone", program))
	code, _ = p.get("/")
	require.Equal(t, 200, code)

	exit, stderr := short(t, nil, "run", "--mode", "streaming", "--", "not-there")
	require.Equal(t, 2, exit)
	require.Contains(t, stderr, "not-there")
}

func TestTheShellExampleRuns(t *testing.T) {
	p := forkPod(t, "streaming", "--", "sh", "../examples/shell/handler.sh")
	r, body := p.do("POST", "/path", []byte("hello"))
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, "POST /path\n5\n", body)
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "from 127.0.0.1") }, 5*time.Second, 5*time.Millisecond)
}
