package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Real programs that wait answer as those that are started for their request (E10, W13).
func TestStandbyOfRealPrograms(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cat", "python3", "node"} {
		p := forkPod(t, "serializing", append([]string{"--launcher", "standby", "--standby", "2", "--"}, echoes[name]...)...)
		for _, size := range []int{0, 1, 200_000} {
			body := bytes.Repeat([]byte("\x00\xff\r\nbinary\n"), size/11+1)[:size]
			r, got := p.do("POST", "/", body)
			require.Equal(t, 200, r.StatusCode, name)
			require.True(t, bytes.Equal(body, []byte(got)), "%s: %d bytes, not %d", name, len(got), size)
		}
		p.sound()
	}
}

// §7: to wait for requests is opt-in, because such a process has no variables of its request.
func TestOpenFaaS7StandbyIsAskedFor(t *testing.T) {
	t.Parallel()
	files := map[string]string{"index.sh": "cat; echo ${Http_Method:-none}"}
	for launcher, want := range map[string]string{"": "hiPOST\n", "standby": "hinone\n"} {
		p := ofWorkers(t, files, "mode=serializing", "fprocess=sh ./index.sh", "FNPOD_LAUNCHER="+launcher).beginReady()
		_, body := p.do("POST", "/", []byte("hi"))
		require.Equal(t, want, body, launcher)
	}
}

// The end of the pod ends those that wait (D4).
func TestD4StandbyEndsWithThePod(t *testing.T) {
	t.Parallel()
	p := forkPod(t, "streaming", "--launcher", "standby", "--", "sh", "-c", "trap '' TERM; cat")
	require.Eventually(t, func() bool { return p.series("fnpod_processes_waiting") == 1 }, 10*time.Second, 5*time.Millisecond)
	children := p.children()
	require.Len(t, children, 1)
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit())
	require.ErrorIs(t, syscall.Kill(children[0], 0), syscall.ESRCH)
}

// index.py of the classic template of OpenFaaS, in short.
const classicIndex = `import sys
from function import handler

def get_stdin():
    return "".join(iter(sys.stdin.readline, ""))

if __name__ == "__main__":
    ret = handler.handle(get_stdin())
    if ret is not None:
        print(ret)
`

const classicHandler = `import os, sys
calls = 0
def handle(req):
    global calls
    calls += 1
    if req == "raise": raise ValueError("why")
    if req == "none": return None
    print("printed")
    return "%s %s %s %d" % (req, os.environ["Http_Method"], os.environ["Http_Query"], calls)
`

// §19, §23.1: a classic handler under the template's own program: each request a fresh process with its variables, what it
// prints before what it returns, None is nothing, an exception a 500.
func TestOpenFaaS19ClassicHandlerByAZygote(t *testing.T) {
	t.Parallel()
	for _, launcher := range []string{"exec", "zygote"} {
		p := ofWorkers(t, map[string]string{"index.py": classicIndex, "function/handler.py": classicHandler, "function/__init__.py": ""},
			"mode=serializing", "fprocess=python3 index.py", "FNPOD_LAUNCHER="+launcher).beginReady()
		for range 3 {
			r, body := p.do("POST", "/?a=b", []byte("text"))
			require.Equal(t, 200, r.StatusCode)
			require.Equal(t, "printed\ntext POST a=b 1\n", body, launcher)
		}
		_, body := p.do("POST", "/", []byte("none"))
		require.Empty(t, body)
		r, _ := p.do("POST", "/", []byte("raise"))
		require.Equal(t, 500, r.StatusCode)
		p.logged(`stderr: ValueError: why`)
		require.Equal(t, launcher == "zygote", len(p.children()) > 0)
	}
}

// The end of the pod, also a hard one, ends the zygote and those it forked (D4, W3).
func TestD4ZygoteEndsWithThePod(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "index.py")
	require.NoError(t, os.WriteFile(file, []byte("import os; print(os.getppid())"), 0o600))
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p := forkPod(t, "streaming", "--launcher", "zygote", "--standby", "2", "--", "python3", file)
		require.Eventually(t, func() bool { return p.series("fnpod_processes_waiting") == 2 }, 20*time.Second, 5*time.Millisecond)
		_, body := p.do("GET", "/", nil)
		zygote, err := strconv.Atoi(strings.TrimSpace(body))
		require.NoError(t, err)
		require.Contains(t, p.children(), zygote)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", zygote, zygote))
		require.NoError(t, err)
		p.signal(s)
		p.exit()
		for _, word := range append(strings.Fields(string(b)), strconv.Itoa(zygote)) {
			pid, err := strconv.Atoi(word)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return gone(pid) }, 10*time.Second, 5*time.Millisecond, "%d after %v", pid, s)
		}
	}
}

// gone reports that a process has ended; who is its parent may not have looked yet.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// §17, §19: the classic watchdog, whose answers have standard error in them, with a zygote for each language.
func TestOpenFaaS17ClassicWatchdogByAZygote(t *testing.T) {
	t.Parallel()
	for program, text := range map[string]string{
		"python3 index.py": "import os, sys\nsys.stderr.write('log\\n')\nprint(sys.stdin.read() + os.environ['Http_Method'])",
		"ruby index.rb":    "$stderr.puts 'log'\nputs STDIN.read + ENV['Http_Method']",
		"perl index.pl":    "print STDERR \"log\\n\"; print <STDIN>, $ENV{Http_Method}, \"\\n\"",
	} {
		command, name, _ := strings.Cut(program, " ")
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		p := ofClassic(t, command+" "+file, "FNPOD_LAUNCHER=zygote")
		require.Eventually(t, func() bool { return len(p.children()) > 0 }, 20*time.Second, 5*time.Millisecond)
		for range 3 {
			r, body := p.do("POST", "/", []byte("text"))
			require.Equal(t, 200, r.StatusCode)
			require.Equal(t, "log\ntextPOST\n", body, program)
		}
	}
}
