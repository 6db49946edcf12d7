package watchdog_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/watchdog"
)

func itoa(n int) string { return strconv.Itoa(n) }

// output runs c to its end and returns what it wrote on standard output.
func output(t *testing.T, c watchdog.Config) []string {
	t.Helper()
	out := &recorder{}
	c.Output = out.add
	p := start(t, c)
	require.Equal(t, watchdog.Exit{}, p.Exit(), out.text(watchdog.Stderr))
	return out.text(watchdog.Stdout)
}

func TestW17OnlyTheNamedDescriptorsReachAChild(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	c := program(t, "descriptors")
	c.Extra = []*os.File{w, r}
	lines := output(t, c)
	require.Len(t, lines, 5, lines)
	require.Equal(t, "0 /dev/null", lines[0])
	for i, prefix := range []string{"1 pipe:", "2 pipe:", "3 pipe:", "4 pipe:"} {
		require.True(t, strings.HasPrefix(lines[i+1], prefix), lines)
	}
}

func TestW17InheritedDescriptorsAreSealed(t *testing.T) {
	for name, seal := range map[string]func() error{"close_range": watchdog.SealFiles, "each": watchdog.SealEach} {
		t.Run(name, func(t *testing.T) {
			fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
			require.NoError(t, err)
			defer syscall.Close(fd)
			require.Len(t, output(t, program(t, "descriptors")), 4, "the open descriptor is seen at first")
			require.NoError(t, seal())
			require.Len(t, output(t, program(t, "descriptors")), 3)
		})
	}
}

func TestW18NoCoreDumpsAndAHigherOOMScore(t *testing.T) {
	text := strings.Join(output(t, program(t, "limits")), "\n")
	require.Regexp(t, `Max core file size +0 +0 `, text)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	require.NoError(t, err)
	score, err := strconv.Atoi(strings.TrimSpace(string(own)))
	require.NoError(t, err)
	require.Contains(t, text, "oom_score_adj "+itoa(min(score+watchdog.DefaultOOMScoreAdj, 1000))+"\n")

	c := program(t, "limits")
	c.OOMScoreAdj = -1
	require.Contains(t, strings.Join(output(t, c), "\n"), "oom_score_adj "+itoa(score)+"\n")
}

func TestW18WeCanBeHidden(t *testing.T) {
	t.Cleanup(func() { require.NoError(t, unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)) })
	require.NoError(t, watchdog.SetUndumpable())
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	require.NoError(t, err)
	require.Zero(t, dumpable)
	require.Len(t, output(t, program(t, "print", "x")), 1, "processes can still be started")
}

func TestTheEnvironmentIsTheGivenOneAndTheMark(t *testing.T) {
	c := program(t, "limits")
	c.Env = append(c.Env, "B=2", watchdog.Mark+"=inherited")
	env := output(t, c)
	require.Regexp(t, `^env `+roleVariable+`=limits GORACE=\S+ B=2 `+watchdog.Mark+`=[A-Z0-9]+-\d+$`, env[len(env)-1])
	require.Contains(t, c.Env, watchdog.Mark+"=inherited", "the caller's slice is left alone")
}

func TestStandardInput(t *testing.T) {
	require.Equal(t, []string{"stdin 0 <nil>"}, output(t, program(t, "stdin")))

	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	_, err = w.WriteString("hello")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	c := program(t, "stdin")
	c.Stdin = r
	require.Equal(t, []string{"stdin 5 <nil>"}, output(t, c))
}

func TestRSS(t *testing.T) {
	r := newReports(t)
	c := program(t, "wait")
	c.Extra = []*os.File{r.w}
	p := start(t, c)
	r.next(t)
	rss, err := watchdog.RSS(p.Pid())
	require.NoError(t, err)
	require.Greater(t, rss, int64(64<<10))
	p.Kill()
	<-p.Done()
	_, err = watchdog.RSS(p.Pid())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestExitIsShownLikeAShellDoes(t *testing.T) {
	tests := []struct {
		exit   watchdog.Exit
		text   string
		status int
	}{
		{watchdog.Exit{}, "exit status 0", 0},
		{watchdog.Exit{Code: 3}, "exit status 3", 3},
		{watchdog.Exit{Code: -1, Signal: syscall.SIGTERM}, "killed by SIGTERM", 143},
		{watchdog.Exit{Code: -1, Signal: 40}, "killed by signal 40", 168},
		{watchdog.Exit{Code: -1}, "exit status unknown", 255},
	}
	for _, tt := range tests {
		require.Equal(t, tt.text, tt.exit.String())
		require.Equal(t, tt.status, tt.exit.Status(), tt.text)
	}
}

// L12: a process that would take the last descriptors is not started.
func TestL12TheLastDescriptorsAreNotForProcesses(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	_ = output(t, program(t, "print", "x")) // what is opened once is open
	next, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(next))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) })
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(next + 8), Max: limit.Max}))
	_, err = watchdog.Start(program(t, "print", "x"))
	require.ErrorIs(t, err, syscall.EMFILE)
	require.True(t, watchdog.Transient(err))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	require.Equal(t, []string{"x"}, output(t, program(t, "print", "x")))
}
