package e2e_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nuclioRubyFunction = `
def init_context(context)
  context.logger.info('starting', a: 1)
  context.user_data = 0
end

def handler(context, event)
  context.user_data += 1
  return event.to_h.merge(body: event.body.bytesize, calls: context.user_data, trigger: event.trigger.kind) if event.path == '/echo'
  context.logger.warn('hot', a: 'ü') if event.path == '/log'
  exit(3) if event.path == '/exit'
  eval(event.body)
end
`

// §10: a function in Ruby, without Nuclio's wrapper.
func TestNuclio10Ruby(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{runtime: "ruby", handler: "main:handler", files: map[string]string{"main.rb": nuclioRubyFunction}})
	for _, test := range []struct {
		value       string
		code        int
		contentType string
		body        string
	}{
		{`'ok'`, 200, "text/plain", "ok"},
		{`ByteBuffer.new("\x00\xff")`, 200, "text/plain", "\x00\xff"},
		{`[201, {a: 1}]`, 201, "application/json", `{"a":1}`},
		{`Response.new('x', headers: {'X-A' => 'b'}, content_type: 'a/b', status_code: 418)`, 418, "a/b", "x"},
	} {
		resp, body := p.eval(test.value)
		require.Equal(t, test.code, resp.StatusCode, "%s: %s", test.value, body)
		require.Equal(t, test.contentType, resp.Header.Get("Content-Type"), test.value)
		require.Equal(t, test.body, body, test.value)
	}
	resp, body := p.eval(`raise KeyError, 'no key'`)
	require.Equal(t, 500, resp.StatusCode)
	require.Contains(t, body, "no key (KeyError)\n")
	resp, _ = nuclioAsk(t, p, "GET", "/exit", "")
	require.Equal(t, 500, resp.StatusCode, "and the pod lives")

	_, body = nuclioAsk(t, p, "PUT", "/a/%2e./echo?a=1&b=%C3%BC", string(make([]byte, 200_000)), "Content-Type: a/b", "X-u: ü")
	var e struct {
		Body, Calls               int
		Method, Path, Trigger, ID string
		ContentType               string `json:"content_type"`
		Headers, Fields           map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &e), body)
	require.Equal(t, []any{200_000, 7, "PUT", "/echo", "http", "a/b", "ü"}, []any{e.Body, e.Calls, e.Method, e.Path, e.Trigger, e.ContentType, e.Headers["X-U"]})
	require.Equal(t, map[string]string{"a": "1", "b": "ü"}, e.Fields)

	resp, _ = nuclioAsk(t, p, "POST", "/log", `'x'`, "X-Nuclio-Log-Level: info")
	require.Contains(t, resp.Header.Get("X-Nuclio-Logs"), `"message":"hot","a":"\u00fc"`)
	require.Regexp(t, `\(I\) essor\.http\.w0\.ruby\.logger starting {"a": 1}`, p.log.String())
	require.Eventually(t, func() bool {
		return regexpMatch(`\(W\) essor\.http\.w0\.ruby\.logger hot {"a": "ü"}`, p.log.String())
	}, 10*time.Second, time.Millisecond)
}

// §10: what cannot start ends the pod, and says why.
func TestNuclio10RubyThatCannotStart(t *testing.T) {
	t.Parallel()
	for handler, want := range map[string]string{"main": "must be file:method", "main:none": "has no method 'none'", "other:handler": "no such file"} {
		p := prepareNuclio(t, nuclioSpec{runtime: "ruby", handler: handler, files: map[string]string{"main.rb": "def handler(context, event); end\n"}})
		p.begin()
		require.NotZero(t, p.exit())
		require.Contains(t, p.log.String(), want)
	}
}
