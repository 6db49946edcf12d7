package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nuclioAsk is a request with fields.
func nuclioAsk(t *testing.T, p *nuclioPod, method, path, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	return ofAsk(t, p.pod, method, path, body, fields...)
}

// rawAsk sends bytes on a connection of its own and returns all that comes back.
func (p *nuclioPod) rawAsk(text string) string {
	p.t.Helper()
	c, err := net.Dial("tcp", p.listen)
	require.NoError(p.t, err)
	defer c.Close()
	require.NoError(p.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = c.Write([]byte(text))
	require.NoError(p.t, err)
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all)
		}
	}
}

// nuclioFunction is called by its path: an expression that is the result.
const nuclioFunction = `
import asyncio, os, sys, time, nuclio_sdk
Response = nuclio_sdk.Response

def handler(context, event):
    if event.path == '/echo':
        return {'body': repr(event.body), 'method': event.method, 'headers': event.headers, 'fields': event.fields, 'id': event.id,
                'size': event.size, 'content_type': event.content_type, 'trigger': [event.trigger.kind, event.trigger.name], 'shard': event.shard_id,
                'timestamp': str(event.timestamp), 'worker': context.worker_id, 'type': event.type, 'version': event.version, 'path': event.path,
                'type_version': event.type_version, 'rest': [event.url, event.num_shards, event.offset, event.topic, event.last_in_batch],
                'context': [context.trigger.kind, context.trigger.name, context.trigger_name, context.platform.kind, context.platform.namespace]}
    result = eval(event.body)
    return result
`

func (p *nuclioPod) eval(expression string) (*http.Response, string) {
	p.t.Helper()
	return nuclioAsk(p.t, p, "POST", "/", expression)
}

