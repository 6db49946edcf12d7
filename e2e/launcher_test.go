package e2e_test

import (
	"bytes"
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
