package wrapper_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	textType   = "text/plain; charset=utf-8"
	binaryType = "application/octet-stream"
	jsonType   = "application/json"
)

func TestPythonAnswersWithWhatTheHandlerReturns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, handler string
		status        uint16
		contentType   string
		body          string
	}{
		{"str", `return "grüß"`, 200, textType, "grüß"},
		{"empty str", `return ""`, 200, textType, ""},
		{"str subclass", `return type("S", (str,), {})("s")`, 200, textType, "s"},
		{"bytes", `return b"\x00\xff"`, 200, binaryType, "\x00\xff"},
		{"bytearray", `return bytearray(b"ab")`, 200, binaryType, "ab"},
		{"memoryview", `return memoryview(b"abc")[1:]`, 200, binaryType, "bc"},
		{"None", `return None`, 204, "", ""},
		{"dict", `return {"a": [1, 2.5, None, True], "ü": "\u20ac"}`, 200, jsonType, `{"a":[1,2.5,null,true],"ü":"€"}`},
		{"dict with a lone surrogate", `return {"a": "\ud800"}`, 200, jsonType, `{"a":"\ud800"}`},
		{"dict with a surrogate and an emoji", `return ["\ud800\U0001f600"]`, 200, jsonType, `["\ud800\ud83d\ude00"]`},
		{"list", `return [1, "b"]`, 200, jsonType, `[1,"b"]`},
		{"body and status", `return "no", 404`, 404, textType, "no"},
		{"http.HTTPStatus", "import http\n  return 'tea', http.HTTPStatus.GONE", 410, textType, "tea"},
		{"None and status", `return None, 202`, 202, "", ""},
		{"dict, status, headers", `return {}, 201, {"Content-Type": "application/hal+json", "X-A": "b"}`, 201, "application/hal+json", "{}"},
		{"headers as pairs", `return "<p>", 200, [("content-type", "text/html")]`, 200, "text/html", "<p>"},
		{"headers as bytes", `return "<p>", 200, [(b"content-type", b"text/html")]`, 200, "text/html", "<p>"},
		{"Response", "from fnpod import Response\n  return Response('r', 203, {'Content-Type': 'x/y'})", 203, "x/y", "r"},
		{"empty Response", "from fnpod import Response\n  return Response()", 204, "", ""},
		{"Response with a status only", "from fnpod import Response\n  return Response(status=404)", 404, "", ""},
		{"awaitable of a plain function", "import asyncio\n  return asyncio.sleep(0, 'later')", 200, textType, "later"},
	} {
		for kind, def := range map[string]string{"plain": "def", "async": "async def"} {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				handler := c.handler
				if kind == "async" {
					handler = strings.Replace(handler, "return asyncio", "return await asyncio", 1)
				}
				w := start(t, python, def+" handle(req):\n  "+handler+"\n", options{})
				a := w.ask(get(5))
				require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
				require.Zero(t, a.flags)
				require.Equal(t, c.status, a.code)
				require.Equal(t, c.contentType, a.pair("content-type"))
				require.Equal(t, c.body, string(a.body))
				require.LessOrEqual(t, strings.Count(a.meta, "content-type"), 1)
			})
		}
	}
}

func TestPythonStreamsWhatTheHandlerYields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, handler, contentType, body string }{
		{"generator", "def handle(req):\n  yield 'a'\n  yield 'b'\n", textType, "a|b"},
		{"generator of bytes", "def handle(req):\n  yield b'a'\n  yield bytearray(b'b')\n", binaryType, "a|b"},
		{"iterator", "def handle(req):\n  return map(str, [1, 2, 3])\n", textType, "1|2|3"},
		{"file", "import io\ndef handle(req):\n  return io.BytesIO(b'x' * 10)\n", binaryType, "xxxxxxxxxx"},
		{"with status and headers", "def handle(req):\n  return iter(['a']), 201, {'content-type': 'text/event-stream'}\n", "text/event-stream", "a"},
		{"empty first item", "def handle(req):\n  yield ''\n  yield 'a'\n", textType, "a"},
		{"async generator", "async def handle(req):\n  yield 'a'\n  yield 'b'\n", textType, "a|b"},
		{"generator of an async function", "async def handle(req):\n  return (x for x in 'ab')\n", textType, "a|b"},
		{"async generator of a plain function", "async def g():\n  yield 'a'\ndef handle(req):\n  return g()\n", textType, "a"},
		{"asynchronous iterable", "class S:\n  async def __aiter__(self):\n    yield 'a'\nasync def handle(req):\n  return S()\n", textType, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, python, c.handler, options{})
			for id := range uint32(2) {
				head := w.ask(get(id + 1))
				require.Equalf(t, byte(tResponse), head.kind, "%s %s", head.meta, head.body)
				require.Equal(t, byte(fMore), head.flags)
				require.Equal(t, c.contentType, head.pair("content-type"))
				require.Empty(t, head.body)
				require.Equal(t, c.body, strings.Join(w.pieces(id+1), "|"))
			}
		})
	}
}

