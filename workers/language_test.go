package workers_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

func TestParseHandler(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"f.py", "f.mjs", "f.rb", "f.lua", "f.sh", "with:colon.py"} {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
	require.NoError(t, os.Mkdir("d.py", 0o700))
	for _, c := range []struct{ spec, file, function, language, err string }{
		{"f.py", "f.py", "", "python", ""},
		{"./f.py:main", "f.py", "main", "python", ""},
		{dir + "/f.mjs:a.b", "f.mjs", "a.b", "node", ""},
		{"with:colon.py:f", "with:colon.py", "f", "python", ""},
		{"", "", "", "", `handler "": no file name`},
		{":f", "", "", "", "no file name"},
		{"f.py:", "", "", "", "no function name after the colon"},
		{"g.py", "", "", "", "no such file"},
		{"f.rb", "f.rb", "", "ruby", ""},
		{"f.lua", "", "", "", `unknown extension ".lua": allowed are .py, .js, .mjs, .cjs, .rb, .php, .pl, .java, .jar, or a program`},
		{"f.sh", "", "", "", "a shell script is started for each request: fnpod run --mode streaming -- sh "},
		{"d.py", "", "", "", "not a regular file"},
	} {
		h, err := workers.ParseHandler(c.spec)
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.spec)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, workers.Handler{File: filepath.Join(dir, c.file), Function: c.function}, h)
		require.Equal(t, c.language, h.Language())
	}
}

func TestValidateNamesSettings(t *testing.T) {
	c := workers.DefaultConfig()
	c.Min, c.Max, c.LaneBytes, c.Concurrency = 5, 3, 5, 1<<16
	c.StartTimeout, c.MaxRSS, c.Dir = 0, -1, "x"
	c.IdleTimeout, c.Timeout, c.ClientGrace, c.Grace = -1, -1, -1, -1
	err := c.Validate()
	for _, text := range []string{
		"workers-min 5: allowed are 0 to 3", "workers-lane-bytes 5: must be a multiple of 65536",
		"workers-concurrency 65536: allowed are 1 to 65535", "workers-start-timeout 0s: must be at least 1ms",
		"workers-max-rss -1: allowed are 0 to", `workers-dir "x": must be an absolute path`, "handler: no file given",
		"workers-idle-timeout", "workers-timeout", "workers-client-grace", "workers-grace",
	} {
		require.ErrorContains(t, err, text)
	}
	require.NoError(t, config(t, "good").Validate())
}

func TestUnknownProgram(t *testing.T) {
	c := config(t, "good")
	c.Command = []string{"no-such-program"}
	require.ErrorContains(t, c.Validate(), "workers-command: no-such-program: not found in /usr/local/sbin")
	c = function(t, "f.py", "")
	c.Interpreter = "python9"
	require.ErrorContains(t, c.Validate(), "workers-interpreter: python9: not found in")
}

// function returns the configuration for a function in a folder that cannot be
// written.
func function(t testing.TB, name, source string) workers.Config {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(source), 0o400))
	require.NoError(t, os.Chmod(dir, 0o500))       //nolint:gosec // a folder needs x
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) //nolint:gosec // as above
	c := workers.DefaultConfig()
	c.Path = os.Getenv("PATH")
	c.Env = []string{"PATH=" + c.Path, "HOME=" + os.Getenv("HOME")}
	c.Min, c.Max = 1, 1
	c.ClientGone = errGone
	var err error
	c.Handler, err = workers.ParseHandler(file)
	require.NoError(t, err)
	return c
}

const pythonFunction = `
import os, sys, time

def handle(req):
    if req.path == '/echo':
        return req.body
    if req.path == '/raise':
        raise KeyError('missing')
    if req.path == '/unusable':
        return object()
    if req.path == '/stream':
        return (b'x' * 1000 for _ in range(int(req.query)))
    if req.path == '/print':
        print('on stdout')
        print('on stderr', file=sys.stderr)
    if req.path == '/exit':
        os._exit(3)
    if req.path == '/sleep':
        time.sleep(float(req.query))
    if req.path == '/pid':
        return str(os.getpid())
    return '%s %s %s' % (req.method, req.headers['user-agent'], req.id)
`

const nodeFunction = `
exports.handle = (req) => {
  switch (req.path) {
    case '/echo': return req.body;
    case '/raise': throw new TypeError('missing');
    case '/unusable': return () => 1;
    case '/stream': return (function* () { for (let i = 0; i < Number(req.query); i++) yield 'x'.repeat(1000); })();
    case '/print': console.log('on stdout'); console.error('on stderr'); break;
    case '/exit': process.exit(3); break;
    case '/sleep': return new Promise((done) => setTimeout(() => done('slept'), 1000 * Number(req.query)));
    case '/pid': return String(process.pid);
  }
  return req.method + ' ' + req.headers['user-agent'] + ' ' + req.id;
};
`

