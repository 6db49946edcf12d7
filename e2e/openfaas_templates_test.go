package e2e_test

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// template is a function in two images: one made by a template, with its server, and one with the handler alone.
type template struct {
	server   string   // file of testdata/templates, run as the process of http mode
	program  []string // runs it; its port is appended
	handler  string   // file of testdata/templates
	as       string   // where the image has it
	contract string
	old      []string // what the first image sets besides; http mode without it
	env      []string
}

// both starts fnpod twice: in front of the template's server, and with the handler in warm workers.
func (m *template) both(t *testing.T) (old, warm *pod) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata/templates", m.handler))
	require.NoError(t, err)
	server, err := os.ReadFile(filepath.Join("testdata/templates", m.server))
	require.NoError(t, err)
	_, port, _ := strings.Cut(freePort(t), ":")
	index := "index" + filepath.Ext(m.server)
	environ := append([]string{"fprocess=" + strings.Join(m.program, " ") + " " + port}, m.env...)
	if m.old == nil {
		environ = append(environ, "mode=http", "upstream_url=http://127.0.0.1:"+port)
	}
	old = ofWorkers(t, map[string]string{m.as: string(source), index: string(server)}, append(environ, m.old...)...)
	warm = ofWorkers(t, map[string]string{m.as: string(source)}, append([]string{"FNPOD_CONTRACT=" + m.contract}, m.env...)...)
	old.begin()
	return old, warm.beginReady()
}

// request is one row of a table of requests.
type templateRequest struct {
	method, target, body string
	fields               []string
}

func (q templateRequest) String() string {
	return q.method + " " + q.target + " " + strings.Join(q.fields, ", ")
}

// answer is what has to be the same. Of errors of the server the page is its own.
type templateAnswer struct {
	Status int
	Fields map[string][]string
	Body   string
}

func (q templateRequest) ask(t *testing.T, p *pod) templateAnswer {
	t.Helper()
	r, body := ofAsk(t, p, q.method, q.target, q.body, q.fields...)
	a := templateAnswer{Status: r.StatusCode, Fields: maps.Clone(r.Header), Body: body}
	for _, name := range []string{"Date", "Server", "Content-Length", "X-Duration-Seconds", "Connection", "Keep-Alive", "Fnpod-Error", "Via"} {
		delete(a.Fields, name)
	}
	if allow := a.Fields["Allow"]; len(allow) == 1 {
		methods := strings.Split(allow[0], ", ")
		slices.Sort(methods)
		a.Fields["Allow"] = methods
	}
	if a.Status >= 500 && a.Status != 599 || a.Status == http.StatusMethodNotAllowed || a.Status == 400 || a.Status == 413 || a.Status == 415 {
		return templateAnswer{Status: a.Status, Fields: map[string][]string{"Allow": a.Fields["Allow"]}}
	}
	return a
}

// same plays a table against both.
func (m *template) same(t *testing.T, requests []templateRequest) {
	t.Helper()
	old, warm := m.both(t)
	ready := func(p *pod) {
		t.Helper()
		require.Eventually(t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
	}
	ready(old)
	for _, q := range requests {
		require.Equal(t, q.ask(t, old), q.ask(t, warm), q)
	}
}

// flaskPython is an interpreter that has Flask and waitress.
func flaskPython(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(python)
		if err == nil && exec.Command(path, "-c", "import flask, waitress").Run() == nil {
			return path
		}
	}
	require.Fail(t, "the Debian packages python3-flask and python3-waitress are needed")
	return ""
}

func paths(method string, targets ...string) (all []templateRequest) {
	for _, target := range targets {
		all = append(all, templateRequest{method: method, target: target})
	}
	return all
}

var httpAnswers = []string{
	"/none", "/str", "/bytes", "/bytearray", "/empty", "/stream", "/iterator", "/map", "/status", "/status-text", "/204", "/599", "/headers", "/all",
	"/pairs", "/stream-all", "/list", "/dict-status", "/list-status", "/kinds", "/dict", "/other-keys", "/code", "/code-text", "/body-dict", "/body-list", "/body-none",
	"/body-bytes", "/body-int", "/body-empty-dict", "/dict-headers", "/dict-list-headers", "/json-headers", "/cookie", "/cookies", "/cookies-tuple", "/location",
	"/int", "/true", "/one", "/four", "/none-status", "/raise", "/set", "/object", "/bad-json", "/header", "/arg",
}

