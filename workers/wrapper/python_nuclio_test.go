package wrapper_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

const tLog = 0x23

// Nuclio contract §8.5: what a handler returns.
func TestNuclio85PythonReturns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, result string
		status       uint16
		contentType  string
		body         string
	}{
		{"str", `"grüß"`, 200, "text/plain", "grüß"},
		{"lone surrogate", `"a\ud800"`, 200, "text/plain", "a\ufffd"},
		{"bytes", `b"\x00\xff"`, 200, "text/plain", "\x00\xff"},
		{"dict", `{"b": 1, "a": [None, True]}`, 200, jsonType, `{"b": 1, "a": [null, true]}`},
		{"dict with numbers that JSON has not", `{"a": float("nan"), "b": [float("inf"), -float("inf")]}`, 200, jsonType, `{"a": "NaN", "b": ["Infinity", "-Infinity"]}`},
		{"dict with an object", `{"a": b"x"}`, 200, jsonType, `{"a": "b'x'"}`},
		{"status and str", `(201, "made")`, 201, "text/plain", "made"},
		{"status and dict", `(202, {"a": 1})`, 202, jsonType, `{"a": 1}`},
		{"status and bytes", `(202, b"a")`, 202, jsonType, `"b'a'"`},
		{"list", `["first", "second"]`, 200, "text/plain", "first"},
		{"empty list", `[]`, 200, "text/plain", ""},
		{"None", `None`, 200, "text/plain", "None"},
		{"int", `42`, 200, "text/plain", "42"},
		{"3-tuple", `(200, "x", {})`, 200, "text/plain", "(200, 'x', {})"},
		{"Response", `context.Response(body="r", headers={"x-a": "b", "X-N": 5, "x-c": "d\r\ne", "Content-Type": "x/y"}, content_type="text/css", status_code=418)`, 418, "text/css", "r"},
		{"Response of dict", `context.Response(body={"a": 1}, content_type="text/css")`, 200, jsonType, `{"a": 1}`},
		{"Response of list", `context.Response(body=[1], content_type="text/css")`, 200, "text/css", `[1]`},
		{"Response without type", `context.Response(body="a", content_type="")`, 200, "text/plain", "a"},
		{"Response without anything", `context.Response(content_type="", body="")`, 200, "text/plain", ""},
		{"Response without type, but a header", `context.Response(content_type="", body="a", headers={"Content-Type": "x/y"})`, 200, "text/plain", "a"},
		{"status 0", `context.Response(body="a", status_code=0)`, 200, "text/plain", "a"},
	} {
		for _, def := range []string{"def", "async def"} {
			t.Run(c.name+"/"+def, func(t *testing.T) {
				t.Parallel()
				w := start(t, python, def+" handler(context, event):\n  return "+c.result+"\n", options{contract: wrapper.Nuclio})
				for id := range uint32(2) {
					a := w.ask(get(id + 1))
					require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
					require.Equal(t, c.status, a.code)
					require.Equal(t, c.contentType, a.pair("content-type"))
					require.Equal(t, c.body, string(a.body))
					if strings.Contains(c.result, "x-a") {
						require.Equal(t, "b", a.pair("x-a"))
						require.Equal(t, "d  e", a.pair("x-c"), "R3")
						require.Empty(t, a.pair("x-n"), "R2: what is no string is dropped")
					}
				}
			})
		}
	}
}

// Nuclio contract §8.6: every exception is a 500, and the worker goes on.
func TestNuclio86PythonErrors(t *testing.T) {
	t.Parallel()
	for _, result := range []string{`1/0`, `exit(3)`, `("200", "x")`, `(True, "x")`} {
		w := start(t, python, "def handler(context, event):\n  return "+result+"\n", options{contract: wrapper.Nuclio})
		for id := range uint32(2) {
			a := w.ask(get(id + 1))
			require.Equal(t, byte(tError), a.kind)
			require.Equal(t, uint16(500), a.code)
		}
	}
}

