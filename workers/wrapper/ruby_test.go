package wrapper_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

var ruby = native{
	language: language{
		name: "ruby", file: "handler.rb", source: wrapper.Ruby,
		interpreter: sync.OnceValues(func() (string, error) {
			return interpreter("FNPOD_TEST_RUBY", "ruby", "-e", "require 'rbconfig'; puts RbConfig.ruby")
		}),
	},
	runtime: `^\d+\.\d+\.\d+$`,
	hello:   "def handle(req) = 'hello'\n",
	handler: func(body string) string { return "def handle(req)\n  " + body + "\nend\n" },
	init:    "$n = 0\ndef init; $n += 1; end\ndef go(req) = \"init ran #{$n} times\"\n",
	raised:  [3]string{"KeyError", "bad thing ü", "handler.rb:3:in `fails'"},
	exits:   "the handler called exit(3)",
	choose: func(bodies []string) string {
		return "def handle(req)\n  [\n    -> { " + strings.Join(bodies, " },\n    -> { ") + " }\n  ][req.query.to_i].call\nend\n"
	},
	bang: "req.body + '!'",
	unusable: [][2]string{
		{"7", "handler returned an Integer; expected a String, nil, Hash, Array"},
		{"true", "handler returned a TrueClass"},
		{"Object.new", "handler returned an Object"},
		{"{status: '200', body: 'a'}", "handler returned a String as status; expected an Integer"},
		{"{status: 99, body: 'a'}", "handler returned status 99; expected 200 to 599"},
		{"{status: 600}", "handler returned status 600"},
		{"[Float::NAN]", "handler returned an Array that is not JSON"},
		{"{body: 'a', headers: {x: nil}}", "handler returned nil as header value of x"},
		{"{body: 'a', headers: 1}", "handler returned an Integer as headers"},
		{"{body: 'a', headers: {x: \"a\\nb\"}}", "line break or NUL in the header x"},
		{"{body: 'a', headers: {'x y' => 'a'}}", "handler returned a header with the name \"x y\""},
		{"{body: 'a', headers: {x: '€'}}", "header value of x with characters beyond latin-1"},
		{"{body: 'a', headers: {x: 'a' * 2_000_000}}", "bytes of headers; the limit is"},
		{"[1].each", "handler yielded an Integer; expected a String"},
	},
	broken: [][3]string{
		{"", "Errno::ENOENT", "cannot read the handler"},
		{"def handle(req\n", "SyntaxError", "handler.rb"},
		{"def main(req); end\n", "LookupError", "handler.rb has no method 'handle'; it has main"},
		{"raise KeyError, 'db'\n", "KeyError", "db"},
		{"require 'no_such_thing'\n", "LoadError", "no_such_thing"},
		{"exit 4\n", "SystemExit", "the handler called exit(4)"},
		{"def init = raise(ArgumentError, 'no')\ndef handle(req); end\n", "ArgumentError", "no"},
	},
	goes:   "go",
	text:   rubyRoutes,
	routes: rubyRoutes,
}

const rubyRoutes = `
def fails(text)
  raise KeyError, text
end

at_exit { puts 'bye' }

def handle(req)
  case req.path
  when '/text' then 'grüß'
  when '/empty' then ''
  when '/bytes' then "\x00\xff".b
  when '/nothing' then nil
  when '/object' then { a: [1, 'ü', nil] }
  when '/list' then [1, 2.5, true]
  when '/answer' then { status: 201, headers: { 'Content-Type' => 'text/csv', 'X-A' => [1, 'ü'] }, body: 'a,b' }
  when '/status' then { status: 404 }
  when '/implied' then Fnpod::Response.new('later', 202, [['X-N', 7]])
  when '/raise' then fails('bad thing ü')
  when '/exit' then exit(3)
  when '/echo' then req.body
  when '/portion' then req.query + req.text
  when '/stream' then %w[ä b].each
  when '/stream/none' then [].each
  when '/stream/early' then Enumerator.new { raise 'early' }
  when '/stream/late' then Enumerator.new { |out| out << 'a'; raise 'late' }
  when '/stream/wrong' then Enumerator.new { |out| out << 'a' << 1 }
  when '/stream/file' then File.open(__FILE__)
  when '/stream/large' then Enumerator.new { |out| 100.times { out << 'x' * 50_000 } }
  when '/stream/endless' then Enumerator.new { |out| loop { out << 'x' * 1000 } }
  when '/slow'
    sleep 0.05
    Enumerator.new { |out| out << 'x' * 300_000 << 'y' }
  when '/print'
    puts 'out line'
    warn 'err line'
    'printed'
  when '/request'
    left = req.remaining
    {
      method: req.method, path: req.path, query: req.query, args: req.args, scheme: req.scheme, host: req.host, peer: req.peer,
      body: req.text, json: req.json, id: req.id, type: [req.headers['Content-Type'], req.headers['content-type']],
      accept: req.headers['accept'], cookie: req.headers['Cookie'], all: req.headers_all['accept'], none: req.headers['x'],
      latin: req.headers['x-latin'], remaining: left > 0 && left <= 5, deadline: (req.deadline - Time.now - 5).abs < 5
    }
  when '/request/plain' then [req.id, req.deadline, req.remaining, req.text]
  when '/request/text' then req.text
  when '/request/json' then req.json
  when '/hidden'
    mine = ENV.keys.count { |k| k.start_with?('FNPOD_WORKER') }
    pid = fork { puts 'the child must not be heard'; IO.for_fd(4, 'wb').syswrite('garbage'); exit!(0) }
    Process.wait(pid)
    "own: #{mine}, of a program: " + ` + "`sh -c 'env | grep -c ^FNPOD_WORKER'`.strip" + ` +
      ', descriptors: ' + ` + "`sh -c 'ls /proc/self/fd | grep -c ^[4-6]'`" + `
  end
end
`

func TestRubyRequiresFromTheFolderOfTheHandler(t *testing.T) {
	t.Parallel()
	w := start(t, ruby.language, "require 'neighbour'\nrequire_relative 'neighbour'\ndef handle(req) = [X, req.method, req.method(:path).arity]\n",
		options{files: map[string]string{"neighbour.rb": "X = 5\n"}})
	require.Equal(t, `[5,"GET",0]`, string(w.ask(get(1)).body))
}

func TestRubyFindsMethodsOfModules(t *testing.T) {
	t.Parallel()
	w := start(t, ruby.language, "module A\n  module B\n    def self.go(req) = 'found'\n  end\nend\n", options{function: "A.B.go"})
	require.Equal(t, "found", string(w.ask(get(1)).body))
}