// pieces reads DATA frames until the last, which must be empty.
func (w *worker) pieces(id uint32) []string {
	w.t.Helper()
	var all []string
	for {
		f := w.read()
		require.Equalf(w.t, byte(tData), f.kind, "%s %s", f.meta, f.body)
		require.Equal(w.t, id, f.id)
		require.LessOrEqual(w.t, len(f.body), piece)
		if f.flags&fMore == 0 {
			require.Empty(w.t, f.body)
			return all
		}
		require.NotEmpty(w.t, f.body)
		all = append(all, string(f.body))
	}
}

func TestPythonAnswerStaysWholeWhenClosingItsIteratorFails(t *testing.T) {
	t.Parallel()
	const items = `
class Items:
  left = 2
  def __iter__(self): return self
  def __next__(self):
    self.left -= 1
    if self.left < 0: raise StopIteration
    return 'a'
  def close(self): raise ValueError('late')
class AsyncItems:
  left = 2
  def __aiter__(self): return self
  async def __anext__(self):
    self.left -= 1
    if self.left < 0: raise StopAsyncIteration
    return 'a'
  async def aclose(self): raise ValueError('late')
`
	for _, handler := range []string{
		"def handle(req): return Items()", "async def handle(req): return Items()",
		"def handle(req): return AsyncItems()", "async def handle(req): return AsyncItems()",
	} {
		w := start(t, python, items+handler+"\n", options{})
		for id := range uint32(2) {
			head := w.ask(get(id + 1))
			require.Equalf(t, byte(tResponse), head.kind, "%s %s", head.meta, head.body)
			require.Equal(t, []string{"a", "a"}, w.pieces(id+1))
		}
	}
}

func TestPythonStreamWithoutItemsIsAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, def+" handle(req):\n  if 0:\n    yield 1\n", options{})
		a := w.ask(get(1))
		require.Equal(t, frame{kind: tResponse, code: 200, id: 1, body: []byte{}}, a)
	}
}

func TestPythonAnswersUnusableResultsWithAnErrorThatNamesTheType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ handler, message string }{
		{"return {1}", "handler returned a set; expected str, bytes, None, dict, list, (body, status[, headers]), Response, or an iterator of str or bytes"},
		{"return 7", "handler returned a int; expected str"},
		{"return True", "handler returned a bool"},
		{"return object()", "handler returned a object"},
		{"return ('a',)", "handler returned a tuple of 1"},
		{"return ('a', 200, {}, 1)", "handler returned a tuple of 4"},
		{"return ('a', '200')", "handler returned a str as status"},
		{"return ('a', True)", "handler returned a bool as status"},
		{"return ('a', 99)", "handler returned status 99; expected 200 to 599"},
		{"return ('a', 600)", "handler returned status 600"},
		{"return {'a': object()}", "handler returned a dict that is not JSON: Object of type object is not JSON serializable"},
		{"return [float('nan')]", "handler returned a list that is not JSON"},
		{"return ('a', 200, {'x': None})", "handler returned a NoneType as header value of x"},
		{"return ('a', 200, {'x': 'a\\nb'})", "line break or NUL in the header x"},
		{"return ('a', 200, {'x': 'a\\0b'})", "line break or NUL in the header x"},
		{"return ('a', 200, {'x y': 'a'})", "handler returned a header with the name 'x y'"},
		{"return ('a', 200, {'': 'a'})", "handler returned a header with the name ''"},
		{"return ('a', 200, {'x': '€'})", "beyond latin-1"},
		{"return ('a', 200, {'x': 'a' * 2000000})", "bytes of headers; the limit is"},
		{"return iter([1])", "handler yielded a int; expected str or bytes"},
	} {
		for _, def := range []string{"def", "async def"} {
			t.Run(c.handler+" "+def, func(t *testing.T) {
				t.Parallel()
				w := start(t, python, "n = 0\n"+def+" handle(req):\n  global n\n  n += 1\n  if n == 2: return 'ok'\n  "+c.handler+"\n", options{})
				a := w.ask(get(1))
				require.Equal(t, byte(tError), a.kind)
				require.Equal(t, uint16(500), a.code)
				require.Contains(t, a.pair("message"), c.message)
				require.Equal(t, "ok", string(w.ask(get(2)).body), "the worker lives on")
			})
		}
	}
}

