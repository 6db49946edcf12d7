package wrapper_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// Kubeless contract N12 to N18: how a handler answers.
func TestKubelessN12NodeReturns(t *testing.T) {
	t.Parallel()
	const jsonUTF8 = jsonType + "; charset=utf-8"
	for _, c := range []struct {
		name, body  string
		status      uint16 // 0: an error, 500
		contentType string
		answer      string
	}{
		{"N12 string", `return 'grüß'`, 200, "", "grüß"},
		{"N13 object", `return {a: [1]}`, 200, jsonUTF8, `{"a":[1]}`},
		{"N13 array", `return [1]`, 200, jsonUTF8, `[1]`},
		{"N13 null", `return null`, 200, jsonUTF8, `null`},
		{"N13 Buffer", `return Buffer.from('a')`, 200, jsonUTF8, `{"type":"Buffer","data":[97]}`},
		{"N14 undefined", ``, 200, "", ""},
		{"N15 number", `return 5`, 200, "", "5"},
		{"N15 boolean", `return false`, 200, "", "false"},
		{"N16 promise", `return Promise.resolve({a: 1})`, 200, jsonUTF8, `{"a":1}`},
		{"N17 ended", `res.status(201).set('Content-Type', 'text/css').end('made')`, 201, "text/css", "made"},
		{"N17 written later", `res.write('a'); setTimeout(() => res.end('b'), 5)`, 200, "", "ab"},
		{"N17 sent, and a value besides", `res.status(202).send('sent'); return 'not this'`, 202, htmlType, "sent"},
		{"N17 json", `res.json({a: 1})`, 200, jsonUTF8, `{"a":1}`},
		{"N17 piped", `require('stream').Readable.from(['p', 'q']).pipe(res); return new Promise((done) => res.on('finish', done))`, 200, "", "pq"},
		{"N17 a status and a value", `res.status(201); return 'made'`, 201, "", "made"},
		{
			"N17 cookies", `res.cookie('a', 'b c', {path: '/x', httpOnly: true}).cookie('d', 'e').vary('Origin'); return res.get('set-cookie').concat(res.get('vary')).join()`,
			200, "", "a=b%20c; Path=/x; HttpOnly,d=e; Path=/,Origin",
		},
		{"N17 after the end", `res.end('a'); res.write('b'); return 'c'`, 200, "", "a"},
		{"N17 redirect", `res.redirect(301, '/other')`, 301, "", ""},
		{"N17 sendStatus", `res.sendStatus(404)`, 404, textType, "Not Found"},
		{"N18 throw", `throw new Error('the reason')`, 0, "", ""},
		{"N18 reject", `return Promise.reject(new Error('the reason'))`, 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, node, "module.exports = {hello(event, context) { const res = event.extensions.response; "+c.body+" }};",
				options{function: "hello", contract: wrapper.Kubeless})
			for id := range uint32(2) {
				a := w.ask(get(id + 1))
				if c.status == 0 {
					require.Equal(t, byte(tError), a.kind)
					continue
				}
				require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
				require.Equal(t, c.status, a.code)
				require.Equal(t, c.contentType, a.pair("content-type"))
				require.Equal(t, "*", a.pair("access-control-allow-origin"), "N8")
				require.Equal(t, c.answer, string(a.body))
			}
		})
	}
}

// Kubeless contract C1 to C4: what callers send reaches the event as it was sent, and what they do not send is undefined.
func TestKubelessC1NodeCallers(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.hello = (e) => [e.data, e['event-id'], e['event-type'], e['event-time'], e['event-namespace']];",
		options{function: "hello", contract: wrapper.Kubeless})
	for _, c := range kubelessCallers {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.node, string(w.ask(request(1, c.method, "/", "", []byte(c.body), c.fields...)).body))
		})
	}
}

// Kubeless contract N11: what is not set is undefined.
func TestKubelessN11NodeContext(t *testing.T) {
	t.Parallel()
	w := start(t, node, "exports.hello = (event, context) => [context['function-name'], typeof context.timeout, context.timeout, typeof context.runtime, typeof context['memory-limit']].join();",
		options{function: "hello", contract: wrapper.Kubeless, env: []string{"FUNC_TIMEOUT=180"}})
	require.Equal(t, "hello,number,180,undefined,undefined", string(w.ask(get(1)).body))
}

