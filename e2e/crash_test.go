package e2e_test

import (
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
			p := begin(t, []string{"JAVA_TOOL_OPTIONS=-Xmx64m -XX:-CreateCoredumpOnCrash -XX:ErrorFile=/dev/null"}, "serve", crasher(t, l.file),
				"--workers-min", "2", "--workers-max", "2", "--workers-timeout", "4s", "--workers-idle-timeout", "0s")
			p.waitReady()
			others := neighbours(t, p)
			for _, c := range []struct {
				path string
				want []ending
			}{
				{"/raise", []ending{raised}},
				{"/exit", []ending{l.exit}},
				{"/segv", []ending{died}},
				{"/kill", []ending{died}},
				{"/loop", []ending{{504, "timeout"}}},
				{"/garbage", []ending{{502, "worker_protocol"}}},
				{"/log", []ending{nothing}},
				{"/hog", l.hog},
				{"/stdout", []ending{nothing}}, // last: whoever writes there afterwards gets an error of the language
			} {
				r, body := p.do("GET", c.path, nil)
				require.Contains(t, c.want, ending{r.StatusCode, r.Header.Get("Fnpod-Error")}, "%s: %s", c.path, body)
				require.NotContains(t, body, "secret")
				require.Eventually(t, func() bool {
					return p.number("function", "idle")+p.number("function", "busy") == 2 && p.number("function", "starting") == 0
				}, 20*time.Second, 5*time.Millisecond, "%s: the pool is not whole again", c.path)
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