func TestPythonHandlerExceptionIsAnErrorWithItsTraceback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, kind, message, trace string }{
		{"exception", "raise ValueError('bad\\0 thing ü')", "ValueError", "bad\\0 thing ü", "raise ValueError"},
		{"exception of a module", "import json; json.loads('{')", "json.decoder.JSONDecodeError", "Expecting property name", "handler.py\", line 2, in handle"},
		{"body that is not JSON", "req.json()", "json.decoder.JSONDecodeError", "Expecting value", "handler.py\", line 2, in handle"},
		{"sys.exit", "import sys; sys.exit(3)", "SystemExit", "the handler called exit(3)", "sys.exit(3)"},
		{"KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt", "", "raise KeyboardInterrupt"},
		{"exception whose text fails", "raise type('E', (Exception,), {'__str__': lambda s: 1/0})", "handler.E", "(its __str__ failed)", "E: <"},
		{"endless recursion", "handle(req)", "RecursionError", "maximum recursion depth exceeded", "more times"},
		{"cause", "\n  try:\n    1/0\n  except Exception as e:\n    raise KeyError('k') from e", "KeyError", "'k'", "direct cause"},
		{"attribute the request lacks", "req.nothing", "AttributeError", "'Request' object has no attribute 'nothing'", "req.nothing"},
		{"text without an encoding", "return '\\ud800'", "UnicodeEncodeError", "surrogates not allowed", "Unicode"},
	} {
		for _, def := range []string{"def", "async def"} {
			if def == "async def" && c.name == "endless recursion" {
				continue // calling a coroutine function does not recurse
			}
			t.Run(c.name+" "+def, func(t *testing.T) {
				t.Parallel()
				w := start(t, python, def+" handle(req):\n  "+c.body+"\n", options{})
				for id := uint32(1); id < 3; id++ {
					a := w.ask(get(id))
					require.Equal(t, byte(tError), a.kind)
					require.Equal(t, uint16(500), a.code)
					require.Equal(t, c.kind, a.pair("type"))
					require.Contains(t, a.pair("message"), c.message)
					require.Contains(t, string(a.body), c.trace)
					require.NotContains(t, string(a.body), "fnpod")
					require.NotContains(t, string(a.body), "/proc/self/fd")
					require.LessOrEqual(t, len(a.body), inline)
				}
			})
		}
	}
}

func TestPythonErrorAfterTheFirstItemAbortsTheStream(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		for _, then := range []string{"raise ValueError('late')", "yield 1"} {
			w := start(t, python, def+" handle(req):\n  yield 'a'\n  "+then+"\n", options{})
			require.Equal(t, byte(fMore), w.ask(get(1)).flags)
			require.Equal(t, "a", string(w.read().body))
			require.Equal(t, byte(tError), w.read().kind)
			require.Equal(t, byte(fMore), w.ask(get(2)).flags, "the worker lives on")
		}
	}
}

func TestPythonErrorBeforeTheFirstItemIsAnError(t *testing.T) {
	t.Parallel()
	w := start(t, python, "def handle(req):\n  raise ValueError('early')\n  yield 'a'\n", options{})
	a := w.ask(get(1))
	require.Equal(t, byte(tError), a.kind)
	require.Equal(t, "early", a.pair("message"))
}