// Nuclio contract §8.2, §8.3, §8.4: init_context, context and event.
func TestNuclio84PythonEvent(t *testing.T) {
	t.Parallel()
	const handler = `
import nuclio_sdk

async def init_context(context):
    context.user_data.calls = 0

def handler(context, event):
    context.user_data.calls += 1
    assert isinstance(event, nuclio_sdk.Event) and nuclio_sdk.Response is context.Response
    return [e if isinstance(e, str) else e for e in [{
        'body': event.body.decode() if isinstance(event.body, bytes) else event.body, 'kind': type(event.body).__name__, 'content_type': event.content_type,
        'trigger': [event.trigger.kind, event.trigger.name, context.trigger_name], 'fields': event.fields, 'headers': event.headers,
        'method': event.method, 'path': event.path, 'size': event.size, 'url': event.url, 'rest': [event.shard_id, event.num_shards, event.type,
        event.type_version, event.version, event.last_in_batch, event.offset, event.topic], 'id': len(event.id), 'year': event.timestamp.year > 2000,
        'get': [event.get_header('CONTENT-type'), event.get_header('none')], 'calls': context.user_data.calls, 'worker': type(context.worker_id).__name__,
        'json': nuclio_sdk.Event.deserialize(event.to_json()).path}]]
`
	w := start(t, python, handler, options{contract: wrapper.Nuclio})
	a := w.ask(request(1, "FOO", "/a%20b/../c//d/%C3%BC", "a=1&a=2&c&%C3%BC=+", []byte(`{"a": 1}`),
		"host", "h", "content-type", "application/json", "x-foo-bar", "1", "x-foo-bar", "2", "cookie", "a=b; c=d"))
	require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
	require.JSONEq(t, `{"body": {"a": 1}, "kind": "dict", "content_type": "application/json", "trigger": ["http", "http", "http"],
		"fields": {"a": "2", "c": "", "ü": " "}, "headers": {"Host": "h", "Content-Type": "application/json", "X-Foo-Bar": "2", "Cookie": "a=b; c=d"},
		"method": "FOO", "path": "/c/d/ü", "size": 8, "url": "", "rest": [-1, 0, "", "", "", false, 0, ""], "id": 36, "year": true,
		"get": ["application/json", null], "calls": 1, "worker": "str", "json": "/c/d/ü"}`, string(a.body))

	for _, c := range []struct{ kind, body, want string }{
		{"application/json; charset=utf-8", `{"a": 1}`, "bytes"}, // exactly the type
		{"application/json", `{"a": `, "bytes"},
		{"application/json", `[1]`, "list"},
	} {
		a = w.ask(request(2, "POST", "/", "", []byte(c.body), "content-type", c.kind))
		var got map[string]any
		require.NoError(t, json.Unmarshal(a.body, &got))
		require.Equal(t, c.want, got["kind"])
	}
	w.stderr.requires(t, "Failed deserializing json body, error message: ")
}

// Nuclio contract §8.7: each call of the logger is one record with fields.
func TestNuclio87PythonLogger(t *testing.T) {
	t.Parallel()
	const handler = `
def init_context(context):
    context.logger.info('starting')
def handler(context, event):
    context.logger.warn_with('about %s', 'this', a=1, b={'c': 'd\0'})
    context.logger.bind(request='r').debug('%d %d', 1)
    context.logger.error('x' * 3000000)
`
	w := launch(t, python, handler, options{contract: wrapper.Nuclio})
	require.Equal(t, byte(tHello), w.read().kind)
	f := w.read()
	require.Equal(t, frame{kind: tLog, code: 1, body: []byte("starting"), size: 8}, f)
	require.Equal(t, byte(tReady), w.read().kind)
	w.send(get(7))
	require.Equal(t, frame{kind: tLog, code: 2, id: 7, meta: "a\x001\x00b\x00{'c': 'd\\x00'}", body: []byte("about this"), size: 10}, w.read())
	f = w.read()
	require.Equal(t, "request\x00r", f.meta)
	require.Equal(t, "%d %d (1,)", string(f.body))
	require.Len(t, w.read().body, 64<<10, "B15: a long line is cut")
	require.Equal(t, byte(tResponse), w.read().kind)
}

// Nuclio contract §8.2: what init_context raises ends the start.
func TestNuclio82PythonInitContextFails(t *testing.T) {
	t.Parallel()
	w := launch(t, python, "def init_context(context):\n  raise OSError('no disk')\ndef handler(context, event): pass\n", options{contract: wrapper.Nuclio})
	require.Equal(t, byte(tHello), w.read().kind)
	f := w.read()
	require.Equal(t, byte(tInitError), f.kind)
	require.Contains(t, string(f.body), "no disk")
	require.Equal(t, 1, w.ended())
}
