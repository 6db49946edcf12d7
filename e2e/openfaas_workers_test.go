package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ofWorkers prepares an image as the templates make it, without their program, and fnpod called as fwatchdog in it.
func ofWorkers(t *testing.T, files map[string]string, environ ...string) *pod {
	t.Helper()
	p := &pod{t: t, listen: freePort(t), admin: freePort(t), ended: make(chan struct{})}
	home := t.TempDir()
	for name, text := range files {
		path := filepath.Join(home, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	_, port, err := net.SplitHostPort(p.listen)
	require.NoError(t, err)
	_, metrics, err := net.SplitHostPort(p.admin)
	require.NoError(t, err)
	p.cmd = exec.Command(binary)
	p.cmd.Args[0], p.cmd.Dir = "fwatchdog", home
	p.cmd.Env = append(os.Environ(), "port="+port, "metrics_port="+metrics, "TMPDIR="+t.TempDir(), "healthcheck_interval=0")
	p.cmd.Env = append(p.cmd.Env, environ...)
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	p.cmd.WaitDelay = 2 * time.Second
	return p
}

func (p *pod) beginReady() *pod {
	p.t.Helper()
	p.begin()
	require.Eventually(p.t, func() bool { code, _ := p.get("/_/ready"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
	return p
}

const ofEventHandler = `
import os, sys, time
def handle(event, context):
    if event.path == '/raise': raise ValueError('the secret reason')
    if event.path == '/exit': sys.exit(1)
    if event.path == '/die': os._exit(0)
    if event.path == '/wait': time.sleep(float(event.query['s']))
    if event.path == '/pid': return str(os.getpid())
    print('printed')
    return {'statusCode': 201, 'body': event.body.decode() + event.headers.get('X-A', ''), 'headers': {'X-B': 'b'}}
`

const ofNodeHandler = `
module.exports = (event, context) => {
  if (event.path === '/throw') throw new Error('thrown');
  if (event.path === '/reject') return Promise.reject(new Error('rejected'));
  if (event.path === '/exit') process.exit(0);
  if (event.path === '/uncaught') return new Promise(() => setImmediate(() => { throw new Error('uncaught'); }));
  if (event.path === '/wait') return new Promise((go) => setTimeout(go, 2000));
  return String(process.pid);
};`

// §19, §23: with one variable an image's handler runs in warm workers; routes, fields, limits and log stay those of of-watchdog.
func TestOpenFaaS23HandlerOfATemplateInWarmWorkers(t *testing.T) {
	t.Parallel()
	p := ofWorkers(t, map[string]string{"function/handler.py": ofEventHandler, "function/__init__.py": ""},
		"FNPOD_CONTRACT=openfaas-http", "fprocess=python index.py", "mode=http", "upstream_url=http://127.0.0.1:5000", "exec_timeout=1s").beginReady()
	r, body := ofAsk(t, p, "POST", "/", "body", "X-A: a")
	require.Equal(t, 201, r.StatusCode)
	require.Equal(t, "bodya", body)
	require.Equal(t, "b", r.Header.Get("X-B"))
	require.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
	require.Regexp(t, `^\d+\.\d{6}$`, r.Header.Get("X-Duration-Seconds"))
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), " stdout: printed\n") }, 10*time.Second, time.Millisecond)

	r, body = ofAsk(t, p, "GET", "/raise", "")
	require.Equal(t, 500, r.StatusCode)
	require.NotContains(t, body, "secret")
	require.Empty(t, r.Header.Get("X-Openfaas-Internal"))
	require.Eventually(t, func() bool {
		return strings.Contains(p.log.String(), " stderr: ValueError: the secret reason\n")
	}, 10*time.Second, time.Millisecond)

	r, body = ofAsk(t, p, "GET", "/wait?s=60", "")
	require.Equal(t, 504, r.StatusCode)
	require.Empty(t, body)
	require.Equal(t, "of-watchdog", r.Header.Get("X-Openfaas-Internal"))
	require.Eventually(t, func() bool { return p.series(`http_requests_total{code="504",method="get"}`) == 1 }, 10*time.Second, time.Millisecond)
}

// §23.5: what ends a worker takes no other request down, and each has one answer.
func TestOpenFaaS23ACrashTakesNoOtherRequestDown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		file, source string
		codes        map[string]int
	}{
		{"function/handler.py", ofEventHandler, map[string]int{"/wait?s=2": 201, "/exit": 500, "/die": 500, "/raise": 500, "/pid": 200}},
		{"function/handler.js", ofNodeHandler, map[string]int{"/wait": 200, "/exit": 500, "/uncaught": 500, "/throw": 500, "/reject": 200, "/pid": 200}},
	} {
		p := ofWorkers(t, map[string]string{test.file: test.source}, "FNPOD_CONTRACT=openfaas-http").beginReady()
		var all sync.WaitGroup
		for range 3 {
			for path, want := range test.codes {
				all.Go(func() {
					code, _ := p.get(path)
					if code != want {
						t.Errorf("%s: %d", path, code)
					}
				})
			}
		}
		all.Wait()
		code, _ := p.get("/pid")
		require.Equal(t, 200, code)
	}
}

