package wrapper_test

import (
	"cmp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// fuzzed are handlers that look at all of a request, for each contract that takes requests apart.
var fuzzed = []struct {
	contract, handler string
	language          language
}{
	{wrapper.OpenFaaSHTTP, `
def handle(event, context):
    return repr([event.path, list(event.query.items(multi=True)), list(event.headers), event.body])
`, python},
	{wrapper.OpenFaaSFlask, "def handle(req): return repr(req)", python},
	{wrapper.OpenFaaSClassic, "import os\ndef handle(req): return repr([req, sorted(os.environ.items())])", python},
	{wrapper.Kubeless, `
def handler(event, context):
    r = event['extensions']['request']
    return repr([event, r.path, r.query, r.forms, sorted(r.environ), r.url])
`, python},
	{wrapper.OpenFaaSHTTP, "module.exports = async (event) => event;", node},
	{wrapper.OpenFaaSClassic, "module.exports = (text, callback) => callback(null, {text, env: {...process.env}});", node},
	{wrapper.Kubeless, "exports.handler = ({data, extensions: {request: {path, query, headers}}}) => ({data, path, query, headers});", node},
	{wrapper.OpenFaaSHTTP, "class Handler\n  def run(body, env) = [body.read, env.reject { |k, _| k == 'rack.errors' }].inspect\nend\n", ruby.language},
	{wrapper.OpenFaaSClassic, "class Handler\n  def run(text) = [text, ENV.to_h].inspect\nend\n", ruby.language},
	{wrapper.Nuclio, "def handler(context, event) = event.to_h.inspect\n", ruby.language},
	{wrapper.OpenFaaSClassic, "<?php\nnamespace App;\nclass Handler { function handle(string $text) { return var_export([$text, $_SERVER, getenv()], true); } }\n", php.language},
}

// notJSON are the errors that a body may end a call with.
var notJSON = []string{"json.decoder.JSONDecodeError", "UnicodeDecodeError", "UnusableBody", "SyntaxError"}

// tokenOnly leaves of a text what a name of a field may have.
func tokenOnly(r rune) rune {
	if strings.ContainsRune("!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyz", r) {
		return r
	}
	return -1
}

// FuzzContracts sends what a client may send, as far as the front door lets it through: whatever it is, the worker answers the
// request, and the next one.
func FuzzContracts(f *testing.F) {
	for _, seed := range []struct{ method, path, query, kind, body string }{
		{"GET", "/", "", "", ""},
		{"POST", "/a%20b/%ff%C3%BC%00/..//x", "a=1&a=2&b[c][]=1&b[c][0][d]=2&__proto__[x]=1&constructor=1&%=%&&=&+", "application/json", `{"a": [1, null]}`},
		{"PUT", "/%", "a[[[]]]=1&[]=1&[0]=2&a[b]c=1&a[1000]=x&a[1001]=y", "application/x-www-form-urlencoded; charset=utf-8", "a[]=1&a[b]=%zz&a=&toString=x"},
		{"PATCH", "*", "\xff=\xfe", "text/plain; charset=iso-8859-1", "\xff\x00"},
		{"DELETE", "/\xc3\xbc", "a", "multipart/form-data; boundary=x", "--x--"},
		{"FOO", "//h/p", "?", "application/json; charset=utf-16", "\xff\xfe{\x00}\x00"},
		{"POST", "/x", "", "text/x; charset=__proto__", "x"},
		{"POST", "/x", "", "application/json", `{"__proto__": {"a": 1}}`},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.kind, []byte(seed.body))
	}
	var workers []*worker
	for _, c := range fuzzed {
		workers = append(workers, start(f, c.language, c.handler, options{contract: c.contract}))
	}
	for _, c := range []struct {
		contract, function string
		classes            func() (map[string][]byte, error)
	}{{wrapper.OpenFaaSHTTP, "", javaOpenFaaSClasses}, {wrapper.Nuclio, "Main", javaNuclioClasses}} {
		files, err := c.classes()
		require.NoError(f, err)
		handler, err := jar("", files)
		require.NoError(f, err)
		workers = append(workers, start(f, javaLanguage, string(handler), options{contract: c.contract, function: c.function}))
	}
	id := uint32(0)
	f.Fuzz(func(t *testing.T, method, path, query, kind string, body []byte) {
		clean := strings.NewReplacer("\x00", "", "\r", "", "\n", "")
		method, path, query, kind = clean.Replace(method), cmp.Or(clean.Replace(path), "/"), clean.Replace(query), clean.Replace(kind)
		if len(method)+len(path)+len(query)+len(kind) > 16<<10 || len(body) > 8<<10 {
			t.Skip("larger than what is sent in one frame")
		}
		for i, w := range workers {
			w.t = t
			defer func() { w.t = f }()
			id++
			a := w.ask(request(id, method, path, query, body, "content-type", kind, "x-"+strings.Map(tokenOnly, kind), path, "cookie", query))
			require.Contains(t, []byte{tResponse, tError}, a.kind)
			if a.kind == tError {
				require.Contains(t, notJSON, a.pair("type"), "%d: %s", i, a.body)
			}
			id++
			require.Equal(t, byte(tResponse), w.ask(get(id)).kind, "the next one")
		}
	})
}
