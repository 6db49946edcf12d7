package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of Nuclio are named after the sections and rules of its contract: what the processor does, and where it is
// wrong, what is right.

// nuclioPod is a pod of Nuclio with its files of settings.
type nuclioPod struct {
	*pod

	dir         string
	health, web string
}

// nuclioSpec is the part of processor.yaml that differs between tests.
type nuclioSpec struct {
	runtime  string            // python without
	handler  string            // main:handler without
	files    map[string]string // of the function
	spec     string            // more of spec, indented by two
	trigger  string            // more of the http trigger, indented by six
	triggers string            // more triggers, indented by four
	platform string            // more of platform.yaml
	env      []string
}

// prepareNuclio writes the files; LISTEN in them is the address of the function.
func prepareNuclio(t *testing.T, n nuclioSpec) *nuclioPod {
	t.Helper()
	p := &nuclioPod{pod: &pod{t: t, listen: freePort(t), ended: make(chan struct{})}, dir: t.TempDir(), health: freePort(t), web: freePort(t)}
	p.admin = freePort(t)
	for name, text := range n.files {
		file := filepath.Join(p.dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	if n.runtime == "" {
		n.runtime = "python:3.11"
	}
	if n.handler == "" {
		n.handler = "main:handler"
	}
	config := fmt.Sprintf("metadata:\n  name: fn\n  namespace: ns\n  labels:\n    nuclio.io/project-name: proj\nspec:\n  runtime: %q\n  handler: %q\n  version: -1\n%s  unknown: {a: 1}\n  triggers:\n    web:\n      kind: http\n      url: %q\n%s%s",
		n.runtime, n.handler, n.spec, p.listen, n.trigger, n.triggers)
	platform := fmt.Sprintf("webAdmin: {listenAddress: %q}\nhealthCheck: {listenAddress: %q}\nmetrics:\n  sinks:\n    pull: {kind: prometheusPull, url: %q}\n  functions: [pull]\n%s",
		p.web, p.health, p.admin, n.platform)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "processor.yaml"), []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "platform.yaml"), []byte(platform), 0o600))
	p.cmd = exec.Command(binary, "-config", filepath.Join(p.dir, "processor.yaml"), "-platform-config", filepath.Join(p.dir, "platform.yaml"))
	p.cmd.Args[0] = "/usr/local/bin/processor"
	p.cmd.Env = append(os.Environ(), "NUCLIO_PYTHON_PATH="+p.dir, "NUCLIO_HANDLER_DIR="+p.dir, "NUCLIO_SHELL_HANDLER_DIR="+p.dir, "FNPOD_DRAIN_DELAY=0s")
	p.cmd.Env = append(p.cmd.Env, n.env...)
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	p.cmd.WaitDelay = 2 * time.Second
	return p
}

// startNuclio starts a pod and waits until it is ready.
func startNuclio(t *testing.T, n nuclioSpec) *nuclioPod {
	t.Helper()
	p := prepareNuclio(t, n)
	p.begin()
	p.waitHealthy()
	return p
}

func (p *nuclioPod) waitHealthy() {
	p.t.Helper()
	p.t.Cleanup(http.DefaultClient.CloseIdleConnections) // the drain waits a second for those
	require.Eventually(p.t, func() bool {
		code, _ := p.ask("http://" + p.health + "/ready")
		return code == http.StatusOK
	}, 30*time.Second, 5*time.Millisecond, "not ready")
}

// py is a function in Python of one file.
func py(lines ...string) map[string]string {
	return map[string]string{"main.py": strings.Join(lines, "\n") + "\n"}
}

func TestNuclioP2Arguments(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (int, string) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Args[0] = "processor"
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	code, out := run("-list-runtimes")
	require.Equal(t, 0, code)
	require.Equal(t, "dotnetcore\ngolang\njava\nnodejs\npython\nruby\nshell\n", out)
	code, out = run("-version")
	require.Equal(t, 0, code)
	require.Contains(t, out, "fnpod")
	code, out = run("-config", "/nowhere/processor.yaml")
	require.Equal(t, 1, code, "P3")
	require.Contains(t, out, "/nowhere/processor.yaml")
}

// §2, P3, P5: what cannot work ends the start with exit code 1 and a line that says where.
func TestNuclio2BadSettings(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.Close()
	for _, test := range []struct {
		want string
		spec nuclioSpec
	}{
		{"spec.runtime", nuclioSpec{runtime: "cobol"}},
		{"spec.eventTimeout", nuclioSpec{spec: "  eventTimeout: 5\n"}},
		{"spec.eventTimeout", nuclioSpec{spec: "  eventTimeout: 0s\n"}},
		{"workerTerminationTimeout", nuclioSpec{trigger: "      workerTerminationTimeout: soon\n"}},
		{"is not registered", nuclioSpec{triggers: "    other: {kind: smoke}\n"}},
		{"kafka-cluster", nuclioSpec{triggers: "    other: {kind: kafka-cluster}\n"}},
		{"cron: needs", nuclioSpec{triggers: "    clock: {kind: cron}\n"}},
		{"cannot listen", nuclioSpec{triggers: "    other: {kind: http, url: \"" + taken.Addr().String() + "\"}\n"}},
		{"there is no such sink", nuclioSpec{platform: "logger: {functions: [{sink: none}]}\n"}},
		{"yaml", nuclioSpec{spec: "  description: [\n"}},
		{"spec.handler", nuclioSpec{handler: "main handler"}},
		{"read the function's secret", nuclioSpec{env: []string{"NUCLIO_RESTORE_FUNCTION_CONFIG_FROM_SECRET=true", "NUCLIO_FUNCTION_SECRET_VOLUME_PATH=/nowhere"}}},
	} {
		test.spec.files = py("def handler(context, event): pass")
		p := prepareNuclio(t, test.spec)
		p.begin()
		require.Equal(t, 1, p.exit(), test.want)
		require.Contains(t, p.log.String(), test.want)
	}
}