const ofJavaHandler = `package com.openfaas.function;

import com.openfaas.model.*;

public class Handler extends AbstractHandler {
    public IResponse Handle(IRequest req) {
        Response res = new Response();
        if (req.getPathRaw().equals("/raise")) throw new IllegalStateException("the secret reason");
        res.setBody(req.getBody() + req.getHeader("X-a") + req.getQuery().get("b"));
        res.setStatusCode(201);
        return res;
    }
}
`

// §19, §23: a handler of the Java templates.
func TestOpenFaaS19JavaHandlerInWarmWorkers(t *testing.T) {
	t.Parallel()
	p := ofWorkers(t, map[string]string{"function/Handler.java": ofJavaHandler}, "FNPOD_CONTRACT=openfaas-http", "FNPOD_HANDLER=function/Handler.java").beginReady()
	r, body := ofAsk(t, p, "POST", "/x?b=c", "body", "X-A: a")
	require.Equal(t, 201, r.StatusCode)
	require.Equal(t, "bodyac", body)
	require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type"))
	r, body = ofAsk(t, p, "GET", "/raise", "")
	require.Equal(t, 500, r.StatusCode)
	require.NotContains(t, body, "secret")
}

// §23: contracts that a language has not are said so.
func TestOpenFaaS23ContractsThatALanguageHasNot(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"function/handler.rb":      `for ruby there are native, openfaas-http, openfaas-classic, nuclio`,
		"function/src/Handler.php": `for php there are native, openfaas-classic`,
	} {
		p := ofWorkers(t, map[string]string{file: "x"}, "FNPOD_CONTRACT=openfaas-flask")
		p.begin()
		require.Equal(t, 2, p.exit())
		require.Contains(t, p.log.String(), want)
	}
}

// §23: where the handler is, and how it is called, is said or there.
func TestOpenFaaS23WarmWorkersThatCannotStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, source, setting, want string
		code                        int
	}{
		{"no handler", "", "FNPOD_CONTRACT=openfaas-http", "FNPOD_HANDLER: must say where the handler is", 2},
		{"unknown contract", "x", "FNPOD_CONTRACT=openfaas", "allowed: native, openfaas-http", 2},
		{"import fails", "import nonexistent_module", "FNPOD_CONTRACT=openfaas-http", "nonexistent_module", 1},
		{"no handle", "x = 1", "FNPOD_CONTRACT=openfaas-flask", "handler.py has no function 'handle'", 1},
	} {
		files := map[string]string{"other/handler.py": "x"}
		if test.source != "" {
			files["function/handler.py"] = test.source
		}
		p := ofWorkers(t, files, test.setting)
		p.begin()
		require.Equal(t, test.code, p.exit(), test.name)
		require.Contains(t, p.log.String(), test.want)
	}
}
