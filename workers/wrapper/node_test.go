package wrapper_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNodeAnswersWithWhatTheHandlerReturns(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, value string
		status      uint16
		contentType string
		body        string
	}{
		{"string", `"grüß"`, 200, textType, "grüß"},
		{"empty string", `""`, 200, textType, ""},
		{"Buffer", `Buffer.from([0, 255])`, 200, binaryType, "\x00\xff"},
		{"Uint8Array", `new Uint8Array([65, 66]).subarray(1)`, 200, binaryType, "B"},
		{"Uint16Array", `new Uint16Array([0x4241])`, 200, binaryType, "AB"},
		{"ArrayBuffer", `new Uint8Array([65]).buffer`, 200, binaryType, "A"},
		{"undefined", `undefined`, 204, "", ""},
		{"null", `null`, 204, "", ""},
		{"object", `({a: [1, 2.5, null, true], ü: "€"})`, 200, jsonType, `{"a":[1,2.5,null,true],"ü":"€"}`},
		{"empty object", `({})`, 200, jsonType, `{}`},
		{"array", `[1, "b"]`, 200, jsonType, `[1,"b"]`},
		{"class instance", `new (class A { constructor() { this.x = 1; } })()`, 200, jsonType, `{"x":1}`},
		{"toJSON", `new Date(0)`, 200, jsonType, `"1970-01-01T00:00:00.000Z"`},
		{"object with a status that is no number", `({status: "ok"})`, 200, jsonType, `{"status":"ok"}`},
		{"object with more keys", `({status: 200, body: "x", more: 1})`, 200, jsonType, `{"status":200,"body":"x","more":1}`},
		{"headers alone", `({headers: {}})`, 200, jsonType, `{"headers":{}}`},
		{"status", `({status: 202})`, 202, "", ""},
		{"status and body", `({status: 404, body: "no"})`, 404, textType, "no"},
		{"body", `({body: {a: 1}})`, 200, jsonType, `{"a":1}`},
		{"empty body", `({body: undefined})`, 204, "", ""},
		{"nested body", `({body: {body: 1}})`, 200, jsonType, `{"body":1}`},
		{"headers", `({body: "<p>", headers: {"Content-Type": "text/html", "X-N": 5}})`, 200, "text/html", "<p>"},
		{"header pairs", `({body: "<p>", headers: [["content-type", "text/html"]]})`, 200, "text/html", "<p>"},
		{"header map", `({body: "<p>", headers: new Map([["content-type", "text/html"]])})`, 200, "text/html", "<p>"},
	}
	var source strings.Builder
	source.WriteString("const values = {};\n")
	for _, c := range cases {
		fmt.Fprintf(&source, "values[%q] = () => %s;\n", c.name, c.value)
	}
	const pick = "values[decodeURIComponent(req.path.slice(1))]()"
	for _, kind := range []string{"(req) =>", "async (req) =>"} {
		w := start(t, node, source.String()+"module.exports = "+kind+" "+pick+";\n", options{})
		for i, c := range cases {
			a := w.ask(request(uint32(i+1), "GET", "/"+strings.ReplaceAll(c.name, " ", "%20"), "", nil))
			require.Equalf(t, byte(tResponse), a.kind, "%s: %s %s", c.name, a.meta, a.body)
			require.Zero(t, a.flags)
			require.Equal(t, c.status, a.code, c.name)
			require.Equal(t, c.contentType, a.pair("content-type"), c.name)
			require.Equal(t, c.body, string(a.body), c.name)
			require.LessOrEqual(t, strings.Count(a.meta, "content-type"), 1)
		}
	}
}

func TestNodeAnswersWithAFetchResponse(t *testing.T) {
	t.Parallel()
	w := start(t, node, `exports.handle = () => new Response('hi', {status: 201, headers: [['x-a', 'b'], ['set-cookie', 'a=1'], ['set-cookie', 'b=2']]});`, options{})
	a := w.ask(get(1))
	require.Equal(t, uint16(201), a.code)
	require.Equal(t, byte(fMore), a.flags, "its body is a stream")
	require.Contains(t, a.meta, "set-cookie\x00a=1\x00set-cookie\x00b=2")
	require.Equal(t, "b", a.pair("x-a"))
	require.Equal(t, []string{"hi"}, w.pieces(1))
	w = start(t, node, `exports.handle = () => new Response(null, {status: 204});`, options{})
	require.Equal(t, frame{kind: tResponse, code: 204, id: 1, body: []byte{}}, w.ask(get(1)))
}

