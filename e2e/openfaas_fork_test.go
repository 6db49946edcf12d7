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
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ofScript starts the binary as of-watchdog with a shell script that runs for each request.
func ofScript(t *testing.T, mode, script string, environ ...string) *pod {
	t.Helper()
	return ofCommand(t, mode, "sh "+scriptFile(t, script), environ...)
}

func scriptFile(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "function.sh")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
	return file
}

func ofCommand(t *testing.T, mode, command string, environ ...string) *pod {
	t.Helper()
	return ofWatchdog(t, append([]string{"mode=" + mode, "fprocess=" + command}, environ...)...)
}

// inOpenFaaSForkModes runs a test in each mode, side by side.
func inOpenFaaSForkModes(t *testing.T, test func(t *testing.T, mode string)) {
	t.Helper()
	for _, mode := range forkModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// logged waits for a line of the log, without its stamp.
func (p *pod) logged(pattern string) {
	p.t.Helper()
	line := regexp.MustCompile(`(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ` + pattern + `$`)
	require.Eventually(p.t, func() bool { return line.MatchString(p.log.String()) }, 10*time.Second, 5*time.Millisecond, pattern)
}

// §6.2, §6.3, §3: binary bodies of any size both ways; the type is the configured one; only serializing tells the duration.
func TestOpenFaaS62And63Bodies(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofCommand(t, mode, "cat")
		for _, size := range []int{0, 1, 200_000, 3_000_000} {
			body := bytes.Repeat([]byte("\x00\xff\r\nbinary\n"), size/11+1)[:size]
			resp, got := ofAsk(t, p, "POST", "/", string(body))
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
			require.True(t, bytes.Equal(body, []byte(got)), "%d bytes, not %d", len(got), size)
			if mode == "streaming" {
				require.Empty(t, resp.Header["X-Duration-Seconds"])
			} else {
				require.Regexp(t, `^\d+\.\d{6}$`, resp.Header.Get("X-Duration-Seconds"))
			}
		}
		for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS", "PROPFIND"} { // §6.2: methods are not filtered
			resp, _ := ofAsk(t, p, method, "/", "")
			require.Equal(t, 200, resp.StatusCode, method)
		}
		p.logged(`PUT / - 200 - ContentLength: 0B \(\d\.\d{4}s\)`)
		require.Eventually(t, func() bool { return p.series(`http_requests_total{code="200",method="unknown"}`) == 1 }, 10*time.Second, 5*time.Millisecond, "§15")
	})
}

// §2: content_type, also set and empty.
func TestOpenFaaS2ContentType(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		for _, value := range []string{"text/html", ""} {
			p := ofCommand(t, mode, "cat", "content_type="+value)
			resp, _ := ofAsk(t, p, "POST", "/", "<p>")
			require.Equal(t, []string{value}, resp.Header["Content-Type"])
		}
	})
}

// §3: the command line is cut at every space, and two make an empty argument.
func TestOpenFaaS3CommandLine(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		file := scriptFile(t, `for a; do printf '<%s>' "$a"; done; printf '%s' "$PWD"`)
		p := ofCommand(t, mode, "sh "+file+" a  'b c' $HOME")
		dir, err := os.Getwd()
		require.NoError(t, err)
		_, body := ofAsk(t, p, "GET", "/", "")
		require.Equal(t, "<a><><'b><c'><$HOME>"+dir, body)
	})
}

