package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// external is a pod whose wrapper does what the test says.
func external(t *testing.T, spec nuclioSpec) *nuclioPod {
	t.Helper()
	wrapper, err := filepath.Abs("testdata/nuclio_wrapper.py")
	require.NoError(t, err)
	spec.env = append(spec.env, "NUCLIO_PYTHON_WRAPPER_PATH="+wrapper)
	return startNuclio(t, spec)
}

// §7.4: the table of replies.
func TestNuclio74Replies(t *testing.T) {
	t.Parallel()
	p := external(t, nuclioSpec{})
	const good = `r{"status_code": 200, "content_type": "text/plain", "headers": {}, "body": "good", "body_encoding": "text"}`
	for _, test := range []struct {
		reply string
		code  int
		body  string
	}{
		{good, 200, "good"},
		{good + "\r", 200, "good"},
		{`r{"body": "x"}`, 500, `Unknown body encoding - ""`},
		{`r{"body": "x", "body_encoding": "zzz"}`, 500, `Unknown body encoding - "zzz"`},
		{`r{"body": "x!", "body_encoding": "base64"}`, 500, "illegal base64 data at input byte 1"},
		{`r{"body": `, 500, "unexpected end of JSON input"},
		{`r{"status_code": "200", "body_encoding": "text"}`, 500, "json: cannot unmarshal string into Go struct field"},
		{`r{"body": "x", "body_encoding": "text"}`, 200, "x"},
		{`r{"body_encoding": "text"}`, 200, ""},
		{`r{"body": "AP8=", "body_encoding": "base64", "status_code": 201}`, 201, "\x00\xff"},
		{`r[{"body": "first", "body_encoding": "text"}, {"body": "second", "body_encoding": "text"}]`, 200, "first"},
		{"zwhat\nl{\nm0\n\n" + good, 200, "good"},
		{`r[]`, 500, ""},
		{`rnull`, 500, ""},
		{good + "\n" + `r{"body": "of nobody", "body_encoding": "text"}`, 200, "good"}, // B2
		{good, 200, "good"},
		{`c{"status_code": 202, "content_type": "a/b", "body": "1", "body_encoding": "text"}` + "\nbMg==\nbMw==\ne", 202, "123"}, // 7.7
		{`c{"body": "only", "body_encoding": "text"}` + "\ne", 200, "only"},
		{`r{"body": "` + strings.Repeat("x", 300_000) + `", "body_encoding": "text"}`, 200, strings.Repeat("x", 300_000)},
	} {
		resp, body := nuclioAsk(t, p, "POST", "/raw", test.reply+"\n")
		require.Equal(t, test.code, resp.StatusCode, test.reply)
		if strings.HasPrefix(test.body, "json:") {
			require.True(t, strings.HasPrefix(body, test.body), body)
		} else {
			require.Equal(t, test.body, body, test.reply)
		}
		if test.code == 500 && test.body != "" {
			require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"), test.reply)
		}
	}
	resp, _ := nuclioAsk(t, p, "POST", "/raw", `r{"body": "x", "body_encoding": "text"}`+"\n")
	require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"), "R5")
	resp, _ = nuclioAsk(t, p, "POST", "/raw", `r{"body_encoding": "text"}`+"\n")
	require.Empty(t, resp.Header["Content-Type"], "R5")
	resp, _ = nuclioAsk(t, p, "POST", "/raw", `r{"body": "x", "body_encoding": "text", "headers": {"content-type": "c/d"}}`+"\n")
	require.Equal(t, []string{"c/d"}, resp.Header["Content-Type"], "R1")
	resp, _ = nuclioAsk(t, p, "POST", "/raw", `r{"headers": {"x-a": "b\r\nX-B: c", "X-N": 5, "Content-Type": "c/d"}, "content_type": "a/b", "body": "x", "body_encoding": "text"}`+"\n")
	require.Equal(t, "b  X-B: c", resp.Header.Get("X-A"), "R2, R3")
	require.Empty(t, resp.Header.Get("X-N"), "R2")
	require.Equal(t, []string{"a/b"}, resp.Header["Content-Type"], "R1")

	resp, _ = nuclioAsk(t, p, "POST", "/raw", `l{"level": "warning", "message": "hot ü", "with": {"b": [1]}}`+"\n"+`l{"level": "debug", "message": "low"}`+"\n"+good+"\n", "X-Nuclio-Log-Level: info")
	var logs []map[string]any
	require.NoError(t, json.Unmarshal([]byte(resp.Header.Get("X-Nuclio-Logs")), &logs))
	require.Len(t, logs, 1)
	require.Equal(t, []any{"warn", "hot ü", "web"}, []any{logs[0]["level"], logs[0]["message"], logs[0]["name"]})
	for _, want := range []string{`\(W\) sor\.http\.w0\.python\.logger hot ü {"b": \[1\]}`, `\(I\) sor\.http\.w0\.python\.logger starting {"a": 1}`} {
		require.Eventually(t, func() bool { return regexpMatch(want, p.log.String()) }, 10*time.Second, time.Millisecond, want)
	}
	resp, _ = nuclioAsk(t, p, "POST", "/raw", good+"\n", "X-Nuclio-Log-Level: info")
	require.Equal(t, "[]", resp.Header.Get("X-Nuclio-Logs"), "5.6")
	for range 30 { // 7.5, 5.6: lines of an event are its own, by whichever way they come
		const line = `{"kind": "log", "attributes": {"level": "info", "message": "by the other way, too"}}`
		resp, _ = nuclioAsk(t, p, "POST", "/control", line+"\nnonsense\n"+line, "X-Nuclio-Log-Level: info")
		require.Equal(t, 2, strings.Count(resp.Header.Get("X-Nuclio-Logs"), "by the other way, too"))
		resp, _ = nuclioAsk(t, p, "POST", "/control", line, "X-Nuclio-Log-Level: warn")
		require.Equal(t, "[]", resp.Header.Get("X-Nuclio-Logs"))
	}
	_, _ = nuclioAsk(t, p, "POST", "/control", `{"kind": "log", "attributes": {"level": "error", "message": "by the other way"}}`)
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "by the other way") }, 10*time.Second, time.Millisecond, "7.5")
}