// §3 S1–S4, §5.2: nothing is ready before the workers are, and what does not start ends the pod with 2.
func TestNuclio3StartAndReadiness(t *testing.T) {
	t.Parallel()
	p := prepareNuclio(t, nuclioSpec{files: py("import os, time", "while not os.path.exists('go'): time.sleep(0.01)", "def handler(context, event): return 'ok'")})
	p.begin()
	require.Eventually(t, func() bool { code, _ := p.ask("http://" + p.health + "/live"); return code == 200 }, 20*time.Second, 5*time.Millisecond)
	code, body := p.ask("http://" + p.health + "/ready?full=1")
	require.Equal(t, 503, code)
	require.JSONEq(t, `{"processor_readiness": "Processor not ready yet", "processor_liveness": "OK"}`, body)
	code, _ = p.get("/__internal/health")
	require.Equal(t, 503, code)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "go"), nil, 0o600))
	p.waitHealthy()
	code, body = p.get("/__internal/health/x?y")
	require.Equal(t, 200, code)
	require.Empty(t, body)
	code, body = p.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "ok", body)

	for want, text := range map[string]string{
		"no module here":   "raise ImportError('no module here')",
		"init went wrong":  "def init_context(context): raise ValueError('init went wrong')\ndef handler(context, event): pass",
		"has no function":  "def other(context, event): pass",
		"invalid syntax":   "def handler(:",
		"went wrong later": "async def init_context(context): raise ValueError('went wrong later')\ndef handler(context, event): pass",
	} {
		bad := prepareNuclio(t, nuclioSpec{files: py(text)})
		bad.begin()
		require.Equal(t, 2, bad.exit(), want)
		require.Contains(t, bad.log.String(), want)
	}
}

// §17: the whole table.
func TestNuclio17HealthAndAdmin(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{files: py("def handler(context, event): pass"), spec: "  env: [{name: SECRET, value: hidden-value}]\n"})
	for _, test := range []struct {
		method, url string
		code        int
		body        string
	}{
		{"GET", p.health + "/live", 200, "{}"},
		{"GET", p.health + "/live?full=1", 200, `{"processor_liveness":"OK"}`},
		{"GET", p.health + "/ready", 200, "{}"},
		{"GET", p.health + "/ready?full=1", 200, `{"processor_liveness":"OK","processor_readiness":"OK"}`},
		{"POST", p.health + "/ready", 405, "method not allowed\n"},
		{"GET", p.health + "/", 404, "404 page not found\n"},
		{"GET", p.web + "/triggers/none", 404, ""},
		{"GET", p.web + "/triggers/web/stats", 200, `{"stats":"example"}`},
		{"POST", p.web + "/triggers", 405, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+test.url, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		b := readAll(t, resp)
		require.Equal(t, test.code, resp.StatusCode, test.url)
		require.Equal(t, test.body, b, test.url)
	}
	code, body := p.ask("http://" + p.web + "/triggers")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"web":{`)
	require.NotContains(t, body, "hidden-value")
	code, body = p.ask("http://" + p.web + "/triggers/web")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"kind":"http"`)
}

// §16, B "readiness stays 200": SIGTERM lets what runs finish, says no at once, calls the termination callback and is
// gone soon.
func TestNuclio16Termination(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files: py("import time", "def init_context(context):", "    context.platform.set_termination_callback(lambda: print('terminated', context.worker_id, flush=True))",
			"def handler(context, event):", "    print('began', flush=True)", "    time.sleep(1)", "    return 'done'"),
		env: []string{"FNPOD_DRAIN_DELAY=2s"},
	})
	answered := make(chan string, 1)
	go func() { _, body := p.get("/"); answered <- body }()
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "began\n") }, 20*time.Second, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool {
		code, _ := p.ask("http://" + p.health + "/ready")
		return code == 503
	}, 5*time.Second, 5*time.Millisecond)
	code, _ := p.get("/__internal/health")
	require.Equal(t, 503, code)
	require.Equal(t, "done", <-answered)
	require.Equal(t, 0, p.exit())
	require.Contains(t, p.log.String(), "terminated 0\n")
}

func readAll(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

func regexpMatch(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }

// §18: a pod may push its series, too.
func TestNuclio18PushedSeries(t *testing.T) {
	t.Parallel()
	pushed := make(chan string, 1000) // as many as this test has time for
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		pushed <- r.URL.Path + "\n" + string(b)
	}))
	defer gateway.Close()
	p := prepareNuclio(t, nuclioSpec{files: py("def handler(context, event): return 'ok'")})
	platform := fmt.Sprintf("webAdmin: {enabled: false}\nhealthCheck: {listenAddress: %q}\nmetrics:\n  sinks: {push: {kind: prometheusPush, url: %q, attributes: {interval: 50ms, jobName: job, instanceName: \"i-{{.Name}}\"}}}\n  functions: [push]\n", p.health, gateway.URL)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "platform.yaml"), []byte(platform), 0o600))
	p.begin()
	p.waitHealthy()
	code, _ := p.get("/")
	require.Equal(t, 200, code)
	const want = `nuclio_processor_handled_events_total{function="fn",instance="i-fn",namespace="ns",project="proj",result="success",trigger_id="web",trigger_kind="http"} 1` + "\n"
	require.Eventually(t, func() bool {
		text := <-pushed
		return strings.HasPrefix(text, "/metrics/job/job\n") && strings.Contains(text, want)
	}, 20*time.Second, time.Millisecond)
}