// §11, §24.5: how a process ends decides the answer.
func TestOpenFaaS11ForkFailures(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `case "$Http_Path" in
			/code) exit 3;;
			/signal) kill -9 $$;;
			/part) echo part; sleep 0.3; exit 4;;
			esac`)
		for path, want := range map[string]string{"/code": "exit status 3", "/signal": "signal: killed"} {
			resp, body := ofAsk(t, p, "POST", path, "x")
			require.Equal(t, 500, resp.StatusCode)
			require.Equal(t, want, body)
			require.Equal(t, mode == "serializing", resp.Header.Get("X-Duration-Seconds") != "")
			require.Empty(t, resp.Header.Get("X-Openfaas-Internal"))
			p.logged(`POST ` + path + ` - 500 - ContentLength: ` + strconv.Itoa(len(want)) + `B \(\d\.\d{4}s\)`)
		}
		r, err := http.Get("http://" + p.listen + "/part")
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if mode == "streaming" {
			require.Error(t, err, "§24.3: it looks whole")
		} else {
			require.Equal(t, "exit status 4", string(b), "what was printed is thrown away")
			require.Equal(t, "application/octet-stream", r.Header.Get("Content-Type"))
		}
		p.logged(`GET /part - 500 - .*`)
		require.Eventually(t, func() bool { return p.series(`http_requests_total{code="500",method="post"}`) == 2 }, 10*time.Second, 5*time.Millisecond, "§24.20")

		p = ofCommand(t, mode, "./not-there")
		resp, body := ofAsk(t, p, "POST", "/", "")
		require.Equal(t, 500, resp.StatusCode)
		require.Equal(t, "fork/exec ./not-there: no such file or directory", body)
		p = ofCommand(t, mode, "not-there")
		resp, body = ofAsk(t, p, "POST", "/", "")
		require.Equal(t, 500, resp.StatusCode)
		require.Equal(t, `exec: "not-there": executable file not found in $PATH`, body)
	})
}

// §10, §24.2, §24.5: exec_timeout is a 504 at once and the end of the whole group, also of who left it.
func TestOpenFaaS10ForkTimeouts(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `sleep 1000 & setsid sleep 1001 & sleep 1002`, "exec_timeout=500ms")
		began := time.Now()
		resp, _ := ofAsk(t, p, "POST", "/", "x")
		require.Equal(t, 504, resp.StatusCode)
		require.Less(t, time.Since(began), 10*time.Second)
		require.Equal(t, mode == "serializing", resp.Header.Get("X-Duration-Seconds") != "")
		require.Eventually(t, func() bool { return len(p.children()) == 0 }, 10*time.Second, 5*time.Millisecond)
		require.Eventually(t, func() bool { return p.series(`http_requests_total{code="504",method="post"}`) == 1 }, 10*time.Second, 5*time.Millisecond)

		p = ofScript(t, mode, `sleep 1000 & echo answer`, "exec_timeout=500ms") // the process ends, its output does not
		resp, body := ofAsk(t, p, "POST", "/", "x")
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "answer\n", body)

		p = ofScript(t, mode, `(sleep 0.3; echo late) & echo early`) // who is still printing may end it
		_, body = ofAsk(t, p, "POST", "/", "x")
		require.Equal(t, "early\nlate\n", body)
		resp, _ = ofAsk(t, p, "POST", "/", "", "X-Timeout: 10ms") // §6.3: for http mode alone
		require.Equal(t, 200, resp.StatusCode)
	})
}