// §7.1–7.3: how a wrapper is started, and what it is told.
func TestNuclio73ExternalEvents(t *testing.T) {
	t.Parallel()
	p := external(t, nuclioSpec{trigger: "      numWorkers: 2\n"})
	ask := func(method, path, body string, fields ...string) (e map[string]any) {
		resp, text := nuclioAsk(t, p, method, path, body, fields...)
		require.Equal(t, 200, resp.StatusCode, text)
		require.NoError(t, json.Unmarshal([]byte(text), &e))
		return e
	}
	large := strings.Repeat("\x7f", 200_000)
	e := ask("PUT", "/a/../event?a=1&a=2&c", large, "Content-Type: a/b", "x-lower: 1")
	require.Equal(t, large, e["body"])
	delete(e["headers"].(map[string]any), "Accept-Encoding")
	delete(e["headers"].(map[string]any), "User-Agent")
	require.Equal(t, map[string]any{"Content-Type": "a/b", "X-Lower": "1", "Host": p.listen, "Content-Length": "200000"}, e["headers"])
	for name, want := range map[string]any{
		"fields": map[string]any{"a": "2", "c": ""}, "method": "PUT", "path": "/event", "url": "", "size": 200_000.0, "content_type": "a/b", "content-type": "a/b",
		"trigger": map[string]any{"kind": "http", "name": "web"}, "shard_id": -1.0, "num_shards": 0.0, "offset": 0.0, "type": "", "type_version": "", "version": "", "topic": "",
	} {
		require.Equal(t, want, e[name], name)
	}
	require.InDelta(t, float64(time.Now().Unix()), e["timestamp"], 100)
	args := e["args"].([]any)
	require.Regexp(t, `/nuclio-rpc-.{20}\.sock$`, args[3], "X6")
	require.NoFileExists(t, args[3].(string), "B16")
	require.Equal(t, []any{"--handler", "main:handler", "--event-socket-path"}, args[:3], "X2")
	require.Equal(t, []any{"--platform-kind", "local", "--namespace", "ns", "--worker-id"}, args[6:11], "X2")
	require.Equal(t, []any{"--trigger-kind", "http", "--trigger-name", "web", "--decode-event-strings"}, args[12:], "X2, X3")
	require.Equal(t, p.dir+":", e["pythonpath"].(string)[:len(p.dir)+1], "X4")
	other := ask("GET", "/event", "")
	require.NotEqual(t, e["pid"], other["pid"], "W2")
	require.NotEqual(t, e["id"], other["id"], "B4")
	require.Equal(t, e["pid"], ask("GET", "/event", "")["pid"], "W2")

	e = ask("POST", "/event", `{"data": {"a": [1.5, null, true]}, "source": "s"}`, "Content-Type: application/cloudevents")
	require.Equal(t, []any{map[string]any{"a": []any{1.5, nil, true}}, 0.0, map[string]any{"kind": "s", "name": "s"}}, []any{e["body"], e["size"], e["trigger"]})
	resp, body := nuclioAsk(t, p, "POST", "/event", `{`, "Content-Type: application/cloudevents")
	require.Equal(t, 500, resp.StatusCode)
	require.Equal(t, "Failed to wrap structured cloud event", body)
}