// §8.5, §8.6, §5.4: what a handler returns, and what the client gets.
func TestNuclio85Returns(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py(nuclioFunction)})
	file := filepath.Join(p.dir, "file.txt")
	require.NoError(t, os.WriteFile(file, []byte("of a file"), 0o600))
	for _, test := range []struct {
		result, rule      string
		code              int
		contentType, body string
	}{
		{`'ü'`, "8.5", 200, "text/plain", "ü"},
		{`b'\x00\xff'`, "8.5", 200, "text/plain", "\x00\xff"},
		{`{'a': float('nan')}`, "8.5", 200, "application/json", `{"a": "NaN"}`},
		{`(201, 'made')`, "8.5", 201, "text/plain", "made"},
		{`(201, {'a': 1})`, "8.5", 201, "application/json", `{"a": 1}`},
		{`(201, b'a')`, "8.5", 201, "application/json", `"b'a'"`},
		{`['first', 'second']`, "8.5", 200, "text/plain", "first"},
		{`[]`, "B1", 200, "text/plain", ""},
		{`None`, "8.5", 200, "text/plain", "None"},
		{`(200, 'x', {})`, "8.5", 200, "text/plain", "(200, 'x', {})"},
		{`Response(body='x', content_type='a/b', status_code=418, headers={'Content-Type': 'c/d'})`, "R1", 418, "a/b", "x"},
		{`Response(body='x', content_type='', headers={'Content-Type': 'c/d'})`, "8.5", 200, "text/plain", "x"},
		{`Response(body='', content_type=None)`, "8.5", 200, "text/plain", ""},
		{`'a\ud800b'`, "8.5", 200, "text/plain", "a\ufffdb"},
		{`Response(body='x', status_code=0)`, "R4", 200, "text/plain", "x"},
		{`Response(body='x', status_code=204)`, "R4", 204, "text/plain", ""},
		{`Response(body={'a': 1}, content_type='a/b')`, "8.5", 200, "application/json", `{"a": 1}`},
		{`Response(body=[1, 'a'], content_type='a/b')`, "8.5", 200, "a/b", `[1, 'a']`},
		{`(part for part in ['a', 'b', b'c'])`, "7.7", 200, "text/plain", "abc"},
		{`Response(body=(part for part in ['a', 'b']), status_code=202, content_type='x/y')`, "7.7", 202, "x/y", "ab"},
		{`asyncio.sleep(0.01, 'awaited')`, "8.1", 200, "text/plain", "awaited"},
		{`Response(headers={'x-nuclio-FILESTREAM-path': '` + file + `'}, body='other', content_type='a/b')`, "R6", 200, "a/b", "of a file"},
		{`Response(headers={'X-Nuclio-Filestream-Path': '/nowhere/file'}, body='other')`, "R6", 404, "", ""},
		{`Response(headers={'X-Nuclio-Filestream-Path': '` + p.dir + `'}, body='other')`, "R6", 500, "", ""},
	} {
		resp, body := p.eval(test.result)
		require.Equal(t, test.code, resp.StatusCode, "%s: %s: %s", test.rule, test.result, body)
		require.Equal(t, test.body, body, test.result)
		require.Equal(t, test.contentType, resp.Header.Get("Content-Type"), test.result)
		require.Equal(t, "nuclio", resp.Header.Get("Server"), "H7")
		require.Empty(t, resp.Header.Get("X-Nuclio-Filestream-Path"))
	}

	resp, _ := p.eval(`Response(headers={'x-lower': 'a', 'X-Number': 5, 'x-break': 'a\r\nX-Bad: b', 'Content-Length': '100', 'Date': 'never', 'Server': 'own',
		'Host': 'h', 'Connection': 'close', 'Transfer-Encoding': 'chunked', 'x-ü': '1', 'X-U': 'ü'}, body='x')`)
	require.Equal(t, []string{"a"}, resp.Header["X-Lower"], "R2")
	require.Empty(t, resp.Header["X-Number"], "R2")
	require.Equal(t, []string{"a  X-Bad: b"}, resp.Header["X-Break"], "R3")
	require.Equal(t, "1", resp.Header.Get("Content-Length"), "R3, R7")
	require.NotEqual(t, "never", resp.Header.Get("Date"))
	require.Equal(t, []string{"own"}, resp.Header["Server"], "H7")
	require.Equal(t, []string{"ü"}, resp.Header["X-U"])

	require.FileExists(t, file)
	_, body := p.eval(`Response(headers={'X-Nuclio-Filestream-Path': '` + file + `', 'x-nuclio-filestream-delete-after-send': 'no'})`)
	require.Equal(t, "of a file", body)
	require.Eventually(t, func() bool { _, err := os.Stat(file); return os.IsNotExist(err) }, 10*time.Second, time.Millisecond, "R6")

	_, pid := p.eval(`os.getpid()`)
	for _, raises := range []string{`1/0`, `exit(3)`, `sys.exit()`, `(_ for _ in ()).throw(KeyboardInterrupt('stop'))`} {
		resp, body := p.eval(raises)
		require.Equal(t, 500, resp.StatusCode)
		require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(body, `Exception caught in handler - "`), body)
		require.Contains(t, body, "Traceback")
	}
	for _, unusable := range []string{`('200', 'x')`, `Response(status_code=999)`} {
		resp, body := p.eval(unusable)
		require.Equal(t, 500, resp.StatusCode)
		require.NotEmpty(t, body)
	}
	_, after := p.eval(`os.getpid()`)
	require.Equal(t, pid, after, "8.6: the worker lives on")
	require.Contains(t, p.log.String(), "ZeroDivisionError")
}

// echoed is the event as the function saw it.
type echoed struct {
	Body, Method, Path, ID, Timestamp, Worker, Type, Version string

	TypeVersion string `json:"type_version"`
	ContentType string `json:"content_type"`
	Headers     map[string]string
	Fields      map[string]string
	Size, Shard int
	Trigger     []string
	Context     []string
	Rest        []any
}

func (p *nuclioPod) echo(method, path, body string, fields ...string) (e echoed) {
	p.t.Helper()
	resp, text := nuclioAsk(p.t, p, method, path, body, fields...)
	require.Equal(p.t, 200, resp.StatusCode, text)
	require.NoError(p.t, json.Unmarshal([]byte(text), &e))
	return e
}

