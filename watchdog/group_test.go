package watchdog_test

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/watchdog"
)

// subreaper hands orphans to the test binary until the end of the test.
func subreaper(t *testing.T) {
	t.Helper()
	require.NoError(t, watchdog.SetSubreaper())
	t.Cleanup(func() {
		require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
	})
}

func TestW3KillReachesTheGroup(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "family", "ignore-term")
	c.Extra, c.Output = []*os.File{r.w}, func(watchdog.Line) {}
	p := start(t, c)
	require.NotEqual(t, p.Pid(), r.next(t), "the child reports")
	p.Kill()
	<-p.Done()
	r.gone(t)
}

func TestW3StopKillsAfterTheGrace(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "ignore-term")
	c.Extra, c.Grace = []*os.File{r.w}, time.Millisecond
	p := start(t, c)
	r.next(t)
	p.Stop()
	require.Equal(t, syscall.SIGKILL, p.Exit().Signal)
}

func TestW3TheRestOfTheGroupHasTheGraceToo(t *testing.T) {
	noLeaks(t)
	r, out := newReports(t), &recorder{}
	c := program(t, "family", "polite") // the parent dies of SIGTERM at once
	c.Extra, c.Output, c.Grace = []*os.File{r.w}, out.add, time.Hour
	p := start(t, c)
	r.next(t)
	p.Stop()
	require.Equal(t, syscall.SIGTERM, p.Exit().Signal)
	require.Equal(t, []string{"got terminated"}, out.text(watchdog.Stdout))
	r.gone(t)
}

func TestW3KillEndsTheGraceOfTheGroup(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "family", "ignore-term")
	c.Extra, c.Grace = []*os.File{r.w}, time.Hour
	p := start(t, c)
	r.next(t)
	stopped := make(chan struct{})
	go func() { defer close(stopped); p.Stop() }()
	require.Eventually(t, func() bool { return zombie(p.Pid()) }, 10*time.Second, time.Millisecond)
	p.Kill()
	<-stopped
	r.gone(t)
}

func TestW3TheGroupEndsWithItsLeader(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "orphan", "wait")
	c.Extra, c.Output = []*os.File{r.w}, func(watchdog.Line) {}
	p := start(t, c)
	<-p.Done()
	require.Equal(t, watchdog.Exit{}, p.Exit())
	r.gone(t)
}

func TestW3AnEscapedWriterDoesNotHoldDoneUp(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "daemon", "wait") // out of reach: we are not its new parent
	c.Extra, c.Output = []*os.File{r.w}, func(watchdog.Line) {}
	p := start(t, c)
	<-p.Done()
	require.NoError(t, syscall.Kill(r.next(t), syscall.SIGKILL))
	r.gone(t)
}

func TestW4EscapedDescendantsAreKilled(t *testing.T) {
	tests := []struct {
		name string
		args []string
	}{
		{"child in its own session", []string{"escape", "wait"}},
		{"child of a child", []string{"family", "escape", "wait"}},
		{"daemon", []string{"family", "daemon", "ignore-term"}},
		{"daemon of a daemon", []string{"family", "daemon", "escape", "wait"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			subreaper(t)
			r := newReports(t)
			c := program(t, tt.args[0], tt.args[1:]...)
			c.Extra, c.Output = []*os.File{r.w}, func(watchdog.Line) {}
			p := start(t, c)
			pid := r.next(t)
			p.Kill()
			<-p.Done()
			require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "dead and collected when Done closes")
			r.gone(t)
		})
	}
}

func TestW4EscapedDescendantsOfOthersLive(t *testing.T) {
	noLeaks(t)
	subreaper(t)
	var family [2]*watchdog.Process
	var daemon [2]int
	for i := range family {
		r := newReports(t)
		c := program(t, "family", "daemon", "wait")
		c.Extra = []*os.File{r.w}
		family[i] = start(t, c)
		daemon[i] = r.next(t)
	}
	family[0].Stop()
	require.ErrorIs(t, syscall.Kill(daemon[0], 0), syscall.ESRCH)
	require.False(t, zombie(daemon[1]), "the other's daemon was killed")
	family[1].Kill()
	<-family[1].Done()
	require.ErrorIs(t, syscall.Kill(daemon[1], 0), syscall.ESRCH)
}

func TestW5TheEndOfTheStartingThreadIsHarmless(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "polite")
	c.Extra, c.Output = []*os.File{r.w}, func(watchdog.Line) {}
	var p *watchdog.Process
	var err error
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		p, err = watchdog.Start(c)
		thread <- unix.Gettid()
	}()
	tid := <-thread
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
	})
	r.next(t)
	require.Eventually(t, func() bool {
		return unix.Tgkill(os.Getpid(), tid, 0) != nil || tid == os.Getpid()
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, p.Signal(syscall.SIGHUP))
	require.Equal(t, watchdog.Exit{Code: 7}, p.Exit())
}

func TestKillAndStopMayBeCalledAtAnyTime(t *testing.T) {
	noLeaks(t)
	for range 20 {
		p := start(t, program(t, "exit", "0"))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(p.Kill)
			wg.Go(p.Stop)
			wg.Go(func() { _ = p.Signal(syscall.SIGCONT) })
		}
		wg.Wait()
		<-p.Done()
	}
}

func TestWithoutPidfdTheExitIsSeenToo(t *testing.T) {
	pid, err := watchdog.ForkExec(program(t, "exit", "3"), false)
	require.NoError(t, err)
	require.Equal(t, watchdog.Exit{Code: 3}, watchdog.AwaitExitAndReap(pid, -1))
	require.Equal(t, watchdog.Exit{Code: -1}, watchdog.AwaitExitAndReap(pid, -1), "it is gone")
}

// zombie reports whether pid is dead, collected or not.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	state, _, _, err := watchdog.ParseStat(b)
	return err != nil || state == 'Z'
}
