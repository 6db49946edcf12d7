package broker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/broker"
)

// Nothing may be left of subscriptions that have ended.
func TestMain(m *testing.M) {
	code := m.Run()
	left := ""
	for range 200 { // what has ended may not be gone yet
		if left = ours(); left == "" {
			os.Exit(code)
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "goroutines are left:\n", left)
	os.Exit(1)
}

// ours are the stacks of goroutines that run code of this package.
func ours() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var all []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "fnpod/broker.") && !strings.Contains(stack, "broker_test.TestMain") {
			all = append(all, stack)
		}
	}
	return strings.Join(all, "\n\n")
}

// server is a real broker.
type server struct {
	t       *testing.T
	name    string
	args    []string
	address string
	cmd     *exec.Cmd
	log     bytes.Buffer
}

// startServer starts a program that listens at the address.
func startServer(t *testing.T, address, name string, args ...string) *server {
	t.Helper()
	s := &server{t: t, name: program(t, name), args: args, address: address}
	s.start()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("%s:\n%s", name, s.log.String())
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.name, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, 5*time.Millisecond, "%s does not listen", s.name)
}

// stop ends it; it may have ended.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait()
}

// program finds a program of the system, which is no user's.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := exec.LookPath(filepath.Join("/usr/sbin", name))
	require.NoError(t, err, "make test installs it")
	return path
}

// freeAddress returns an address that nobody uses, below those that the kernel gives to outgoing connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", address); err == nil {
			require.NoError(t, l.Close())
			return address
		}
	}
	require.Fail(t, "no port is free")
	return ""
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// losses counts lost messages.
type losses struct {
	mu  sync.Mutex
	all []error // guarded by mu
}

func (l *losses) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, err)
}

func (l *losses) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// take returns the next message.
func take(t *testing.T, in *broker.Inbox) *broker.Message {
	t.Helper()
	got := make(chan *broker.Message, 1)
	go func() {
		if m, ok := in.Take(); ok {
			got <- m
		}
		close(got)
	}()
	select {
	case m, ok := <-got:
		require.True(t, ok, "no more messages")
		return m
	case <-time.After(10 * time.Second):
		require.Fail(t, "no message came")
		return nil
	}
}

// within waits for a channel.
func within[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		require.Fail(t, what)
	}
	return v
}
