package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// The tests of Kubeless' platform are named after the rules of its contract. fnpod is called without arguments in the environment
// that the controller makes.

// kubelessPod prepares a pod of a function whose module has a file name.
func kubelessPod(t *testing.T, file, source string, environ ...string) *pod {
	t.Helper()
	p := &pod{t: t, listen: freePort(t), admin: freePort(t), ended: make(chan struct{})}
	_, port, err := net.SplitHostPort(p.listen)
	require.NoError(t, err)
	module, _, _ := strings.Cut(file, ".")
	root := filepath.Dir(handlerFile(t, file, source))
	p.cmd = exec.Command(binary)
	p.cmd.Env = append(os.Environ(), "MOD_NAME="+module, "FUNC_HANDLER=f", "FUNC_PORT="+port, "FUNC_MEMORY_LIMIT=128Mi", "KUBELESS_INSTALL_VOLUME="+root,
		"FNPOD_ADMIN="+p.admin, "FNPOD_DRAIN_DELAY=0s")
	p.cmd.Env = append(p.cmd.Env, environ...)
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	p.cmd.WaitDelay = 2 * time.Second
	return p
}

func startKubeless(t *testing.T, file, source string, environ ...string) *pod {
	t.Helper()
	p := kubelessPod(t, file, source, environ...)
	p.begin()
	p.waitReady()
	return p
}

// kubelessPython does what its body says.
const kubelessPython = `
import os, signal, sys, time
count = 0
loaded = os.getpid()
def waits(folder):  # until ten calls are there
    open(os.path.join(folder, str(os.getpid())), 'w').close()
    until = time.monotonic() + 20
    while len(os.listdir(folder)) < 10 and time.monotonic() < until:
        time.sleep(.01)
    return str(len(os.listdir(folder)))
def fail(thing):
    raise ValueError(thing)  # which cannot be pickled
def f(event, context):
    global count
    count += 1
    word, _, rest = event['data'].decode().partition(' ') if isinstance(event['data'], bytes) else ('event', '', '')
    return {
        'event': lambda: {'event': {k: v for k, v in event.items() if k != 'extensions'}, 'context': context, 'bytes': isinstance(event['data'], bytes)},
        '': lambda: '',
        'count': lambda: '%d %s' % (count, loaded == os.getpid()),
        'raise': lambda: 1 / 0,
        'raise-lock': lambda: fail(__import__('threading').Lock()),
        'exit': lambda: os._exit(int(rest)),
        'kill': lambda: os.kill(os.getpid(), int(rest)),
        'sleep': lambda: time.sleep(float(rest)) or 'slept',
        'spin': lambda: [0 for _ in iter(int, 1)],
        'deaf': lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN) and None or [0 for _ in iter(int, 1)],
        'big': lambda: 'x' * (1 << 20),
        'lock': lambda: __import__('threading').Lock(),
        'waits': lambda: waits(rest),
        'read': lambda: open(rest).read(),
        'import': lambda: __import__(rest).value,
        'print': lambda: print('printed by the call') or print('and on the other one', file=sys.stderr) or 'printed',
        'orphan': lambda: os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '1000') and 'orphan',
    }[word]()
`