// §7, §24.18: the variables of a request; a client cannot say what is ours.
func TestOpenFaaS7Variables(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofCommand(t, mode, "env", "OWN=1", "Http_Own=ours")
		ask := func(target string, fields ...string) []string {
			nc, err := net.Dial("tcp", p.listen)
			require.NoError(t, err)
			defer nc.Close()
			_, err = fmt.Fprintf(nc, "PATCH %s HTTP/1.1\r\nHost: pod:80\r\n%s\r\n\r\n0\r\n\r\n", target, strings.Join(append(fields, "Transfer-Encoding: chunked"), "\r\n"))
			require.NoError(t, err)
			r, err := http.ReadResponse(bufio.NewReader(nc), nil)
			require.NoError(t, err)
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, 200, r.StatusCode, string(b))
			return strings.Split(string(b), "\n")
		}
		env := ask("/p%20q/x?a=%20b&c", "x-foo-BAR: 1", "X-Foo-Bar: 2", "user_agent: u", "X-Empty:", "Authorization: Bearer t", "Cookie: c",
			"Method: evil", "Path: evil", "Query: evil", "X-Call-Id: call", "X-Start-Time: 17", "Proxy: evil", "Own: theirs")
		for _, want := range []string{
			"Http_Method=PATCH", "Http_Path=/p q/x", "Http_Query=a=%20b&c", "Http_X_Foo_Bar=1", "Http_User_agent=u", "Http_X_Empty=", "OWN=1",
			"Http_Authorization=Bearer t", "Http_Cookie=c", "Http_Transfer_Encoding=chunked", "Http_X_Call_Id=call", "Http_X_Start_Time=17", "Http_Own=theirs",
		} {
			require.Contains(t, env, want)
		}
		all := strings.Join(env, "\n")
		for _, not := range []string{"evil", "Http_Host", "Http_ContentLength", "Http_Content_Length", "REMOTE_ADDR", "SERVER_NAME"} {
			require.NotContains(t, all, not)
		}
		all = strings.Join(ask("/", "Query: evil"), "\n")
		require.NotContains(t, all, "Http_Query", "absent, and no field's to set")
		_, body := ofAsk(t, p, "POST", "/", "12345")
		require.Contains(t, body, "\nHttp_Content_Length=5\n")
		require.NotContains(t, body, "Http_Transfer_Encoding")
		resp, body := ofAsk(t, p, "POST", "/", "", "X-Large: "+strings.Repeat("x", 60_000))
		require.Equal(t, 200, resp.StatusCode)
		require.Contains(t, body, "\nHttp_X_Large=xxx")
		resp, _ = ofAsk(t, p, "POST", "/", "", "X-Large: "+strings.Repeat("x", 140_000))
		require.Equal(t, 431, resp.StatusCode)
	})
}

// §8, §24.9, §24.10: every line of standard error is logged, whole, and is no part of the answer.
func TestOpenFaaS8ForkLogs(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `i=0; while [ $i -lt 200 ]; do echo "line $i" >&2; i=$((i+1)); done; printf last >&2; echo out`)
		for range 5 {
			_, body := ofAsk(t, p, "GET", "/", "")
			require.Equal(t, "out\n", body)
		}
		count := func(line string) int {
			return len(regexp.MustCompile(`(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d stderr: `+line+`$`).FindAllString(p.log.String(), -1))
		}
		require.Eventually(t, func() bool { return count(`line \d+`) == 1000 && count("last") == 5 }, 10*time.Second, 5*time.Millisecond)

		p = ofScript(t, mode, `echo bare >&2; head -c 200000 /dev/zero | tr '\0' x >&2; printf '\nafter\n' >&2`, "prefix_logs=false")
		for range 3 {
			resp, _ := ofAsk(t, p, "GET", "/", "")
			require.Equal(t, 200, resp.StatusCode)
		}
		require.Eventually(t, func() bool {
			return strings.Count("\n"+p.log.String(), "\nbare\n") == 3 && strings.Count(p.log.String(), "\nafter\n") == 3
		}, 10*time.Second, 5*time.Millisecond, "a long line stops nothing")
	})
}

// §3: who does not read its input has done nothing wrong.
func TestOpenFaaS3IgnoredInput(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofCommand(t, mode, "true")
		for range 30 {
			resp, body := ofAsk(t, p, "POST", "/", strings.Repeat("x", 100_000))
			require.Equal(t, 200, resp.StatusCode)
			require.Empty(t, body)
		}
	})
}

// §6.2, §24.4: what is printed is at the client at once.
func TestOpenFaaS62OutputComesAtOnce(t *testing.T) {
	t.Parallel()
	p := ofScript(t, "streaming", conversation)
	requireLinesAtOnce(t, p)
}

// §6.2: a client that leaves does not stop the process, unless that is asked for; it counts as 499 (§15).
func TestOpenFaaS62ClientsThatLeave(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		for _, kill := range []string{"false", "true"} {
			dir := t.TempDir()
			p := ofScript(t, mode, `cat >/dev/null; touch "$DIR/begun"; sleep 1; touch "$DIR/done"`, "DIR="+dir, "kill_on_disconnect="+kill)
			nc, err := net.Dial("tcp", p.listen)
			require.NoError(t, err)
			_, err = fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
			require.NoError(t, err)
			there := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
			require.Eventually(t, func() bool { return there("begun") }, 10*time.Second, 5*time.Millisecond)
			require.NoError(t, nc.Close())
			require.Eventually(t, func() bool { return p.series(`http_requests_total{code="499",method="post"}`) == 1 }, 10*time.Second, 5*time.Millisecond)
			require.Eventually(t, func() bool { return p.series("http_requests_in_flight") == 0 && len(p.children()) == 0 }, 10*time.Second, 5*time.Millisecond)
			require.Equal(t, kill == "false", there("done"))
			p.logged(`POST / - 499 - .*`)
		}
	})
}