// httpRequests are about what the handler sees.
var httpRequests = []templateRequest{
	{"GET", "/", "", nil},
	{"GET", "/seen?a=1&a=2&n=5&empty=&word&%C3%BC=+x%20y&b%ff=%ff&;=;", "", []string{"X-A: one", "X-N: 3", "Cookie: a=b; c=d"}},
	{"POST", "/a%20b/%C3%BC%2f%25", "a=1&b", []string{"Content-Type: application/x-www-form-urlencoded"}},
	{"PUT", "/x", "\x00\xff", []string{"Content-Type: application/json; charset=utf-8", "X-A: 5"}},
	{"PATCH", "/x", "{}", []string{"Content-Type: application/json"}},
	{"DELETE", "/x?a=x", "", nil},
	{"HEAD", "/str", "", nil},
	{"OPTIONS", "/x", "", nil},
	{"PROPFIND", "/x", "", nil},
	{"TRACE", "/x", "", nil},
}

// §19, §23.3: the same handler, the same requests, the same answers, behind Flask and in warm workers without it.
func TestOpenFaaS19PythonHTTPAnswersAsTheTemplate(t *testing.T) {
	t.Parallel()
	python := flaskPython(t)
	m := &template{
		server: "flask_server.py", program: []string{python, "index.py", "http"}, handler: "http_handler.py", as: "function/handler.py", contract: "openfaas-http",
		env: []string{"HOSTNAME=pod-1"},
	}
	m.same(t, append(paths("GET", httpAnswers...), httpRequests...))
}

// §19: the body alone, as text or with RAW_BODY as bytes, and any return value of Flask.
func TestOpenFaaS19PythonFlaskAnswersAsTheTemplate(t *testing.T) {
	t.Parallel()
	python := flaskPython(t)
	for _, raw := range []string{"", "true"} {
		var requests []templateRequest
		for _, body := range []string{"str", "bytes", "dict", "list", "none", "iterator", "status", "all", "int", "status-code", "raise", "ü", "\xff\x00", ""} {
			requests = append(requests, templateRequest{method: "POST", target: "/", body: body})
		}
		m := &template{
			server: "flask_server.py", program: []string{python, "index.py", "flask"}, handler: "flask_handler.py", as: "function/handler.py",
			contract: "openfaas-flask", env: []string{"RAW_BODY=" + raw},
		}
		m.same(t, append(requests, paths("PUT", "/")...))
	}
}

// §19: a handler that imports Flask has all of it, in both templates.
func TestOpenFaaS19PythonHandlersThatUseFlaskAnswerAsBehindIt(t *testing.T) {
	t.Parallel()
	python := flaskPython(t)
	requests := append(paths("GET", "/seen?a=1&a=2", "/after", "/cookie", "/stream", "/abort", "/abort-text", "/abort-response", "/redirect", "/response",
		"/response-status", "/file", "/large", "/raise", "/session", "/a%20b"),
		templateRequest{"POST", "/seen", "a=1&b=2", []string{"Content-Type: application/x-www-form-urlencoded", "Cookie: a=b"}},
		templateRequest{"POST", "/seen", `{"a": 1}`, []string{"Content-Type: application/json"}},
		templateRequest{"GET", "/file", "", []string{"Range: bytes=2-4"}},
		templateRequest{"HEAD", "/large", "", nil}, templateRequest{"HEAD", "/response", "", nil},
		templateRequest{"OPTIONS", "/", "", nil}, templateRequest{"PROPFIND", "/", "", nil})
	for _, style := range []string{"http", "flask"} {
		m := &template{
			server: "flask_server.py", program: []string{python, "index.py", style}, handler: "app_handler.py", as: "function/handler.py",
			contract: "openfaas-" + style, env: []string{"FNPOD_WORKERS_INTERPRETER=" + python},
		}
		rows := requests
		if style == "flask" {
			rows = append(slices.Clip(rows), paths("GET", "/none")...)
		}
		m.same(t, rows)
	}
}

