package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nuclioNodeFunction = `
const fs = require('fs');
exports.initContext = (context) => {
  context.logger.infoWith('starting', { a: 1 });
  context.userData.calls = 0;
};
exports.handler = (context, event) => {
  context.userData.calls++;
  const Response = context.Response;
  if (event.path === '/echo') {
    return context.callback({ ...event, body: event.body.toString(), isBuffer: Buffer.isBuffer(event.body), at: event.timestamp.getTime(), calls: context.userData.calls });
  }
  return eval(event.body.toString());
};
exports.later = async (context, event) => {
  if (event.path === '/reject') throw new Error('rejected');
  await new Promise((go) => setTimeout(go, 10));
  if (event.path === '/returns') return 'ignored';
  context.callback('first');
  context.callback('second');
};
`

// §9 N1–N9: a function in Node.
func TestNuclio9Node(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{runtime: "nodejs:20", handler: "main.js:handler", files: map[string]string{"main.js": nuclioNodeFunction}})
	for _, test := range []struct {
		value       string
		code        int
		contentType string
		body        string
	}{
		{`context.callback('ü')`, 200, "text/plain", "ü"},
		{`context.callback(Buffer.from([0, 255]))`, 200, "text/plain", "\x00\xff"},
		{`context.callback([201, 'made'])`, 201, "text/plain", "made"},
		{`context.callback([201, {a: 1}])`, 201, "application/json", `{"a":1}`},
		{`context.callback({a: 1})`, 200, "application/json", `{"a":1}`},
		{`context.callback(null)`, 200, "application/json", `null`},
		{`context.callback()`, 200, "application/json", ``},
		{`context.callback(5)`, 200, "application/json", `5`},
		{`context.callback(['a', 'b', 'c'])`, 200, "application/json", `["a","b","c"]`},
		{`context.callback(new Response('x', {'X-A': 'b\r\nX-B: c', 'X-N': 5}, 'a/b', 418))`, 418, "a/b", "x"},
		{`context.callback(new Response({a: 1}, null, 'a/b'))`, 200, "application/json", `{"a":1}`},
		{`context.callback(new Response(Buffer.from('a'), null, 'a/b'))`, 200, "application/json", `{"type":"Buffer","data":[97]}`},
		{`context.callback(new Response('AP8=', {}, 'a/b', 200, 'base64'))`, 200, "a/b", "\x00\xff"},
		{`context.callback(new Response('x', {}, ''))`, 200, "text/plain; charset=utf-8", "x"},
		{`setTimeout(() => context.callback('late'), 20)`, 200, "text/plain", "late"},
	} {
		resp, body := p.eval(test.value)
		require.Equal(t, test.code, resp.StatusCode, "%s: %s", test.value, body)
		require.Equal(t, test.contentType, resp.Header.Get("Content-Type"), test.value)
		require.Equal(t, test.body, body, test.value)
		if test.code == 418 {
			require.Equal(t, "b  X-B: c", resp.Header.Get("X-A"), "R3")
			require.Empty(t, resp.Header.Get("X-N"), "R2")
		}
	}
	resp, body := p.eval(`nothing.here`)
	require.Equal(t, 500, resp.StatusCode, "N7")
	require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(body, "Error in handler: ReferenceError: nothing is not defined\n"), body)
	resp, _ = p.eval(`context.callback([1, 'x'])`)
	require.Equal(t, 500, resp.StatusCode, "N6")

	_, body = nuclioAsk(t, p, "PUT", "/a/%2e./echo?a=1&b=%C3%BC", strings.Repeat("x", 200_000), "Content-Type: a/b", "X-u: ü")
	var e struct {
		Body, Method, Path, ContentType, ID string
		Headers, Fields                     map[string]string
		IsBuffer                            bool
		At                                  int64
		Calls, Size                         int
		Trigger                             struct{ Kind, Name string }
		Shard                               int `json:"shard_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &e), body)
	require.Len(t, e.Body, 200_000, "B13, N8")
	require.Equal(t, []string{"PUT", "/echo", "http", "web"}, []string{e.Method, e.Path, e.Trigger.Kind, e.Trigger.Name})
	require.Equal(t, map[string]string{"a": "1", "b": "ü"}, e.Fields)
	require.Equal(t, "ü", e.Headers["X-U"])
	require.Contains(t, body, `"content_type":"a/b"`, "N5")
	require.Contains(t, body, `"content-type":"a/b"`, "N5")
	require.True(t, e.IsBuffer, "N5")
	require.InDelta(t, time.Now().UnixMilli(), e.At, 100_000)
	require.Equal(t, []int{18, 200_000, -1}, []int{e.Calls, e.Size, e.Shard})

	resp, _ = nuclioAsk(t, p, "POST", "/", `context.logger.warn('hot', {a: 'ü'}), context.callback('x')`, "X-Nuclio-Log-Level: info")
	require.Contains(t, resp.Header.Get("X-Nuclio-Logs"), `"message":"hot","worker_id":"0","a":"\u00fc"`)
	require.Regexp(t, `\(I\) sor\.http\.w0\.nodejs\.logger starting {"worker_id": "0", "a": 1}`, p.log.String(), "B14")
	require.Eventually(t, func() bool {
		return regexpMatch(`\(W\) sor\.http\.w0\.nodejs\.logger hot {"worker_id": "0", "a": "ü"}`, p.log.String())
	}, 10*time.Second, time.Millisecond)
}

// §9 N2, N7, N9: async functions; a second answer reaches nobody.
func TestNuclio9NodeAsync(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{runtime: "nodejs", handler: "main:later", files: map[string]string{"main.js": nuclioNodeFunction}, spec: "  eventTimeout: 1s\n"})
	for range 3 {
		_, body := p.eval("")
		require.Equal(t, "first", body, "N9, B2")
	}
	resp, body := nuclioAsk(t, p, "GET", "/reject", "")
	require.Equal(t, 500, resp.StatusCode, "N7: and the pod lives")
	require.Contains(t, body, "Error in handler: Error: rejected")
	resp, _ = nuclioAsk(t, p, "GET", "/returns", "")
	require.Equal(t, 408, resp.StatusCode, "N2")
	require.Contains(t, p.log.String(), "answered already")

	for want, text := range map[string]string{"no disk": "exports.initContext = () => { throw new Error('no disk') }\nexports.handler = () => 1", "exports no": "exports.other = () => 1"} {
		bad := prepareNuclio(t, nuclioSpec{runtime: "nodejs", handler: "handler", files: map[string]string{"handler.js": text}})
		bad.begin()
		require.Equal(t, 2, bad.exit(), "N1, N3")
		require.Contains(t, bad.log.String(), want)
	}
}

// §9: a handler in Node alone, without the processor's files.
func TestNuclio9NodeInWarmWorkers(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", handlerFile(t, "function.js", "exports.handler = (context, event) => context.callback(event.trigger.kind + context.userData.a);\nexports.initContext = async (context) => { context.userData.a = 5; };"), "--contract", "nuclio")
	code, body := p.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "http5", body)
}
