package wrapper_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

const htmlType = "text/html; charset=utf-8"

// OpenFaaS contract §19, the table of python3-http, and what Flask makes of tuples. The interpreter of this test needs no
// Flask; e2e has the same handlers beside the real one.
func TestOpenFaaS19PythonHTTPReturns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, result string
		status       uint16
		contentType  string
		body         string
	}{
		{"None", `None`, 200, htmlType, ""},
		{"str", `"grüß"`, 200, htmlType, "grüß"},
		{"bytes", `b"\x00\xff"`, 200, htmlType, "\x00\xff"},
		{"body and status", `("no", 404)`, 404, htmlType, "no"},
		{"status as text", `("no", "404 Not Found")`, 404, htmlType, "no"},
		{"body and headers", `("a", {"X-A": 1})`, 200, htmlType, "a"},
		{"body, status, headers", `(b"a", 201, {"content-TYPE": "x/y"})`, 201, "x/y", "a"},
		{"list", `[1, "ü"]`, 200, jsonType, "[1,\"\\u00fc\"]\n"},
		{"dict in a tuple", `({"b": 1, "a": 2}, 202)`, 202, jsonType, "{\"a\":2,\"b\":1}\n"},
		{"empty dict", `{}`, 200, htmlType, ""},
		{"dict with other keys", `{"answer": 42}`, 200, htmlType, ""},
		{"dict with status", `{"statusCode": 201}`, 201, htmlType, ""},
		{"numeric text as status", `{"statusCode": "201", "body": "a"}`, 201, htmlType, "a"},
		{"dict as body", `{"body": {"b": 1, "a": None}}`, 200, jsonType, "{\"a\":null,\"b\":1}\n"},
		{"list as body", `{"body": [1, 2]}`, 200, htmlType, "[1, 2]"},
		{"None as body", `{"body": None}`, 200, htmlType, "None"},
		{"bytes as body", `{"body": b"ab"}`, 200, htmlType, "b'ab'"},
		{"bytes as body of the type that -debian looks for", `{"body": b"\x00\xff", "headers": {"Content-type": "application/octet-stream"}}`, 200, binaryType, "\x00\xff"},
		{"the type in another spelling", `{"body": b"ab", "headers": {"Content-Type": "application/octet-stream"}}`, 200, binaryType, "b'ab'"},
		{"int as body", `{"body": 7}`, 200, htmlType, "7"},
		{"headers", `{"body": "a", "headers": {"Content-type": "text/plain"}}`, 200, "text/plain", "a"},
		{"headers as pairs", `{"body": "a", "headers": [("Content-Type", "text/css")]}`, 200, "text/css", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, python, "def handle(event, context):\n  return "+c.result+"\n", options{contract: wrapper.OpenFaaSHTTP})
			for id := range uint32(2) {
				a := w.ask(get(id + 1))
				require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
				require.Equal(t, c.status, a.code)
				require.Equal(t, c.contentType, a.pair("content-type"))
				require.Equal(t, c.body, string(a.body))
				require.Equal(t, 1, strings.Count(a.meta, "content-type"))
			}
		})
	}
}

// OpenFaaS contract §19: what is no answer is a 500.
func TestOpenFaaS19PythonHTTPErrors(t *testing.T) {
	t.Parallel()
	for _, result := range []string{`7`, `(None, 200)`, `("a",)`, `object()`, `1/0`, `exit(3)`, `{"statusCode": "x"}`} {
		w := start(t, python, "def handle(event, context):\n  return "+result+"\n", options{contract: wrapper.OpenFaaSHTTP})
		a := w.ask(get(1))
		require.Equalf(t, byte(tError), a.kind, "%s %s", a.meta, a.body)
		require.NotContains(t, string(a.body), "fnpod")
		require.Equal(t, byte(tError), w.ask(get(2)).kind, "the worker goes on")
	}
}