func TestNodeStreamsWhatTheHandlerReturns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, handler, contentType, body string }{
		{"generator", "function* (req) { yield 'a'; yield 'b'; }", textType, "a|b"},
		{"async generator", "async function* (req) { yield 'a'; await null; yield 'b'; }", textType, "a|b"},
		{"bytes", "async function* (req) { yield Buffer.from('a'); yield new Uint8Array([98]); }", binaryType, "a|b"},
		{"Readable", "() => require('stream').Readable.from(['a', 'b'])", textType, "a|b"},
		{"file", "() => require('fs').createReadStream(__filename, {end: 4})", binaryType, "modul"},
		{"web stream", "() => new (require('stream/web').ReadableStream)({start(c) { c.enqueue('a'); c.close(); }})", textType, "a"},
		{"array iterator", "() => ['a', 'b'].values()", textType, "a|b"},
		{"with status and headers", "async () => ({status: 201, headers: {'content-type': 'text/event-stream'}, body: ['a'].values()})", "text/event-stream", "a"},
		{"empty first item", "function* () { yield ''; yield 'a'; }", textType, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, node, "module.exports = "+c.handler, options{})
			for id := uint32(1); id < 3; id++ {
				head := w.ask(get(id))
				require.Equalf(t, byte(tResponse), head.kind, "%s %s", head.meta, head.body)
				require.Equal(t, byte(fMore), head.flags)
				require.Equal(t, c.contentType, head.pair("content-type"))
				require.Empty(t, head.body)
				require.Equal(t, c.body, strings.Join(w.pieces(id), "|"))
			}
		})
	}
}

func TestNodeStreamWithoutItemsIsAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	w := start(t, node, "module.exports = function* () {}", options{})
	require.Equal(t, frame{kind: tResponse, code: 200, id: 1, body: []byte{}}, w.ask(get(1)))
}

func TestNodeAnswersUnusableResultsWithAnErrorThatNamesTheType(t *testing.T) {
	t.Parallel()
	cases := []struct{ value, message string }{
		{"7", "handler returned a number; expected a string, Buffer, undefined, object, array, {status, headers, body}, Response, or a stream"},
		{"true", "handler returned a boolean"},
		{"10n", "handler returned a bigint"},
		{"Symbol()", "handler returned a symbol"},
		{"() => 1", "handler returned a function"},
		{"new Set()", "handler returned a Set"},
		{"new Map()", "handler returned a Map"},
		{"new Error('x')", "handler returned an Error"},
		{"({status: 99, body: 'x'})", "handler returned status 99; expected 200 to 599"},
		{"({status: 600})", "handler returned status 600"},
		{"({status: '200', body: 'x'})", "handler returned a string as status"},
		{"({status: 200.5, body: 'x'})", "handler returned a number as status"},
		{"({a: 1n})", "handler returned an Object that is not JSON: Do not know how to serialize a BigInt"},
		{"(() => { const a = []; a.push(a); return a; })()", "handler returned an Array that is not JSON: Converting circular"},
		{"({toJSON() {}})", "handler returned an Object that is not JSON"},
		{"({body: 'x', headers: {x: null}})", "handler returned null as value of the header x"},
		{"({body: 'x', headers: {x: 'a\\nb'}})", "line break or NUL in the header x"},
		{"({body: 'x', headers: {'x y': 'a'}})", `a header with the name "x y"`},
		{"({body: 'x', headers: {x: '€'}})", "beyond latin-1 in the header x"},
		{"({body: 'x', headers: {x: 'a'.repeat(2000000)}})", "bytes of headers; the limit is"},
		{"({body: 'x', headers: 'x'})", "handler returned a string as headers"},
		{"[1].values()", "handler yielded a number; expected a string or Buffer"},
	}
	var source strings.Builder
	source.WriteString("const values = [];\n")
	for _, c := range cases {
		fmt.Fprintf(&source, "values.push(() => (%s));\n", c.value)
	}
	for _, kind := range []string{"", "async "} {
		w := start(t, node, source.String()+"exports.handle = "+kind+"(req) => values[req.query]();", options{})
		for i, c := range cases {
			a := w.ask(request(uint32(i+1), "GET", "/", fmt.Sprint(i), nil))
			require.Equal(t, byte(tError), a.kind, c.value)
			require.Equal(t, uint16(500), a.code)
			require.Equal(t, "UnusableResult", a.pair("type"))
			require.Contains(t, a.pair("message"), c.message)
		}
	}
}

