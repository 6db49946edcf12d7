package wrapper_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// OpenFaaS contract §19: event, context and callback of the Node templates; e2e compares them with Express.
func TestOpenFaaS19NodeHTTP(t *testing.T) {
	t.Parallel()
	const handler = `
module.exports = async (event, context, callback) => {
  switch (event.path) {
    case '/reject': throw new Error('the text');
    case '/fail': return context.status(200).fail('failed');
    case '/twice': context.succeed('first'); return context.succeed('second');
    case '/later': return new Promise(() => setTimeout(() => callback(null, 'later'), 5));
  }
  return {statusCode: 404, body: event.body, q: event.query.a};
};`
	w := start(t, node, handler, options{contract: wrapper.OpenFaaSHTTP})
	for i, c := range []struct {
		path   string
		status uint16
		body   string
	}{
		{"/", 200, `{"statusCode":404,"body":{"a":1},"q":["1","2"]}`},
		{"/reject", 200, "Error: the text"},
		{"/fail", 500, "failed"},
		{"/twice", 200, "first"},
		{"/later", 200, "later"},
	} {
		a := w.ask(request(uint32(i+1), "POST", c.path, "a=1&a=2", []byte(`{"a":1}`), "content-type", "application/json"))
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.Equal(t, c.status, a.code, c.path)
		require.Equal(t, c.body, string(a.body))
		require.Equal(t, htmlType, a.pair("content-type"))
	}
	w.stderr.requires(t, "the handler has answered already")
}

// OpenFaaS contract §19, §23.5: an answer for each call, also of handlers that are not async, and the worker goes on.
func TestOpenFaaS19NodeHandlersThatAreNotAsync(t *testing.T) {
	t.Parallel()
	const handler = `
module.exports = (event, context, callback) => {
  if (event.path === '/throw') throw new Error('the reason');
  if (event.path === '/now') callback(undefined, 'now');
  if (event.path === '/later') setTimeout(() => callback(undefined, 'too late'), 1);
  if (event.path === '/succeed') context.succeed('made');
  if (event.path === '/code') context.status(7).succeed('x');
};`
	w := start(t, node, handler, options{contract: wrapper.OpenFaaSHTTP})
	for i, c := range []struct {
		path, body string
		kind       byte
	}{
		{"/throw", "", tError},
		{"/now", "now", tResponse},
		{"/later", "", tResponse}, // empty, as in the template: the callback comes too late
		{"/succeed", "made", tResponse},
		{"/code", "", tError},
		{"/none", "", tResponse},
	} {
		a := w.ask(request(uint32(i+1), "GET", c.path, "", nil))
		require.Equalf(t, c.kind, a.kind, "%s %s %s", c.path, a.meta, a.body)
		if c.kind == tResponse {
			require.Equal(t, c.body, string(a.body), c.path)
		}
	}
}

// OpenFaaS contract §19: text in, and out what is printed and called back.
func TestOpenFaaS19NodeClassic(t *testing.T) {
	t.Parallel()
	const handler = `
module.exports = (text, callback) => {
  switch (text) {
    case 'throw': process.stdout.write('so far;'); throw new Error('the reason');
    case 'error': return callback(new Error('the reason'));
    case 'nothing': return callback();
    case 'object': return callback(null, {a: [1]});
    case 'number': return callback(null, 5);
    case 'later': return void setTimeout(() => callback(undefined, 'later'), 5);
    case 'promise': return new Promise((go) => { console.log('printed'); setTimeout(() => go('promised'), 5); });
    case 'reject': return Promise.reject(new Error('the reason'));
    case 'env': return callback(null, Object.keys(process.env).filter((k) => k.startsWith('Http_')).sort().map((k) => k + '=' + process.env[k]));
  }
  console.error('log');
  callback(null, text.toUpperCase());
};`
	w := start(t, node, handler, options{contract: wrapper.OpenFaaSClassic})
	for i, c := range []struct{ text, body string }{
		{"a", "A"},
		{"throw", "so far;"},
		{"error", ""},
		{"nothing", ""},
		{"object", "{\"a\":[1]}\n"},
		{"number", ""},
		{"later", "later"},
		{"promise", "printed\npromised"},
		{"reject", ""},
		{"env", `["Http_ContentLength=3","Http_Content_Length=3","Http_Host=example.com:8080","Http_Method=POST","Http_Path=/p q","Http_Query=a=b","Http_X_Foo_Bar=1"]` + "\n"},
	} {
		a := w.ask(request(uint32(i+1), "POST", "/p%20q", "a=b", []byte(c.text), "x-foo-bar", "1", "x-foo-bar", "2"))
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.Equal(t, uint16(200), a.code)
		require.Equal(t, c.body, string(a.body), c.text)
		if c.body != "" {
			require.Equal(t, textType, a.pair("content-type"))
		}
	}
	require.Equal(t, "x/y", w.ask(request(99, "POST", "/", "", []byte("a"), "content-type", "x/y")).pair("content-type"), "classic §17")
	require.Empty(t, w.stdout.String())
	w.stderr.requires(t, "the reason")
	w.stderr.requires(t, "log\n")
}

// OpenFaaS contract §19: where versions of qs disagree, nested names are read as by the newest; e2e compares the rest with it.
func TestOpenFaaS19NodeNestedNames(t *testing.T) {
	t.Parallel()
	w := start(t, node, "module.exports = async (event) => event.query;", options{contract: wrapper.OpenFaaSHTTP})
	for i, c := range []struct{ query, want string }{
		{"n[x]=1&n=2", `{"n":[{"x":"1"},"2"]}`},
		{"h[25]=y", `{"h":["y"]}`},
		{"h[1000]=y", `{"h":["y"]}`},
		{"h[1001]=y", `{"h":{"1001":"y"}}`},
		{"a[x]=1&a=b=c", `{"a":[{"x":"1"},"b=c"]}`},
		{"__proto__[polluted]=1&__proto__=2", `{}`},
	} {
		require.Equal(t, c.want, string(w.ask(request(uint32(i+1), "GET", "/", c.query, nil)).body))
	}
}