func TestPythonRequestHoldsEverything(t *testing.T) {
	t.Parallel()
	const handler = `
import time, fnpod
%s handle(req):
    assert isinstance(req, fnpod.Request)
    req.user = 'attributes may be added'
    left = req.remaining()
    assert req.deadline is None or 0 < left <= 5 and abs(req.deadline - time.time() - 5) < 5
    return {
        'method': req.method, 'path': req.path, 'query': req.query, 'args': req.args, 'scheme': req.scheme,
        'host': req.host, 'peer': req.peer, 'body': req.text(), 'json': req.json(), 'id': req.id,
        'type': [req.headers['Content-Type'], req.headers.get('CONTENT-TYPE'), req.headers['content-type']],
        'joined': req.headers['accept'], 'all': req.headers.get_all('Accept'), 'cookie': req.headers['cookie'],
        'none': [req.headers.get('x'), req.headers.get('x', 1), req.headers.get_all('x')],
        'in': ['Accept' in req.headers, 'x' in req.headers], 'len': len(req.headers), 'names': list(req.headers),
        'deadline': req.deadline is None, 'bytes': type(req.body) is bytes, 'repr': repr(req),
    }
`
	f := request(9, "POST", "/a%20b", "x=1&x=2&y=", []byte(`"gr\u00fc\u00df"`), "content-type", "application/json; charset=utf-8",
		"accept", "a", "accept", "b", "cookie", "c=1", "cookie", "d=2", "x-request-id", "id-1")
	f.meta = strings.Replace(f.meta, "\x00192.0.2.7\x00\x00", "\x00192.0.2.7\x005000\x00", 1)
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, fmt.Sprintf(handler, def), options{})
		a := w.ask(f)
		require.JSONEq(t, `{"method":"POST","path":"/a%20b","query":"x=1&x=2&y=","args":{"x":["1","2"],"y":[""]},"scheme":"http",
			"host":"example.com:8080","peer":"192.0.2.7","body":"\"gr\\u00fc\\u00df\"","json":"grüß","id":"id-1",
			"type":["application/json; charset=utf-8","application/json; charset=utf-8","application/json; charset=utf-8"],
			"joined":"a, b","all":["a","b"],"cookie":"c=1; d=2","none":[null,1,[]],"in":[true,false],"len":4,
			"names":["content-type","accept","cookie","x-request-id"],"deadline":false,"bytes":true,"repr":"<Request POST /a%20b>"}`,
			string(a.body), string(a.body))
	}
	w := start(t, python, "def handle(req):\n  return [req.id, req.deadline, req.remaining(), req.text(), dict(req.headers), req.args]\n", options{})
	require.JSONEq(t, `["3",null,null,"",{},{}]`, string(w.ask(get(3)).body))
	latin := request(4, "POST", "/", "", []byte("gr\xfc\xdf"), "content-type", `text/plain; charset="ISO-8859-1"`)
	require.Contains(t, string(w.ask(latin).body), "grüß")
}

func TestPythonReportsWhyAHandlerCannotBeUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, function, handler, kind, message, trace string
	}{
		{"no file", "", "", "FileNotFoundError", "cannot read the handler: No such file or directory", "FileNotFoundError"},
		{"syntax", "", "def handle(req):\n  retrun 1\n", "SyntaxError", "invalid syntax (handler.py, line 2)", "retrun 1"},
		{"no function", "", "def main(req): pass\nimport os\nx = 1\n", "LookupError", "handler.py has no function 'handle'; it has main", "LookupError"},
		{"no such function", "go", "", "LookupError", "handler.py has no function 'go'; it has none at all", "LookupError"},
		{"not a function", "", "handle = 3\n", "TypeError", "'handle' in handler.py is a int, not a function", "TypeError"},
		{"exception at import", "", "def f():\n  raise KeyError('db')\nf()\n", "KeyError", "'db'", "line 2, in f"},
		{"missing module", "", "import no_such_thing\n", "ModuleNotFoundError", "No module named 'no_such_thing'", "line 1, in <module>"},
		{"exit at import", "", "raise SystemExit(4)\n", "SystemExit", "the handler called exit(4)", "line 1, in <module>"},
		{"exception in init", "", "def init():\n  raise ValueError('no')\ndef handle(r): pass\n", "ValueError", "no", "line 2, in init"},
		{"exception in async init", "", "async def init():\n  raise ValueError('no')\nasync def handle(r): pass\n", "ValueError", "no", "line 2, in init"},
		{"null byte", "", "a = '\x00'\n", "", "null bytes", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "no such function" {
				c.handler = "\n"
			}
			w := launch(t, python, c.handler, options{function: c.function})
			require.Equal(t, byte(tHello), w.read().kind)
			f := w.read()
			require.Equal(t, byte(tInitError), f.kind)
			if c.kind != "" {
				require.Equal(t, c.kind, f.pair("type"))
			}
			require.Contains(t, f.pair("message"), c.message)
			require.Contains(t, string(f.body), c.trace)
			require.NotContains(t, string(f.body), "/proc/self/fd")
			require.NotContains(t, string(f.body), "<frozen importlib")
			require.Equal(t, 1, w.ended())
			require.Empty(t, w.stderr.String())
		})
	}
}

func TestPythonReportsAFolderAsHandler(t *testing.T) {
	t.Parallel()
	l := python
	l.file = "."
	w := launch(t, l, "", options{})
	require.Equal(t, byte(tHello), w.read().kind)
	f := w.read()
	require.Equal(t, byte(tInitError), f.kind)
	require.Equal(t, "IsADirectoryError", f.pair("type"))
	require.Contains(t, f.pair("message"), "cannot read the handler: Is a directory")
	require.Equal(t, 1, w.ended())
}

