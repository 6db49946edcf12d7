package watchdog_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// fake is a process that runs as long as the test wants.
type fake struct {
	done chan struct{}
	once sync.Once
	exit watchdog.Exit
}

func (f *fake) Pid() int                    { return 42 }
func (f *fake) Done() <-chan struct{}       { return f.done }
func (f *fake) Exit() watchdog.Exit         { <-f.done; return f.exit }
func (f *fake) Signal(syscall.Signal) error { return nil }
func (f *fake) Stop()                       { f.end(watchdog.Exit{Code: -1, Signal: syscall.SIGTERM}) }

func (f *fake) end(e watchdog.Exit) {
	f.once.Do(func() { f.exit = e; close(f.done) })
}

// lives makes s start fake processes that live as long as given, one after
// the other and the last one for ever. It returns the times of the starts.
func lives(s *watchdog.Supervisor, exit watchdog.Exit, life ...time.Duration) *[]time.Duration {
	began := time.Now()
	starts := new([]time.Duration)
	s.SetBegin(func(watchdog.Config) (watchdog.Child, error) {
		f := &fake{done: make(chan struct{})}
		n := len(*starts)
		*starts = append(*starts, time.Since(began))
		if n < len(life) {
			time.AfterFunc(life[n], func() { f.end(exit) })
		}
		return f, nil
	})
	return starts
}

func repeated(d time.Duration, n int) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}

func TestW7FiveFastExitsAreTooMany(t *testing.T) {
	for _, code := range []int{0, 3} { // exit 0 is an exit too
		synctest.Test(t, func(t *testing.T) {
			s := &watchdog.Supervisor{}
			starts := lives(s, watchdog.Exit{Code: code}, repeated(0, 9)...)
			err := s.Run(t.Context())
			require.ErrorIs(t, err, watchdog.ErrGaveUp)
			var exit *watchdog.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, code, exit.Exit.Code)
			require.Equal(t, max(1, code), exit.Status(), "never a success")
			ms := time.Millisecond
			require.Equal(t, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}, *starts)
			require.Equal(t, int64(5), s.Status().Exits)
			require.Equal(t, int64(4), s.Status().Restarts)
			require.Equal(t, watchdog.Stopped, s.Status().State)
		})
	}
}

func TestW7TheDelayGrowsToTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		starts := lives(s, watchdog.Exit{Code: 1}, repeated(20*time.Second, 12)...) // three a minute are not too many
		require.NoError(t, s.Run(ctx))
		require.Len(t, *starts, 13)
		want := 100 * time.Millisecond
		for i := range 12 {
			require.Equal(t, 20*time.Second+want, (*starts)[i+1]-(*starts)[i])
			want = min(2*want, 10*time.Second)
		}
	})
}

func TestW7AHealthyMinuteResetsTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		life := []time.Duration{0, 0, 0, time.Minute, 0, 0, 0, 0}
		starts := lives(s, watchdog.Exit{Code: 1}, life...)
		err := s.Run(ctx)
		require.ErrorIs(t, err, watchdog.ErrGaveUp, "the exit after the minute is the first of five")
		require.Len(t, *starts, 8)
		require.Equal(t, 100*time.Millisecond, (*starts)[4]-(*starts)[3]-time.Minute)
	})
}

func TestW7ItMayKeepTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{KeepTrying: true}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		starts := lives(s, watchdog.Exit{}, repeated(0, 100)...)
		require.NoError(t, s.Run(ctx))
		require.Equal(t, 10*time.Second, (*starts)[len(*starts)-1]-(*starts)[len(*starts)-2])
	})
}

func TestW7NotReadyBetweenExitAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{}
		ctx, cancel := context.WithCancel(t.Context())
		lives(s, watchdog.Exit{Code: 9}, time.Second)
		states := make(chan watchdog.State)
		go func() {
			defer close(states)
			last := watchdog.Stopped
			for {
				changed := s.Changed()
				if now := s.Status().State; now != last {
					last = now
					states <- now
				}
				if last == watchdog.Stopped && ctx.Err() != nil {
					return
				}
				<-changed
			}
		}()
		over := make(chan error)
		go func() { over <- s.Run(ctx) }()
		for _, want := range []watchdog.State{watchdog.Ready, watchdog.Waiting, watchdog.Ready} {
			got := <-states
			if got == watchdog.Starting { // may pass unseen
				got = <-states
			}
			require.Equal(t, want, got)
			require.Equal(t, want == watchdog.Ready, s.Ready())
		}
		require.Equal(t, watchdog.Exit{Code: 9}, s.Status().LastExit)
		require.Equal(t, 42, s.Status().Pid)
		cancel()
		for range states {
		}
		require.NoError(t, <-over)
		require.Equal(t, int64(1), s.Status().Exits, "an end that was asked for does not count")
	})
}

func TestW8StartTimeoutCountsAsAnExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{Probe: probe(t, "file:/does/not/exist")}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		starts := lives(s, watchdog.Exit{})
		require.NoError(t, s.Run(ctx))
		require.Equal(t, []time.Duration{0, 60*time.Second + 100*time.Millisecond}, *starts)
		require.Equal(t, watchdog.Exit{Code: -1, Signal: syscall.SIGTERM}, s.Status().LastExit)
	})
}

func TestW8StartTimeoutEndsAPassThroughPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{Probe: probe(t, "file:/does/not/exist"), StartTimeout: time.Second, ExitWithChild: true}
		lives(s, watchdog.Exit{})
		err := s.Run(t.Context())
		require.ErrorIs(t, err, watchdog.ErrStartTimeout)
		require.ErrorContains(t, err, "1s, probe file:/does/not/exist: stat /does/not/exist: no such file")
		var exit *watchdog.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 1, exit.Status())
	})
}

func TestReadyAsSoonAsTheProbePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "up")
		s := &watchdog.Supervisor{Probe: probe(t, "file:"+path)}
		lives(s, watchdog.Exit{})
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- s.Run(ctx) }()
		time.Sleep(30 * time.Second)
		require.Equal(t, watchdog.Starting, s.Status().State)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		require.True(t, s.Ready())
		time.Sleep(10 * time.Minute) // the start time-out is over
		require.True(t, s.Ready())
		cancel()
		require.NoError(t, <-over)
	})
}

func TestW16LackOfMeansNeverEndsUs(t *testing.T) {
	for _, lack := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		synctest.Test(t, func(t *testing.T) {
			s := &watchdog.Supervisor{ExitWithChild: true}
			tries := 0
			s.SetBegin(func(watchdog.Config) (watchdog.Child, error) {
				if tries++; tries <= 50 {
					return nil, lack
				}
				f := &fake{done: make(chan struct{})}
				f.end(watchdog.Exit{Code: 4})
				return f, nil
			})
			var exit *watchdog.ExitError
			require.ErrorAs(t, s.Run(t.Context()), &exit)
			require.Equal(t, 4, exit.Status())
			require.Equal(t, 51, tries)
		})
	}
}

func TestStartThatCannotWorkIsReportedAtOnce(t *testing.T) {
	s := &watchdog.Supervisor{Process: watchdog.Config{Path: "/does/not/exist"}, KeepTrying: true}
	err := s.Run(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	var exit *watchdog.ExitError
	require.NotErrorAs(t, err, &exit)
}

func TestStartThatFailsLaterCountsAsAnExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &watchdog.Supervisor{}
		tries := 0
		s.SetBegin(func(watchdog.Config) (watchdog.Child, error) {
			if tries++; tries > 1 {
				return nil, syscall.ETXTBSY
			}
			f := &fake{done: make(chan struct{})}
			f.end(watchdog.Exit{})
			return f, nil
		})
		err := s.Run(t.Context())
		require.ErrorIs(t, err, watchdog.ErrGaveUp)
		require.ErrorIs(t, err, syscall.ETXTBSY)
		require.Equal(t, 5, tries)
	})
}

// address returns a loopback address that was free a moment ago.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// await waits until s is in state.
func await(t *testing.T, s *watchdog.Supervisor, ok func(watchdog.Status) bool) watchdog.Status {
	t.Helper()
	for {
		changed := s.Changed()
		if st := s.Status(); ok(st) {
			return st
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			require.FailNow(t, "state not reached", "%+v", s.Status())
		}
	}
}

func ready(st watchdog.Status) bool { return st.State == watchdog.Ready }

func TestD7APassThroughPodEndsWithItsFunction(t *testing.T) {
	noLeaks(t)
	addr := address(t)
	s := &watchdog.Supervisor{
		Process: program(t, "server", addr), Probe: probe(t, "http://"+addr+"/healthz"), ExitWithChild: true,
	}
	over := make(chan error, 1)
	go func() { over <- s.Run(t.Context()) }()
	await(t, s, ready)
	ask(t, "http://"+addr+"/exit?code=17")
	var exit *watchdog.ExitError
	require.ErrorAs(t, <-over, &exit)
	require.Equal(t, 17, exit.Status())
	require.ErrorIs(t, s.Signal(syscall.SIGHUP), os.ErrProcessDone)
}

func TestW7AServerThatEndsIsStartedAgain(t *testing.T) {
	noLeaks(t)
	addr := address(t)
	s := &watchdog.Supervisor{Process: program(t, "server", addr), Probe: probe(t, "tcp:"+addr)}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	first := await(t, s, ready).Pid
	ask(t, "http://"+addr+"/exit?code=0")
	second := await(t, s, func(st watchdog.Status) bool { return ready(st) && st.Restarts == 1 }).Pid
	require.NotEqual(t, first, second)
	require.NoError(t, s.Signal(syscall.SIGKILL))
	await(t, s, func(st watchdog.Status) bool { return ready(st) && st.Restarts == 2 })
	require.Equal(t, syscall.SIGKILL, s.Status().LastExit.Signal)
	cancel()
	require.NoError(t, <-over)
	_, err := net.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "stopped when Run returns")
}

// ask sends one request whose answer does not matter.
func ask(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if resp, err := client.Get(url); err == nil {
		resp.Body.Close()
	}
}