const rubyFunction = `
def handle(req)
  case req.path
  when '/echo' then return req.body
  when '/raise' then raise KeyError, 'missing'
  when '/unusable' then return 1
  when '/stream' then return Enumerator.new { |out| req.query.to_i.times { out << 'x' * 1000 } }
  when '/print'
    puts 'on stdout'
    warn 'on stderr'
  when '/exit' then exit!(3)
  when '/sleep' then sleep(req.query.to_f)
  when '/pid' then return Process.pid.to_s
  end
  "#{req.method} #{req.headers['user-agent']} #{req.id}"
end
`

const phpFunction = `<?php
function handle($req) {
  switch ($req->path) {
    case '/echo': return $req->body;
    case '/raise': throw new LogicException('missing');
    case '/unusable': return 1;
    case '/stream': return (function () use ($req) { for ($i = 0; $i < $req->query; $i++) yield str_repeat('x', 1000); })();
    case '/print': echo "on stdout\n"; fwrite(STDERR, "on stderr\n"); break;
    case '/exit': posix_kill(getmypid(), 9);
    case '/sleep': usleep((int) (1e6 * $req->query)); break;
    case '/pid': return (string) getmypid();
  }
  return "$req->method {$req->headers['user-agent']} $req->id";
}
`

const perlFunction = `
sub handle {
  my $req = shift;
  my $path = $req->path;
  my $n = $req->query;
  return \$req->body if $path eq '/echo';
  die 'missing' if $path eq '/raise';
  return qr/x/ if $path eq '/unusable';
  return sub { $n-- > 0 ? 'x' x 1000 : undef } if $path eq '/stream';
  if ($path eq '/print') { print "on stdout\n"; print STDERR "on stderr\n" }
  kill 9, $$ if $path eq '/exit';
  select undef, undef, undef, $n if $path eq '/sleep';
  return $$ if $path eq '/pid';
  return join ' ', $req->method, $req->header('User-Agent'), $req->id;
}
`

const javaFunction = `import fnpod.Request;
import java.util.stream.Stream;

public class handler {
  public static Object handle(Request req) throws Exception {
    switch (req.path()) {
      case "/echo": return req.body();
      case "/raise": throw new IllegalStateException("missing");
      case "/unusable": return 1;
      case "/stream": return Stream.generate(() -> "x".repeat(1000)).limit(Long.parseLong(req.query()));
      case "/print": System.out.println("on stdout"); System.err.println("on stderr"); break;
      case "/exit": Runtime.getRuntime().halt(3);
      case "/sleep": Thread.sleep((long) (1000 * Double.parseDouble(req.query()))); break;
      case "/pid": return "" + ProcessHandle.current().pid();
    }
    return req.method() + " " + req.header("User-Agent") + " " + req.id();
  }
}
`

