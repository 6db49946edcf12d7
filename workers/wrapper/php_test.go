package wrapper_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

var php = native{
	language: language{
		name: "php", file: "handler.php", source: wrapper.PHP,
		interpreter: sync.OnceValues(func() (string, error) {
			return interpreter("FNPOD_TEST_PHP", "php", "-r", "echo PHP_BINARY;")
		}),
	},
	runtime: `^\d+\.\d+\.\d+`,
	hello:   "<?php function handle($req) { return 'hello'; }\n",
	handler: func(body string) string { return "<?php function handle($req) {\n  " + body + "\n}\n" },
	choose: func(bodies []string) string {
		return "<?php function handle($req) {\n  return [\n    function () { " + strings.Join(bodies, " },\n    function () { ") + " }\n  ][$req->query]();\n}\n"
	},
	bang:     "return $req->body . '!';",
	init:     "<?php\n$n = 0;\nfunction init() { global $n; $n++; }\nfunction go($req) { global $n; return \"init ran $n times\"; }\n",
	raised:   [3]string{"DomainException", "bad thing ü", "handler.php:3"},
	exits:    "the handler called exit",
	exitEnds: true,
	inherits: 3,
	unusable: [][2]string{
		{"return 7;", "handler returned an int; expected a string, null, an array"},
		{"return true;", "handler returned a bool"},
		{"return new Exception();", "handler returned an Exception"},
		{"return ['status' => '200', 'body' => 'a'];", "handler returned a string as status; expected an int"},
		{"return ['status' => 99, 'body' => 'a'];", "handler returned status 99; expected 200 to 599"},
		{"return ['status' => 600];", "handler returned status 600"},
		{"return [NAN];", "handler returned an array that is not JSON"},
		{"return [\"\\xff\"];", "handler returned an array that is not JSON"},
		{"return ['body' => 'a', 'headers' => ['x' => null]];", "handler returned null as header value of x"},
		{"return ['body' => 'a', 'headers' => 1];", "handler returned an int as headers"},
		{"return ['body' => 'a', 'headers' => ['x' => \"a\\nb\"]];", "line break or NUL in the header x"},
		{"return ['body' => 'a', 'headers' => ['x y' => 'a']];", "handler returned a header with the name 'x y'"},
		{"return ['body' => 'a', 'headers' => ['x' => '€']];", "header value of x with characters beyond latin-1"},
		{"return ['body' => 'a', 'headers' => ['x' => str_repeat('a', 2000000)]];", "bytes of headers; the limit is"},
		{"yield 1;", "handler yielded an int; expected a string"},
	},
	broken: [][3]string{
		{"", "RuntimeException", "cannot read the handler"},
		{"<?php function handle($req {\n", "ParseError", "unexpected"},
		{"<?php function main($req) {}\n", "LogicException", "handler.php has no function 'handle'; it has main"},
		{"<?php throw new OutOfRangeException('db');\n", "OutOfRangeException", "db"},
		{"<?php require 'no_such_thing.php';\n", "Error", "no_such_thing"},
		{"<?php exit(4);\n", "exit", "the handler called exit"},
		{"<?php function handle() {} function handle() {}\n", "Fatal error", "Cannot redeclare"},
		{"<?php function init() { throw new Exception('no'); }\nfunction handle($req) {}\n", "Exception", "no"},
	},
	goes:   "go",
	text:   phpRoutes,
	routes: phpRoutes,
}

