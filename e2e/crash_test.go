package e2e_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ending is an answer to a function that fails.
type ending struct {
	status int
	label  string // Fnpod-Error
}

// W9, W4, W12, P4: whatever one request does to its worker, in any language, has one clear answer for its own client, shows nobody
// else, and the pool is whole again.
func TestW9EveryLanguageFailsAlone(t *testing.T) {
	var (
		raised  = ending{500, "function_error"}
		died    = ending{502, "worker_exit"}
		nothing = ending{200, ""}
	)
	for _, l := range []struct {
		file string
		exit ending // of the language's own word for it
		hog  []ending
	}{
		{"handler.py", raised, []ending{raised}},
		{"handler.js", died, []ending{died, raised}},
		{"handler.rb", raised, []ending{raised, died}},
		{"handler.php", raised, []ending{raised}},
		{"handler.pl", raised, []ending{died}},
		{"Handler.java", raised, []ending{raised}},
		{"go", died, []ending{died}},
	} {
		t.Run(l.file, func(t *testing.T) {
			t.Parallel()
			function := crasher(t, l.file)
			p := begin(t, []string{"JAVA_TOOL_OPTIONS=-Xmx64m -XX:-CreateCoredumpOnCrash -XX:ErrorFile=/dev/null"}, "serve", function,
				"--workers-min", "2", "--workers-max", "2", "--workers-timeout", "4s", "--workers-idle-timeout", "0s")
			p.waitReady()
			others := neighbours(t, p)
			for _, c := range []struct {
				path string
				want []ending
			}{
				{"/raise", []ending{raised}},
				{"/exit", []ending{l.exit}},
				{"/_exit", []ending{died}},
				{"/segv", []ending{died}},
				{"/kill", []ending{died}},
				{"/loop", []ending{{504, "timeout"}}},
				{"/bomb", []ending{{504, "timeout"}}},
				{"/garbage", []ending{{502, "worker_protocol"}}},
				{"/log", []ending{nothing}},
				{"/hog", l.hog},
				{"/stdout", []ending{nothing}}, // last: whoever writes there afterwards gets an error of the language
			} {
				sleepers := func() int { return processesIn(filepath.Dir(function), "sleep") }
				most := func() int { return 0 }
				if c.path == "/bomb" {
					most = highest(sleepers)
				}
				r, body := p.hurried(c.path, c.path == "/bomb")
				if most := most(); c.path == "/bomb" {
					require.Greater(t, most, 30, "processes at once")
				}
				require.Contains(t, c.want, ending{r.StatusCode, r.Header.Get("Fnpod-Error")}, "%s: %s", c.path, body)
				require.NotContains(t, body, "secret")
				require.Eventually(t, func() bool {
					return p.number("function", "idle")+p.number("function", "busy") == 2 && p.number("function", "starting") == 0
				}, 20*time.Second, 5*time.Millisecond, "%s: the pool is not whole again", c.path)
				require.Eventually(t, func() bool { return sleepers() == 0 },
					20*time.Second, 5*time.Millisecond, "%s: processes are left", c.path)
			}
			others()
			require.Zero(t, p.number("queue", "executing"))
			require.InDelta(t, 2, p.number("function", "idle"), 0)
		})
	}
}

// crasher returns the function that fails in a language, in a folder of its own: what dies may leave files.
func crasher(t *testing.T, file string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), file)
	bomb, err := os.ReadFile("testdata/crash/bomb.sh")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(to), "bomb.sh"), bomb, 0o600))
	if file == "go" {
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", to, "./testdata/crash/go").CombinedOutput()
		require.NoError(t, err, "%s", out)
		return to
	}
	text, err := os.ReadFile(filepath.Join("testdata/crash", file))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o600))
	return to
}

// hurried asks for a path, with a deadline of two seconds if it is in a hurry.
func (p *pod) hurried(path string, hurry bool) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.listen+path, nil)
	require.NoError(p.t, err)
	if hurry {
		req.Header.Set("X-Timeout", "2s")
	}
	r, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(p.t, err)
	return r, string(body)
}

// highest samples a count until the function returned is called, which returns the highest.
func highest(count func() int) (stop func() int) {
	ended, most := make(chan struct{}), make(chan int)
	go func() {
		high := 0
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			high = max(high, count())
			select {
			case <-ended:
				most <- high
				return
			case <-tick.C:
			}
		}
	}()
	return func() int {
		close(ended)
		return <-most
	}
}

// processesIn counts processes of a name whose working directory is dir.
func processesIn(dir, name string) (n int) {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, p := range all {
		comm, _ := os.ReadFile(p + "/comm") // it may have ended
		if cwd, err := os.Readlink(p + "/cwd"); err == nil && cwd == dir && string(comm) == name+"\n" {
			n++
		}
	}
	return n
}

// neighbours asks for what works until the function returned is called, which requires that every answer was right.
func neighbours(t *testing.T, p *pod) (stop func()) {
	t.Helper()
	var asked atomic.Int64
	var wrong sync.Map
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			if code, body := p.get("/"); code != http.StatusOK || body != "hello" {
				wrong.Store(asked.Load(), body)
			}
			asked.Add(1)
		}
	}()
	return func() {
		close(ended)
		<-done
		wrong.Range(func(n, body any) bool {
			require.Fail(t, "a neighbour got a wrong answer", "request %v: %v", n, body)
			return true
		})
		require.Greater(t, asked.Load(), int64(10))
	}
}