// OpenFaaS contract §19: event and context of python3-http.
func TestOpenFaaS19PythonHTTPEvent(t *testing.T) {
	t.Parallel()
	const handler = `
from . import sibling
import os

def handle(event, context):
    h, q = event.headers, event.query
    missing = []
    for f in (lambda: h['None'], lambda: q['none']):
        try: f()
        except KeyError as e: missing.append(str(e))
    return {'body': '\n'.join(map(repr, [
        event.method, event.path, event.body, context.hostname, sibling.__name__,
        os.path.samefile(os.getcwd(), sibling.__file__.rpartition('/')[0]),
        h['x-a'], h.get('X-A'), h.get('x-n', type=int), h.get('none'), h.get('none', 5), 'x-A' in h, h.getlist('X-A'), list(h), dict(h),
        q['a'], q.get('a'), q.getlist('a'), q.get('n', type=int), q.get('a', 7, type=int), q.get('none'), q['empty'], q['word'],
        list(q), list(q.items()), list(q.items(multi=True)), q.to_dict(), q.to_dict(flat=False), missing]))}
`
	w := start(t, python, handler, options{
		contract: wrapper.OpenFaaSHTTP, env: []string{"HOSTNAME=pod-1"}, files: map[string]string{"function/sibling.py": ""},
	})
	a := w.ask(request(1, "PATCH", "/a%20b/%C3%BC", "a=1&a=2&n=5&empty=&word&%C3%BC=+x", []byte("body"),
		"host", "h", "x-a", "1", "x-n", "3", "x-a", "2"))
	require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
	require.Equal(t, []string{
		`'PATCH'`, `'/a b/ü'`, `b'body'`, `'pod-1'`, `'function.sibling'`, `False`,
		`'1, 2'`, `'1, 2'`, `3`, `None`, `5`, `True`, `['1, 2']`, `[('Host', 'h'), ('X-A', '1, 2'), ('X-N', '3')]`, `{'Host': 'h', 'X-A': '1, 2', 'X-N': '3'}`,
		`'1'`, `'1'`, `['1', '2']`, `5`, `1`, `None`, `''`, `''`,
		`['a', 'n', 'empty', 'word', 'ü']`,
		`[('a', '1'), ('n', '5'), ('empty', ''), ('word', ''), ('ü', ' x')]`,
		`[('a', '1'), ('a', '2'), ('n', '5'), ('empty', ''), ('word', ''), ('ü', ' x')]`,
		`{'a': '1', 'n': '5', 'empty': '', 'word': '', 'ü': ' x'}`,
		`{'a': ['1', '2'], 'n': ['5'], 'empty': [''], 'word': [''], 'ü': [' x']}`,
		`["'none'", "'none'"]`,
	}, strings.Split(string(a.body), "\n"))
}

// OpenFaaS contract §19, §20: the handler is function.handler of a package, which may have a body of its own; packages of the image lie
// in a folder beside it, with their .pth files; what is called init is nothing special.
func TestOpenFaaS20PythonImage(t *testing.T) {
	t.Parallel()
	const handler = `
import function, installed, pointed
from .parts import greeting
called = []
def init(): called.append(1)
def handle(event, context):
    return {'body': ' '.join([__name__, __package__, function.setting, greeting.text, installed.text, pointed.text, str(called)])}
`
	w := start(t, python, handler, options{contract: wrapper.OpenFaaSHTTP, files: map[string]string{
		"function/__init__.py": "setting = 'set'", "function/parts/greeting.py": "from .. import setting as text",
		"python/installed.py": "text = 'installed'", "python/more.pth": "../elsewhere\n", "elsewhere/pointed.py": "text = 'pointed'",
	}})
	require.Equal(t, "function.handler function set set installed pointed []", string(w.ask(get(1)).body))
}