func TestPythonSaysHelloAndReady(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		handler, function string
		concurrency       int
		ready             uint16
	}{
		{"def handle(req): pass", "", 1, 1},
		{"def handle(req): pass", "", 8, 1},
		{"async def handle(req): pass", "", 1, 1},
		{"async def handle(req): pass", "", 8, 8},
		{"async def handle(req): yield", "handle", 8, 8},
		{"class C:\n  async def __call__(self, req): pass\ngo = C()", "go", 8, 8},
		{"class C:\n  def __call__(self, req): pass\ngo = C()", "go", 8, 1},
		{"class C:\n  async def m(self, req): pass\ngo = C()", "go.m", 8, 8},
		{"import functools\nasync def f(a, req): pass\nhandle = functools.partial(f, 1)", "", 8, 8},
		{"def init(): pass\nasync def handle(req): pass", "", 8, 8},
		{"import asyncio\nasync def init(): await asyncio.sleep(0)\ndef handle(req): pass", "", 8, 1},
	} {
		w := launch(t, python, c.handler+"\n", options{function: c.function, concurrency: c.concurrency})
		h := w.read()
		require.Equal(t, byte(tHello), h.kind)
		require.Equal(t, uint16(1), h.code)
		require.Equal(t, "python", h.pair("language"))
		require.Regexp(t, `^3\.\d+\.\d+`, h.pair("runtime"))
		require.Equal(t, fmt.Sprint(w.cmd.Process.Pid), h.pair("pid"))
		require.Equal(t, "lane,mux,stream", h.pair("features"))
		r := w.read()
		require.Equalf(t, byte(tReady), r.kind, "%s", r.meta)
		require.Equal(t, c.ready, r.code, c.handler)
		require.Equal(t, "handler.py:"+cmp.Or(c.function, "handle"), r.pair("handler"))
		require.Regexp(t, `^\d+$`, r.pair("init_ms"))
	}
}

func TestPythonInitSharesTheLoopOfTheHandler(t *testing.T) {
	t.Parallel()
	w := start(t, python, `
import asyncio
async def init():
    global loop, ticks
    loop, ticks = asyncio.get_running_loop(), asyncio.Event()
    async def tick():
        await asyncio.sleep(0.01)
        ticks.set()
    global task
    task = asyncio.ensure_future(tick())
async def handle(req):
    await ticks.wait()
    return [loop is asyncio.get_running_loop(), asyncio.current_task() is not None]
`, options{})
	require.Equal(t, "[true,true]", string(w.ask(get(1)).body))
}

func TestPythonReadsBodiesOfEverySize(t *testing.T) {
	t.Parallel()
	const window = 1 << 20
	handler := " handle(req):\n  return req.body + b'!'\n"
	for _, def := range []string{"def", "async def"} {
		for _, lane := range []int{0, window} {
			w := start(t, python, def+handler, options{lane: lane})
			for i, n := range []int{0, 1, inline - 1, inline, inline + 1, piece, window - 1, window, window + 1, 3 * window} {
				id := uint32(i + 1)
				got := w.echo(id, n)
				require.Lenf(t, got, n+1, "%s, lane %d", def, lane)
				require.True(t, bytes.Equal(got[:n], pattern(n)))
			}
		}
	}
}

// pattern returns n bytes that show every shift.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 2654435761 >> 13)
	}
	return b
}

// echo posts n bytes the way the parent must for that size and returns the body of the answer; it keeps to the credit and
// checks that the worker does.
func (w *worker) echo(id uint32, n int) []byte {
	w.t.Helper()
	body := pattern(n)
	f := request(id, "POST", "/", "", nil)
	switch {
	case n <= inline:
		f.body = body
		w.send(f)
	case n <= w.window:
		copy(w.lane, body)
		f.flags, f.size = fLane, n
		w.send(f)
	default:
		f.flags = fMore
		w.send(f)
		w.upload(id, body)
	}
	return w.download(id)
}

func (w *worker) upload(id uint32, body []byte) {
	w.t.Helper()
	left := credit
	for len(body) > 0 {
		if left == 0 {
			f := w.read()
			require.Equal(w.t, byte(tWindow), f.kind)
			require.Equal(w.t, id, f.id)
			left += int(binary.LittleEndian.Uint32(f.body))
		}
		n := min(piece, left, len(body))
		w.send(frame{kind: tData, flags: fMore, id: id, body: body[:n]})
		body, left = body[n:], left-n
	}
	w.send(frame{kind: tData, id: id})
}