// §6, §8.4: the event.
func TestNuclio6Event(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py(nuclioFunction)})
	from := time.Now().UTC().Truncate(time.Second)
	e := p.echo("FOO", "/a%20b/../x/.//..//echo?a=1&a=2&b=%C3%BC+x&c&=d", "body", "X-lower-CASE: 1", "X-Lower-Case: 2", "Cookie: a=b", "Content-Type: a/b", "X-U: ü")
	require.Equal(t, []string{"b'body'", "FOO", "/echo", "a/b"}, []string{e.Body, e.Method, e.Path, e.ContentType})
	require.Equal(t, map[string]string{"a": "2", "b": "ü x", "c": "", "": "d"}, e.Fields)
	require.Equal(t, "2", e.Headers["X-Lower-Case"])
	require.Equal(t, "ü", e.Headers["X-U"])
	require.Equal(t, p.listen, e.Headers["Host"])
	require.Equal(t, "4", e.Headers["Content-Length"])
	require.NotContains(t, e.Headers, "X-Request-Id")
	require.Equal(t, 4, e.Size)
	require.Equal(t, -1, e.Shard)
	require.Equal(t, []any{"", 0.0, 0.0, "", false}, e.Rest)
	require.Equal(t, []string{"http", "web"}, e.Trigger)
	require.Equal(t, []string{"http", "web", "web", "local", "ns"}, e.Context)
	require.Equal(t, "0", e.Worker, "W6")
	at, err := time.Parse("2006-01-02 15:04:05", e.Timestamp)
	require.NoError(t, err)
	require.WithinRange(t, at, from.Add(-time.Second), time.Now().UTC())
	other := p.echo("GET", "/echo", "")
	require.NotEqual(t, e.ID, other.ID, "B4")
	require.Len(t, e.ID, 36)
	require.Equal(t, "b''", other.Body, "an empty body is one")
	require.Empty(t, other.ContentType)

	e = p.echo("POST", "/echo", `{"a": [1]}`, "Content-Type: application/json")
	require.Equal(t, `{'a': [1]}`, e.Body)
	e = p.echo("POST", "/echo", `{"a": `, "Content-Type: application/json")
	require.Equal(t, `b'{"a": '`, e.Body)
	e = p.echo("POST", "/echo", `{"a": 1}`, "Content-Type: application/json; charset=utf-8")
	require.Equal(t, `b'{"a": 1}'`, e.Body)
	require.Contains(t, p.log.String(), "Failed deserializing json body, error message: ")

	for _, bad := range []string{"GET /echo?a=%ff HTTP/1.1\r\nHost: h\r\n", "GET /echo HTTP/1.1\r\nHost: h\r\nX-A: \xff\r\n", "GET /%ff HTTP/1.1\r\nHost: h\r\n"} {
		answer := p.rawAsk(bad + "Connection: close\r\n\r\n")
		require.Contains(t, answer, " 500 ", bad)
		require.Contains(t, answer, "Exception caught while serving - ", bad)
	}

	// The draft 0.1 of cloud events.
	e = p.echo("POST", "/echo", `{"cloudEventsVersion": "0.1", "eventType": "t", "eventTypeVersion": "2", "source": "src", "eventID": "id-1",
		"eventTime": "2018-04-05T17:31:00.5+01:00", "contentType": "x/y", "data": "text", "extensions": {"Ext": "e"}}`, "Content-Type: application/cloudevents+json")
	require.Equal(t, echoed{
		Body: "b'text'", Method: "POST", Path: "/echo", ID: "id-1", Timestamp: "2018-04-05 16:31:00", Worker: "0", Type: "t", Version: "0.1", TypeVersion: "2",
		ContentType: "x/y", Headers: map[string]string{"Ext": "e"}, Fields: map[string]string{}, Size: 4, Shard: -1, Trigger: []string{"src", "src"}, Context: e.Context, Rest: e.Rest,
	}, e)
	e = p.echo("POST", "/echo", `{"data": {"a": 1}}`, "Content-Type: application/cloudevents")
	require.Equal(t, []any{"{'a': 1}", 0, ""}, []any{e.Body, e.Size, e.ID}, "B9: nothing of the event before")
	e = p.echo("POST", "/echo", "raw", "CE-CloudEventsVersion: 0.1", "CE-EventID: id-2", "CE-Source: s", "CE-EventType: t", "CE-EventTypeVersion: 3", "CE-EventTime: 2018-04-05T17:31:00Z", "CE-Name: n")
	require.Equal(t, []any{"b'raw'", "id-2", "t", "3", "0.1", "2018-04-05 17:31:00", []string{"s", "n"}}, []any{e.Body, e.ID, e.Type, e.TypeVersion, e.Version, e.Timestamp, e.Trigger})
	resp, body := nuclioAsk(t, p, "POST", "/echo", `[`, "Content-Type: application/cloudevents")
	require.Equal(t, 500, resp.StatusCode, "5.3")
	require.Equal(t, "Failed to wrap structured cloud event", body)
}

