package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/e2e/hostile"
)

// twin is two servers that get the same bytes, each before a function of its own.
type twin struct{ fnpod, nginx *hostile.Runner }

// What both fnpod and nginx let through, they read the same way (rule R1): otherwise one of them could be used to smuggle
// requests past the other.
func TestSameReadingAsNginx(t *testing.T) {
	const seed, mutations = 1, 2000
	twins := openTwins(t, 6)
	var cases []hostile.Case
	for _, c := range hostile.Cases() {
		if c.Script == nil && c.Class != hostile.Slow {
			cases = append(cases, c)
		}
	}
	cases = append(cases, hostile.Mutations(seed, mutations)...)
	cases = slices.DeleteFunc(cases, func(c hostile.Case) bool {
		return strings.Contains(c.Name, "absolute for OPTIONS without a path") // "*" by RFC 9112 §3.2.4; nginx says "/"
	})
	both, taken := make(chan bool, len(cases)), 0
	spread(t, twins, cases, func(w *twin, c hostile.Case) error {
		ours, err := w.fnpod.Run(t.Context(), c)
		if err != nil {
			return fmt.Errorf("fnpod: %w", err)
		}
		theirs, err := w.nginx.Run(t.Context(), c)
		if err != nil {
			return fmt.Errorf("nginx: %w", err)
		}
		both <- len(ours.Whole()) > 0 && len(theirs.Whole()) > 0
		if err := hostile.Differ(ours, theirs); err != nil {
			return fmt.Errorf("%s: %s: %w\nsent: %q\nfnpod: %.400q\nnginx: %.400q", c.Class, c.Name, err, c.Bytes(), ours.Raw, theirs.Raw)
		}
		return nil
	})
	close(both)
	for b := range both {
		if b {
			taken++
		}
	}
	t.Logf("%d byte streams, %d let through by both", len(cases), taken)
	require.Greater(t, taken, 300, "the comparison compares nothing")
}

func openTwins(t *testing.T, n int) []*twin {
	t.Helper()
	lanes := openLanes(t, n, beforeFunction)
	twins := make([]*twin, n)
	pairs := make([]hostile.Pair, n)
	for i, l := range lanes {
		f := startFunction(t)
		pairs[i] = hostile.Pair{Listen: freePort(t), Function: f.Addr()}
		twins[i] = &twin{l.Runner, &hostile.Runner{Addr: pairs[i].Listen, Function: f}}
		twins[i].fnpod.Patience, twins[i].nginx.Patience = 100*time.Millisecond, 100*time.Millisecond
	}
	startNginx(t, pairs)
	return twins
}

func startNginx(t *testing.T, pairs []hostile.Pair) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, []byte(hostile.NginxConfig(dir, pairs)), 0o600))
	program, args := hostile.NginxCommand(dir, config)
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(t, cmd.Start(), "the Debian package nginx is needed")
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its end is looked at here
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	require.Eventually(t, func() bool { return answers(pairs[len(pairs)-1].Listen) }, 10*time.Second, 10*time.Millisecond, "nginx does not answer: %s", &said)
}

// answers reports whether a server answers a request.
func answers(address string) bool {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Second)) // fails on a closed connection only
	_, err = io.WriteString(nc, "GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(nc)
	return err == nil && bytes.Contains(answer, []byte(fmt.Sprint(http.StatusOK)))
}