func (w *worker) download(id uint32) []byte {
	w.t.Helper()
	f := w.read()
	for f.kind == tWindow {
		f = w.read()
	}
	require.Equalf(w.t, byte(tResponse), f.kind, "%s %s", f.meta, f.body)
	require.Equal(w.t, id, f.id)
	switch f.flags {
	case 0:
		require.LessOrEqual(w.t, f.size, inline)
		return f.body
	case fLane:
		require.Greater(w.t, f.size, inline)
		return f.body
	}
	require.Equal(w.t, byte(fMore), f.flags)
	var all []byte
	left := credit
	for {
		d := w.read()
		require.Equalf(w.t, byte(tData), d.kind, "%s %s", d.meta, d.body)
		left -= len(d.body)
		require.GreaterOrEqual(w.t, left, 0, "more than the window")
		all = append(all, d.body...)
		if d.flags&fMore == 0 {
			if length := f.pair("content-length"); length != "" {
				require.Equal(w.t, length, fmt.Sprint(len(all)))
			}
			return all
		}
		if left < credit/2 {
			w.grant(id, credit-left)
			left = credit
		}
	}
}

func (w *worker) grant(id uint32, n int) {
	w.t.Helper()
	w.send(frame{kind: tWindow, id: id, body: binary.LittleEndian.AppendUint32(nil, uint32(n))})
}

func TestPythonStopsStreamingWithoutCredit(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, "made = 0\n"+def+` handle(req):
    global made
    if req.path == '/made':
        yield str(made)
        return
    for made in range(1, 101):
        yield b'x' * 50000
`, options{})
		require.Equal(t, byte(tResponse), w.ask(get(1)).kind)
		total := 0
		for total < credit {
			total += len(w.read().body)
		}
		require.Equal(t, credit, total)
		w.send(frame{kind: tPing}) // an answer shows that the worker waits and lives
		require.Equal(t, byte(tPong), w.read().kind)
		w.grant(1, 10)
		require.Len(t, w.read().body, 10)
		w.grant(1, 5_000_000)
		for f := w.read(); f.flags&fMore != 0; f = w.read() {
			total += len(f.body)
		}
		require.Equal(t, 5_000_000, total+10)
		w.ask(get(2))
	}
}

func TestPythonStopsACancelledStream(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		for _, wait := range []string{"pass", "AWAIT"} {
			step := map[string]string{"def": "time.sleep(0.001)", "async def": "await asyncio.sleep(0.001)"}[def]
			w := start(t, python, "import asyncio, time\nclosed = 0\n"+def+` handle(req):
    global closed
    if req.path == '/closed':
        yield str(closed)
        return
    try:
        while True:
            yield b'x' * 1000
            `+strings.Replace(wait, "AWAIT", step, 1)+`
    finally:
        closed += 1
`, options{})
			w.ask(get(1))
			w.send(frame{kind: tCancel, id: 1})
			f := w.read()
			for f.kind == tData {
				f = w.read()
			}
			require.Equal(t, byte(tError), f.kind)
			require.Equal(t, "cancelled", f.pair("type"))
			w.ask(request(2, "GET", "/closed", "", nil))
			require.Equal(t, []string{"1"}, w.pieces(2))
			w.send(frame{kind: tCancel, id: 2}) // late: ignored
			w.ask(request(3, "GET", "/closed", "", nil))
		}
	}
}

func TestPythonDropsARequestCancelledBeforeItsBodyIsThere(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, def+" handle(req):\n  return req.body\n", options{})
		f := request(1, "POST", "/", "", nil)
		f.flags = fMore
		w.send(f, frame{kind: tData, flags: fMore, id: 1, body: []byte("a")}, frame{kind: tCancel, id: 1},
			frame{kind: tData, flags: fMore, id: 1, body: []byte("late")}, frame{kind: tData, id: 1})
		require.Equal(t, "cancelled", w.read().pair("type"))
		require.Empty(t, w.ask(get(2)).body)
	}
}

func TestPythonCancelsAWaitingAsyncHandler(t *testing.T) {
	t.Parallel()
	w := start(t, python, "import asyncio\nasync def handle(req):\n  print('in', flush=True)\n  await asyncio.sleep(3600)\n", options{})
	w.send(get(1))
	w.send(frame{kind: tCancel, id: 1})
	f := w.read()
	require.Equal(t, byte(tError), f.kind)
	require.Equal(t, "cancelled", f.pair("type"))
}

