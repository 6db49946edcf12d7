package watchdog_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestExitIsCollected(t *testing.T) {
	noLeaks(t)
	for code := range 3 {
		p := start(t, program(t, "exit", string(rune('0'+code))))
		<-p.Done()
		require.Equal(t, watchdog.Exit{Code: code}, p.Exit())
		require.Equal(t, code, p.Exit().Status())
	}
}

func TestKillEndsTheProcessWithItsSignal(t *testing.T) {
	noLeaks(t)
	r := newReports(t)
	c := program(t, "wait")
	c.Extra = []*os.File{r.w}
	p := start(t, c)
	require.Equal(t, p.Pid(), r.next(t))
	p.Kill()
	<-p.Done()
	require.Equal(t, watchdog.Exit{Code: -1, Signal: syscall.SIGKILL}, p.Exit())
	require.Equal(t, 137, p.Exit().Status())
	require.Equal(t, "killed by SIGKILL", p.Exit().String())
}

func TestNothingIsSignalledAfterTheEnd(t *testing.T) {
	p := start(t, program(t, "exit", "0"))
	<-p.Done()
	require.ErrorIs(t, p.Signal(syscall.SIGTERM), os.ErrProcessDone)
	p.Kill()
	p.Stop()
}

func TestStopLetsTheProcessEndByItself(t *testing.T) {
	noLeaks(t)
	r, out := newReports(t), &recorder{}
	c := program(t, "polite")
	c.Extra, c.Output, c.Grace = []*os.File{r.w}, out.add, time.Hour
	p := start(t, c)
	r.next(t)
	p.Stop()
	require.Equal(t, watchdog.Exit{Code: 7}, p.Exit())
	require.Equal(t, []string{"got terminated"}, out.text(watchdog.Stdout))
}

func TestStartReportsWhatIsWrong(t *testing.T) {
	noLeaks(t)
	_, err := watchdog.Start(watchdog.Config{})
	require.Error(t, err)
	_, err = watchdog.Start(watchdog.Config{Path: "/does/not/exist", Output: func(watchdog.Line) {}})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "/does/not/exist")
	_, err = watchdog.Start(watchdog.Config{Path: t.TempDir()})
	require.ErrorIs(t, err, syscall.EACCES)
}