func TestKubelessPython(t *testing.T) {
	t.Parallel()
	packages := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(packages, "dependency.py"), []byte("value = 'of the site'"), 0o600))
	p := startKubeless(t, "hello.py", kubelessPython, "FUNC_TIMEOUT=1.5", "FUNC_RUNTIME=python3.8", "PYTHONPATH="+packages)
	say := func(t *testing.T, body string) (int, string) {
		t.Helper()
		r, text := ofAsk(t, p, "POST", "/", body)
		return r.StatusCode, text
	}
	t.Run("P2 P5 PY11 PY15 event and context", func(t *testing.T) {
		r, text := ofAsk(t, p, "POST", "/any/path?q=1", `{"a": 1}`, "Content-Type: application/json; charset=utf-8", "event-id: i", "Event-Type: t")
		require.Equal(t, "application/json", r.Header.Get("Content-Type"), "PY21")
		require.JSONEq(t, `{"event": {"data": {"a": 1}, "event-id": "i", "event-type": "t", "event-time": null, "event-namespace": null}, "bytes": false,
			"context": {"function-name": "f", "timeout": 1.5, "runtime": "python3.8", "memory-limit": "128Mi"}}`, text)
	})
	t.Run("P4 packages", func(t *testing.T) {
		code, text := say(t, "import dependency")
		require.Equal(t, "200of the site", fmt.Sprint(code, text))
	})
	t.Run("P10 secrets", func(t *testing.T) { // kubelet replaces the link when a secret changes
		secret := t.TempDir()
		for _, value := range []string{"first", "second"} {
			require.NoError(t, os.Mkdir(filepath.Join(secret, value), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(secret, value, "key"), []byte(value), 0o400))
			require.NoError(t, os.Symlink(value, filepath.Join(secret, "next")))
			require.NoError(t, os.Rename(filepath.Join(secret, "next"), filepath.Join(secret, "..data")))
			code, text := say(t, "read "+filepath.Join(secret, "..data", "key"))
			require.Equal(t, "200"+value, fmt.Sprint(code, text))
		}
	})
	t.Run("C1 without data", func(t *testing.T) {
		r, text := ofAsk(t, p, "GET", "/", "", "event-namespace: cli.kubeless.io")
		require.Equal(t, 200, r.StatusCode)
		require.Empty(t, text)
	})
	t.Run("C3 capitals", func(t *testing.T) {
		_, text := ofAsk(t, p, "POST", "/", `{}`, "Content-Type: application/json", "EVENT-ID: i", "Event-Namespace: cronjobtrigger.kubeless.io")
		require.Contains(t, text, `"event-id": "i"`)
		require.Contains(t, text, `"event-namespace": "cronjobtrigger.kubeless.io"`)
	})
	t.Run("PY12 no JSON", func(t *testing.T) {
		r, _ := ofAsk(t, p, "POST", "/", "{", "Content-Type: application/json")
		require.Equal(t, 500, r.StatusCode)
	})
	t.Run("PY16 isolation", func(t *testing.T) {
		for range 5 {
			code, text := say(t, "count")
			require.Equal(t, 200, code)
			require.Equal(t, "1 False", text)
		}
	})
	t.Run("PY17 issue 48", func(t *testing.T) {
		_, text := say(t, "big")
		require.Len(t, text, 1<<20)
	})
	for _, body := range []string{"PY25 raise", "PY18 raise-lock", "PY17 lock", "PY17 exit 0", "PY17 exit 3", "PY17 kill 9", "PY17 kill 11", "PY17 kill 15"} {
		t.Run(body, func(t *testing.T) {
			_, body, _ := strings.Cut(body, " ")
			code, text := say(t, body)
			require.Equal(t, 500, code)
			require.Contains(t, text, "<h1>Error: 500 Internal Server Error</h1>")
		})
	}
	t.Run("PY25 log", func(t *testing.T) {
		require.Contains(t, p.log.String(), "Function returned an exception: division by zero\n")
		require.Contains(t, p.log.String(), "ZeroDivisionError: division by zero\n")
	})
	t.Run("PY26 time-outs", func(t *testing.T) {
		var wg sync.WaitGroup
		for _, body := range []string{"sleep 60", "spin"} {
			wg.Go(func() {
				code, text := say(t, body)
				if code != 408 || !strings.Contains(text, "Timeout while processing the function") {
					t.Errorf("%s: %d %s", body, code, text)
				}
			})
		}
		wg.Go(func() { // no other call is lost
			if code, text := say(t, "sleep 1"); code != 200 || text != "slept" {
				t.Errorf("%d %s", code, text)
			}
		})
		wg.Wait()
	})
	t.Run("PY4 ten at once", func(t *testing.T) {
		folder := t.TempDir()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if code, text := say(t, "waits "+folder); code != 200 || text != "10" {
					t.Errorf("%d %s", code, text)
				}
			})
		}
		wg.Wait()
	})
	t.Run("3.7 output", func(t *testing.T) {
		_, text := say(t, "print")
		require.Equal(t, "printed", text)
		require.Eventually(t, func() bool {
			log := p.log.String()
			return strings.Contains(log, "printed by the call\n") && strings.Contains(log, "and on the other one\n") &&
				strings.Contains(log, `"POST / HTTP/1.1" 200 7 "-" "Go-http-client/1.1" 0/`)
		}, 10*time.Second, 5*time.Millisecond)
	})
	t.Run("PY26 a call that does not hear", func(t *testing.T) {
		code, _ := say(t, "deaf")
		require.Equal(t, 408, code)
	})
	t.Run("P12 function top", func(t *testing.T) {
		read := func() map[string]*dto.MetricFamily {
			r, err := http.Get("http://" + p.listen + "/metrics")
			require.NoError(t, err)
			defer r.Body.Close()
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(r.Body)
			require.NoError(t, err)
			return families
		}
		families := read()
		failures := func() int {
			return int(families["function_failures_total"].GetMetric()[1].GetCounter().GetValue())
		}
		require.Eventually(t, func() bool { // a call is counted when it has its answer
			families = read()
			return failures() >= 10
		}, 10*time.Second, 5*time.Millisecond)
		require.Equal(t, 10, failures(), "seven without an answer, three late; PY23 is none")
		calls := map[string]int{}
		for _, m := range families["function_calls_total"].GetMetric() {
			require.Equal(t, "method", m.GetLabel()[0].GetName())
			calls[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue())
		}
		require.Equal(t, 1, calls["GET"])
		require.Greater(t, calls["POST"], 20)
		require.Greater(t, families["function_duration_seconds"].GetMetric()[1].GetHistogram().GetSampleSum(), 4.)
	})
	t.Run("W1 nobody stays behind", func(t *testing.T) {
		_, text := say(t, "orphan")
		require.Equal(t, "orphan", text)
		require.Eventually(t, func() bool {
			return len(p.children()) == 1
		}, 10*time.Second, 5*time.Millisecond)
	})
	t.Run("3.7 drain", func(t *testing.T) {
		answer := make(chan string, 1)
		go func() {
			code, text := say(t, "sleep 1")
			answer <- fmt.Sprint(code, text)
		}()
		require.Eventually(t, func() bool { return p.number("requests", "in_flight") == 1 }, 10*time.Second, time.Millisecond)
		p.signal(syscall.SIGTERM)
		require.Equal(t, "200slept", <-answer)
		require.Zero(t, p.exit())
	})
}