func TestPythonRunsAsyncRequestsSideBySide(t *testing.T) {
	t.Parallel()
	w := start(t, python, `
import asyncio
here, all_here = 0, asyncio.Event()
async def handle(req):
    global here
    here += 1
    if here == 8:
        all_here.set()
    await all_here.wait()
    return req.body * 30000 if req.path == '/big' else req.body
`, options{concurrency: 8, lane: 1 << 20})
	for id := uint32(1); id <= 8; id++ {
		w.send(request(id, "POST", "/", "", []byte{byte(id)}))
	}
	seen := map[uint32]bool{}
	for range 8 {
		f := w.read()
		require.Equal(t, []byte{byte(f.id)}, f.body)
		seen[f.id] = true
	}
	require.Len(t, seen, 8)
	w.send(request(9, "POST", "/big", "", []byte("ab")))
	require.Len(t, w.download(9), 60000, "in pieces: no lane for several at once")
}

func TestPythonInterleavesAsyncUploadsAndDownloads(t *testing.T) {
	t.Parallel()
	w := start(t, python, "async def handle(req):\n  return req.body\n", options{concurrency: 4})
	const n = 200_000
	for id := uint32(1); id <= 4; id++ {
		f := request(id, "POST", "/", "", nil)
		f.flags = fMore
		w.send(f)
	}
	body := pattern(n)
	for at := 0; at < n; at += 50_000 {
		for id := uint32(1); id <= 4; id++ {
			w.send(frame{kind: tData, flags: fMore, id: id, body: body[at : at+50_000]})
		}
	}
	go func() {
		for id := uint32(1); id <= 4; id++ {
			w.send(frame{kind: tData, id: id})
		}
	}()
	got, ended := map[uint32][]byte{}, 0
	for ended < 4 {
		switch f := w.read(); f.kind {
		case tData:
			got[f.id] = append(got[f.id], f.body...)
			if f.flags&fMore == 0 {
				ended++
			}
		case tResponse, tWindow:
		default:
			require.Failf(t, "unexpected frame", "%x %s", f.kind, f.meta)
		}
	}
	for id := uint32(1); id <= 4; id++ {
		require.True(t, bytes.Equal(body, got[id]))
	}
}

func TestPythonPrintsAppearAtOnce(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, "import sys\n"+def+" handle(req):\n  print('out', 'line')\n  print('err \\ud800', file=sys.stderr)\n  return 'x'\n", options{})
		w.ask(get(1))
		require.Eventually(t, func() bool { // the copy out of the pipe is not synchronous with the answer
			return w.stdout.String() == "out line\n" && w.stderr.String() == "err \\ud800\n"
		}, patience, time.Millisecond)
	}
}

func TestPythonLeavesWhenAsked(t *testing.T) {
	t.Parallel()
	handlers := []string{
		"import atexit\natexit.register(print, 'bye')\ndef handle(req):\n  return 'x'\n",
		"import atexit\natexit.register(print, 'bye')\nasync def handle(req):\n  return 'x'\n",
	}
	for _, handler := range handlers {
		for _, kind := range []byte{tDrain, tExit, 0} {
			w := start(t, python, handler, options{})
			w.send(frame{kind: tPing})
			pong := w.read()
			require.Equal(t, byte(tPong), pong.kind)
			require.Regexp(t, `^\d+$`, pong.pair("rss"))
			require.Equal(t, "0", pong.pair("in_flight"))
			w.ask(get(1))
			if kind == 0 {
				w.in.Close()
			} else {
				w.send(frame{kind: 0x99, meta: "from the future", body: []byte("skipped")}, frame{kind: kind})
			}
			if kind == tDrain {
				require.Equal(t, byte(tBye), w.read().kind)
			}
			require.Zero(t, w.ended())
			require.Equal(t, "bye\n", w.stdout.String())
			require.Empty(t, w.stderr.String())
		}
	}
}

func TestPythonFinishesWhatIsInFlightBeforeItLeaves(t *testing.T) {
	t.Parallel()
	for _, handler := range []string{
		"import asyncio\nasync def handle(req):\n  await asyncio.sleep(0.05)\n  yield b'x' * 300000\n  yield 'y'\n",
		"import time\ndef handle(req):\n  time.sleep(0.05)\n  yield b'x' * 300000\n  yield 'y'\n",
	} {
		w := start(t, python, handler, options{concurrency: 2})
		w.send(get(1), frame{kind: tDrain})
		require.Len(t, w.download(1), 300001)
		require.Equal(t, byte(tBye), w.read().kind)
		require.Zero(t, w.ended())
	}
}

