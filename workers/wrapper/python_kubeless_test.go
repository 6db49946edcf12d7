package wrapper_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// pythonReturns is what a handler returns or raises, after pythonPrelude.
var pythonReturns = []struct {
	name, result string
	status       uint16 // 0: an error, 500
	contentType  string
	body         string
}{
	{"PY19 str", `"grüß"`, 200, pageType, "grüß"},
	{"PY20 bytes", `b"\x00\xff"`, 200, pageType, "\x00\xff"},
	{"PY21 dict", `{"b": 1, "a": [None]}`, 200, jsonType, `{"b": 1, "a": [null]}`},
	{"PY22 empty dict", `{}`, 200, jsonType, `{}`},
	{"PY22 None", `None`, 200, pageType, ""},
	{"PY22 empty str", `""`, 200, pageType, ""},
	{"PY22 zero", `0`, 200, pageType, ""},
	{"PY22 False", `False`, 200, pageType, ""},
	{"PY22 list of str", `["a", "b"]`, 200, pageType, "ab"},
	{"PY22 list of bytes", `[b"a", b"b"]`, 200, pageType, "ab"},
	{"PY22 list of numbers", `[1, 2]`, 0, "", ""},
	{"PY23 number", `7`, 0, "", ""},
	{"PY23 True", `True`, 0, "", ""},
	{"PY24 HTTPResponse", `HTTPResponse("tea", 418, [("X-A", "b"), ("Content-Type", "text/plain")])`, 418, "text/plain", "tea"},
	{"PY24 HTTPResponse without a type", `HTTPResponse("", 204, [])`, 204, "", ""},
	{"PY24 HTTPResponse of dict", `HTTPResponse({"a": 1}, 201, [])`, 201, jsonType, `{"a": 1}`},
	{"PY24 HTTPResponse raised", `fail(HTTPResponse("gone", 410, [("Content-Type", "text/css")]))`, 410, "text/css", "gone"},
	{"PY25 exception", `1 / 0`, 0, "", ""},
}

const (
	pageType      = "text/html; charset=UTF-8"
	pythonPrelude = `
class HTTPResponse(Exception):  # as bottle's
    def __init__(self, body, status, headers):
        self.body, self.status_code, self.headerlist = body, status, headers
def fail(e): raise e
`
)

// Kubeless contract PY19 to PY25: what a handler returns or raises.
func TestKubelessPY19PythonReturns(t *testing.T) {
	t.Parallel()
	for _, c := range pythonReturns {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, python, pythonPrelude+"def handler(event, context):\n  return "+c.result+"\n", options{contract: wrapper.Kubeless})
			for id := range uint32(2) {
				a := w.ask(get(id + 1))
				if c.status == 0 {
					require.Equal(t, byte(tError), a.kind)
					continue
				}
				require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
				require.Equal(t, c.status, a.code)
				require.Equal(t, c.contentType, a.pair("content-type"))
				require.Equal(t, c.body, string(a.body))
			}
		})
	}
}

// kubelessAsk asks a worker with a body of a type.
func kubelessAsk(w *worker, method, kind, body string) frame {
	return w.ask(request(2, method, "/", "", []byte(body), "content-type", kind))
}