// Kubeless PY16, section 8: warm workers keep what a call changes.
func TestKubelessPY16WarmWorkers(t *testing.T) {
	t.Parallel()
	p := startKubeless(t, "hello.py", kubelessPython, "FNPOD_KUBELESS_ISOLATE=off", "CHERRYPY_NUMTHREADS=1", "FUNC_TIMEOUT=1")
	for i, want := range []string{"1 True", "2 True", "3 True"} {
		r, text := ofAsk(t, p, "POST", "/", "count")
		require.Equal(t, 200, r.StatusCode, i)
		require.Equal(t, want, text)
	}
	for body, code := range map[string]int{"raise": 500, "lock": 500, "exit 3": 500, "spin": 408} {
		r, text := ofAsk(t, p, "POST", "/", body)
		require.Equal(t, code, r.StatusCode, body)
		require.Contains(t, text, "<h1>Error: "+strconv.Itoa(code))
	}
}

// Kubeless PY2: each call of MP_CONTEXT=spawn loads the module itself.
func TestKubelessPY2Spawn(t *testing.T) {
	t.Parallel()
	p := startKubeless(t, "hello.py", kubelessPython, "MP_CONTEXT=spawn")
	for range 2 {
		_, text := ofAsk(t, p, "POST", "/", "count")
		require.Equal(t, "1 True", text)
	}
}