func TestLanguages(t *testing.T) {
	for _, c := range []struct{ name, file, source, exception string }{
		{"python", "handler.py", pythonFunction, "KeyError"},
		{"node", "handler.js", nodeFunction, "TypeError"},
		{"ruby", "handler.rb", rubyFunction, "KeyError"},
		{"php", "handler.php", phpFunction, "LogicException"},
		{"perl", "handler.pl", perlFunction, "die"},
		{"java", "handler.java", javaFunction, "java.lang.IllegalStateException"},
		{"go", "", "", "panic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cfg workers.Config
			where := "handler."
			if c.name == "go" {
				cfg, where = goHandler(t), "program_test.go"
			} else {
				cfg = function(t, c.file, c.source)
			}
			if _, err := os.Stat(cfg.Handler.File); err != nil || cfg.Validate() != nil {
				t.Skip("no interpreter: ", cfg.Validate())
			}
			p := running(t, cfg)
			require.Equal(t, "GET test id-1", p.get(t, "/"))

			for _, n := range []int{0, 1, 8 << 10, 100_000, 1 << 20, 5 << 20} {
				body := bytes.Repeat([]byte{'a', 0, 255, '\n'}, n/4+1)[:n]
				x := post("/echo", body)
				require.NoError(t, p.Do(x))
				require.True(t, bytes.Equal(body, x.answer.Bytes()), "%d bytes", n)
				y := streamed("/echo", bytes.NewReader(body), -1)
				require.NoError(t, p.Do(y))
				require.True(t, bytes.Equal(body, y.answer.Bytes()), "%d bytes streamed", n)
			}

			x := newExchange("/stream?2000")
			require.NoError(t, p.Do(x))
			require.Equal(t, 2_000_000, x.answer.Len())

			var raised *workers.HandlerError
			require.ErrorAs(t, p.Do(newExchange("/raise")), &raised)
			require.Equal(t, 500, raised.Status)
			require.Equal(t, c.exception, raised.Type)
			require.Contains(t, raised.Message, "missing")
			require.Contains(t, p.logs.records("function failed")[0]["traceback"], where)
			if c.name != "go" { // where every answer is one
				require.ErrorAs(t, p.Do(newExchange("/unusable")), &raised)
				require.Equal(t, 500, raised.Status)
			}

			p.get(t, "/print")
			require.Eventually(t, func() bool { return p.logs.count("function output") == 2 }, patience, time.Millisecond)
			for _, r := range p.logs.records("function output") {
				require.Equal(t, "on "+r["stream"].(string), r["line"])
				require.Equal(t, "id-1", r["request_id"])
			}
			require.EqualValues(t, 1, p.Stats().Starts)

			require.ErrorIs(t, p.Do(newExchange("/exit")), workers.ErrDied)
			p.get(t, "/") // waits for the next worker
			slow := newExchange("/sleep?100")
			slow.deadline = 50 * time.Millisecond
			require.ErrorIs(t, p.Do(slow), workers.ErrTimeout)
			left := newExchange("/sleep?0.2")
			require.ErrorIs(t, interruptedWhen(t, p, left, errGone, func(s workers.Stats) bool { return s.Busy == 1 }), errGone)
			old := p.get(t, "/pid")
			signal(t, old, 9)
			p.settled(t, "replaced", func(s workers.Stats) bool { return s.Starts == 4 && s.Idle == 1 })
			require.NotEqual(t, old, p.get(t, "/pid"))
			require.NoError(t, p.stop())
			require.EqualValues(t, 1, p.Stats().Ends[workers.ReasonStopped], "ended when it was told to")
		})
	}
}

func TestBrokenFunctions(t *testing.T) {
	for _, c := range []struct{ file, source, text string }{
		{"syntax.py", "def handle(req:\n", "SyntaxError"},
		{"raises.py", "import nothing_like_this\n", "nothing_like_this"},
		{"empty.py", "\n", "handle"},
		{"syntax.js", "exports.handle = (req => {\n", "SyntaxError"},
		{"raises.mjs", "import 'nothing-like-this';\n", "nothing-like-this"},
		{"syntax.rb", "def handle(req\n", "SyntaxError"},
		{"raises.rb", "require 'nothing_like_this'\n", "nothing_like_this"},
		{"syntax.php", "<?php function handle($req {\n", "ParseError"},
		{"raises.php", "<?php nothing_like_this();\n", "nothing_like_this"},
		{"syntax.pl", "sub handle {\n", "Missing right curly"},
		{"raises.pl", "use nothing_like_this;\n", "nothing_like_this"},
		{"syntax.java", "class syntax {\n", "reached end of file"},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			cfg := function(t, c.file, c.source)
			if err := cfg.Validate(); err != nil {
				t.Skip("no interpreter: ", err)
			}
			cfg.Min, cfg.Max = 2, 2
			p := run(t, cfg)
			err := <-p.end
			p.end <- err
			var init *workers.InitError
			require.ErrorAs(t, err, &init)
			require.Contains(t, init.Type+init.Message+init.Traceback, c.text)
			require.True(t, init.Traceback == "" || strings.Contains(init.Traceback, c.file) || c.file == "empty.py", init.Traceback)
		})
	}
}

// A version manager's script costs its time once, not once for each worker.
func TestTheInterpreterBehindAScriptIsUsed(t *testing.T) {
	c := function(t, "handler.py", "import sys\ndef handle(req):\n    return sys.executable\n")
	direct := running(t, c)
	real := direct.get(t, "/")
	require.NoError(t, direct.stop())

	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	script := fmt.Sprintf("#!/bin/sh\necho run >>%q\nsleep 0.2 &\nexec %q \"$@\"\n", count, real)
	c.Interpreter = filepath.Join(dir, "python3")
	require.NoError(t, os.WriteFile(c.Interpreter, []byte(script), 0o700)) //nolint:gosec // it is a program
	c.Min, c.Max = 3, 3
	p := running(t, c)
	p.settled(t, "three workers", func(s workers.Stats) bool { return s.Idle == 3 })
	require.Zero(t, p.logs.count("interpreter behind script not found"))
	runs, err := os.ReadFile(count)
	require.NoError(t, err)
	require.Equal(t, "run\n", string(runs))
}