// Kubeless contract N2, N7, N9 to N11: preflight, sizes, event and context.
func TestKubelessN10NodeEvent(t *testing.T) {
	t.Parallel()
	const handler = `
exports.hello = async (event, context) => {
  const req = event.extensions.request, {data} = event;
  if (req.get('content-type') === 'multipart/form-data; boundary=x') {
    let text = '';
    for await (const part of req) text += part;
    return {text, data};
  }
  return {kind: Buffer.isBuffer(data) ? 'buffer' : typeof data, data, id: event['event-id'], type: event['event-type'] === undefined, context,
    method: req.method, url: req.url, query: req.query, body: Buffer.isBuffer(req.body) ? req.body.toString() : req.body};
};`
	w := start(t, node, handler, options{function: "hello", contract: wrapper.Kubeless, env: []string{"FUNC_TIMEOUT=5", "FUNC_RUNTIME=nodejs14", "FUNC_MEMORY_LIMIT=0", "REQ_MB_LIMIT=0.001"}})
	ask := func(method, body string, fields ...string) frame {
		return w.ask(request(1, method, "/a", "b[c]=1", []byte(body), fields...))
	}
	t.Run("N9 N11", func(t *testing.T) {
		require.JSONEq(t, `{"kind": "object", "data": {"a": 1}, "id": "i", "type": true, "method": "PUT", "url": "/a?b[c]=1", "query": {"b": {"c": "1"}}, "body": "{\"a\": 1}",
			"context": {"function-name": "hello", "timeout": 5, "runtime": "nodejs14", "memory-limit": "0"}}`,
			string(ask("PUT", `{"a": 1}`, "content-type", "application/json; charset=utf-8", "event-id", "i").body))
	})
	t.Run("N10", func(t *testing.T) {
		require.Contains(t, string(ask("POST", "a=b", "content-type", "application/x-www-form-urlencoded").body), `{"kind":"string","data":"a=b"`)
		require.Contains(t, string(ask("GET", "").body), `{"kind":"object","data":{}`)
		require.Contains(t, string(ask("POST", "", "content-length", "0").body), `{"kind":"buffer"`)
		require.JSONEq(t, `{"text": "--x--", "data": {}}`, string(ask("POST", "--x--", "content-type", "multipart/form-data; boundary=x").body))
		require.Equal(t, byte(tError), ask("POST", "{", "content-type", "application/json").kind)
		require.Equal(t, uint16(200), ask("POST", strings.Repeat("a", 1049), "content-type", "multipart/form-data; boundary=y").code, "the stream of a form")
	})
	t.Run("N2", func(t *testing.T) {
		require.Equal(t, uint16(413), ask("POST", strings.Repeat("a", 1049)).code)
		require.Equal(t, uint16(200), ask("POST", strings.Repeat("a", 1048)).code)
	})
	t.Run("N7", func(t *testing.T) {
		a := ask("OPTIONS", "", "access-control-request-method", "PUT")
		require.Equal(t, uint16(200), a.code)
		require.Equal(t, "PUT", a.pair("access-control-allow-methods"))
		require.Equal(t, "undefined", a.pair("access-control-allow-headers"))
	})
}

// Kubeless contract N1, N4: dependencies beside the module, and a module that is the function, whatever it is called.
func TestKubelessN4NodeModules(t *testing.T) {
	t.Parallel()
	files := map[string]string{"function/node_modules/dep/index.js": "module.exports = 'dep';", "function/lib.js": "module.exports = 'lib';"}
	for name, handler := range map[string]string{
		"N1 dependencies, files beside it, and what Node has": "exports.hello = () => require('dep') + require('path').basename(require('./lib'));",
		"the function itself": "module.exports = () => require('dep') + require('./lib');",
		"one of its exports":  "module.exports = {hello: () => require('dep') + require('./lib'), handler: () => 'wrong'};",
		"an export of ES":     "exports.hello = async () => (await import('./lib.js')).default && require('dep') + 'lib';",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, node, handler, options{function: "hello", contract: wrapper.Kubeless, files: files})
			require.Equal(t, "deplib", string(w.ask(get(1)).body))
		})
	}
}