func TestNodeHandlerExceptionIsAnErrorWithItsStack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, kind, message, trace string }{
		{"exception", "throw new RangeError('bad\\0 thing ü')", "RangeError", "bad\\0 thing ü", "handler.js:"},
		{"cause", "throw new Error('outer', {cause: new TypeError('inner')})", "Error", "outer", "caused by: TypeError: inner"},
		{"body that is not JSON", "return req.json()", "SyntaxError", "JSON", "handler.js:"},
		{"a string", "throw 'text'", "string", "text", "thrown: text"},
		{"undefined", "throw undefined", "undefined", "undefined", "thrown: undefined"},
		{"an object", "throw {a: 1}", "Object", `{"a":1}`, "thrown"},
		{"what cannot be shown", "throw new Proxy({}, {get() { throw 1; }})", "Error", "what was thrown cannot be shown", ""},
		{"endless recursion", "return (function f() { return f() + 1; })()", "RangeError", "Maximum call stack", "handler.js:"},
		{"long message", "throw new Error('ü'.repeat(100000))", "Error", "üüü", "[…]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{"function", "async function"} {
				w := start(t, node, "exports.handle = "+kind+" handle(req) {\n  "+c.body+";\n};\n", options{})
				for id := uint32(1); id < 3; id++ {
					a := w.ask(get(id))
					require.Equal(t, byte(tError), a.kind)
					require.Equal(t, uint16(500), a.code)
					require.Equal(t, c.kind, a.pair("type"))
					require.Contains(t, a.pair("message"), c.message)
					require.Contains(t, string(a.body), c.trace)
					require.NotContains(t, string(a.body), "/proc/self/fd")
					require.NotContains(t, string(a.body), "node:internal")
					require.LessOrEqual(t, len(a.body), inline)
				}
			}
		})
	}
}

func TestNodeErrorAfterTheFirstItemAbortsTheStream(t *testing.T) {
	t.Parallel()
	for _, then := range []string{"throw new Error('late')", "yield 1"} {
		w := start(t, node, "module.exports = function* () { yield 'a'; "+then+"; }", options{})
		require.Equal(t, byte(fMore), w.ask(get(1)).flags)
		require.Equal(t, "a", string(w.read().body))
		require.Equal(t, byte(tError), w.read().kind)
		require.Equal(t, byte(fMore), w.ask(get(2)).flags, "the worker lives on")
	}
	w := start(t, node, "module.exports = async function* () { throw new Error('early'); }", options{})
	a := w.ask(get(1))
	require.Equal(t, byte(tError), a.kind)
	require.Equal(t, "early", a.pair("message"))
}

