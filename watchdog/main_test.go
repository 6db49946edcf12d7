package watchdog_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/watchdog"
)

// roleVariable makes the test binary play a program instead of running tests.
const roleVariable = "WATCHDOG_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	if err := watchdog.SealFiles(); err != nil { // those of the shell the tests run in
		panic(err)
	}
	os.Exit(m.Run())
}

// play is the program the tests start. Roles that have something to tell
// write it to descriptor 3 when they got one.
func play(role string, args []string) int {
	switch role {
	case "exit":
		code, _ := strconv.Atoi(args[0])
		return code
	case "print":
		for _, a := range args {
			fmt.Println(a)
			fmt.Fprintln(os.Stderr, "err "+a)
		}
	case "flood":
		n, _ := strconv.Atoi(args[0])
		w := bufio.NewWriterSize(os.Stdout, 1<<16)
		for range n {
			_, _ = w.WriteString(strings.Repeat("x", 99) + "\n")
		}
		if w.Flush() != nil {
			return 1
		}
	case "longline":
		n, _ := strconv.Atoi(args[0])
		_, err := io.Copy(os.Stdout, io.LimitReader(repeat('y'), int64(n)))
		fmt.Print("\nafter\n\x00\xff\xfe no newline")
		if err != nil {
			return 1
		}
	case "descriptors":
		return descriptors()
	case "limits":
		b, score := limits()
		os.Stdout.Write(b)
		fmt.Printf("oom_score_adj %s", score)
		fmt.Println("env", strings.Join(os.Environ(), " "))
	case "stdin":
		n, err := io.Copy(io.Discard, os.Stdin)
		fmt.Println("stdin", n, err)
	case "wait":
		tell("ready")
		select {}
	case "ignore-term":
		signal.Ignore(syscall.SIGTERM)
		tell("ready")
		select {}
	case "polite":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGHUP)
		tell("ready")
		s := <-c
		fmt.Println("got", s)
		return 7
	case "family": // a parent that ends on SIGTERM at once, a child as args say
		spawn(args[0], args[1:], false)
		select {}
	case "orphan": // starts a child and ends
		spawn(args[0], args[1:], false)
	case "escape": // starts a child in a session of its own and waits
		spawn(args[0], args[1:], true)
		select {}
	case "daemon0": // the same, with nothing on descriptor 3
		spawnWith([]uintptr{0, 1, 2}, args[0], args[1:], true)
	case "daemon": // starts a child in a session of its own and ends
		spawn(args[0], args[1:], true)
	case "server":
		return server(args)
	default:
		return playFunction(role, args)
	}
	return 0
}

// tell reports one word and our pid on descriptor 3.
func tell(word string) {
	f := os.NewFile(3, "report")
	fmt.Fprintln(f, word, os.Getpid())
}

// spawn starts another role with our standard streams and descriptor 3. It
// uses the bare system interface to leave no goroutine and no finalizer.
func spawn(role string, args []string, session bool) {
	spawnWith([]uintptr{0, 1, 2, 3}, role, args, session)
}

func spawnWith(files []uintptr, role string, args []string, session bool) {
	env := append([]string{roleVariable + "=" + role}, os.Environ()...) // the first of two counts
	_, err := syscall.ForkExec("/proc/self/exe", append([]string{role}, args...), &syscall.ProcAttr{
		Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: session},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "spawn", role, err)
		os.Exit(99)
	}
}

// server answers HTTP on the address, after creating nothing but the port.
func server(args []string) int {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		os.Exit(code)
	})
	_ = http.Serve(l, mux)
	return 4
}

// descriptors prints every inherited descriptor with what it is. What the Go
// runtime opens by itself is marked close-on-exec.
func descriptors() int {
	for fd := range 1024 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		to, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		fmt.Println(fd, to)
	}
	return 0
}

// limits waits until what a process gets right after its start is in force, and returns it.
func limits() (limits, score []byte) {
	parent, _ := os.ReadFile("/proc/" + strconv.Itoa(os.Getppid()) + "/oom_score_adj")
	core := regexp.MustCompile(`core file size +0 +0 `)
	for range 2000 {
		limits, _ = os.ReadFile("/proc/self/limits")
		score, _ = os.ReadFile("/proc/self/oom_score_adj")
		if core.Match(limits) && string(score) != string(parent) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return limits, score
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// program returns a Config that plays role.
func program(t testing.TB, role string, args ...string) watchdog.Config {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return watchdog.Config{
		Path: exe,
		Args: append([]string{role}, args...),
		Env:  []string{roleVariable + "=" + role, "GORACE=atexit_sleep_ms=0"},
	}
}

// start starts c and makes sure that it is gone at the end of the test.
func start(t testing.TB, c watchdog.Config) *watchdog.Process {
	t.Helper()
	p, err := watchdog.Start(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
	})
	return p
}

// recorder keeps the lines a process wrote.
type recorder struct {
	mu    sync.Mutex
	lines []watchdog.Line // guarded by mu
}

func (r *recorder) add(l watchdog.Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.Text = append([]byte(nil), l.Text...)
	r.lines = append(r.lines, l)
}

func (r *recorder) of(s watchdog.Stream) []watchdog.Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []watchdog.Line
	for _, l := range r.lines {
		if l.Stream == s {
			out = append(out, l)
		}
	}
	return out
}

func (r *recorder) text(s watchdog.Stream) []string {
	var out []string
	for _, l := range r.of(s) {
		out = append(out, string(l.Text))
	}
	return out
}

// reports is the pipe on which programs tell what they reached.
type reports struct {
	r    *bufio.Reader
	file *os.File
	w    *os.File
}

func newReports(t testing.TB) *reports {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return &reports{r: bufio.NewReader(r), file: r, w: w}
}

// next returns the pid of the next program that reports itself ready.
func (r *reports) next(t testing.TB) int {
	t.Helper()
	var word string
	var pid int
	_, err := fmt.Fscanln(r.r, &word, &pid)
	require.NoError(t, err)
	require.Equal(t, "ready", word)
	return pid
}

// gone waits for the end of every program that holds the reporting end.
func (r *reports) gone(t testing.TB) {
	t.Helper()
	r.w.Close()
	require.NoError(t, r.file.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := io.Copy(io.Discard, r.r) // it may have reported before it was killed
	require.NoError(t, err, "a process is left")
}

// noLeaks checks goroutines and descriptors at the end of the test against
// those at its start.
func noLeaks(t testing.TB) {
	t.Helper()
	warm := start(t, program(t, "exit", "0")) // opens what is opened once
	<-warm.Done()
	watchdog.Adopted()
	fds := openFiles(t)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return ourGoroutines() == 0 }, 5*time.Second, time.Millisecond)
		require.Eventually(t, func() bool { return openFiles(t) == fds }, 5*time.Second, time.Millisecond)
	})
}

// ourGoroutines counts goroutines that run code of the package.
func ourGoroutines() int {
	buf := make([]byte, 1<<20)
	n := 0
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "fnpod/watchdog.") {
			n++
		}
	}
	return n
}

func openFiles(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}