func TestPythonLeavesWhenTheParentDiesInTheMiddleOfAStream(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, def+" handle(req):\n  try:\n    while True:\n      yield b'x' * 1000\n  finally:\n    print('closed')\n", options{})
		w.ask(get(1))
		w.in.Close()
		for {
			if _, err := w.next(); err != nil {
				break
			}
		}
		require.Zero(t, w.ended())
		require.Equal(t, "closed\n", w.stdout.String())
	}
}

func TestPythonDiesOfGarbage(t *testing.T) {
	t.Parallel()
	more := request(1, "POST", "/", "", nil)
	more.flags = fMore
	for _, c := range []struct {
		name string
		in   []byte
		says string
	}{
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "frame too long"},
		{"unknown type", frame{kind: 0x42}.bytes(), "unknown frame type 0x42"},
		{"unknown type in a body", append(more.bytes(), frame{kind: 0x42, id: 1}.bytes()...), "frame type 0x42"},
		{"half a header", []byte("1234"), "ended inside a frame"},
		{"half a frame", get(1).bytes()[:20], "ended inside a frame"},
		{"lane body without a lane", frame{kind: tRequest, flags: fLane, meta: get(1).meta, size: 100}.bytes(), "body of 100 bytes in a lane of 0"},
	} {
		for _, def := range []string{"def", "async def"} {
			t.Run(c.name+" "+def, func(t *testing.T) {
				t.Parallel()
				w := start(t, python, def+" handle(req):\n  return 'x'\n", options{})
				_, err := w.in.Write(c.in)
				require.NoError(t, err)
				w.in.Close()
				require.Equal(t, 1, w.ended())
				require.Contains(t, w.stderr.String(), c.says)
			})
		}
	}
}

func TestPythonTakesFramesInAnyPortion(t *testing.T) {
	t.Parallel()
	for _, def := range []string{"def", "async def"} {
		w := start(t, python, def+" handle(req):\n  return req.path + req.text()\n", options{})
		requireAnyPortion(t, w, request(1, "GET", "/a", "", nil), request(2, "GET", "/b", "", []byte("0")), request(3, "POST", "/c", "", []byte("1")), "/a", "/b0", "/c123")
	}
}

func TestPythonHidesItsSettingsAndPipesFromTheHandler(t *testing.T) {
	t.Parallel()
	w := start(t, python, `
import os, subprocess, sys
def handle(req):
    mine = [k for k in os.environ if k.startswith('FNPOD_WORKER')]
    inherited = [os.get_inheritable(fd) for fd in (3, 4, 5, 6)]
    environ = subprocess.run(['env'], stdout=subprocess.PIPE).stdout.decode()
    pid = os.fork()
    if pid == 0:
        return 'the child must not be heard'
    return [mine, 'FNPOD_WORKER' in environ, inherited, os.waitpid(pid, 0)[1]]
`, options{lane: 1 << 20})
	require.Equal(t, "[[],false,[false,false,false,false],0]", string(w.ask(get(1)).body))
	w.send(frame{kind: tDrain})
	require.Equal(t, byte(tBye), w.read().kind)
}

func TestPythonImportsFromTheFolderOfTheHandler(t *testing.T) {
	t.Parallel()
	for _, o := range []options{{}, {args: []string{"-I", "-S"}}, {asCode: "-c"}, {args: []string{"-I"}, asCode: "-c"}} {
		l := python
		l.file = "my-handler.v2.py"
		o.files = map[string]string{"neighbour.py": "x = 5\n"}
		w := start(t, l, "import os, sys, neighbour\ndef handle(req):\n  return [neighbour.x, sys.path[0] == os.getcwd(), '' in sys.path, '/' in sys.path]\n", o)
		require.Equal(t, "[5,true,false,false]", string(w.ask(get(1)).body))
	}
}

func TestPythonEndsAloneOfAKilledProcess(t *testing.T) {
	t.Parallel()
	w := start(t, python, "import os\ndef handle(req):\n  os._exit(9)\n", options{})
	w.send(get(1))
	require.Equal(t, 9, w.ended())
}

func TestPythonNeedsItsSettings(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"FNPOD_WORKER_PROTOCOL=2-3", "FNPOD_WORKER_FDS=x", "FNPOD_WORKER_LANE=5"} {
		w := launch(t, python, hello, options{env: []string{env}})
		require.Equal(t, 1, w.ended())
		require.Contains(t, w.stderr.String(), "fnpod: ")
	}
}