func TestNodeRequestHoldsEverything(t *testing.T) {
	t.Parallel()
	w := start(t, node, `exports.handle = (req) => {
  req.user = 'attributes may be added';
  const left = req.remaining();
  return {
    method: req.method, path: req.path, query: req.query, args: req.args.getAll('x'), scheme: req.scheme, host: req.host,
    peer: req.peer, body: req.body.toString(), text: req.text(), json: req.json(), id: req.id, headers: req.headers,
    all: req.headersAll.accept, deadline: left > 0 && left <= 5000 && Math.abs(req.deadline - Date.now() - 5000) < 5000,
    buffer: Buffer.isBuffer(req.body), aborted: req.signal.aborted,
  };
};`, options{})
	f := request(9, "POST", "/a%20b", "x=1&x=2&y=", []byte(`"gr\u00fc\u00df"`), "content-type", "application/json; charset=utf-8",
		"accept", "a", "accept", "b", "cookie", "c=1", "cookie", "d=2", "x-request-id", "id-1", "__proto__", "p")
	f.meta = strings.Replace(f.meta, "\x00192.0.2.7\x00\x00", "\x00192.0.2.7\x005000\x00", 1)
	require.JSONEq(t, `{"method":"POST","path":"/a%20b","query":"x=1&x=2&y=","args":["1","2"],"scheme":"http",
		"host":"example.com:8080","peer":"192.0.2.7","body":"\"gr\\u00fc\\u00df\"","text":"\"gr\\u00fc\\u00df\"","json":"grüß",
		"id":"id-1","headers":{"content-type":"application/json; charset=utf-8","accept":"a, b","cookie":"c=1; d=2",
		"x-request-id":"id-1","__proto__":"p"},"all":["a","b"],"deadline":true,"buffer":true,"aborted":false}`, string(w.ask(f).body))
	w = start(t, node, "exports.handle = (req) => [req.id, req.deadline, req.remaining(), req.text(), req.headers, req.body.length];", options{})
	require.JSONEq(t, `["3",null,null,"",{},0]`, string(w.ask(get(3)).body))
	latin := request(4, "POST", "/", "", []byte("gr\xfc\xdf"), "content-type", `text/plain; charset="ISO-8859-1"`)
	require.Contains(t, string(w.ask(latin).body), "grüß")
}

func TestNodeFindsTheHandler(t *testing.T) {
	t.Parallel()
	const typeModule = `{"type": "module"}`
	for _, c := range []struct {
		file, pkg, source, function, label string
	}{
		{"handler.js", "", "module.exports = () => 'x'", "", "default"},
		{"handler.js", "", "exports.handle = () => 'x'", "", "handle"},
		{"handler.js", "", "exports.go = () => 'x'; exports.handle = () => 'y'", "go", "go"},
		{"handler.js", "", "exports.a = {go: () => 'x'}", "a.go", "a.go"},
		{"handler.js", "", "Object.defineProperty(exports, '__esModule', {value: true}); exports.default = () => 'x'", "", "default"},
		{"handler.js", "", "exports.default = {handle: () => 'x'}", "", "handle"},
		{"handler.cjs", typeModule, "module.exports = async () => 'x'", "", "default"},
		{"handler.js", typeModule, "export default () => 'x'", "", "default"},
		{"handler.js", typeModule, "export function handle() { return 'x' }", "", "handle"},
		{"handler.mjs", "", "export default async () => 'x'", "", "default"},
		{"handler.mjs", "", "import fs from 'fs'; export const go = () => fs ? 'x' : ''; export default () => 'y'", "go", "go"},
		{"handler.mjs", "", "await null; export default {handle() { return 'x' }}", "", "handle"},
		{"my handler#?.mjs", "", "export default () => 'x'", "", "default"},
	} {
		l := node
		l.file = c.file
		o := options{function: c.function}
		if c.pkg != "" {
			o.files = map[string]string{"package.json": c.pkg}
		}
		w := launch(t, l, c.source, o)
		require.Equal(t, byte(tHello), w.read().kind)
		r := w.read()
		require.Equalf(t, byte(tReady), r.kind, "%s: %s %s", c.source, r.meta, r.body)
		require.Equal(t, c.file+":"+c.label, r.pair("handler"))
		require.Equal(t, "x", string(w.ask(get(1)).body), c.source)
	}
}

