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

// Kubeless contract PY7 to PY15: methods, event and context.
func TestKubelessPY11PythonEvent(t *testing.T) {
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
	require.Equal(t, []string{
		`['data', 'event-id', 'event-namespace', 'event-time', 'event-type', 'extensions']`, `['function-name', 'memory-limit', 'runtime', 'timeout']`,
		`{'a': 1}`, `'i'`, `'t'`, `'z'`, `'n'`, `'hello'`, `5.0`, `'python3.8'`, `'128Mi'`,
		`'POST'`, `'/a b'`, `'2'`, `['1', '2']`, `None`, `'b'`, `b'{"a": 1}'`, `None`,
	}, strings.Split(string(a.body), "\n"))

	data := func(method, kind, body string) frame {
		return w.ask(request(2, method, "/", "", []byte(body), "content-type", kind))
	}
	require.Contains(t, string(data("POST", "application/json; charset=utf-8", `{}`).body), "\n{}\n", "PY11: as Node does")
	require.Contains(t, string(data("GET", "application/json", ``).body), "\nNone\n", "PY12")
	require.Equal(t, byte(tError), data("POST", "application/json", `{`).kind, "PY12")
	require.Contains(t, string(data("POST", "application/x-www-form-urlencoded", `f=g`).body), "\n'g'")
	require.Equal(t, uint16(200), data("HEAD", "", "").code, "PY8")
	require.Equal(t, "UnusableBody", data("POST", "application/json", `{`).pair("type"), "PY12")
	require.Equal(t, uint16(200), data("PUT", "", "").code, "PY9")
	require.Equal(t, uint16(405), data("OPTIONS", "", "").code, "PY9")

	w = start(t, python, handler, options{
		function: "hello", contract: wrapper.Kubeless, env: []string{"FNPOD_WORKER_KUBELESS_STRICT=true", "FUNC_MEMFILE_MAX=8"},
	})
	require.Contains(t, string(data("POST", "application/json; charset=utf-8", `{}`).body), "\nb'{}'\n", "PY11: exactly the type")
	require.Contains(t, string(data("POST", "application/json", `{}`).body), "\n{}\n", "PY11")
	require.Equal(t, uint16(405), data("PUT", "", "").code, "PY9")
	require.Equal(t, uint16(413), data("POST", "application/json", `"1234567"`).code, "PY13")
	require.Equal(t, uint16(200), data("POST", "text/plain", `"1234567"`).code, "PY13")
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