// §6.2, §10: a process whose client has left has exec_timeout as any other.
func TestOpenFaaS62WhoRunsOnHasALimit(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `sleep 1000 & sleep 1001`, "exec_timeout=1s", "max_inflight=1")
		nc, err := net.Dial("tcp", p.listen)
		require.NoError(t, err)
		_, err = fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return len(p.children()) > 0 }, 10*time.Second, 5*time.Millisecond)
		require.NoError(t, nc.Close())
		require.Eventually(t, func() bool { return len(p.children()) == 0 }, 10*time.Second, 5*time.Millisecond)
		require.Eventually(t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 10*time.Second, 5*time.Millisecond, "its place is free")
	})
}

// §9, §24.19: the limit counts processes, and who was cut off gives its place back.
func TestOpenFaaS9ForkLimiter(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `echo begun; sleep "$Http_Query"`, "max_inflight=1")
		var running sync.WaitGroup
		running.Go(func() { _, _ = p.get("/?1") })
		require.Eventually(t, func() bool { return p.series("http_requests_in_flight") == 1 }, 10*time.Second, time.Millisecond)
		resp, body := ofAsk(t, p, "POST", "/?0", "x")
		require.Equal(t, 429, resp.StatusCode)
		require.Equal(t, "Concurrent request limit exceeded. Max concurrent requests: 1\n", body)
		code, _ := p.get("/_/ready")
		require.Equal(t, 429, code)
		running.Wait()
		require.Eventually(t, func() bool { code, _ := p.get("/?0"); return code == 200 }, 10*time.Second, 5*time.Millisecond)
	})
}

// §12: ready_path asks the function, and one that fails is not ready.
func TestOpenFaaS12ReadyPathOfForks(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		dir := t.TempDir()
		p := ofPod(t, "mode="+mode, "fprocess=sh "+scriptFile(t, `printf %s "$Http_Method $Http_Path"; test -e "$DIR/up"`), "DIR="+dir, "ready_path=/am-i")
		p.begin()
		require.Eventually(t, func() bool { code, _ := p.get("/_/health"); return code == 200 }, 10*time.Second, 5*time.Millisecond)
		code, _ := p.get("/_/ready")
		require.NotEqual(t, 200, code, "a 500, or an answer that breaks off")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "up"), nil, 0o600))
		code, body := p.get("/_/ready")
		require.Equal(t, 200, code)
		require.Equal(t, "GET /am-i", body)
		require.InDelta(t, -1, p.series(`http_requests_total{code="200",method="get"}`), 0, "it is not counted")
	})
}

// §6.3: what is kept in memory is bounded.
func TestOpenFaaS63MaxBuffer(t *testing.T) {
	t.Parallel()
	p := ofCommand(t, "serializing", "cat", "max_buffer=100000")
	resp, _ := ofAsk(t, p, "POST", "/", strings.Repeat("x", 100_000))
	require.Equal(t, 200, resp.StatusCode)
	resp, body := ofAsk(t, p, "POST", "/", strings.Repeat("x", 100_001))
	require.Equal(t, 507, resp.StatusCode)
	require.Equal(t, "output is larger than max_buffer\n", body)
}

// §6.2, §6.3: memory is flat in streaming mode; the answer is there once in serializing mode.
func TestOpenFaaS6MemoryOfForks(t *testing.T) {
	t.Parallel()
	const size = 50 << 20
	path, err := plain()
	require.NoError(t, err)
	for mode, most := range map[string]int64{"streaming": 4 << 20, "serializing": size + size/5} {
		p := ofPod(t, "mode="+mode, "fprocess=cat")
		p.cmd.Path = path
		p.begin()
		require.Eventually(t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 10*time.Second, 5*time.Millisecond)
		ofAsk(t, p, "POST", "/", strings.Repeat("x", 1<<20))
		requireGrowth(t, p, mode, size, most)
	}
}