func TestNodeReportsWhyAHandlerCannotBeUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, function, handler, kind, message, trace string
	}{
		{"no file", "handler.js", "", "", "Error", "cannot read the handler: ENOENT", "ENOENT"},
		{"folder", ".", "", "", "Error", "cannot read the handler: is a directory", ""},
		{"syntax", "handler.js", "", "exports.handle = (\nretrun 1", "SyntaxError", "", "handler.js:2"},
		{"syntax of a module", "handler.mjs", "", "export default (\nretrun 1", "SyntaxError", "", "SyntaxError"},
		{"module in a script", "handler.js", "", "export default () => 1", "SyntaxError", "an ES module needs the extension .mjs", "handler.js:1"},
		{"no function", "handler.js", "", "exports.main = () => 1; exports.x = 2", "LookupError", "handler.js exports no default export, module.exports function or function 'handle'; it exports main", ""},
		{"no such function", "handler.js", "go", "exports.x = 2", "LookupError", "handler.js exports no function 'go'; it exports no functions", ""},
		{"not a function", "handler.js", "go", "exports.go = 2", "TypeError", "'go' in handler.js is a number, not a function", ""},
		{"exception", "handler.js", "", "function f() { throw new RangeError('db'); }\nf();", "RangeError", "db", "handler.js:1"},
		{"exception in a module", "handler.mjs", "", "await null; throw new RangeError('db');", "RangeError", "db", "handler.mjs:1"},
		{"missing module", "handler.js", "", "require('no-such-thing')", "Error", "Cannot find module 'no-such-thing'", "handler.js"},
		{"missing module of a module", "handler.mjs", "", "import 'no-such-thing'", "Error", "Cannot find package 'no-such-thing'", ""},
		{"exit", "handler.js", "", "process.exit(4)", "Error", "the process ended while the handler was starting, with code 4", ""},
		{"never ready", "handler.mjs", "", "await new Promise(() => {}); export default 1", "Error", "the process ended while the handler was starting", ""},
		{"init", "handler.js", "", "exports.handle = () => 1; exports.init = () => { throw new RangeError('no'); }", "RangeError", "no", "handler.js:1"},
		{"async init", "handler.mjs", "", "export const handle = () => 1; export async function init() { await null; throw new RangeError('no'); }", "RangeError", "no", "handler.mjs:1"},
		{"late exception before ready", "handler.js", "", "exports.handle = () => 1; exports.init = () => new Promise(() => setTimeout(() => { throw new RangeError('late'); }, 1))", "RangeError", "late", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := node
			l.file = c.file
			o := options{function: c.function}
			if c.name == "module in a script" {
				o.args = []string{"--no-experimental-detect-module", "--no-experimental-require-module"} // as older versions are
			}
			w := launch(t, l, c.handler, o)
			require.Equal(t, byte(tHello), w.read().kind)
			f := w.read()
			require.Equal(t, byte(tInitError), f.kind)
			require.Equal(t, c.kind, f.pair("type"))
			require.Contains(t, f.pair("message"), c.message)
			require.Contains(t, string(f.body), c.trace)
			require.NotContains(t, string(f.body), "/proc/self/fd")
			require.Equal(t, 1, w.ended())
		})
	}
}

func TestNodeSaysHelloAndReady(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 8} {
		w := launch(t, node, "let x; exports.init = async () => { x = 1; }; exports.handle = () => String(x);", options{concurrency: n})
		h := w.read()
		require.Equal(t, byte(tHello), h.kind)
		require.Equal(t, uint16(1), h.code)
		require.Equal(t, "node", h.pair("language"))
		require.Regexp(t, `^\d+\.\d+\.\d+`, h.pair("runtime"))
		require.Equal(t, fmt.Sprint(w.cmd.Process.Pid), h.pair("pid"))
		require.Equal(t, "lane,mux,stream", h.pair("features"))
		r := w.read()
		require.Equal(t, byte(tReady), r.kind)
		require.Equal(t, uint16(n), r.code)
		require.Regexp(t, `^\d+$`, r.pair("init_ms"))
		require.Equal(t, "1", string(w.ask(get(1)).body))
	}
}

func TestNodeReadsBodiesOfEverySize(t *testing.T) {
	t.Parallel()
	const window = 1 << 20
	for _, handler := range []string{
		"exports.handle = (req) => Buffer.concat([req.body, Buffer.from('!')]);",
		"exports.handle = async (req) => { await null; return Buffer.concat([req.body, Buffer.from('!')]); };",
	} {
		for _, lane := range []int{0, window} {
			w := start(t, node, handler, options{lane: lane})
			for i, n := range []int{0, 1, inline - 1, inline, inline + 1, piece, window - 1, window, window + 1, 3 * window} {
				got := w.echo(uint32(i+1), n)
				require.Lenf(t, got, n+1, "lane %d", lane)
				require.True(t, bytes.Equal(got[:n], pattern(n)))
			}
		}
	}
}

