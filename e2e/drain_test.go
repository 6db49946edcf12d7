package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drains are the three ways to start a pod. Its function sleeps for as many seconds as the query of /wait says, and
// writes what it is told into the file EVENTS.
var drains = []string{"serve", "run", "proxy"}

// drainPod starts a pod of a kind.
func drainPod(t *testing.T, kind string, flags ...string) (p *pod, events func() string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events")
	env := []string{"EVENTS=" + file}
	switch kind {
	case "serve":
		p = begin(t, env, kind, append([]string{"testdata/handler.py", "--workers-min", "2", "--workers-max", "2"}, flags...)...)
	case "run":
		args := append([]string{"--upstream", "http://" + freePort(t)}, flags...)
		p = begin(t, env, kind, append(args, "--", "python3", "testdata/server.py")...)
	default:
		function := begin(t, nil, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2", "--drain-delay", "0s", "--drain-timeout", "0s")
		function.waitReady()
		p = begin(t, nil, kind, append([]string{"http://" + function.listen}, flags...)...)
	}
	p.waitReady()
	return p, func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			return "" // nothing was noted yet
		}
		return string(b)
	}
}

// answer is what became of a request.
type answer struct {
	code   int // 0: none
	body   string
	closes bool
}

// later sends a request in a connection of its own and returns when it runs.
func (p *pod) later(path string) <-chan answer {
	p.t.Helper()
	before := p.number("requests", "accepted")
	got := make(chan answer, 1)
	go func() {
		nc, err := net.Dial("tcp", p.listen)
		if err != nil {
			got <- answer{}
			return
		}
		defer nc.Close()
		_, _ = fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		r, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			got <- answer{}
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			got <- answer{}
			return
		}
		got <- answer{r.StatusCode, string(body), r.Close}
	}()
	require.Eventually(p.t, func() bool { return p.number("requests", "accepted") > before }, 10*time.Second, time.Millisecond)
	return got
}

func (p *pod) waitDraining() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		code, body := p.ask("http://" + p.admin + "/readyz")
		return code == http.StatusServiceUnavailable && body == "draining\n"
	}, 10*time.Second, time.Millisecond)
}

// D1, D2, D3, D4, D5: not ready at once; accepting goes on for the delay with answers that say close; what runs and what
// waits is answered; only then the function is told; the exit code is 0.
func TestD1toD5ADrainThatLosesNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range drains {
		t.Run(kind, func(t *testing.T) {
			p, events := drainPod(t, kind, "--queue-limit", "1", "--drain-delay", "1s")
			running := p.later("/wait?2.5")
			require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 10*time.Second, time.Millisecond)
			queued := p.later("/wait?0.1")
			p.signal(syscall.SIGTERM)
			p.waitDraining() // D1
			code, _ := p.ask("http://" + p.admin + "/healthz")
			require.Equal(t, 200, code)
			newcomer := p.later("/wait?0.01") // D2
			require.Eventually(t, func() bool {
				nc, err := net.Dial("tcp", p.listen)
				if err == nil {
					_ = nc.Close()
				}
				return err != nil
			}, 10*time.Second, time.Millisecond, "the port is closed after the delay")
			require.Empty(t, events(), "D4: the function is told last")
			for _, got := range []<-chan answer{running, queued, newcomer} {
				require.Equal(t, answer{200, "waited", true}, <-got) // D3
			}
			require.Equal(t, 0, p.exit())
			if kind == "run" {
				require.Equal(t, "WAITED\nWAITED\nWAITED\nTERM\n", events(), "D4")
			}
			require.Contains(t, p.log.String(), `"msg":"drained","lost":0`)
		})
	}
}

// D5: at the limit of the drain the rest is refused or cut, and the exit code says that something was lost.
func TestD5ADrainThatLoses(t *testing.T) {
	t.Parallel()
	for _, kind := range drains {
		t.Run(kind, func(t *testing.T) {
			p, _ := drainPod(t, kind, "--queue-limit", "1", "--drain-delay", "0s", "--drain-timeout", "300ms")
			running := p.later("/wait?30")
			require.Eventually(t, func() bool { return p.number("queue", "executing") == 1 }, 10*time.Second, time.Millisecond)
			queued := p.later("/wait?0.1")
			p.signal(syscall.SIGTERM)
			for _, got := range []<-chan answer{running, queued} {
				a := <-got
				require.Equal(t, answer{503, "draining\n", true}, a)
			}
			require.Equal(t, 1, p.exit())
			require.Contains(t, p.log.String(), `"msg":"drained","lost":2`)
			require.Empty(t, p.children())
		})
	}
}

// D4: a function that does not end on SIGTERM is killed after its grace, with all it started.
func TestD4AFunctionThatDoesNotEndIsKilled(t *testing.T) {
	t.Parallel()
	p, events := drainPod(t, "run", "--stop-grace", "300ms")
	code, pids := p.get("/stubborn")
	require.Equal(t, 200, code)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
	require.Equal(t, "TERM\n", events())
	for pid := range strings.FieldsSeq(pids) {
		require.Eventually(t, func() bool {
			_, err := os.Stat("/proc/" + pid)
			return err != nil
		}, 5*time.Second, time.Millisecond, "it is left: "+pid)
	}
}

// D6: SIGQUIT shows all goroutines and ends nothing; a second signal ends the wait.
func TestD6SignalsInADrain(t *testing.T) {
	t.Parallel()
	for _, kind := range drains {
		t.Run(kind, func(t *testing.T) {
			p, _ := drainPod(t, kind, "--drain-timeout", "60s")
			p.signal(syscall.SIGQUIT)
			require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "\ngoroutine ") }, 10*time.Second, time.Millisecond)
			code, _ := p.get("/")
			require.Equal(t, 200, code)
			running := p.later("/wait?60")
			p.signal(syscall.SIGINT)
			p.waitDraining()
			p.signal(syscall.SIGTERM)
			require.NotEqual(t, 200, (<-running).code)
			require.Equal(t, 128+int(syscall.SIGTERM), p.exit())
			require.Empty(t, p.children())
		})
	}
}