// X3: with string decoding off everything but parsed JSON is bytes.
func TestNuclioX3BytesInsteadOfText(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files: py("def handler(context, event): return repr([event.method, event.path, event.content_type, event.fields, event.type, event.trigger.kind, event.get_header('x-a')])"),
		env:   []string{"NUCLIO_PYTHON_DECODE_EVENT_STRINGS=Disabled"},
	})
	_, body := nuclioAsk(t, p, "POST", "/a?b=%ff", "x", "X-A: 1", "Content-Type: a/b")
	require.Equal(t, `[b'POST', b'/a', b'a/b', {b'b': b'\xff'}, b'', b'http', b'1']`, body)
}

// §5.1: the listener.
func TestNuclio51Listener(t *testing.T) {
	t.Parallel()
	for _, compatible := range []bool{false, true} {
		p := startNuclio(t, nuclioSpec{
			files: py(nuclioFunction), trigger: "      attributes: {MaxRequestBodySize: 100, readBufferSize: 2048, port: 5}\n",
			env: []string{"FNPOD_NUCLIO_COMPATIBLE=" + strconv.FormatBool(compatible)},
		})
		tooLarge := 413
		if compatible {
			tooLarge = 400
		}
		e := p.echo("POST", "/echo", strings.Repeat("x", 100))
		require.Equal(t, 100, e.Size, "H5: exactly as large")
		for _, request := range []string{"Content-Length: 101\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n"} {
			answer := p.rawAsk("POST /echo HTTP/1.1\r\nHost: h\r\n" + request)
			require.Contains(t, answer, fmt.Sprintf("HTTP/1.1 %d ", tooLarge), "H5")
			require.Contains(t, answer, "\r\n\r\nError when parsing request", "H5")
			require.Contains(t, answer, "Content-Type: text/plain")
			require.Contains(t, answer, "Connection: close")
		}
		answer := p.rawAsk("GET /echo HTTP/1.1\r\nHost: h\r\nX-Large: " + strings.Repeat("x", 4096) + "\r\n\r\n")
		require.Contains(t, answer, "HTTP/1.1 431 ", "H4")
		require.Contains(t, answer, "\r\n\r\nToo big request header", "H4")
		answer = p.rawAsk("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n")
		require.Contains(t, answer, "HTTP/1.1 400 ", "H6")
		require.Contains(t, answer, "\r\n\r\nError when parsing request", "H6")
		answer = p.rawAsk("GET /echo HTTP/1.0\r\n\r\n")
		require.True(t, strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n"), "H7")
		require.Contains(t, answer, "Connection: close\r\n", "H7")
		require.Contains(t, answer, "\r\nDate: ", "H7")
		require.Contains(t, answer, "\r\nServer: nuclio\r\n", "H7")
		answer = p.rawAsk("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
		require.Contains(t, answer, "HTTP/1.1 200 OK", "H3")
		answer = p.rawAsk("GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		require.Contains(t, answer, "HTTP/1.1 200 OK", "H1: handled as a plain request")
		resp, body := nuclioAsk(t, p, "HEAD", "/echo", "")
		require.Equal(t, 200, resp.StatusCode, "H2")
		require.Empty(t, body, "H2")
		require.NotEmpty(t, resp.Header.Get("Content-Length"), "H2")
	}
}

// §4 W1–W3, W6, W8, §5.3, §18: who gets which worker, who gets none, and what is counted.
func TestNuclio4WorkersAndStatistics(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files:   py(nuclioFunction),
		trigger: "      numWorkers: 2\n      maxWorkers: 5\n      workerAvailabilityTimeoutMilliseconds: 300\n",
	})
	var turns []string
	for range 4 {
		turns = append(turns, p.echo("GET", "/echo", "").Worker)
	}
	require.Equal(t, turns[0], turns[2], "W2")
	require.Equal(t, turns[1], turns[3], "W2")
	require.ElementsMatch(t, []string{"0", "1"}, turns[:2], "W2")

	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() { _, _ = p.eval(`time.sleep(1.5)`) })
	}
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 2 }, 10*time.Second, time.Millisecond)
	resp, body := p.eval(`1`)
	require.Equal(t, 503, resp.StatusCode, "5.3")
	require.Empty(t, body)
	require.Empty(t, resp.Header["Content-Type"])
	require.Empty(t, resp.Header["Retry-After"])
	require.Equal(t, "0", resp.Header.Get("Content-Length"))
	busy.Wait()
	resp, _ = p.eval(`1/0`)
	require.Equal(t, 500, resp.StatusCode)

	labels := `function="fn",instance="ns-fn",namespace="ns",project="proj",%strigger_id="web",trigger_kind="http"%s}`
	value := func(name, before, after string) float64 {
		return p.series("nuclio_processor_" + name + "{" + fmt.Sprintf(labels, before, after))
	}
	require.Eventually(t, func() bool { return value("handled_events_total", `result="success",`, "") == 6 }, 10*time.Second, time.Millisecond)
	require.InDelta(t, 2, value("handled_events_total", `result="failure",`, ""), 0, "B5: a refusal and a 500")
	require.InDelta(t, 8, value("worker_allocation_count", "", ""), 0)
	require.InDelta(t, 7, value("worker_allocation_total", `result="success_immediate",`, ""), 0)
	require.InDelta(t, 1, value("worker_allocation_total", `result="error_timeout",`, ""), 0)
	require.InDelta(t, 0, value("worker_allocation_total", `result="success_after_wait",`, ""), 0)
	require.InDelta(t, 0, value("worker_pending_allocation_current", "", ""), 0)
	require.InDelta(t, 0, value("worker_allocation_wait_duration_ms_sum", "", ""), 0)
	require.InDelta(t, 650, value("worker_allocation_workers_available_percentage", "", ""), 0, "W8: six times all, once half, once none")
	require.InDelta(t, 3000, value("handled_events_duration_milliseconds_sum", "", `,worker_index="0"`)+value("handled_events_duration_milliseconds_sum", "", `,worker_index="1"`), 1500)
	require.InDelta(t, 7, value("handled_events_duration_milliseconds_count", "", `,worker_index="0"`)+value("handled_events_duration_milliseconds_count", "", `,worker_index="1"`), 0)
}

