package wrapper_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

const sinatraType = "text/html;charset=utf-8"

// OpenFaaS contract §19: what Handler#run of ruby-http returns; e2e compares it with Sinatra.
func TestOpenFaaS19RubyHTTPReturns(t *testing.T) {
	t.Parallel()
	w := start(t, ruby.language, rubyEvalHTTP, options{contract: wrapper.OpenFaaSHTTP})
	for i, c := range []struct {
		name, result string
		status       uint16
		contentType  string
		body         string
	}{
		{"all three", `['made', {'Content-Type' => 'text/plain'}, 201]`, 201, "text/plain", "made"},
		{"without status", `['ü', {'X-A' => 'b'}]`, 200, sinatraType, "ü"},
		{"a body alone", `'a'`, 200, sinatraType, "a"},
		{"a list of one", `['a']`, 200, sinatraType, "a"},
		{"nil", `nil`, 200, sinatraType, ""},
		{"no headers", `['a', nil, 202]`, 202, sinatraType, "a"},
		{"names that are symbols", `['a', {"content-type": 'text/css', x_n: 5}]`, 200, "text/css", "a"},
		{"a list as body", `[['a', 'b'], {}]`, 200, sinatraType, "ab"},
		{"bytes", `["\x00\xff".b, {'content-type' => 'x/y'}]`, 200, "x/y", "\x00\xff"},
		{"no content", `['', {'Content-Type' => 'x/y'}, 204]`, 204, "", ""},
	} {
		a := w.ask(request(uint32(i+1), "POST", "/", "", []byte(c.result)))
		require.Equalf(t, byte(tResponse), a.kind, "%s: %s %s", c.name, a.meta, a.body)
		require.Equal(t, c.status, a.code, c.name)
		require.Equal(t, c.contentType, a.pair("content-type"), c.name)
		require.Equal(t, c.body, string(a.body), c.name)
		require.Equal(t, "nosniff", a.pair("x-content-type-options"))
	}
}

// rubyEvalHTTP is a handler that returns what its body says.
const rubyEvalHTTP = "class Handler\n  def run(body, env) = eval(body.read.force_encoding('UTF-8'))\nend\n"

// OpenFaaS contract §19: what is no answer is a 500, and the worker goes on.
func TestOpenFaaS19RubyHTTPErrors(t *testing.T) {
	t.Parallel()
	w := start(t, ruby.language, rubyEvalHTTP, options{contract: wrapper.OpenFaaSHTTP})
	for i, result := range []string{`7`, `[{a: 1}, {}]`, `['a', {}, '201']`, `['a', {}, 99]`, `['a', 5]`, `[[1], {}]`, `raise 'no'`, `exit 3`} {
		a := w.ask(request(uint32(i+1), "POST", "/", "", []byte(result)))
		require.Equalf(t, byte(tError), a.kind, "%s: %s %s", result, a.meta, a.body)
		require.NotContains(t, string(a.body), "fnpod")
	}
}

// OpenFaaS contract §19, §20: body and environment; the object is made once, and the working directory is above the handler's folder.
func TestOpenFaaS19RubyHTTPRequest(t *testing.T) {
	t.Parallel()
	const handler = `
require_relative 'sibling'
class Handler
  def initialize = @calls = 0
  def run(body, env)
    @calls += 1
    seen = %w[REQUEST_METHOD PATH_INFO QUERY_STRING REQUEST_URI SERVER_NAME SERVER_PORT HTTP_HOST HTTP_X_A CONTENT_TYPE REMOTE_ADDR rack.url_scheme]
    [[body.read, body.read, body.rewind, body.string.encoding, Sibling, File.exist?('function/sibling.rb'), @calls, *env.values_at(*seen)].map(&:inspect).join("\n"),
     {'X-All' => ['1', 'ü'], 'X-Lines' => "a\nb"}]
  end
end
`
	w := start(t, ruby.language, handler, options{contract: wrapper.OpenFaaSHTTP, files: map[string]string{"function/sibling.rb": "Sibling = 5\n"}})
	a := w.ask(request(1, "PUT", "/a%20b", "a=1&b", []byte("b\xff"), "x-a", "1", "x-a", "2", "content-type", "x/y"))
	require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
	require.Equal(t, []string{
		`"b\xFF"`, `""`, `0`, `#<Encoding:ASCII-8BIT>`, `5`, `true`, `1`, `"PUT"`, `"/a%20b"`, `"a=1&b"`, `"/a%20b?a=1&b"`, `"example.com"`, `"8080"`,
		`"example.com:8080"`, `"1, 2"`, `"x/y"`, `"192.0.2.7"`, `"http"`,
	}, strings.Split(string(a.body), "\n"))
	require.Contains(t, a.meta, "x-all\x001\x00x-all\x00ü\x00x-lines\x00a\x00x-lines\x00b", "bytes as the handler has them")
	require.Contains(t, string(w.ask(get(2)).body), "\n2\n")
}