func TestNodeStopsStreamingWithoutCredit(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = async function* () { for (let i = 0; i < 100; i++) yield Buffer.alloc(50000); }", options{})
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

func TestNodeStopsACancelledStream(t *testing.T) {
	t.Parallel()
	w := start(t, node, `let closed = 0;
exports.handle = async function* (req) {
  if (req.path === '/closed') { yield String(closed); return; }
  try { for (;;) { yield Buffer.alloc(1000); await new Promise(setImmediate); } } finally { closed++; }
};`, options{})
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

func TestNodeStopsACancelledReadable(t *testing.T) {
	t.Parallel()
	w := start(t, node, `const {Readable} = require('stream');
exports.handle = () => new Readable({read() { if (!this.pushed) { this.pushed = true; this.push('a'); } }, destroy(err, done) { console.log('destroyed'); done(err); }});`, options{})
	w.ask(get(1))
	require.Equal(t, "a", string(w.read().body))
	w.send(frame{kind: tCancel, id: 1})
	require.Equal(t, "cancelled", w.read().pair("type"))
	require.Eventually(t, func() bool { return w.stdout.String() == "destroyed\n" }, patience, time.Millisecond)
}

func TestNodeTellsTheHandlerThatItIsCancelled(t *testing.T) {
	t.Parallel()
	w := start(t, node, `exports.handle = (req) => new Promise((done) => {
  req.signal.addEventListener('abort', () => { console.log('aborted'); done('too late'); });
});`, options{})
	w.send(get(1))
	w.send(frame{kind: tCancel, id: 1})
	f := w.read()
	require.Equal(t, byte(tError), f.kind)
	require.Equal(t, "cancelled", f.pair("type"))
	require.Eventually(t, func() bool { return w.stdout.String() == "aborted\n" }, patience, time.Millisecond)
}

func TestNodeDropsARequestCancelledBeforeItsBodyIsThere(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = (req) => req.body;", options{})
	f := request(1, "POST", "/", "", nil)
	f.flags = fMore
	w.send(f, frame{kind: tData, flags: fMore, id: 1, body: []byte("a")}, frame{kind: tCancel, id: 1},
		frame{kind: tData, flags: fMore, id: 1, body: []byte("late")}, frame{kind: tData, id: 1})
	require.Equal(t, "cancelled", w.read().pair("type"))
	require.Empty(t, w.ask(get(2)).body)
}

func TestNodeRunsRequestsSideBySide(t *testing.T) {
	t.Parallel()
	w := start(t, node, `const waiting = [];
exports.handle = (req) => req.path === '/big' ? 'ab'.repeat(30000) : new Promise((done) => {
  waiting.push(() => done(req.body));
  if (waiting.length === 8) for (const go of waiting.reverse()) go();
});`, options{concurrency: 8, lane: 1 << 20})
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
	w.send(request(9, "POST", "/big", "", nil))
	require.Len(t, w.download(9), 60000, "in pieces: no lane for several at once")
}

func TestNodeEventLoopTurnsBetweenRequests(t *testing.T) {
	t.Parallel()
	w := start(t, node, "setInterval(() => console.log('tick'), 5); exports.handle = () => 'x';", options{})
	w.ask(get(1))
	require.Eventually(t, func() bool { return strings.Count(w.stdout.String(), "tick") > 2 }, patience, time.Millisecond)
	w.ask(get(2))
	w.send(frame{kind: tDrain})
	require.Equal(t, byte(tBye), w.read().kind)
	require.Zero(t, w.ended())
}

func TestNodeUncaughtErrorsAnswerTheRequestsInFlightAndEndTheWorker(t *testing.T) {
	t.Parallel()
	for _, later := range []string{
		"setTimeout(() => { throw new RangeError('stray'); }, 1)",
		"setTimeout(() => { Promise.reject(new RangeError('stray')); }, 1)",
	} {
		w := start(t, node, "exports.handle = () => new Promise(() => { "+later+"; });", options{})
		a := w.ask(get(1))
		require.Equal(t, byte(tError), a.kind)
		require.Equal(t, "RangeError", a.pair("type"))
		require.Contains(t, string(a.body), "handler.js:1")
		require.Equal(t, byte(tBye), w.read().kind)
		require.Equal(t, 1, w.ended())

		w = start(t, node, "exports.handle = () => { "+later+"; return 'x'; };", options{})
		require.Equal(t, "x", string(w.ask(get(1)).body))
		require.Equal(t, byte(tBye), w.read().kind)
		require.Equal(t, 1, w.ended())
		require.Contains(t, w.stderr.String(), "RangeError: stray")
	}
}

func TestNodeEndsWithTheHandlersExit(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = () => process.exit(9);", options{})
	w.send(get(1))
	require.Equal(t, 9, w.ended())
}

func TestNodePrintsAppearAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = () => { console.log('out', 'line'); console.error('err'); for (;;); };", options{})
	w.send(get(1))
	require.Eventually(t, func() bool {
		return w.stdout.String() == "out line\n" && w.stderr.String() == "err\n"
	}, patience, time.Millisecond)
}

func TestNodeLeavesWhenAsked(t *testing.T) {
	t.Parallel()
	for _, kind := range []byte{tDrain, tExit, 0} {
		w := start(t, node, "process.on('exit', () => console.log('bye')); exports.handle = () => 'x';", options{})
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

func TestNodeFinishesWhatIsInFlightBeforeItLeaves(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = async function* () { await new Promise((go) => setTimeout(go, 50)); yield Buffer.alloc(300000); yield 'y'; }", options{concurrency: 2})
	w.send(get(1), frame{kind: tDrain})
	require.Len(t, w.download(1), 300001)
	require.Equal(t, byte(tBye), w.read().kind)
	require.Zero(t, w.ended())
}

func TestNodeLeavesWhenTheParentDiesInTheMiddleOfAStream(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = async function* () { try { for (;;) yield Buffer.alloc(1000); } finally { console.log('closed'); } }", options{})
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

func TestNodeDiesOfGarbage(t *testing.T) {
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
		{"twice the same id", append(more.bytes(), more.bytes()...), "request 1 is there already"},
		{"lane body without a lane", frame{kind: tRequest, flags: fLane, meta: get(1).meta, size: 100}.bytes(), "body of 100 bytes in a lane of 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, node, "exports.handle = () => 'x';", options{})
			_, err := w.in.Write(c.in)
			require.NoError(t, err)
			w.in.Close()
			require.Equal(t, 1, w.ended())
			require.Contains(t, w.stderr.String(), c.says)
		})
	}
}

func TestNodeTakesFramesInAnyPortion(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.handle = (req) => req.path + req.text();", options{})
	requireAnyPortion(t, w, request(1, "GET", "/a", "", nil), request(2, "GET", "/b", "", []byte("0")), request(3, "POST", "/c", "", []byte("1")), "/a", "/b0", "/c123")
}

func TestNodeHidesItsSettingsAndPipesFromTheHandler(t *testing.T) {
	t.Parallel()
	for _, o := range []options{{lane: 1 << 20}, {lane: 1 << 20, asCode: "-e"}} {
		w := start(t, node, `const {execFileSync} = require('child_process');
exports.handle = () => [
  Object.keys(process.env).filter((k) => k.startsWith('FNPOD_WORKER')),
  execFileSync('env').includes('FNPOD_WORKER'),
  execFileSync('sh', ['-c', 'for fd in 3 4 5 6; do readlink /proc/$$/fd/$fd; done; true']).toString(),
];`, o)
		require.Equal(t, `[[],false,""]`, string(w.ask(get(1)).body))
	}
}

func TestNodeNeedsItsSettings(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"FNPOD_WORKER_PROTOCOL=2-3", "FNPOD_WORKER_FDS=x", "FNPOD_WORKER_LANE=5"} {
		w := launch(t, node, "exports.handle = () => 1;", options{env: []string{env}})
		require.Equal(t, 1, w.ended())
		require.Contains(t, w.stderr.String(), "fnpod worker: ")
	}
}