// Kubeless PY3, P6: when the process that has loaded the module dies, and it cannot be loaded again, calls are told, and so is kubelet.
func TestKubelessP6BrokenLater(t *testing.T) {
	t.Parallel()
	p := kubelessPod(t, "hello.py", kubelessPython)
	p.begin()
	p.waitReady()
	root := ""
	for _, entry := range p.cmd.Env {
		if dir, ok := strings.CutPrefix(entry, "KUBELESS_INSTALL_VOLUME="); ok {
			root = dir
		}
	}
	kill := func() int {
		all := p.children()
		require.Len(t, all, 1)
		require.NoError(t, syscall.Kill(all[0], syscall.SIGKILL))
		return all[0]
	}
	old := kill()
	require.Eventually(t, func() bool {
		r, text := ofAsk(t, p, "POST", "/", "count")
		require.Equal(t, 200, r.StatusCode, "calls wait for the next one")
		code, _ := p.get("/healthz")
		all := p.children()
		return text == "1 False" && code == 200 && len(all) == 1 && all[0] != old
	}, 20*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(filepath.Join(root, "hello.py"), []byte("raise ValueError('broken')"), 0o600))
	kill()
	require.Eventually(t, func() bool {
		code, _ := p.get("/healthz")
		return code == 503
	}, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		r, _ := ofAsk(t, p, "POST", "/", "count")
		return r.StatusCode == 500
	}, 20*time.Second, time.Millisecond)
	require.Contains(t, p.log.String(), "ValueError: broken")
}

// Kubeless PY3: a module is loaded before the first call is answered, and until then calls wait.
func TestKubelessPY3ImportComesFirst(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	require.NoError(t, syscall.Mkfifo(gate, 0o600))
	p := kubelessPod(t, "hello.py", "text = open('"+gate+"').read()\ndef f(event, context): return text")
	p.begin()
	require.Eventually(t, func() bool {
		code, text := p.get("/healthz")
		return code == 200 && text == "OK"
	}, 20*time.Second, time.Millisecond, "P6: the port is open, and kubelet waits")
	require.NotEqual(t, 200, func() int { code, _ := p.ask("http://" + p.admin + "/readyz"); return code }(), "but not ready")
	answer := make(chan string, 1)
	go func() {
		_, text := p.get("/")
		answer <- text
	}()
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(gate, []byte("loaded"), 0))
	require.Equal(t, "loaded", <-answer)
}

// Kubeless PY1, PY2: what cannot be started ends at once, tells why, and opens no port before it knows.
func TestKubelessPY1Starts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, source, variable string
		code                         int
		tells                        []string
	}{
		{"import error", "hello.py", "import nothing_like_this", "", 1, []string{"ModuleNotFoundError: No module named 'nothing_like_this'", "function cannot be started"}},
		{"no function", "hello.py", "def other(event, context): pass", "", 1, []string{"hello.py has no function 'f'; it has other"}},
		{"exit", "hello.py", "import os; os._exit(7)", "", 1, []string{"exit status 7"}},
		{"syntax in Node", "hello.js", "module.exports = {", "", 1, []string{"SyntaxError"}},
		{"a missing variable", "hello.py", "", "FUNC_HANDLER=", 2, []string{`FUNC_HANDLER is not set: it must be the part of the handler behind the dot`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			environ := []string{"FNPOD_PLATFORM=kubeless"}
			if c.variable != "" {
				environ = append(environ, c.variable)
			}
			p := kubelessPod(t, c.file, c.source, environ...)
			p.begin()
			require.Equal(t, c.code, p.exit())
			for _, text := range c.tells {
				require.Contains(t, p.log.String(), text)
			}
			require.Equal(t, c.code == 1, strings.Contains(p.log.String(), `"listening"`), "no port is opened before variables are read")
		})
	}
}