// Kubeless contract PY11, PY14, PY15: event, context and request.
func TestKubelessPY11PY14PY15PythonEvent(t *testing.T) {
	t.Parallel()
	const handler = `
def hello(event, context):
    r = event['extensions']['request']
    return '\n'.join(map(repr, [sorted(event), sorted(context), event['data'], event['event-id'], event['event-type'], event['event-time'],
        event['event-namespace'], context['function-name'], context['timeout'], context['runtime'], context['memory-limit'],
        r.method, r.path, r.query.a, r.query.getall('a'), r.query.get('none'), r.get_header('X-a'), r.body.read(), r.forms.get('f')]))
`
	w := start(t, python, handler, options{
		function: "hello", contract: wrapper.Kubeless, env: []string{"FUNC_TIMEOUT=5", "FUNC_RUNTIME=python3.8", "FUNC_MEMORY_LIMIT=128Mi"},
	})
	a := w.ask(request(1, "POST", "/a%20b", "a=1&a=2", []byte(`{"a": 1}`), "content-type", "application/json",
		"event-id", "i", "event-type", "t", "event-time", "z", "event-namespace", "n", "x-a", "b"))
	require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
	got := strings.Split(string(a.body), "\n")
	require.Len(t, got, 19)
	t.Run("PY11", func(t *testing.T) {
		require.Equal(t, []string{`{'a': 1}`, `'i'`, `'t'`, `'z'`, `'n'`}, got[2:7])
		require.Equal(t, `['data', 'event-id', 'event-namespace', 'event-time', 'event-type', 'extensions']`, got[0], "exactly these keys")
	})
	t.Run("PY14", func(t *testing.T) {
		require.Equal(t, []string{`'POST'`, `'/a b'`, `'2'`, `['1', '2']`, `None`, `'b'`, `b'{"a": 1}'`, `None`}, got[11:])
		require.Contains(t, string(kubelessAsk(w, "POST", "application/x-www-form-urlencoded", `f=g`).body), "\n'g'")
	})
	t.Run("PY15", func(t *testing.T) {
		require.Equal(t, `['function-name', 'memory-limit', 'runtime', 'timeout']`, got[1])
		require.Equal(t, []string{`'hello'`, `5.0`, `'python3.8'`, `'128Mi'`}, got[7:11])
	})
}

// Kubeless contract PY15: a function under another name shows its own, and what is not set is None.
func TestKubelessPY15PythonContext(t *testing.T) {
	t.Parallel()
	w := start(t, python, "def inner(event, context):\n  return repr(context)\nhello = inner\n", options{
		function: "hello", contract: wrapper.Kubeless, env: []string{"FUNC_TIMEOUT=180"},
	})
	require.Equal(t, "{'function-name': 'inner', 'timeout': 180.0, 'runtime': None, 'memory-limit': None}", string(w.ask(get(1)).body))
}

// Kubeless contract PY8, PY9, PY11 to PY13: methods, types and sizes, and what strict makes of them.
func TestKubelessPY12PythonBodies(t *testing.T) {
	t.Parallel()
	const handler = "def handler(event, context):\n  return repr(event['data'])\n"
	for _, c := range []struct {
		rule, method, kind, body string
		status, strict           uint16 // 0: an error, and the function was not called
		data, strictData         string
	}{
		{"PY8", "HEAD", "", "", 200, 200, `b''`, `b''`},
		{"PY9 PUT", "PUT", "", "", 200, 405, `b''`, ""},
		{"PY9 OPTIONS", "OPTIONS", "", "", 405, 405, "", ""},
		{"PY11 exactly", "POST", "application/json", `{}`, 200, 200, `{}`, `{}`},
		{"PY11 parameters, as in Node", "POST", "application/json; charset=utf-8", `{}`, 200, 200, `{}`, `b'{}'`},
		{"PY11 capitals", "POST", "Application/JSON", `{}`, 200, 200, `{}`, `b'{}'`},
		{"PY11 another type", "POST", "text/plain", `{}`, 200, 200, `b'{}'`, `b'{}'`},
		{"PY12 nothing", "POST", "application/json", "", 200, 200, "None", "None"},
		{"PY12 invalid", "POST", "application/json", "{", 0, 0, "", ""},
		{"PY12 not in UTF-8", "POST", "application/json", "\"\xff\"", 0, 0, "", ""},
		{"PY13 JSON", "POST", "application/json", `"1234567"`, 413, 413, "", ""},
		{"PY13 JSON of the most", "POST", "application/json", `"123456"`, 200, 200, `'123456'`, `'123456'`},
		{"PY13 no JSON", "POST", "text/plain", `"1234567"`, 200, 200, `b'"1234567"'`, `b'"1234567"'`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			for strict, want := range map[string]struct {
				status uint16
				data   string
			}{"false": {c.status, c.data}, "true": {c.strict, c.strictData}} {
				w := start(t, python, handler, options{contract: wrapper.Kubeless, env: []string{"FNPOD_WORKER_KUBELESS_STRICT=" + strict, "FUNC_MEMFILE_MAX=8"}})
				a := kubelessAsk(w, c.method, c.kind, c.body)
				if want.status == 0 {
					require.Equal(t, byte(tError), a.kind)
					require.Equal(t, "UnusableBody", a.pair("type"))
					continue
				}
				require.Equal(t, want.status, a.code)
				if want.status == 200 {
					require.Equal(t, want.data, string(a.body))
				}
			}
		})
	}
}