// W3: without a wait a request is refused at once; W2: those who wait are served in order.
func TestNuclioW3NoWait(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files:    py(nuclioFunction),
		trigger:  "      workerAvailabilityTimeoutMilliseconds: 0\n      workerAllocatorName: shared\n",
		triggers: "    other: {kind: http, url: \"" + freePort(t) + "\", workerAllocatorName: shared, numWorkers: 2, workerAvailabilityTimeoutMilliseconds: 0}\n",
	})
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() { _, _ = p.eval(`time.sleep(1)`) })
	}
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 2 }, 10*time.Second, time.Millisecond, "2.2: the pool is shared")
	resp, _ := p.eval(`1`)
	require.Equal(t, 503, resp.StatusCode)
	busy.Wait()
	e := p.echo("GET", "/echo", "")
	require.Equal(t, []string{"http", "web"}, e.Trigger)
	require.Equal(t, []string{"", "shared", "shared", "local", "ns"}, e.Context, "X2")
}

// §2.2: triggers have ports and workers of their own.
func TestNuclio22TwoPorts(t *testing.T) {
	t.Parallel()
	second := freePort(t)
	p := startNuclio(t, nuclioSpec{files: py(nuclioFunction), triggers: "    zweite: {kind: http, url: \"" + second + "\", numWorkers: 1}\n"})
	first := p.echo("GET", "/echo", "")
	p.listen = second
	e := p.echo("GET", "/echo", "")
	require.Equal(t, []string{"http", "zweite"}, e.Trigger)
	require.Equal(t, []string{"http", "web"}, first.Trigger)
	require.Equal(t, "0", e.Worker, "W6")
	code, _ := p.get("/__internal/health")
	require.Equal(t, 200, code)
}