// §1, §24.1, §24.2: what a process leaves behind does not outlive its request.
func TestOpenFaaS1DaemonsOfForks(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `(setsid sleep 1000 >/dev/null 2>&1 </dev/null &); echo ok`)
		var crowd sync.WaitGroup
		for range 4 {
			crowd.Go(func() {
				for range 25 {
					if code, body := p.get("/"); code != 200 || body != "ok\n" {
						t.Errorf("%d %q", code, body)
					}
				}
			})
		}
		crowd.Wait()
		require.Eventually(t, func() bool { return len(p.children()) == 0 }, 10*time.Second, 5*time.Millisecond, "daemons or zombies are left")
	})
}

// §24.10: requests leave no goroutine, descriptor, process or file behind; make soak plays 5000.
func TestOpenFaaS6ForksLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pods := map[string]*pod{
		"streaming":   ofCommand(t, "streaming", "cat", "TMPDIR="+dir),
		"serializing": ofCommand(t, "serializing", "cat", "TMPDIR="+dir),
		"classic":     ofClassic(t, "cat", "TMPDIR="+dir, "marshal_request=true"),
	}
	for mode, p := range pods {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			crowd := func(n int) {
				var wg sync.WaitGroup
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
				defer client.CloseIdleConnections()
				for range 8 {
					wg.Go(func() {
						for range n / 8 {
							r, err := client.Post("http://"+p.listen, "", strings.NewReader(strings.Repeat("x", 100_000)))
							if err != nil {
								t.Error(err)
								return
							}
							if b, err := io.ReadAll(r.Body); err != nil || len(b) < 100_000 {
								t.Errorf("%d bytes, %v", len(b), err)
							}
							_ = r.Body.Close()
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
			crowd(full(400, 5000))
			require.Eventually(t, func() bool {
				now := quiet() // one descriptor is kept for each that ran at once
				return now.files <= before.files+8 && now.goroutines <= before.goroutines+1 && len(p.children()) == 0
			}, 10*time.Second, 20*time.Millisecond)
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, files, 1, "the lock file alone")
		})
	}
}

// §20, §21: any user may run it, with nothing but the folder of the lock file to write to.
func TestOpenFaaS20AnyUser(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(filepath.Dir(binary), "any-user") // which others may look into
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chmod(dir, 0o777))
	p := ofPod(t, "mode=serializing", "fprocess=id -u", "TMPDIR="+dir)
	want := strconv.Itoa(os.Getuid())
	if os.Getuid() == 0 { // only root can be somebody else
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12000, Gid: 12000}}
		want = "12000"
	}
	p.cmd.Dir = "/"
	p.begin()
	require.Eventually(t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
	resp, body := ofAsk(t, p, "POST", "/", "x")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, want+"\n", body)
}

// §13: what runs when SIGTERM comes is answered, newcomers are served for healthcheck_interval, and the code is 0.
func TestOpenFaaS13ShutdownOfForks(t *testing.T) {
	inOpenFaaSForkModes(t, func(t *testing.T, mode string) {
		p := ofScript(t, mode, `sleep "${Http_Query:-0}"; echo done`, "healthcheck_interval=500ms")
		var running sync.WaitGroup
		running.Go(func() {
			code, body := p.get("/?1")
			assert.Equal(t, 200, code)
			assert.Equal(t, "done\n", body)
		})
		require.Eventually(t, func() bool { return p.series("http_requests_in_flight") == 1 }, 10*time.Second, time.Millisecond)
		p.signal(syscall.SIGTERM)
		require.Eventually(t, func() bool { code, _ := p.get("/_/health"); return code == 503 }, 10*time.Second, time.Millisecond)
		code, _ := p.get("/")
		require.Equal(t, 200, code)
		running.Wait()
		require.Equal(t, 0, p.exit())
	})
}
