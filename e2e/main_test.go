// Package e2e_test runs the built binary with real functions, real clients and real kills.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// binary is fnpod, built once with the race detector.
var binary string

func TestMain(m *testing.M) {
	if address := os.Getenv(webSocketEcho); address != "" {
		os.Exit(serveWebSockets(address))
	}
	waitTogether()
	os.Exit(build(m))
}

// waitTogether lets twice as many tests run at once as there are processors, unless -parallel says how many: they mostly wait.
func waitTogether() {
	flag.Parse()
	const name = "test.parallel"
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == name })
	if asked {
		return
	}
	if err := flag.Set(name, strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err) // the flag is that of package testing
	}
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fnpod-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // pods of other users start it, too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "fnpod")
	if out, err := exec.Command("go", "build", "-race", "-o", binary, "../cmd/fnpod").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// plain is fnpod as it is shipped, for figures of memory and time; built when it is first asked for.
var plain = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "plain")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "../cmd/fnpod")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// startPlain starts fnpod as it is shipped and waits until it is ready.
func startPlain(t *testing.T, env []string, command string, args ...string) *pod {
	t.Helper()
	path, err := plain()
	require.NoError(t, err)
	p := prepare(t, env, command, args...)
	p.cmd.Path = path
	p.begin()
	p.waitReady()
	return p
}

// record is the log of a pod; it may be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// pod is a running fnpod.
type pod struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    record
	listen string
	admin  string
	ended  chan struct{} // closed when the process was collected
}

// begin starts fnpod on free ports without waiting for it.
func begin(t *testing.T, env []string, command string, args ...string) *pod {
	t.Helper()
	p := prepare(t, env, command, args...)
	p.begin()
	return p
}

// prepare is begin without the start: the command may still be changed.
func prepare(t *testing.T, env []string, command string, args ...string) *pod {
	t.Helper()
	p := &pod{t: t, listen: freePort(t), admin: freePort(t), ended: make(chan struct{})}
	flags := []string{command, "--listen", p.listen, "--admin", p.admin, "--drain-delay", "100ms"}
	p.cmd = exec.Command(binary, append(flags, args...)...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.log
	p.cmd.WaitDelay = 2 * time.Second // what a killed pod leaves behind may hold its output
	return p
}

func (p *pod) begin() {
	t := p.t
	t.Helper()
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the state is read from cmd
		close(p.ended)
	}()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections() // the drain gives each of them a second
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			for _, pid := range p.children() {
				_ = syscall.Kill(-pid, syscall.SIGKILL) // each leads a group
			}
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		if t.Failed() {
			text := p.log.String()
			t.Logf("end of the log:\n%s", text[max(0, len(text)-8000):])
		}
	})
}

// start is begin and waits until the pod is ready.
func start(t *testing.T, command string, args ...string) *pod {
	t.Helper()
	p := begin(t, nil, command, args...)
	p.waitReady()
	return p
}

func (p *pod) waitReady() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		code, _ := p.ask("http://" + p.admin + "/readyz")
		return code == http.StatusOK
	}, 20*time.Second, 5*time.Millisecond, "not ready")
}

// freePort returns an address that nobody uses, and that the kernel gives to nobody else: it takes the ports of
// outgoing connections from 32768 on.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if _, given := givenPorts.LoadOrStore(address, true); given {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			require.NoError(t, l.Close())
			return address
		}
	}
	require.Fail(t, "no port is free")
	return ""
}

// givenPorts are those that freePort has returned.
var givenPorts sync.Map

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// ask is a GET; code 0 when there is no answer.
func (p *pod) ask(url string) (code int, body string) {
	r, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, ""
	}
	return r.StatusCode, string(b)
}

func (p *pod) get(path string) (int, string) { return p.ask("http://" + p.listen + path) }

// do sends a request with a body and returns the answer with its body read.
func (p *pod) do(method, path string, body []byte) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.listen+path, bytes.NewReader(body))
	require.NoError(p.t, err)
	r, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(p.t, err)
	return r, string(b)
}

// number reads one number of the status document, by its path.
func (p *pod) number(path ...string) float64 {
	_, body := p.ask("http://" + p.admin + "/status")
	var at any
	if json.Unmarshal([]byte(body), &at) != nil {
		return -1
	}
	for _, key := range path {
		object, _ := at.(map[string]any)
		at = object[key]
	}
	n, _ := at.(float64)
	return n
}

// series reads one series of the metrics.
func (p *pod) series(name string) float64 {
	_, body := p.ask("http://" + p.admin + "/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(p.t, err)
			return n
		}
	}
	return -1
}

func (p *pod) signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

// exit waits for the end of the pod and returns its exit code.
func (p *pod) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		require.Fail(p.t, "the pod does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// children are the live processes whose parent is the pod.
func (p *pod) children() (pids []int) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // that thread has ended
		}
		for word := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(word)
			require.NoError(p.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// holdings is what a pod may not keep of requests that have ended.
type holdings struct {
	goroutines, files, executing, queued, inFlight float64
}

func (p *pod) holds() holdings {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	return holdings{
		p.series("go_goroutines"), float64(len(files)),
		p.number("queue", "executing"), p.number("queue", "queued"), p.number("requests", "in_flight"),
	}
}

// short runs fnpod to its end and returns exit code and standard error.
func short(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // the code says it
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// refusedNow reports that nobody listens any more. A connection whose handshake the listener's end came into is reset where the
// kernel has no filters for listeners: like the others it was never there, and nothing was sent on it.
func refusedNow(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return errors.Is(err, syscall.ECONNREFUSED) || ok && op.Op == "dial" && errors.Is(err, syscall.ECONNRESET)
}