// §15 T1, T2, T3, T5, T6, B18: time-outs are exact, what dies is replaced, and those who wait keep waiting.
func TestNuclio15TimeoutsAndDeaths(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py(nuclioFunction), spec: "  eventTimeout: 700ms\n"})
	_, pid := p.eval(`os.getpid()`)
	from := time.Now()
	resp, body := p.eval(`open('child', 'w').write(str(__import__('subprocess').Popen(['sleep', '100']).pid)) and time.sleep(30)`)
	took := time.Since(from)
	require.Equal(t, 408, resp.StatusCode, "T2")
	require.Equal(t, "{\"error\": \"handler timed out\"}", body) //nolint:testifylint // to the byte
	require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
	require.GreaterOrEqual(t, took, 700*time.Millisecond, "T1")
	resp, _ = p.eval(`1`)
	require.Equal(t, 200, resp.StatusCode, "T3: who comes meanwhile waits")
	text, err := os.ReadFile(filepath.Join(p.dir, "child"))
	require.NoError(t, err)
	child, err := strconv.Atoi(string(text))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return syscall.Kill(child, 0) != nil }, 10*time.Second, time.Millisecond, "B18")
	_, after := p.eval(`os.getpid()`)
	require.NotEqual(t, pid, after, "T2")
	require.Equal(t, "0", p.echo("GET", "/echo", "").Worker, "W6: the successor has the place")
	for _, death := range []string{`os._exit(3)`, `os._exit(0)`, `os.kill(os.getpid(), 9)`} {
		resp, body = p.eval(death)
		require.Equal(t, 500, resp.StatusCode, "5.3, T5, T6")
		require.Equal(t, "EOF", body)
		require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
		resp, _ = p.eval(`1`)
		require.Equal(t, 200, resp.StatusCode, "B3")
	}
	p.waitHealthy()
}

// W7: a client that leaves does not end the handler.
func TestNuclioW7ClientsThatLeave(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py(nuclioFunction)})
	expression := "time.sleep(0.5) or open('finished', 'w').close()"
	c, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(expression), expression)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(p.dir, "finished")); return err == nil }, 10*time.Second, time.Millisecond)
}

// §5.5: CORS.
func TestNuclio55CORS(t *testing.T) {
	t.Parallel()
	const attributes = "      attributes: {cors: {enabled: true, allowOrigins: [\"http://a.example\"], allowCredentials: true, exposeHeaders: [X-A, X-B], allowHeaders: [X-C, X-D]}}\n"
	for _, compatible := range []bool{false, true} {
		p := startNuclio(t, nuclioSpec{files: py("def handler(context, event): return 'ran ' + event.method"), trigger: attributes, env: []string{"FNPOD_NUCLIO_COMPATIBLE=" + strconv.FormatBool(compatible)}})
		preflight := func(fields ...string) *http.Response {
			resp, body := nuclioAsk(t, p, "OPTIONS", "/", "", fields...)
			require.Empty(t, body)
			require.Equal(t, []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}, resp.Header["Vary"], "C1")
			return resp
		}
		resp := preflight("Origin: http://A.example", "Access-Control-Request-Method: post", "Access-Control-Request-Headers: x-c,X-D")
		require.Equal(t, 200, resp.StatusCode, "C1, C2")
		for name, want := range map[string]string{
			"Origin": "http://A.example", "Credentials": "true", "Methods": "HEAD, GET, POST, PUT, DELETE, OPTIONS, PATCH", "Headers": "X-C, X-D",
		} {
			require.Equal(t, want, resp.Header.Get("Access-Control-Allow-"+name), "C1")
		}
		require.Equal(t, "5", resp.Header.Get("Access-Control-Max-Age"))
		for _, bad := range [][]string{
			{"Access-Control-Request-Method: POST"},
			{"Origin: http://b.example", "Access-Control-Request-Method: POST"},
			{"Origin: http://a.example", "Access-Control-Request-Method: FOO"},
			{"Origin: http://a.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: X-E"},
		} {
			resp = preflight(bad...)
			require.Equal(t, 400, resp.StatusCode, "C1: %v", bad)
			require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
		}
		resp, body := nuclioAsk(t, p, "OPTIONS", "/", "", "Origin: http://a.example")
		require.Equal(t, "ran OPTIONS", body, "C4")
		require.Equal(t, []string{"Origin"}, resp.Header["Vary"], "C3")
		require.Equal(t, "http://a.example", resp.Header.Get("Access-Control-Allow-Origin"), "C3")
		require.Equal(t, "true", resp.Header.Get("Access-Control-Allow-Credentials"), "C3")
		require.Equal(t, "X-A, X-B", resp.Header.Get("Access-Control-Expose-Headers"), "C3")
		for _, origin := range []string{"X-None: 1", "Origin: http://b.example"} {
			resp, body = nuclioAsk(t, p, "GET", "/", "", origin)
			require.Equal(t, 200, resp.StatusCode, "C3, B7")
			require.Equal(t, map[bool]string{false: "ran GET", true: ""}[compatible], body, "B7")
			require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
			require.Equal(t, []string{"Origin"}, resp.Header["Vary"], "C3")
		}
		const labels = `function="fn",instance="ns-fn",namespace="ns",project="proj",result="%s",trigger_id="web",trigger_kind="http"}`
		failures := map[bool]float64{false: 4, true: 6}[compatible]
		require.InDelta(t, failures, p.series("nuclio_processor_handled_events_total{"+fmt.Sprintf(labels, "failure")), 0, "C5")
	}
}