// kubelessNode does what its body says.
const kubelessNode = `
let count = 0;
const later = (ms, value) => new Promise((resolve) => setTimeout(resolve, ms, value));
module.exports = {
  f: (event, context) => {
    count++;
    const { data, extensions: { request, response } } = event, [word, rest] = String(data).split(' ');
    switch (word) {
      case 'count': return String(count);
      case 'throw': throw new Error('the secret reason');
      case 'reject': return Promise.reject(new Error('the secret reason'));
      case 'exit': return process.exit(Number(rest));
      case 'spin': for (;;);
      case 'later': return later(Number(rest), 'later');
      case 'meet': return new Promise((resolve) => { const look = () => (count >= Number(rest) ? resolve('met') : setTimeout(look, 5)); look(); });
      case 'write': return void response.status(201).set('x-a', 'b').end('written');
      case 'text': return 'text';
      case 'require': return require(rest);
      case 'number': return 7;
      case 'undefined': return undefined;
      default: return { data, method: request.method, url: request.url, type: event['event-type'], context };
    }
  },
};`

func TestKubelessNode(t *testing.T) {
	t.Parallel()
	packages := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(packages, "dependency.js"), []byte("module.exports = 'of NODE_PATH';"), 0o600))
	p := startKubeless(t, "hello.js", kubelessNode, "NODE_PATH="+packages, "FUNC_TIMEOUT=1.5", "FUNC_RUNTIME=nodejs14", "REQ_MB_LIMIT=0.001")
	say := func(t *testing.T, body string) (int, string) {
		t.Helper()
		r, text := ofAsk(t, p, "POST", "/", body)
		require.Equal(t, []string{"*"}, r.Header.Values("Access-Control-Allow-Origin"), "N8")
		return r.StatusCode, text
	}
	t.Run("N8 N9 N10 N11 N13 event and context", func(t *testing.T) {
		r, text := ofAsk(t, p, "PUT", "/any?q=1", `{"a": 1}`, "Content-Type: application/json; charset=utf-8", "event-type: t")
		require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"), "N13")
		require.JSONEq(t, `{"data": {"a": 1}, "method": "PUT", "url": "/any?q=1", "type": "t",
			"context": {"function-name": "f", "timeout": 1.5, "runtime": "nodejs14", "memory-limit": "128Mi"}}`, text)
	})
	for name, want := range map[string]string{
		"N12 text": "200 text", "N14 undefined": "200 ", "N15 number": "200 7", "N16 later 1": "200 later", "N17 write": "201 written",
		"N18 throw": "500 Internal Server Error", "N18 reject": "500 Internal Server Error", "section 8 exit 3": "500 Internal Server Error",
	} {
		t.Run(name, func(t *testing.T) {
			_, body, _ := strings.Cut(strings.TrimPrefix(name, "section "), " ")
			code, text := say(t, body)
			require.Equal(t, want, fmt.Sprint(code, " ", text))
		})
	}
	t.Run("P4 packages", func(t *testing.T) {
		_, text := say(t, "require dependency")
		require.Equal(t, "of NODE_PATH", text)
	})
	t.Run("N3 calls run side by side in one process", func(t *testing.T) {
		_, text := say(t, "count")
		first, err := strconv.Atoi(text)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if code, text := say(t, "meet "+strconv.Itoa(first+20)); code != 200 || text != "met" {
					t.Errorf("%d %s", code, text)
				}
			})
		}
		wg.Wait()
	})
	t.Run("N19 N20 time-outs", func(t *testing.T) {
		var wg sync.WaitGroup
		for _, body := range []string{"spin", "later 60000"} {
			wg.Go(func() {
				if code, text := say(t, body); code != 408 || text != "Timeout while processing the function" {
					t.Errorf("%s: %d %s", body, code, text)
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool {
			code, _ := say(t, "count")
			return code == 200
		}, 20*time.Second, time.Millisecond, "another process has taken over")
	})
	t.Run("N2 sizes", func(t *testing.T) {
		code, _ := say(t, strings.Repeat("x", 1049))
		require.Equal(t, 413, code)
	})
	t.Run("N7 preflight", func(t *testing.T) {
		r, _ := ofAsk(t, p, "OPTIONS", "/", "", "Access-Control-Request-Headers: x-a")
		require.Equal(t, "x-a", r.Header.Get("Access-Control-Allow-Headers"))
	})
	t.Run("4.6 drain", func(t *testing.T) {
		answer := make(chan string, 1)
		go func() {
			code, text := say(t, "later 1000")
			answer <- fmt.Sprint(code, text)
		}()
		require.Eventually(t, func() bool { return p.number("requests", "in_flight") == 1 }, 10*time.Second, time.Millisecond)
		p.signal(syscall.SIGTERM)
		require.Equal(t, "200later", <-answer)
		require.Zero(t, p.exit())
	})
}

// Kubeless N19, section 8: with a call per worker, one that does not end harms no other one.
func TestKubelessN19NodeWorkersOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := startKubeless(t, "hello.js", kubelessNode, "FUNC_TIMEOUT=1", "FNPOD_WORKERS_CONCURRENCY=1", "FNPOD_WORKERS_MAX=2", "FNPOD_WORKERS_MIN=2")
	var wg sync.WaitGroup
	for body, want := range map[string]int{"spin": 408, "later 800": 200} {
		wg.Go(func() {
			if r, text := ofAsk(t, p, "POST", "/", body); r.StatusCode != want {
				t.Errorf("%s: %d %s", body, r.StatusCode, text)
			}
		})
	}
	wg.Wait()
}

// kubelessServer is a native server, as those of Ruby and PHP are.
const kubelessServer = `
import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    hangs = False
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if body == b'slow': time.sleep(60)
        if body == b'short': time.sleep(.3)
        if body == b'exit': os._exit(3)
        if body == b'hang': H.hangs = True
        if self.path == '/healthz':
            while H.hangs: time.sleep(.1)
            return self.send_error(404)
        if body == b'drop': return self.connection.close()
        text = ' '.join([self.command, self.path, self.headers.get('event-id', ''), body.decode()]).encode()
        self.send_response(203)
        self.send_header('X-A', 'b')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_PUT = do_POST
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['FUNC_PORT'])), H).serve_forever()
`

// Kubeless G1 to G8: in the place of the proxy before a native server.
func TestKubelessServer(t *testing.T) {
	t.Parallel()
	file := handlerFile(t, "server.py", kubelessServer)
	p := startKubeless(t, "hello.rb", "", "FNPOD_PLATFORM=kubeless", "FUNC_RUNTIME=ruby2.6", "FUNC_TIMEOUT=1", "FUNC_PROCESS=exec python3 "+file,
		"FNPOD_UPSTREAM=http://"+freePort(t))
	t.Run("G1 what the proxy lost", func(t *testing.T) {
		r, text := ofAsk(t, p, "PUT", "/path?q=1", "body", "event-id: i")
		require.Equal(t, 203, r.StatusCode)
		require.Equal(t, "b", r.Header.Get("X-A"))
		require.Equal(t, "PUT /path?q=1 i body", text)
	})
	t.Run("G2 no answer", func(t *testing.T) {
		r, text := ofAsk(t, p, "POST", "/", "drop")
		require.Equal(t, "500 Error: early_close", fmt.Sprint(r.StatusCode, " ", text))
	})
	t.Run("G3 late", func(t *testing.T) {
		r, text := ofAsk(t, p, "POST", "/", "slow")
		require.Equal(t, "408 Timeout exceeded", fmt.Sprint(r.StatusCode, " ", text))
	})
	t.Run("G4 health", func(t *testing.T) {
		r, text := ofAsk(t, p, "POST", "/healthz", "")
		require.Equal(t, "200 OK", fmt.Sprint(r.StatusCode, " ", text), "the process is still there")
	})
	t.Run("G5 series", func(t *testing.T) {
		_, text := p.get("/metrics")
		require.Contains(t, text, `function_failures_total{method="POST"} 2`)
	})
	t.Run("G4 no reply", func(t *testing.T) {
		_, _ = ofAsk(t, p, "POST", "/", "hang")
		code, _ := p.get("/healthz")
		require.Equal(t, 503, code)
	})
	t.Run("G8 log", func(t *testing.T) {
		require.Regexp(t, `\n\d{4}/\d\d/\d\d \d\d:\d\d:\d\d 127\.0\.0\.1:\d+ "PUT /path\?q=1 HTTP/1\.1" 203 Go-http-client/1\.1\n`, p.log.String())
	})
	t.Run("G7 the end", func(t *testing.T) {
		r, _ := ofAsk(t, p, "POST", "/", "exit")
		require.Equal(t, 500, r.StatusCode)
		require.Equal(t, 3, p.exit())
	})
}

// Kubeless G6: the drain of a server lets a call end, and gives one up that takes longer than SHUTDOWN_TIMEOUT.
func TestKubelessG6Drain(t *testing.T) {
	t.Parallel()
	file := handlerFile(t, "server.py", kubelessServer)
	p := startKubeless(t, "hello.rb", "", "FNPOD_PLATFORM=kubeless", "FUNC_RUNTIME=ruby2.6", "SHUTDOWN_TIMEOUT=1", "FUNC_PROCESS=exec python3 "+file,
		"FNPOD_UPSTREAM=http://"+freePort(t))
	answers := make(chan string, 2)
	for _, body := range []string{"short", "slow"} {
		go func() { answers <- statusOf(p, body) }()
	}
	require.Eventually(t, func() bool { return p.number("requests", "in_flight") == 2 }, 10*time.Second, time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, "203 Non-Authoritative Information", <-answers)
	require.Equal(t, "503 Service Unavailable", <-answers)
	require.Zero(t, p.exit())
}

// statusOf posts a body and returns the status, or what went wrong.
func statusOf(p *pod, body string) string {
	r, err := http.Post("http://"+p.listen, "", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	return r.Status
}

// Kubeless P9: a rolling update starts the new pod first and sends it calls at once, as there is no readiness probe, and ends the old
// one then: no call is lost.
func TestKubelessP9RollingUpdate(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "gate")
	require.NoError(t, syscall.Mkfifo(gate, 0o600))
	before := startKubeless(t, "hello.py", kubelessPython)
	after := kubelessPod(t, "hello.py", "text = open('"+gate+"').read()\ndef f(event, context): return text")
	after.begin()
	require.Eventually(t, func() bool {
		code, _ := after.get("/healthz")
		return code == 200
	}, 20*time.Second, time.Millisecond)
	answers := make(chan string, 2)
	for _, p := range []*pod{before, after} {
		go func() { answers <- statusOf(p, "sleep 0.3") }()
		require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 10*time.Second, time.Millisecond)
	}
	before.signal(syscall.SIGTERM)
	require.Equal(t, "200 OK", <-answers)
	require.Zero(t, before.exit())
	require.NoError(t, os.WriteFile(gate, []byte("new"), 0))
	require.Equal(t, "200 OK", <-answers)
}

// Kubeless P8: the example is a pod of Kubeless as it stands, for a user who may write nothing.
func TestKubelessP8Example(t *testing.T) {
	t.Parallel()
	folder, err := filepath.Abs("../examples/kubeless")
	require.NoError(t, err)
	p := kubelessPod(t, "hello.py", "", "FUNC_HANDLER=hello", "MOD_ROOT_PATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	p.cmd.Dir = "/"
	if os.Getuid() == 0 {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	}
	p.begin()
	p.waitReady()
	_, text := ofAsk(t, p, "POST", "/", `{"name": "pod"}`, "Content-Type: application/json", "event-namespace: cli.kubeless.io")
	require.Regexp(t, `^\{"hello": "pod", "from": "cli\.kubeless\.io", "function": "hello", "age": .*\}$`, text)
}