// §15, §16: time-outs, deaths, and the end.
func TestNuclio15ExternalTimeoutsAndDeaths(t *testing.T) {
	t.Parallel()
	sockets := t.TempDir()
	p := external(t, nuclioSpec{spec: "  eventTimeout: 700ms\n", env: []string{"TMPDIR=" + sockets}})
	for _, test := range []struct {
		path, body string
		code       int
		answer     string
	}{
		{"/sleep", "30", 408, `{"error": "handler timed out"}`},
		{"/sleep", "0.1", 200, "slept"},
		{"/close", "", 500, "EOF"},
		{"/sleep", "0", 200, "slept"},
		{"/exit", "0", 500, "EOF"},
		{"/sleep", "0", 200, "slept"},
		{"/exit", "3", 500, "EOF"},
		{"/sleep", "0", 200, "slept"},
	} {
		resp, body := nuclioAsk(t, p, "POST", test.path, test.body)
		require.Equal(t, test.code, resp.StatusCode, test)
		require.Equal(t, test.answer, body, test)
	}
	p.waitHealthy()
	// a client that leaves (W7)
	c := &http.Client{Timeout: 100 * time.Millisecond}
	resp, err := c.Post("http://"+p.listen+"/sleep", "", strings.NewReader("0.3"))
	if err == nil {
		_ = resp.Body.Close()
	}
	require.Error(t, err)
	_, body := nuclioAsk(t, p, "POST", "/sleep", "0")
	require.Equal(t, "slept", body)
	require.Equal(t, 4, strings.Count(p.log.String(), " worker died {"), "no death for a client that left")
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Post("http://"+p.listen+"/sleep", "", strings.NewReader("0.5"))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body) // what is missing is seen
		answered <- string(body)
	}()
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 10*time.Second, time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, "slept", <-answered)
	require.Equal(t, 0, p.exit())
	require.Contains(t, p.log.String(), "called back")
	left, err := os.ReadDir(sockets)
	require.NoError(t, err)
	require.Empty(t, left, "B16")

	bad := prepareNuclio(t, nuclioSpec{env: []string{"NUCLIO_PYTHON_WRAPPER_PATH=/nowhere/wrapper.py"}})
	bad.begin()
	require.Equal(t, 1, bad.exit(), "X1")
	require.Contains(t, bad.log.String(), "/nowhere/wrapper.py")
	file := filepath.Join(t.TempDir(), "wrapper.py")
	require.NoError(t, os.WriteFile(file, []byte("raise SystemExit(1)"), 0o600))
	bad = prepareNuclio(t, nuclioSpec{env: []string{"NUCLIO_PYTHON_WRAPPER_PATH=" + file}})
	bad.begin()
	require.Equal(t, 2, bad.exit(), "S4")
	require.Contains(t, bad.log.String(), "Wrapper process for worker 0 exited unexpectedly with: exit status 1")
}