// §5.6, §8.7: the lines of a request in its answer, and in the log.
func TestNuclio56LogsInTheAnswer(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files: py("def handler(context, event):", "    log = context.logger", "    log.debug('low %d', 1)", "    log.info_with('mid', a=1, b={'c': None})",
			"    log.warn('high')", "    if event.body == b'raise': raise ValueError('no')", "    if event.body == b'long': log.error('x' * 5000)"),
		platform: "logger:\n  sinks:\n    out: {kind: stdout, attributes: {encoding: json, timeFieldName: at, timeFieldEncoding: iso8601, varGroupName: more}}\n  functions: [{level: info, sink: out}]\n",
	})
	logs := func(level, body string) []map[string]any {
		resp, _ := nuclioAsk(t, p, "POST", "/", body, "X-Nuclio-Log-Level: "+level)
		require.Len(t, resp.Header["X-Nuclio-Logs"], 1)
		var all []map[string]any
		require.NoError(t, json.Unmarshal([]byte(resp.Header.Get("X-Nuclio-Logs")), &all))
		return all
	}
	all := logs("whatever", "")
	require.Len(t, all, 3, "an unknown level is debug, and the sinks' level is not ours")
	require.Equal(t, "low 1", all[0]["message"])
	require.Equal(t, "web", all[1]["name"])
	require.InDelta(t, 1, all[1]["a"], 0)
	require.InDelta(t, float64(time.Now().UnixMilli()), all[1]["time"], 100_000)
	require.Equal(t, "0", all[2]["worker_id"])
	require.Len(t, logs("warn", ""), 1)
	require.Empty(t, logs("error", ""))
	require.Len(t, logs("error", "raise"), 1, "also in a 500")
	resp, _ := nuclioAsk(t, p, "POST", "/", "long", "X-Nuclio-Log-Level: error")
	require.Empty(t, resp.Header["X-Nuclio-Logs"])
	resp, _ = nuclioAsk(t, p, "POST", "/", "")
	require.Empty(t, resp.Header["X-Nuclio-Logs"])

	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "too long for a field") }, 10*time.Second, time.Millisecond)
	var found map[string]any
	for line := range strings.Lines(p.log.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["message"] == "mid" {
			found = record
		}
	}
	require.Equal(t, "info", found["level"])
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, found["at"])
	require.Equal(t, map[string]any{"worker_id": "0", "a": 1.0, "b": map[string]any{"c": nil}}, found["more"])
	require.NotContains(t, p.log.String(), `"low 1"`)
}

// §8.7: the console.
func TestNuclio87Console(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py("import sys", "def init_context(context): context.logger.info('at the start')", "def handler(context, event):", "    print('printed')", "    print('cried', file=sys.stderr)", "    context.logger.error_with('two\\nlines', a='b')")})
	_, _ = p.get("/")
	for _, want := range []string{`(?m)^printed$`, `(?m)^cried$`, `(?m)^\d\d\.\d\d\.\d\d \d\d:\d\d:\d\d\.\d{3} \(I\) sor\.http\.w0\.python\.logger at the start {"worker_id": "0"}$`, `\(E\) sor\.http\.w0\.python\.logger two\\nlines {"worker_id": "0", "a": "b"}`} {
		require.Eventually(t, func() bool { return regexpMatch(want, p.log.String()) }, 10*time.Second, time.Millisecond, want)
	}
}