// Kubeless contract C1 to C4: what callers send reaches the event as it was sent, and what they do not send is None.
func TestKubelessC1PythonCallers(t *testing.T) {
	t.Parallel()
	w := start(t, python, "def handler(event, context):\n  return repr([event[k] for k in ('data', 'event-id', 'event-type', 'event-time', 'event-namespace')])\n",
		options{contract: wrapper.Kubeless})
	for _, c := range kubelessCallers {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.python, string(w.ask(request(1, c.method, "/", "", []byte(c.body), c.fields...)).body))
		})
	}
}

// kubelessCallers are requests of those who call functions, and what the functions see.
var kubelessCallers = []struct {
	name, method, body string
	fields             []string
	python, node       string // data, id, type, time and namespace
}{
	{
		"C1 kubeless function call", "GET", "",
		[]string{"event-id", "dGhpcyBpcyBhbg", "event-time", "2021-01-07T10:00:00Z", "event-namespace", "cli.kubeless.io"},
		`[b'', 'dGhpcyBpcyBhbg', None, '2021-01-07T10:00:00Z', 'cli.kubeless.io']`, `[{},"dGhpcyBpcyBhbg",null,"2021-01-07T10:00:00Z","cli.kubeless.io"]`,
	},
	{
		"C1 with an object", "POST", `{"a": 1}`,
		[]string{"content-type", "application/json", "event-id", "i", "event-type", "application/json", "event-time", "2021-01-07T10:00:00Z", "event-namespace", "cli.kubeless.io"},
		`[{'a': 1}, 'i', 'application/json', '2021-01-07T10:00:00Z', 'cli.kubeless.io']`, `[{"a":1},"i","application/json","2021-01-07T10:00:00Z","cli.kubeless.io"]`,
	},
	{
		"C1 with a text", "POST", "text",
		[]string{"content-type", "application/x-www-form-urlencoded", "event-id", "i", "event-type", "application/x-www-form-urlencoded"},
		`[b'text', 'i', 'application/x-www-form-urlencoded', None, None]`, `["text","i","application/x-www-form-urlencoded",null,null]`,
	},
	{
		"C2 a trigger", "POST", `{"a": 1}`,
		[]string{"content-type", "application/json", "event-id", "i", "event-type", "application/json", "event-time", "2018-05-18 05:40:42.881137473 +0000 UTC", "event-namespace", "kafkatriggers.kubeless.io"},
		`[{'a': 1}, 'i', 'application/json', '2018-05-18 05:40:42.881137473 +0000 UTC', 'kafkatriggers.kubeless.io']`,
		`[{"a":1},"i","application/json","2018-05-18 05:40:42.881137473 +0000 UTC","kafkatriggers.kubeless.io"]`,
	},
	{
		"C3 a cron job", "GET", "",
		[]string{"event-id", "4d2c", "event-type", "application/json", "event-time", "2021-01-07 10:00:00+00:00", "event-namespace", "cronjobtrigger.kubeless.io"},
		`[b'', '4d2c', 'application/json', '2021-01-07 10:00:00+00:00', 'cronjobtrigger.kubeless.io']`,
		`[{},"4d2c","application/json","2021-01-07 10:00:00+00:00","cronjobtrigger.kubeless.io"]`,
	},
	{"C4 anybody", "DELETE", "", nil, `[b'', None, None, None, None]`, `[{},null,null,null,null]`},
}

// Kubeless contract PY14: bottle's request has a path that bottle has decoded.
func TestKubelessPY14BottleRequest(t *testing.T) {
	t.Parallel()
	const bottle = `
class LocalRequest:
    def __init__(self, environ): self.environ = environ
`
	w := start(t, python, "import bottle\ndef handler(event, context):\n  return event['extensions']['request'].environ['PATH_INFO']",
		options{contract: wrapper.Kubeless, files: map[string]string{"function/bottle.py": bottle}})
	require.Equal(t, "/a b/ü", string(w.ask(request(1, "GET", "/a%20b/%C3%BC", "", nil)).body))
}