// OpenFaaS contract §19: methods of ruby-http; what is printed is log (§23.4).
func TestOpenFaaS19RubyHTTPMethods(t *testing.T) {
	t.Parallel()
	w := start(t, ruby.language, "class Handler\n  def run(body, env)\n    puts 'printed'\n    'a'\n  end\nend\n", options{contract: wrapper.OpenFaaSHTTP})
	for i, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
		require.Equal(t, uint16(200), w.ask(request(uint32(i+1), method, "/", "", nil)).code, method)
	}
	for i, method := range []string{"PATCH", "OPTIONS", "PROPFIND"} {
		require.Equal(t, uint16(404), w.ask(request(uint32(i+10), method, "/", "", nil)).code, method)
	}
	w.send(frame{kind: tExit})
	require.Equal(t, 0, w.ended())
	require.Contains(t, w.stdout.String(), "printed\n")
}

// OpenFaaS contract §19: there must be a class with the method.
func TestOpenFaaS19RubyHandlersThatAreNone(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"class Other; end\n":     "handler.rb has no class 'Handler'",
		"class Handler; end\n":   "the class 'Handler' of handler.rb has no method 'run'",
		"def handle(req); end\n": "handler.rb has no class 'Handler'",
	} {
		for _, contract := range []string{wrapper.OpenFaaSHTTP, wrapper.OpenFaaSClassic} {
			w := launch(t, ruby.language, source, options{contract: contract})
			require.Equal(t, byte(tHello), w.read().kind)
			f := w.read()
			require.Equal(t, byte(tInitError), f.kind)
			require.Contains(t, string(f.body), want)
			require.Equal(t, 1, w.ended())
		}
	}
}

// OpenFaaS contract §19, §23.1: text in, what is printed out; the object, variables, output and working directory are new for each request.
func TestOpenFaaS19RubyClassic(t *testing.T) {
	t.Parallel()
	const handler = `
class Handler
  def run(req)
    raise 'again' if @ran
    @ran = true
    case req
    when 'exit 0' then print 'so far'; exit
    when 'exit 3' then puts 'lost'; exit 3
    when 'raise' then puts 'lost'; raise 'the reason'
    when 'none' then return
    when 'list' then return [1, [2, nil]]
    when 'child' then system('echo of a child'); return 5
    when 'cd' then Dir.chdir('/'); return Dir.pwd
    when 'stdout' then $stdout = File.open('/dev/null', 'w'); return 'nowhere'
    when 'env' then ENV['MINE'] = 'x'; return ENV.select { |k, _| k.start_with?('Http_') }.sort.map { |k, v| "#{k}=#{v}" }
    when 'mine' then return ENV['MINE'].inspect
    when 'pwd' then return Dir.pwd == '/'
    end
    print 'printed;'
    warn 'log'
    req.upcase + $stdin.read + req.encoding.to_s
  end
end
`
	w := start(t, ruby.language, handler, options{contract: wrapper.OpenFaaSClassic, env: []string{"LANG=C.UTF-8", "LC_ALL="}})
	id := uint32(0)
	ask := func(body string, fields ...string) frame {
		id++
		return w.ask(request(id, "POST", "/p%20q", "a=b", []byte(body), fields...))
	}
	for _, c := range []struct{ text, want string }{
		{"ä", "printed;ÄUTF-8\n"},
		{"exit 0", "so far"},
		{"none", "\n"},
		{"list", "1\n2\n\n"},
		{"child", "of a child\n5\n"},
		{"cd", "/\n"},
		{"pwd", "false\n"},
		{"stdout", ""},
		{"mine", "nil\n"},
		{"env", "Http_ContentLength=3\nHttp_Content_Length=3\nHttp_Host=example.com:8080\nHttp_Method=POST\nHttp_Path=/p q\nHttp_Query=a=b\nHttp_X_Foo_Bar=1\n"},
		{"mine", "nil\n"},
	} {
		a := ask(c.text, "x-foo-bar", "1", "x-foo-bar", "2")
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.Equal(t, c.want, string(a.body), c.text)
		if c.want != "" {
			require.Equal(t, textType, a.pair("content-type"))
		}
	}
	for _, text := range []string{"exit 3", "raise"} {
		require.Equal(t, byte(tError), ask(text).kind)
	}
	require.Equal(t, "x/y", ask("a", "content-type", "x/y").pair("content-type"), "classic §17: that of the request")
	require.Equal(t, uint16(405), w.ask(request(99, "OPTIONS", "/", "", nil)).code)
	w.send(frame{kind: tExit})
	require.Equal(t, 0, w.ended())
	require.Contains(t, w.stderr.String(), "log\n")
	require.Contains(t, w.stderr.String(), "lost\n", "of a call that failed")
	require.Empty(t, w.stdout.String())
}