// §6: events of the clock, and the one of the start, with a pool of their own.
func TestNuclio6CronAndKickstart(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files: py("def handler(context, event):", "    print('event', event.trigger.kind, event.trigger.name, event.body, event.method, event.path, event.headers.get('X-A'), event.timestamp.year > 2000, flush=True)", "    if event.body == b'bad': raise ValueError('bad event')"),
		triggers: "    tick: {kind: cron, attributes: {interval: 50ms, event: {body: tock, path: /p, headers: {x-a: 5}}}}\n" +
			"    first: {kind: kickstart, attributes: {event: {body: go, method: PUT}}}\n    broken: {kind: kickstart, attributes: {event: {body: bad}}}\n",
	})
	require.InDelta(t, 1, p.series(`nuclio_processor_handled_events_total{function="fn",instance="ns-fn",namespace="ns",project="proj",result="success",trigger_id="first",trigger_kind="kickstart"}`), 0, "the start waits for it")
	for _, want := range []string{"event cron tick b'tock'  /p 5 False\n", "event kickstart first b'go' PUT / None True\n", "event was not handled"} {
		require.Eventually(t, func() bool { return strings.Contains(p.log.String(), want) }, 10*time.Second, time.Millisecond, want)
	}
	require.Eventually(t, func() bool { return strings.Count(p.log.String(), "event cron tick") > 3 }, 10*time.Second, time.Millisecond)
	const labels = `function="fn",instance="ns-fn",namespace="ns",project="proj",result="success",trigger_id="tick",trigger_kind="cron"}`
	require.Greater(t, p.series("nuclio_processor_handled_events_total{"+labels), 2.0)
}

// H8: a body that comes slowly holds no worker, in whatever framing. §2.1: a pod may have no http trigger.
func TestNuclioH8SlowBodiesHoldNoWorker(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py("def handler(context, event): return str(len(event.body))"), trigger: "      attributes: {maxRequestBodySize: 8000000}\n"})
	half, whole := strings.Repeat("x", 500_000), strings.Repeat("x", 5_000_000)
	for name, parts := range map[string][2]string{
		"length":             {"Content-Length: 1000000\r\n\r\n" + half, half},
		"chunks":             {"Transfer-Encoding: chunked\r\n\r\nf4240\r\n" + half, half + "\r\n0\r\n\r\n"},
		"more than is usual": {"Content-Length: 5000001\r\n\r\n" + whole, "x"},
	} {
		c, err := net.Dial("tcp", p.listen)
		require.NoError(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: h\r\n%s", parts[0])
		require.NoError(t, err)
		for range 3 {
			_, body := nuclioAsk(t, p, "POST", "/", "ok")
			require.Equal(t, "2", body, name)
		}
		_, err = c.Write([]byte(parts[1]))
		require.NoError(t, err)
		answer := make([]byte, 64)
		n, err := c.Read(answer)
		require.NoError(t, err)
		require.Contains(t, string(answer[:n]), "HTTP/1.1 200 OK", name)
	}
}

func TestNuclio21NoHTTPTrigger(t *testing.T) {
	t.Parallel()
	p := prepareNuclio(t, nuclioSpec{files: py("def handler(context, event): print('tick', event.body, flush=True)")})
	file := filepath.Join(p.dir, "processor.yaml")
	for _, triggers := range []string{"{tick: {kind: cron, attributes: {interval: 50ms}}}", "{}"} {
		require.NoError(t, os.WriteFile(file, []byte("spec:\n  runtime: python\n  handler: main:handler\n  triggers: "+triggers+"\n"), 0o600))
		q := &nuclioPod{pod: &pod{t: t, listen: p.listen, admin: p.admin, ended: make(chan struct{})}, dir: p.dir, health: p.health, web: p.web}
		q.cmd = exec.Command(p.cmd.Path, p.cmd.Args[1:]...)
		q.cmd.Args[0], q.cmd.Env, q.cmd.WaitDelay = p.cmd.Args[0], p.cmd.Env, p.cmd.WaitDelay
		q.cmd.Stdout, q.cmd.Stderr = &q.log, &q.log
		q.begin()
		q.waitHealthy()
		_, err := net.Dial("tcp", q.listen)
		require.Error(t, err, "nothing listens")
		if triggers != "{}" {
			require.Eventually(t, func() bool { return strings.Contains(q.log.String(), "tick") }, 10*time.Second, time.Millisecond)
		}
		q.signal(syscall.SIGTERM)
		require.Equal(t, 0, q.exit())
	}
}