// OpenFaaS contract §19: an argument that is not there is Flask's 400; methods; what is printed is log (§23.4).
func TestOpenFaaS19PythonHTTPMethods(t *testing.T) {
	t.Parallel()
	const handler = "def handle(event, context):\n  print('printed')\n  return event.query['a']\n"
	w := start(t, python, handler, options{contract: wrapper.OpenFaaSHTTP})
	for i, c := range []struct {
		method, query string
		status        uint16
	}{
		{"GET", "a=1", 200},
		{"HEAD", "a=1", 200},
		{"PUT", "a=1", 200},
		{"POST", "a=1", 200},
		{"PATCH", "a=1", 200},
		{"DELETE", "a=1", 200},
		{"OPTIONS", "", 200},
		{"PROPFIND", "a=1", 405},
		{"GET", "b=1", 400},
	} {
		a := w.ask(request(uint32(i+1), c.method, "/", c.query, nil))
		require.Equal(t, c.status, a.code, c.method)
		require.Equal(t, htmlType, a.pair("content-type"))
		if c.method == "OPTIONS" || c.status == 405 {
			require.Equal(t, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT", a.pair("allow"))
		}
	}
	w.stdout.requires(t, "printed\n")
}

// OpenFaaS contract §19: python3-flask has the body only, as text unless RAW_BODY says otherwise.
func TestOpenFaaS19PythonFlask(t *testing.T) {
	t.Parallel()
	const handler = "def handle(req):\n  return repr(req) if req else None\n"
	for env, body := range map[string]string{"RAW_BODY=false": `'a�'`, "RAW_BODY=1": `b'a\xff'`, "RAW_BODY=True": `b'a\xff'`} {
		w := start(t, python, handler, options{contract: wrapper.OpenFaaSFlask, env: []string{env}})
		a := w.ask(request(1, "POST", "/", "", []byte("a\xff")))
		require.Equal(t, body, string(a.body))
		require.Equal(t, htmlType, a.pair("content-type"))
		require.Equal(t, byte(tError), w.ask(get(2)).kind, "None is no answer here")
		a = w.ask(request(3, "PUT", "/", "", nil))
		require.Equal(t, uint16(405), a.code)
		require.Equal(t, "GET, HEAD, OPTIONS, POST", a.pair("allow"))
	}
}

// OpenFaaS contract §19, §23.1, §23.4: text in, what is printed out, the request in variables.
func TestOpenFaaS19PythonClassic(t *testing.T) {
	t.Parallel()
	const handler = `
import os, sys, subprocess
def handle(req):
    if req == 'exit 0': print('so far'); sys.exit()
    if req == 'exit 3': print('lost'); sys.exit(3)
    if req == 'none': return
    if req == 'child': subprocess.run(['echo', 'of a child']); return 5
    if req == 'cd': os.chdir('/'); return os.getcwd()
    if req == 'env': return sorted((k, v) for k, v in os.environ.items() if k.startswith('Http_'))
    print('printed', end=';')
    sys.stdout.buffer.write(b'')
    print('log', file=sys.stderr)
    return req.upper() + os.path.basename(os.getcwd() and __name__) + sys.stdin.read()
`
	w := start(t, python, handler, options{contract: wrapper.OpenFaaSClassic})
	id := uint32(0)
	ask := func(body string, fields ...string) frame {
		id++
		return w.ask(request(id, "POST", "/p%20q", "a=b", []byte(body), fields...))
	}
	require.Equal(t, "printed;A\r\nB\xfffunction.handler\n", string(ask("a\r\nb\xff").body))
	require.Equal(t, "so far\n", string(ask("exit 0").body))
	require.Equal(t, byte(tError), ask("exit 3").kind)
	require.Empty(t, ask("none").body)
	require.Equal(t, "of a child\n5\n", string(ask("child").body))
	require.Equal(t, "/\n", string(ask("cd").body))
	require.NotEqual(t, "/\n", string(ask("pwd").body))
	require.Equal(t, `[('Http_ContentLength', '3'), ('Http_Content_Length', '3'), ('Http_Host', 'example.com:8080'), `+
		`('Http_Method', 'POST'), ('Http_Path', '/p q'), ('Http_Query', 'a=b'), ('Http_X_Foo_Bar', '1')]`+"\n",
		string(ask("env", "x-foo-bar", "1", "x-foo-bar", "2").body))
	require.NotContains(t, string(ask("env").body), "Foo", "gone with its request")

	require.Equal(t, "x/y", ask("a", "content-type", "x/y").pair("content-type"), "classic §17: that of the request")
	require.Equal(t, textType, ask("a").pair("content-type"))
	w.stderr.requires(t, "log\n")
	w.stderr.requires(t, "lost\n", "of a call that failed")
	require.Empty(t, w.stdout.String())
}