// express says where Node finds Express.
func express(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../bin/templates/node_modules")
	require.NoError(t, err)
	path := "NODE_PATH=" + dir + ":/usr/share/nodejs"
	cmd := exec.Command("node", "-e", "require('express'), require('body-parser')")
	cmd.Env = append(os.Environ(), path)
	require.NoError(t, cmd.Run(), "Express is needed: scripts/express installs it")
	return path
}

// nodeRequests are about what the handler sees: types of bodies, nested names, sizes.
var nodeRequests = []templateRequest{
	{"GET", "/seen", "", nil},
	{"GET", "/a%20b/%C3%BC?a=1&a=2&b=&c&%C3%BC=+x%20y&d%=%&&=x", "", []string{"X-A: one", "Cookie: a=b; c=d"}},
	{"GET", "/q?a[b]=1&a[c][d]=2&l[]=1&l[]=2&i[1]=b&i[0]=a&m=1&m[x]=2&o[]=1&o[x]=2&r[][b]=1&r[][c]=2", "", nil},
	{"GET", "/q?a[b][c][d][e][f][g][h]=x&p%5Bq%5D=y&[z]=1&s]t=2&__proto__[x]=1&hasOwnProperty=4&w[0]=1&w[0]=2&k[a]=1&k[a]=2&j[b]x[c]=5&t=b=c", "", nil},
	{"POST", "/x", "text", nil},
	{"POST", "/x", "grüß", []string{"Content-Type: text/plain"}},
	{"POST", "/x", "gr\xfc\xdf", []string{"Content-Type: text/html; charset=ISO-8859-1"}},
	{"POST", "/x", "x", []string{"Content-Type: text/plain; charset=nonsense"}},
	{"POST", "/x", `{"a": [1, {"b": "ü"}]}`, []string{"Content-Type: application/json"}},
	{"POST", "/x", ` [1]`, []string{"Content-Type: Application/JSON; charset=utf-8"}},
	{"POST", "/x", `"text"`, []string{"Content-Type: application/json"}},
	{"POST", "/x", `{"a": `, []string{"Content-Type: application/json"}},
	{"POST", "/x", `{}`, []string{"Content-Type: application/json; charset=latin1"}},
	{"POST", "/x", `{"a": 1}`, []string{"Content-Type: application/problem+json"}},
	{"PUT", "/x", "a=1&a=2&b[c]=d+e%20f", []string{"Content-Type: application/x-www-form-urlencoded"}},
	{"PATCH", "/x", "\x00\xff", []string{"Content-Type: application/octet-stream"}},
	{"DELETE", "/x", "abc", []string{"Content-Type: nonsense"}},
	{"POST", "/x", "", []string{"Content-Type: application/json"}},
	{"POST", "/x", "", []string{"Content-Type: text/plain"}},
	{"POST", "/x", strings.Repeat("a", 102_400), nil},
	{"POST", "/x", strings.Repeat("a", 102_401), nil},
	{"POST", "/x", `["` + strings.Repeat("a", 199_000) + `"]`, []string{"Content-Type: application/json"}},
	{"POST", "/x", `["` + strings.Repeat("a", 210_000) + `"]`, []string{"Content-Type: application/json"}},
	{"POST", "/x", "x", []string{"Content-Encoding: zip"}},
	{"POST", "/x", "x", []string{"Content-Encoding: gzip"}},
	{"HEAD", "/text", "", nil},
	{"OPTIONS", "/text", "", nil},
	{"PROPFIND", "/text", "", nil},
	{"GET", "/text", "", []string{`If-None-Match: W/"6-r/SmsNtL60tKtbrBKOS+nQUYOC8"`}},
}

var nodeAnswers = []string{
	"/undefined", "/null", "/empty", "/text", "/array", "/object", "/answer", "/native", "/buffer", "/true", "/false", "/404", "/date", "/own", "/map", "/bare",
	"/bytes", "/reject", "/reject-text", "/reject-object", "/reject-nothing", "/reject-status", "/status", "/status-text", "/status-back", "/status-return", "/204", "/headers",
	"/headers-back", "/json-type", "/svg", "/latin", "/png", "/cookies", "/redirect", "/fail", "/fail-error", "/fail-status", "/fail-nothing", "/fail-headers", "/fail-object",
	"/succeed-later", "/callback", "/callback-error",
}

