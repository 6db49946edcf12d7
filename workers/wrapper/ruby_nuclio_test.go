package wrapper_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// inProcessor is what the processor tells each worker.
var inProcessor = []string{"FNPOD_WORKER_NUCLIO_PLATFORM=local", "FNPOD_WORKER_NUCLIO_TRIGGER_KIND=http", "FNPOD_WORKER_INDEX=3"}

// Nuclio contract §10: what a handler returns.
func TestNuclio10RubyReturns(t *testing.T) {
	t.Parallel()
	const plain = "text/plain"
	w := start(t, ruby.language, rubyEval, options{contract: wrapper.Nuclio})
	for i, c := range []struct {
		name, result string
		status       uint16
		contentType  string
		body         string
	}{
		{"String", `"grüß"`, 200, plain, "grüß"},
		{"bytes in a String", `"\x00\xff".b`, 200, plain, "\x00\xff"},
		{"empty", `''`, 200, plain, ""},
		{"ByteBuffer", `ByteBuffer.new("\x00\xff")`, 200, plain, "\x00\xff"},
		{"status and body", `[201, 'made']`, 201, plain, "made"},
		{"status and Hash", `[202, {a: 1}]`, 202, jsonType, `{"a":1}`},
		{"status and ByteBuffer", `[203, ByteBuffer.new("\xff")]`, 203, plain, "\xff"},
		{"Hash", `{'b' => nil}`, 200, jsonType, `{"b":null}`},
		{"list of three", `[1, 2, 3]`, 200, jsonType, `[1,2,3]`},
		{"nil", `nil`, 200, jsonType, `null`},
		{"number", `42`, 200, jsonType, `42`},
		{"Response", `Response.new('r', headers: {'x-a' => 'b', 'X-N' => 5, 'x-c' => "d\r\ne", 'Content-Type' => 'x/y'}, content_type: 'text/css', status_code: 418)`, 418, "text/css", "r"},
		{"Response alone", `Response.new('r')`, 200, plain, "r"},
		{"Response in Base64", `Response.new('AP8=', body_encoding: 'base64')`, 200, plain, "\x00\xff"},
		{"Response of nothing", `Response.new(nil)`, 200, plain, ""},
		{"Response without type", `Response.new('a', content_type: '')`, 200, textType, "a"},
		{"Response without type, but a header", `Response.new('a', content_type: nil, headers: {'Content-Type': 'x/y'})`, 200, "x/y", "a"},
		{"status 0", `Response.new('a', status_code: 0)`, 200, plain, "a"},
	} {
		a := w.ask(request(uint32(i+1), "POST", "/", "", []byte(c.result)))
		require.Equalf(t, byte(tResponse), a.kind, "%s: %s %s", c.name, a.meta, a.body)
		require.Equal(t, c.status, a.code, c.name)
		require.Equal(t, c.contentType, a.pair("content-type"), c.name)
		require.Equal(t, c.body, string(a.body), c.name)
		if c.status == 418 {
			require.Equal(t, "b", a.pair("x-a"))
			require.Equal(t, "d  e", a.pair("x-c"), "R3")
			require.Empty(t, a.pair("x-n"), "R2: what is no string is dropped")
		}
	}
}

// rubyEval is a handler that returns what its body says.
const rubyEval = "def handler(context, event) = eval(event.body.dup.force_encoding('UTF-8'))\n"

// Nuclio contract §10: a StandardError is a 500 with the place, the message and the class; exit takes no worker down.
func TestNuclio10RubyErrors(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{nil, inProcessor} {
		w := start(t, ruby.language, rubyEval, options{contract: wrapper.Nuclio, env: env})
		for i, c := range []struct{ result, want string }{
			{`raise KeyError, 'no key'`, "no key (KeyError)\n"},
			{`['200', 'x']`, "is no Integer (TypeError)"},
			{`[700, 'x']`, "status 700 cannot be sent"},
			{`Response.new({a: 1})`, "is Hash, no String"},
			{`Response.new('a', body_encoding: 'hex')`, `Unknown body encoding - "hex"`},
			{`Response.new('?', body_encoding: 'base64')`, "ArgumentError"},
			{`exit 3`, ""},
		} {
			a := w.ask(request(uint32(i+1), "POST", "/", "", []byte(c.result)))
			require.Equal(t, uint16(500), a.code)
			if c.want == "" || env == nil {
				require.Equal(t, byte(tError), a.kind)
				continue
			}
			require.Equal(t, byte(tResponse), a.kind)
			require.Equal(t, "text/plain", a.pair("content-type"))
			require.Contains(t, string(a.body), c.want)
			require.NotContains(t, string(a.body), "/proc/")
			if i == 0 {
				require.Regexp(t, "^\\(eval\\).*:1:in .handler': no key \\(KeyError\\)\n/.*/handler.rb:1:in .eval'\n", string(a.body))
			}
		}
	}
}

