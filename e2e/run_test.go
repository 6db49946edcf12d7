package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// runServer starts testdata/server.py under fnpod run; events is what it noted.
func runServer(t *testing.T, flags ...string) (p *pod, events func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events")
	upstream := "http://" + freePort(t)
	args := append([]string{"--upstream", upstream}, flags...)
	p = begin(t, []string{"EVENTS=" + file}, "run", append(args, "--", "python3", "testdata/server.py")...)
	p.waitReady()
	return p, func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			return "" // nothing was noted yet
		}
		return string(b)
	}
}

// W6: signals for the function reach it.
func TestRunServesAProcess(t *testing.T) {
	p, events := runServer(t)
	code, body := p.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "served", body)
	_, body = p.get("/env")
	require.Equal(t, "unset", body, "our settings are not the function's")
	want := ""
	for _, s := range passedOn {
		p.signal(s)
		want += strings.TrimPrefix(unix.SignalName(s), "SIG") + "\n"
		require.Eventually(t, func() bool { return events() == want }, 5*time.Second, 5*time.Millisecond, "signal is passed on")
	}
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	require.Equal(t, want+"TERM\n", events())
}

// passedOn are the signals that mean nothing to us.
var passedOn = []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}

// W6: and where nobody is there to be passed them, they end nothing.
func TestW6SignalsThatMeanNothingEndNothing(t *testing.T) {
	t.Parallel()
	function := start(t, "serve", "testdata/handler.py")
	for _, p := range []*pod{function, start(t, "proxy", "http://"+function.listen)} {
		for _, s := range append(passedOn, syscall.SIGPIPE) {
			p.signal(s)
		}
		code, _ := p.get("/")
		require.Equal(t, 200, code)
	}
}

// Contract, files and ports: the way to the function is no other for what the environment says.
func TestTheWayToTheFunctionHasNoProxy(t *testing.T) {
	t.Parallel()
	function := start(t, "serve", "testdata/handler.py")
	var env []string
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		env = append(env, name+"=http://127.0.0.1:1")
	}
	p := begin(t, append(env, "NO_PROXY=", "no_proxy="), "proxy", "http://"+function.listen)
	p.waitReady()
	code, _ := p.get("/")
	require.Equal(t, 200, code)
}

// D7: in pass-through mode its end is ours, 128+n for a signal.
func TestTheExitCodeOfTheFunctionIsOurs(t *testing.T) {
	for path, code := range map[string]int{"/exit": 7, "/kill": 128 + 9} {
		p, _ := runServer(t, "--restart", "never")
		answer, _ := p.get(path)
		require.Equal(t, 502, answer)
		require.Equal(t, code, p.exit())
	}
}

// D7, W7: else it is started again, and requests wait for it.
func TestAFunctionThatEndsIsStartedAgain(t *testing.T) {
	p, _ := runServer(t, "--restart", "always")
	for i := range 2 {
		code, _ := p.get("/kill")
		require.Equal(t, 502, code)
		require.Eventually(t, func() bool { return p.number("function", "exits") == float64(i+1) }, 10*time.Second, time.Millisecond,
			"until then its socket may still take connections, and reset them")
		code, body := p.get("/") // waits for the new one
		require.Equal(t, 200, code)
		require.Equal(t, "served", body)
	}
	require.InDelta(t, 2, p.number("function", "restarts"), 0)
	require.Len(t, p.children(), 1)
}

// W1, W2: orphans are ours, although we are not process 1.
func TestOrphansAreCollected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	// Each subshell ends before what it started, which is then nobody's child but ours.
	script := `for i in 1 2 3 4 5; do (sleep 0.05 & echo $! >>"$0"); done; exec python3 testdata/server.py`
	p := begin(t, nil, "run", "--upstream", "http://"+freePort(t), "--", "sh", "-c", script, file)
	p.waitReady()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	pids := strings.Fields(string(b))
	require.Len(t, pids, 5)
	require.Eventually(t, func() bool {
		for _, pid := range pids {
			if _, err := os.Stat("/proc/" + pid); err == nil {
				return false
			}
		}
		return true
	}, 5*time.Second, 10*time.Millisecond, "orphans or zombies are left")
	require.Len(t, p.children(), 1)
}

func TestProxyServesAUnixSocketAndAPort(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "f.sock")
	function := begin(t, nil, "serve", "testdata/handler.py")
	function.waitReady()
	front := start(t, "proxy", "http://"+function.listen)
	code, body := front.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "hello", body)

	cmd := exec.Command(binary, "serve", "testdata/handler.py", "--listen", "unix:"+socket, "--admin", "off")
	require.NoError(t, cmd.Start())
	front = start(t, "proxy", "unix://"+socket)
	_, body = front.get("/stream")
	require.Equal(t, "part 0\npart 1\npart 2\n", body)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "exit code 0")
	require.Eventually(t, func() bool {
		code, body := front.ask("http://" + front.admin + "/readyz")
		return code == http.StatusServiceUnavailable && body == "unreachable\n"
	}, 10*time.Second, 10*time.Millisecond, "readiness follows the function")
}

// D6: the second signal ends the wait and all that was started.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py", "--drain-timeout", "60s")
	worker := p.children()
	require.NotEmpty(t, worker)
	go p.get("/wait?100")
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 5*time.Second, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool {
		code, body := p.ask("http://" + p.admin + "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "draining")
	}, 5*time.Second, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 128+15, p.exit())
	for _, pid := range worker {
		require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, 5*time.Second, 5*time.Millisecond, "a worker is left")
	}
}