// §7.7: what is streamed reaches the client before its end.
func TestNuclio77ExternalStreams(t *testing.T) {
	t.Parallel()
	p := external(t, nuclioSpec{spec: "  eventTimeout: 2s\n"})
	resp, err := http.Post("http://"+p.listen+"/raw", "", strings.NewReader(`c{"body": "first\n", "body_encoding": "text"}`+"\n"))
	require.NoError(t, err)
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	_, body := nuclioAsk(t, p, "POST", "/sleep", "0")
	require.Equal(t, "slept", body, "the stream without an end was cut at the time-out")
}

// §10–§12, X7: how the wrappers of other languages are started, and what they are told.
func TestNuclio10ExternalLanguages(t *testing.T) {
	t.Parallel()
	stand, err := os.ReadFile("testdata/nuclio_lines.py")
	require.NoError(t, err)
	dir := t.TempDir()
	wrapper := filepath.Join(dir, "wrapper")
	require.NoError(t, os.WriteFile(wrapper, nil, 0o600))
	for _, program := range []string{"ruby", "java", "dotnet"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, program), stand, 0o700)) //nolint:gosec // it is a program
	}
	for _, test := range []struct{ runtime, handler, program, args string }{
		{"ruby", "main:handler", "ruby", wrapper + ` --handler main:handler --socket-path \S+/nuclio-rpc-.{20}\.sock`},
		{"java:11", "pkg:Main", "java", `-Xmx64m -Xms8m -jar ` + wrapper + ` -handler Main -port \d+ -workerid 0`},
		{"dotnetcore", "ns.Type:Method", "dotnet", wrapper + ` \S+/nuclio-rpc-.{20}\.sock ns\.Type:Method`},
	} {
		t.Run(test.program, func(t *testing.T) {
			t.Parallel()
			p := startNuclio(t, nuclioSpec{
				runtime: test.runtime, handler: test.handler, spec: "  runtimeAttributes: {jvmOptions: [-Xmx64m, -Xms8m]}\n",
				env: []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "NUCLIO_WRAPPER_PATH=" + wrapper, "NUCLIO_WRAPPER_JAR=" + wrapper, "NUCLIO_DOTNETCORE_WRAPPER_PATH=" + wrapper},
			})
			for _, body := range []string{"", "a\nb\x00ü", strings.Repeat("x", 100_000)} {
				_, text := nuclioAsk(t, p, "POST", "/a?b=c", body)
				var got struct {
					Event struct {
						Body   []byte
						Path   string
						Fields map[string]string
					}
					Args          []string
					Name, Program string
				}
				require.NoError(t, json.Unmarshal([]byte(text), &got), text)
				require.Equal(t, body, string(got.Event.Body))
				require.Equal(t, "/a", got.Event.Path)
				require.Equal(t, map[string]string{"b": "c"}, got.Event.Fields)
				require.Equal(t, "fn", got.Name)
				require.Equal(t, test.program, got.Program)
				require.Regexp(t, "^"+test.args+"$", strings.Join(got.Args, " "))
			}
			p.signal(syscall.SIGTERM)
			require.Equal(t, 0, p.exit())
		})
	}
}

// B3, T3: while no wrapper starts, clients may leave, and are refused when there is no hope; then the pod recovers.
func TestNuclioT3ExternalWrappersThatDoNotStart(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken")
	p := external(t, nuclioSpec{env: []string{"BROKEN=" + broken}, trigger: "      workerTerminationTimeout: 1s\n"})
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	_, body := nuclioAsk(t, p, "POST", "/exit", "1")
	require.Equal(t, "EOF", body)
	c := &http.Client{Timeout: 100 * time.Millisecond}
	resp, err := c.Post("http://"+p.listen+"/sleep", "", strings.NewReader("0"))
	if err == nil {
		_ = resp.Body.Close()
	}
	require.Error(t, err)
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 0 }, 10*time.Second, time.Millisecond, "who left holds no worker's place")
	code, _ := p.ask("http://" + p.health + "/ready")
	require.Equal(t, 503, code)
	resp, body = nuclioAsk(t, p, "POST", "/sleep", "0")
	require.Equal(t, 503, resp.StatusCode)
	require.JSONEq(t, `{"error":"Server not ready","status":"error"}`, body, "5.2")
	require.NoError(t, os.Remove(broken))
	p.waitHealthy()
	_, body = nuclioAsk(t, p, "POST", "/sleep", "0")
	require.Equal(t, "slept", body)
}