const phpRoutes = `<?php
function fails($text) {
  throw new DomainException($text);
}

register_shutdown_function(function () { echo "bye\n"; });

function generate($count, $piece, $last) {
  for ($i = 0; $count < 0 || $i < $count; $i++) yield $piece;
  if ($last instanceof Closure) $last = $last();
  if ($last !== null) yield $last;
}

function handle($req) {
  switch ($req->path) {
    case '/text': return 'grüß';
    case '/empty': return '';
    case '/bytes': return "\x00\xff";
    case '/nothing': return null;
    case '/object': return ['a' => [1, 'ü', null]];
    case '/list': return [1, 2.5, true];
    case '/answer': return ['status' => 201, 'headers' => ['Content-Type' => 'text/csv', 'X-A' => [1, 'ü']], 'body' => 'a,b'];
    case '/status': return ['status' => 404];
    case '/implied': return new Fnpod\Response('later', 202, [['X-N', 7]]);
    case '/raise': fails('bad thing ü');
    case '/exit': exit(3);
    case '/echo': return $req->body;
    case '/portion': return $req->query . $req->text();
    case '/stream': return new ArrayIterator(['ä', 'b']);
    case '/stream/none': return new EmptyIterator();
    case '/stream/early': return generate(0, '', function () { throw new Exception('early'); });
    case '/stream/late': return generate(1, 'a', function () { throw new Exception('late'); });
    case '/stream/wrong': return generate(1, 'a', 1);
    case '/stream/file': return fopen(__FILE__, 'r');
    case '/stream/large': return generate(100, str_repeat('x', 50000), null);
    case '/stream/endless': return generate(-1, str_repeat('x', 1000), null);
    case '/slow':
      usleep(50000);
      return generate(1, str_repeat('x', 300000), 'y');
    case '/print':
      echo "out line\n";
      fwrite(STDERR, "err line\n");
      return 'printed';
    case '/request':
      $left = $req->remaining();
      return [
        'method' => $req->method, 'path' => $req->path, 'query' => $req->query, 'args' => $req->args, 'scheme' => $req->scheme,
        'host' => $req->host, 'peer' => $req->peer, 'body' => $req->text(), 'json' => $req->json(), 'id' => $req->id,
        'type' => [$req->header('Content-Type'), $req->headers['content-type']],
        'accept' => $req->headers['accept'], 'cookie' => $req->header('Cookie'), 'all' => $req->headersAll['accept'],
        'none' => $req->header('x'), 'latin' => $req->headers['x-latin'], 'remaining' => $left > 0 && $left <= 5,
        'deadline' => abs($req->deadline - microtime(true) - 5) < 5,
      ];
    case '/request/plain': return [$req->id, $req->deadline, $req->remaining(), $req->text()];
    case '/request/text': return $req->text();
    case '/request/json': return $req->json();
    case '/hidden':
      $mine = count(array_filter(array_keys(getenv() + $_ENV + $_SERVER), function ($k) { return strpos($k, 'FNPOD_WORKER') === 0; }));
      if (function_exists('pcntl_fork')) {
        $pid = pcntl_fork();
        if ($pid === 0) return 'the child must not be heard';
        pcntl_waitpid($pid, $status);
      }
      return "own: $mine, of a program: " . trim(shell_exec('env | grep -c ^FNPOD_WORKER')) .
        ', descriptors: ' . shell_exec('ls /proc/self/fd | grep -c ^[4-6]');
  }
}
`

// What ends PHP itself is answered, too: the client of that request gets the error, and the worker says BYE.
func TestPHPAnswersWhatCannotBeCaught(t *testing.T) {
	t.Parallel()
	for body, says := range map[string]string{
		"ini_set('memory_limit', '8M'); return str_repeat('x', 100000000);": "Allowed memory size",
		"trigger_error('no way', E_USER_ERROR);":                            "no way",
		"eval('function f() {} function f() {}');":                          "Cannot redeclare",
	} {
		w := start(t, php.language, php.handler(body), options{})
		a := w.ask(get(1))
		require.Equal(t, byte(tError), a.kind)
		require.Equal(t, "Fatal error", a.pair("type"))
		require.Contains(t, a.pair("message"), says)
		require.Equal(t, byte(tBye), w.read().kind)
		require.Equal(t, 255, w.ended())
	}
}

func TestPHPFindsTheHandler(t *testing.T) {
	t.Parallel()
	for function, file := range map[string]string{
		"":      "<?php\n$a = include 'neighbour.php';\nreturn function ($req) { global $a; return \"found $a\"; };\n",
		"A.go":  "<?php\nclass A { static function go($req) { return 'found 5'; } }\n",
		"n\\go": "<?php\nnamespace n;\nfunction go($req) { echo 'x'; ob_start(); echo 'y'; return 'found 5'; }\n",
	} {
		w := start(t, php.language, file, options{function: function, files: map[string]string{"neighbour.php": "<?php return 5;\n"}})
		require.Equal(t, "found 5", string(w.ask(get(1)).body))
	}
}