// Nuclio contract §6, §10: init_context, context and event.
func TestNuclio10RubyEvent(t *testing.T) {
	t.Parallel()
	const handler = `
def init_context(context)
  context.user_data = {calls: 0}
end
def init = raise('this is no hook here')
def handler(context, event)
  context.user_data[:calls] += 1
  {body: event.body, encoding: event.body.encoding.to_s, content_type: event.content_type, headers: event.headers, fields: event.fields, id: event.id.length,
   method: event.method, path: event.path, url: event.url, timestamp: [event.timestamp.class, event.timestamp.year > 2000, event.timestamp.offset],
   trigger: [event.trigger.class_name, event.trigger.kind], version: event.version, members: event.to_h.size, calls: context.user_data[:calls]}
end
`
	w := start(t, ruby.language, handler, options{contract: wrapper.Nuclio})
	a := w.ask(request(1, "FOO", "/a%20b/../c//d/%C3%BC", "a=1&a=2&c&%C3%BC=+", []byte(`{"a": 1}`),
		"host", "h", "content-type", "application/json", "x-foo-bar", "1", "x-foo-bar", "\xc3\xbc", "cookie", "a=b; c=d"))
	require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
	require.JSONEq(t, `{"body": "{\"a\": 1}", "encoding": "ASCII-8BIT", "content_type": "application/json", "fields": {"a": "2", "c": "", "ü": " "},
		"headers": {"Host": "h", "Content-Type": "application/json", "X-Foo-Bar": "ü", "Cookie": "a=b; c=d"}, "id": 36, "method": "FOO", "path": "/c/d/ü",
		"url": "", "timestamp": ["DateTime", true, "0/1"], "trigger": [null, "http"], "version": "", "members": 11, "calls": 1}`, string(a.body))
}

// Nuclio contract §6: cloud events of the draft 0.1.
func TestNuclio6RubyCloudEvents(t *testing.T) {
	t.Parallel()
	w := start(t, ruby.language, "def handler(context, event) = event.to_h.merge(trigger: event.trigger.kind)\n", options{contract: wrapper.Nuclio})
	seen := func(f frame) (e struct {
		Body        any               `json:"body"`
		ID          string            `json:"id"`
		Trigger     string            `json:"trigger"`
		ContentType string            `json:"content_type"`
		Version     string            `json:"version"`
		Timestamp   string            `json:"timestamp"`
		Headers     map[string]string `json:"headers"`
	},
	) {
		t.Helper()
		a := w.ask(f)
		require.NoErrorf(t, json.Unmarshal(a.body, &e), "%s", a.body)
		return e
	}
	structured := func(id uint32, body string) frame {
		return request(id, "POST", "/", "", []byte(body), "content-type", "application/cloudevents+json")
	}
	e := seen(structured(1, `{"cloudEventsVersion": "0.1", "eventID": "i", "source": "s", "eventTime": "2020-01-02T03:04:05+01:00", "contentType": "x/y", "data": {"a": 1}, "extensions": {"e": "f"}}`))
	require.Equal(t, map[string]any{"a": 1.0}, e.Body)
	require.Equal(t, []string{"i", "s", "x/y", "0.1", "2020-01-02T02:04:05+00:00", "f"}, []string{e.ID, e.Trigger, e.ContentType, e.Version, e.Timestamp, e.Headers["e"]})
	require.Equal(t, "text", seen(structured(2, `{"data": "text"}`)).Body)
	for id, body := range []string{"{", "[]", `{"eventTime": "today"}`} {
		a := w.ask(structured(uint32(id+3), body))
		require.Equal(t, uint16(500), a.code)
		require.Equal(t, "Failed to wrap structured cloud event", string(a.body))
	}
	e = seen(request(9, "POST", "/", "", []byte("b"), "ce-cloudeventsversion", "0.1", "ce-eventid", "i", "ce-source", "s", "ce-eventtime", "2020-01-02T03:04:05Z"))
	require.Equal(t, []any{"b", "i", "s", "2020-01-02T03:04:05+00:00"}, []any{e.Body, e.ID, e.Trigger, e.Timestamp})
}

// Nuclio contract §10, §19: each call of the logger is one record with fields, which the client may ask for.
func TestNuclio10RubyLogger(t *testing.T) {
	t.Parallel()
	const handler = `
def init_context(context)
  context.logger.info('starting')
end
def handler(context, event)
  context.logger.warn('about this', a: 1, b: {c: "d\0"})
  context.logger.error('x' * 3_000_000) if event.path == '/long'
  context.logger.debug('ü')
  ''
end
`
	w := launch(t, ruby.language, handler, options{contract: wrapper.Nuclio, env: inProcessor})
	require.Equal(t, byte(tHello), w.read().kind)
	const name = "logger\x00processor.http.w3.ruby.logger"
	f := w.read()
	require.Equal(t, frame{kind: tLog, code: 1, meta: name, body: []byte("starting"), size: 8}, f)
	require.Equal(t, byte(tReady), w.read().kind)
	w.send(path(7, "/long"))
	require.Equal(t, frame{kind: tLog, code: 2, id: 7, meta: name + "\x00a\x001\x00b\x00{\"c\":\"d\\u0000\"}", body: []byte("about this"), size: 10}, w.read())
	require.Len(t, w.read().body, 64<<10, "B15: a long line is cut")
	require.Equal(t, uint16(0), w.read().code)
	require.Equal(t, byte(tResponse), w.read().kind)

	w.send(request(8, "GET", "/", "", nil, "x-nuclio-log-level", "DEBUG"))
	w.read()
	w.read()
	a := w.read()
	require.Regexp(t, `^\[\{"level":"warn","time":[\d.]+,"name":"","message":"about this","a":1,"b":\{"c":"d\\u0000"\}\},\{"level":"debug",.*"message":"\\u00fc"\}\]$`, a.pair("x-nuclio-logs"))
}

// Nuclio contract §10: what init_context raises ends the start; so does a handler that is not there.
func TestNuclio10RubyFailedStart(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"def init_context(context) = raise(IOError, 'no disk')\ndef handler(context, event); end\n": "no disk",
		"def other(context, event); end\n": "handler.rb has no method 'handler'; it has other",
	} {
		w := launch(t, ruby.language, source, options{contract: wrapper.Nuclio})
		require.Equal(t, byte(tHello), w.read().kind)
		f := w.read()
		require.Equal(t, byte(tInitError), f.kind)
		require.Contains(t, string(f.body), want)
		require.Equal(t, 1, w.ended())
	}
}
