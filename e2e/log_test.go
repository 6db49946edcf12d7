package e2e_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deaf prepares a pod whose standard output and error are a pipe that nobody reads, like that of a log driver that
// stopped. The function returned begins to read.
func deaf(t *testing.T, p *pod) (listen func()) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.begin()
	require.NoError(t, w.Close())
	t.Cleanup(func() { _ = r.Close() }) // ends the copy below
	return func() { go func() { _, _ = io.Copy(&p.log, r) }() }
}

// pods returns one pod of each kind, each with something to write for a request to /lines.
func pods(t *testing.T) map[string]*pod {
	t.Helper()
	function := start(t, "serve", "testdata/handler.py")
	upstream := "http://" + freePort(t)
	return map[string]*pod{
		"serve": prepare(t, nil, "serve", "testdata/handler.py", "--access-log"),
		"run":   prepare(t, nil, "run", "--access-log", "--upstream", upstream, "--", "python3", "testdata/server.py"),
		"proxy": prepare(t, nil, "proxy", "--access-log", "http://"+function.listen),
	}
}

// M5: a blocked standard error blocks neither requests nor workers nor the drain.
func TestM5ALogThatNobodyReadsBlocksNothing(t *testing.T) {
	t.Parallel()
	for name, p := range pods(t) {
		t.Run(name, func(t *testing.T) {
			p.t = t
			listen := deaf(t, p)
			p.waitReady()
			for i := 0; p.series("fnpod_log_records_dropped_total") == 0; i++ {
				require.Less(t, i, 100)
				if name != "proxy" { // which has no output of a function
					code, _ := p.get("/lines")
					require.Equal(t, 200, code)
				}
				for range 100 {
					code, _ := p.get("/?" + strings.Repeat("x", 500))
					require.Equal(t, 200, code)
				}
			}
			if name != "proxy" {
				require.Positive(t, p.series("fnpod_function_output_dropped_bytes_total"), "W14")
			}
			listen()
			require.Eventually(t, func() bool { return strings.Contains(p.log.String(), " were dropped: standard ") }, 10*time.Second, 10*time.Millisecond)
			code, _ := p.get("/")
			require.Equal(t, 200, code)
			p.signal(syscall.SIGTERM)
			require.Equal(t, 0, p.exit())
			require.Eventually(t, func() bool { return strings.Contains(p.log.String(), `"msg":"stopped"`) }, 5*time.Second, time.Millisecond, "the last record is not lost")
		})
	}
}

func TestM5ThePodEndsAlthoughNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	for name, p := range pods(t) {
		t.Run(name, func(t *testing.T) {
			p.t = t
			deaf(t, p)
			p.waitReady()
			for range 300 {
				code, _ := p.get("/?" + strings.Repeat("x", 400))
				require.Equal(t, 200, code)
			}
			p.signal(syscall.SIGQUIT) // the dump does not wait either
			code, _ := p.get("/lines")
			require.Equal(t, 200, code)
			p.signal(syscall.SIGTERM)
			require.Equal(t, 0, p.exit())
		})
	}
}

// M5 in http mode of OpenFaaS, which passes on every byte of output.
func TestM5OpenFaaSOutputThatNobodyReadsBlocksNothing(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("testdata/server.py")
	require.NoError(t, err)
	p := ofPod(t, "fprocess=python3 "+script)
	for _, v := range p.cmd.Env {
		if port, ok := strings.CutPrefix(v, "LISTEN="); ok {
			p.cmd.Env = append(p.cmd.Env, "PORT="+port)
			break
		}
	}
	deaf(t, p)
	require.Eventually(t, func() bool {
		code, _ := p.get("/_/ready")
		return code == 200
	}, 20*time.Second, 5*time.Millisecond, "not ready")
	for range 3 {
		code, body := p.get("/lines")
		require.Equal(t, 200, code)
		require.Equal(t, "served", body)
	}
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
}
