package wrapper_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/wrapper"
)

const phpClassic = `<?php
namespace App;
class Handler
{
    private $ran = false;
    public function handle(string $data)
    {
        if ($this->ran) { throw new \LogicException('again'); }
        $this->ran = true;
        switch ($data) {
            case 'exit': echo 'so far'; exit;
            case 'exit text': exit('bye');
            case 'raise': echo 'lost'; throw new \DomainException('the reason');
            case 'fatal': echo 'lost'; ini_set('memory_limit', '8M'); echo str_repeat('x', 1 << 30); break;
            case 'none': return null;
            case 'number': return 5;
            case 'all': echo 'a;'; print('b;'); fwrite(STDOUT, 'c;'); passthru('echo d'); file_put_contents('php://output', 'e;'); return 'f';
            case 'buffers': ob_start(); echo 'a'; ob_start(); echo 'b'; return 'c';
            case 'cleaned': ob_start(); echo 'a'; ob_end_clean(); return 'b';
            case 'cd': chdir('/'); return getcwd();
            case 'pwd': return getcwd() === '/' ? 'root' : basename(getcwd() . '/function') . (int) is_dir('function');
            case 'set': putenv('MINE=x'); putenv('LANG'); return getenv('MINE');
            case 'mine': return var_export(getenv('MINE'), true) . getenv('LANG');
            case 'env':
                $all = array_filter(getenv(), function ($k) { return strpos($k, 'Http_') === 0; }, ARRAY_FILTER_USE_KEY);
                ksort($all);
                return json_encode($all, JSON_UNESCAPED_SLASHES) . $_SERVER['Http_Path'];
            case 'server': return isset($_SERVER['Http_X_Foo_Bar']) ? 'there' : 'gone';
            case 'in': return var_export(stream_get_contents(STDIN), true);
        }
        fwrite(STDERR, "log\n");
        return strtoupper($data);
    }
}
`

// OpenFaaS contract §19, §23.1: text in, what is printed and returned out; the object, variables, output and working directory are new for
// each request.
func TestOpenFaaS19PHPClassic(t *testing.T) {
	t.Parallel()
	w := start(t, php.language, phpClassic, options{contract: wrapper.OpenFaaSClassic, env: []string{"LANG=C.UTF-8"}})
	id := uint32(0)
	ask := func(body string, fields ...string) frame {
		id++
		return w.ask(request(id, "POST", "/p%20q", "a=b", []byte(body), fields...))
	}
	for _, c := range []struct{ text, want string }{
		{"a\xff", "A\xff"},
		{"none", ""},
		{"number", "5"},
		{"all", "a;b;c;d\ne;f"},
		{"buffers", "abc"},
		{"cleaned", "b"},
		{"cd", "/"},
		{"pwd", "function1"},
		{"set", "x"},
		{"mine", "falseC.UTF-8"},
		{"env", `{"Http_ContentLength":"3","Http_Content_Length":"3","Http_Host":"example.com:8080","Http_Method":"POST","Http_Path":"/p q","Http_Query":"a=b","Http_X_Foo_Bar":"1"}/p q`},
		{"in", "''"},
	} {
		a := ask(c.text, "x-foo-bar", "1", "x-foo-bar", "2")
		require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
		require.Equal(t, uint16(200), a.code)
		require.Equal(t, c.want, string(a.body), c.text)
		if c.want != "" {
			require.Equal(t, textType, a.pair("content-type"))
		}
	}
	require.Equal(t, "gone", string(ask("server").body), "gone with its request")
	require.Equal(t, "x/y", ask("a", "content-type", "x/y").pair("content-type"), "classic §17: that of the request")
	require.Equal(t, "text/html; charset=utf-8", ask("<p>a").pair("content-type"))
	require.Equal(t, byte(tError), ask("raise").kind)
	require.Equal(t, uint16(405), w.ask(request(99, "OPTIONS", "/", "", nil)).code)
	w.send(frame{kind: tExit})
	require.Equal(t, 0, w.ended())
	require.Contains(t, w.stderr.String(), "log\n")
	require.Contains(t, w.stderr.String(), "lost", "of a call that failed")
	require.Empty(t, w.stdout.String())
}

// Classic §17: without cgi_headers there are no variables.
func TestOpenFaaS17PHPClassicWithoutVariables(t *testing.T) {
	t.Parallel()
	w := start(t, php.language, phpClassic, options{contract: wrapper.OpenFaaSClassic, env: []string{"cgi_headers=false"}})
	require.Equal(t, "gone", string(w.ask(request(1, "POST", "/", "", []byte("server"), "x-foo-bar", "1")).body))
}

// OpenFaaS contract §19, §23.5: exit is the end of the answer, an error that ends PHP is a 500; both end the worker.
func TestOpenFaaS19PHPClassicThatEnds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"exit": "so far", "exit text": "bye", "fatal": ""} {
		w := start(t, php.language, phpClassic, options{contract: wrapper.OpenFaaSClassic})
		a := w.ask(request(1, "POST", "/", "", []byte(text)))
		if want == "" {
			require.Equal(t, byte(tError), a.kind)
			require.Contains(t, string(a.body), "Allowed memory size")
		} else {
			require.Equalf(t, byte(tResponse), a.kind, "%s %s", a.meta, a.body)
			require.Equal(t, want, string(a.body))
			require.Equal(t, textType, a.pair("content-type"))
		}
		require.Equal(t, byte(tBye), w.read().kind)
		w.ended()
		require.Equal(t, want == "", strings.Contains(w.stderr.String(), "lost"))
		require.Empty(t, w.stdout.String())
	}
}

// OpenFaaS contract §19: Composer's autoloader finds classes, the handler's own too.
func TestOpenFaaS19PHPComposer(t *testing.T) {
	t.Parallel()
	const loader = "<?php spl_autoload_register(function ($type) { $file = __DIR__ . '/../src/' . strtr(substr($type, 4), '\\\\', '/') . '.php'; if (is_file($file)) { include $file; } });\n" +
		"if (getenv('EARLY')) { class_exists('App\\Handler'); }\n"
	for _, early := range []string{"", "1"} {
		l := php.language
		l.file = "src/Handler.php"
		w := start(t, l, "", options{contract: wrapper.OpenFaaSClassic, env: []string{"EARLY=" + early}, files: map[string]string{
			"function/vendor/autoload.php": loader,
			"function/src/Base.php":        "<?php namespace App; class Base { public $greeting = 'hello '; }\n",
			"function/src/Handler.php":     "<?php namespace App; class Handler extends Base { public function handle(string $data): string { return $this->greeting . $data; } }\n",
		}})
		require.Equal(t, "hello you", string(w.ask(request(1, "POST", "/", "", []byte("you"))).body))
	}
}

// OpenFaaS contract §19: there must be a class with the method.
func TestOpenFaaS19PHPHandlersThatAreNone(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"<?php class Handler {}":                `handler.php has no class 'App\Handler'`,
		"<?php namespace App; class Handler {}": `the class 'App\Handler' of handler.php has no method 'handle'`,
		"<?php function handle($req) {}":        `handler.php has no class 'App\Handler'`,
		"<?php namespace App; class Handler {":  "ParseError",
		"<?php throw new Exception('no disk');": "no disk",
	} {
		w := launch(t, php.language, source, options{contract: wrapper.OpenFaaSClassic})
		require.Equal(t, byte(tHello), w.read().kind)
		f := w.read()
		require.Equal(t, byte(tInitError), f.kind)
		require.Contains(t, string(f.body), want)
		require.Equal(t, 1, w.ended())
	}
}