// §19, §23.3: the same handler, the same requests, the same answers, behind Express and in warm workers without it.
func TestOpenFaaS19NodeAnswersAsTheTemplate(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"false", "true"} {
		m := &template{
			server: "express_server.js", program: []string{"node", "index.js"}, handler: "node_handler.js", as: "function/handler.js", contract: "openfaas-http",
			env: []string{express(t), "RAW_BODY=" + raw, "MAX_JSON_SIZE=200kb", "MAX_RAW_SIZE=0.15mb"},
		}
		m.same(t, append(paths("GET", nodeAnswers...), nodeRequests...))
	}
}

// sinatraRequests are about what the handler sees.
var sinatraRequests = []templateRequest{
	{"GET", "/seen?a=1&a=2&%C3%BC=+x", "", []string{"X-A: one", "X-A: ü", "Cookie: a=b; c=d"}},
	{"POST", "/a%20b/%C3%BC", "a\n\xff", []string{"Content-Type: text/x-a"}},
	{"PUT", "/twice", "twice", nil},
	{"DELETE", "/lines", "a\nb", nil},
	{"HEAD", "/two", "", nil},
}

// §19, §23.3: the same handler, the same requests, the same answers, behind Sinatra and in warm workers without it.
func TestOpenFaaS19RubyAnswersAsTheTemplate(t *testing.T) {
	t.Parallel()
	m := &template{
		server: "sinatra_server.rb", program: []string{"ruby", "index.rb"}, handler: "sinatra_handler.rb", as: "function/handler.rb", contract: "openfaas-http",
		env: []string{"LANG=C.UTF-8", "RACK_ENV=production"},
	}
	m.same(t, append(paths("GET", "/body", "/nil", "/two", "/three", "/none", "/nobody", "/empty", "/204", "/304", "/418", "/599", "/redirect", "/list", "/each", "/json",
		"/bytes", "/frame", "/cookies", "/large", "/raise"), sinatraRequests...))
}

// §17, §19, §23.1: what is a process per request behind the classic watchdog is the same in a worker that stays: text, output, variables.
func TestOpenFaaS19ClassicHandlersAnswerAsTheTemplates(t *testing.T) {
	t.Parallel()
	const kind = "Content-Type: "
	var requests []templateRequest
	for _, text := range []string{
		"", "a", "grüß", "a\r\nb\rc", "\xffb", "print", "none", "empty", "child", "exit 0", "exit 3", "raise", "html", "set", "env", "binary", "object", "number", "error", "throw",
		"promise", "reject", "later",
	} {
		requests = append(requests, templateRequest{method: "POST", target: "/", body: text})
	}
	requests = append(requests,
		templateRequest{"POST", "/p%20q/%C3%BC?a=b&c=%20", "env", []string{kind + "text/x-a", "X-Foo-BAR: 1", "X-Foo-Bar: 2"}},
		templateRequest{"PUT", "/", "env", []string{"Query: spoofed", "X-Empty: "}}, templateRequest{"GET", "/", "", nil},
		templateRequest{"DELETE", "/x", "env", nil}, templateRequest{"HEAD", "/", "", nil}, templateRequest{"OPTIONS", "/", "", nil})
	for _, m := range []*template{
		{server: "classic_server.py", program: []string{flaskPython(t), "index.py"}, handler: "classic_handler.py", as: "function/handler.py"},
		{server: "classic_server.js", program: []string{"node", "index.js"}, handler: "classic_handler.js", as: "function/handler.js"},
		{server: "classic_server.rb", program: []string{"ruby", "index.rb"}, handler: "classic_handler.rb", as: "function/handler.rb"},
		{server: "classic_server.php", program: []string{"php", "index.php"}, handler: "classic_handler.php", as: "function/src/Handler.php"},
	} {
		m.contract, m.env, m.old = "openfaas-classic", []string{"LANG=C.UTF-8"}, []string{"FNPOD_PLATFORM=openfaas-classic", "combine_output=false"}
		m.same(t, requests)
	}
}
