package watchdog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

// function returns what Fork needs to play role.
func function(t testing.TB, mode watchdog.ForkMode, role string, args ...string) watchdog.ForkConfig {
	t.Helper()
	p := program(t, role, args...)
	c := watchdog.DefaultForkConfig()
	c.Mode, c.Path, c.Args, c.Env = mode, p.Path, p.Args, p.Env
	c.Grace, c.OutputGrace = 10*time.Second, 100*time.Millisecond
	c.ClientGone = errGone
	if l, ok := launched.Load(t); ok {
		c.Launcher = l.(watchdog.Launcher)
	}
	return c
}

// launched says for tests that both has started how processes come to be.
var launched sync.Map

// both runs a test in both modes, with processes that are started for their request and with those that wait for it:
// nothing else may differ.
func both(t *testing.T, test func(t *testing.T, mode watchdog.ForkMode)) {
	t.Helper()
	for name, mode := range map[string]watchdog.ForkMode{"streaming": watchdog.Streaming, "serializing": watchdog.Serializing} {
		t.Run(name, func(t *testing.T) { test(t, mode) })
		t.Run(name+" ahead", func(t *testing.T) {
			launched.Store(t, watchdog.Standby)
			test(t, mode)
		})
	}
}

// forks runs a Fork until the end of the test and checks that nothing is left of it, and of those before it.
func forks(t testing.TB, c watchdog.ForkConfig, prepare ...func(*watchdog.Fork)) *watchdog.Fork {
	t.Helper()
	if _, again := checked.LoadOrStore(t, true); !again {
		noLeaks(t)
	}
	f, err := watchdog.NewFork(c)
	require.NoError(t, err)
	f.SetBusy(func() bool { return false })
	for _, p := range prepare {
		p(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.Zero(t, f.Stats().Running)
		require.ErrorIs(t, f.Do(newExchange("GET /")), watchdog.ErrForkClosed)
	})
	return f
}

// checked has the tests that look for leaks at their end.
var checked sync.Map

// linger waits for the process behind err.
func linger(t *testing.T, err error) {
	t.Helper()
	var l *watchdog.Lingering
	require.ErrorAs(t, err, &l)
	l.Linger()
}

// forkLog collects the lines of standard error.
type forkLog struct {
	mu    sync.Mutex
	lines []string // guarded by mu
	cut   int      // guarded by mu
}

func (l *forkLog) add(id string, line watchdog.Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line.Cut {
		l.cut++
	}
	l.lines = append(l.lines, fmt.Sprintf("%s %v %.20s", id, line.Stream, line.Text))
}

func (l *forkLog) has(part string) bool { return l.count(part) > 0 }

func (l *forkLog) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(strings.Join(l.lines, "\n"), part)
}

// Every byte comes back, in whatever way the body arrives and however large it is compared with a pipe (rule W13).
func TestW13BodiesOfAllSizesComeBack(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		f := forks(t, function(t, mode, "cat"))
		for _, size := range []int{0, 1, 4096, 4097, 65535, 65536, 65537, 3 << 20} {
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(i * i >> 7)
			}
			for name, x := range map[string]*exchange{"whole": post(body), "streamed": streamed(bytes.NewReader(body))} {
				require.NoError(t, f.Do(x), name)
				require.Equal(t, 200, x.status)
				require.True(t, x.finished)
				require.True(t, bytes.Equal(body, x.answer.Bytes()), "%s, %d bytes", name, size)
				require.Equal(t, []string{"Content-Type: application/octet-stream"}, x.fields)
				if mode == watchdog.Serializing {
					require.Equal(t, int64(size), x.length)
				}
			}
		}
		require.GreaterOrEqual(t, f.Stats().Starts, uint64(16))
	})
}

func TestStreamingPassesOutputOnAtOnce(t *testing.T) {
	f := forks(t, function(t, watchdog.Streaming, "cat"))
	r, w := io.Pipe()
	x := streamed(r)
	parts := make(chan string)
	x.onWrite = func(p []byte) error {
		parts <- string(p)
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- f.Do(x) }()
	for i := range 3 {
		part := fmt.Sprint("part ", i)
		_, err := w.Write([]byte(part))
		require.NoError(t, err)
		require.Equal(t, part, <-parts, "comes before the next one goes")
	}
	require.NoError(t, w.Close())
	require.NoError(t, <-done)
	require.EqualValues(t, -1, x.length)
}

func TestE8AFailureIsNoAnswer(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		for role, want := range map[string]string{"- 3": "exit status 3", "partial 4": "exit status 4", "die": "killed by SIGKILL"} {
			words := strings.Fields(role)
			if len(words) == 2 {
				words = append([]string{"fail"}, words...)
			}
			f := forks(t, function(t, mode, words[0], words[1:]...))
			x := newExchange("GET /")
			err := f.Do(x)
			require.ErrorIs(t, err, watchdog.ErrFailed)
			var failed *watchdog.FailedError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, want, failed.Exit.String())
			require.False(t, x.finished)
			if mode == watchdog.Serializing || words[0] == "die" {
				require.Zero(t, x.status, "nothing of the output")
			}
			s := f.Stats().Failures
			require.EqualValues(t, 1, s["exited"]+s["signaled"])
		}
	})
}

// After the first byte there is no status any more (rule E8, P11).
func TestE8AFailureAfterOutputCutsTheAnswer(t *testing.T) {
	f := forks(t, function(t, watchdog.Streaming, "begin"))
	r, w := io.Pipe()
	x := streamed(r)
	x.onWrite = func([]byte) error { return w.Close() }
	require.ErrorIs(t, f.Do(x), watchdog.ErrFailed)
	require.Equal(t, 200, x.status)
	require.False(t, x.finished)
}

func TestE8EmptyOutputIsAnAnswer(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		x := newExchange("GET /")
		require.NoError(t, forks(t, function(t, mode, "fail", "-", "0")).Do(x))
		require.Equal(t, 200, x.status)
		require.Zero(t, x.length)
		require.True(t, x.finished)
	})
}

// A function that does not read its request is no error, also when the client has not sent all of it (rules E10, W13).
func TestE10AFunctionMayIgnoreItsInput(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		f := forks(t, function(t, mode, "deaf"))
		stalled, w := io.Pipe()
		defer w.Close()
		for _, x := range []*exchange{
			post(make([]byte, 10)), post(make([]byte, 1<<20)), streamed(bytes.NewReader(make([]byte, 1<<20))), streamed(stalled),
		} {
			require.NoError(t, f.Do(x))
			require.Equal(t, "deaf", x.answer.String())
		}
	})
}

// A body that was cut never looks whole: the process is ended before its input is (rules R2, E10).
func TestE10ABodyThatIsCutEndsTheProcess(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		log := &forkLog{}
		c := function(t, mode, "count")
		c.Output = log.add
		f := forks(t, c)
		cut := errors.New("cut")
		x := streamed(io.MultiReader(strings.NewReader("half"), &failing{cut}))
		err := f.Do(x)
		require.ErrorIs(t, err, cut)
		require.False(t, x.finished)
		linger(t, err)
		require.False(t, log.has("read"), "the function has seen an end")
	})
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestOutputHasALimitWhenItIsKept(t *testing.T) {
	c := function(t, watchdog.Serializing, "zeros", "300000")
	c.MaxOutput = 300000
	x := newExchange("GET /")
	require.NoError(t, forks(t, c).Do(x))
	require.EqualValues(t, 300000, x.size)

	c.MaxOutput--
	x = newExchange("GET /")
	f := forks(t, c)
	err := f.Do(x)
	require.ErrorIs(t, err, watchdog.ErrOutputSize)
	require.Zero(t, x.status)
	linger(t, err)
	require.EqualValues(t, 1, f.Stats().Failures["output"])
}

// Who keeps the output open when the process has ended delays the answer by the grace time at most, and is ended, also
// when it left the group and does not end on SIGTERM (rules W3, W4).
func TestW3GrandchildrenDoNotHoldTheAnswer(t *testing.T) {
	subreaper(t)
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := function(t, mode, "leave")
		f := forks(t, c)
		for range 3 {
			x := newExchange("GET /")
			began := time.Now()
			require.NoError(t, f.Do(x))
			require.Less(t, time.Since(began), 5*time.Second)
			require.Equal(t, "left", x.answer.String())
			if c.Launcher == watchdog.Exec { // else the next one waits
				require.Empty(t, descendants(t), "somebody is left when the slot is free (P4)")
			}
		}
	})
}

// descendants are the processes that carry a mark of ours.
func descendants(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(b, []byte(watchdog.Mark+"=")) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(name, "/")[2])
		require.NoError(t, err)
		stat, err := os.ReadFile(filepath.Dir(name) + "/stat")
		if err != nil {
			continue
		}
		if _, parent, _, err := watchdog.ParseStat(stat); err == nil && parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// The answer to a time-out is there at once; the slot is kept until the last of the group is gone (rules W3, P4).
func TestP4ATimeoutAnswersAtOnceAndKeepsTheSlot(t *testing.T) {
	subreaper(t)
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		c := function(t, mode, "parent")
		c.Timeout = time.Second // on a busy machine it has to be up before that
		c.Grace = 200 * time.Millisecond
		f := forks(t, c)
		began := time.Now()
		x := newExchange("GET /")
		err := f.Do(x)
		require.ErrorIs(t, err, watchdog.ErrRunTimeout)
		require.False(t, x.finished)
		require.Equal(t, 1, f.Stats().Running, "it does not end on SIGTERM")
		linger(t, err)
		require.GreaterOrEqual(t, time.Since(began), c.Timeout+c.Grace)
		require.Zero(t, f.Stats().Running)
		if c.Launcher == watchdog.Exec { // else the next one waits
			require.Empty(t, descendants(t))
		}
		require.EqualValues(t, 1, f.Stats().Failures["timeout"])
	})
}

func TestAnInterruptionEndsTheProcess(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		f := forks(t, function(t, mode, "wait-quietly"))
		x := newExchange("GET /")
		x.cause = errLate // before it began
		err := f.Do(x)
		require.ErrorIs(t, err, errLate)

		c := function(t, mode, "begin")
		f = forks(t, c)
		stalled, w := io.Pipe()
		defer w.Close()
		x = streamed(stalled)
		x.onBody = func() { go x.interrupt(errLate) }
		err = f.Do(x)
		require.ErrorIs(t, err, errLate)
		require.False(t, x.finished)
		linger(t, err)
		require.EqualValues(t, 1, f.Stats().Failures["canceled"])
	})
}

// fifo makes a FIFO and returns what opens its writing end.
func fifo(t *testing.T) (path string, release func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	return path, func() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
}

func TestAClientThatLeavesEndsTheProcessUnlessItMayFinish(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		for _, finish := range []bool{false, true} {
			path, release := fifo(t)
			log := &forkLog{}
			c := function(t, mode, "late", path)
			c.Finish, c.Output = finish, log.add
			f := forks(t, c)
			x := post(make([]byte, 1<<20)) // more than the pipe takes before the function reads
			done := make(chan error, 1)
			go func() { done <- f.Do(x) }()
			require.Eventually(t, func() bool { return log.has("got it") }, 10*time.Second, time.Millisecond)
			x.interrupt(errGone)
			err := <-done
			require.ErrorIs(t, err, errGone)
			if finish {
				release()
			}
			linger(t, err)
			require.Equal(t, finish, log.has("finished"))
			require.Zero(t, x.size)
		}
	})
}

// A process whose request was given up gets nothing more, and no end of what it got: the memory of its body belongs to
// the next request (rules R2, E10, P5).
func TestE10AGivenUpRequestIsNotFedOn(t *testing.T) {
	path, release := fifo(t)
	log := &forkLog{}
	c := function(t, watchdog.Streaming, "slow", path)
	c.Grace, c.Output = 300*time.Millisecond, log.add
	f := forks(t, c)
	x := post(make([]byte, 1<<20))
	done := make(chan error, 1)
	go func() { done <- f.Do(x) }()
	require.Eventually(t, func() bool { return log.has("here") }, 10*time.Second, time.Millisecond)
	x.interrupt(errLate)
	err := <-done
	require.ErrorIs(t, err, errLate)
	for i := range x.body {
		x.body[i] = 'x'
	}
	release()
	linger(t, err)
	require.False(t, log.has("another"), "bytes of another request")
	require.False(t, log.has("end"), "half a body looks whole")
}

// Finishing alone is for those who have their whole request (rule R2) and while the pod lives.
func TestFinishingAloneHasBounds(t *testing.T) {
	t.Run("half a request", func(t *testing.T) {
		log := &forkLog{}
		c := function(t, watchdog.Streaming, "count")
		c.Finish, c.Output = true, log.add
		stalled, w := io.Pipe()
		defer w.Close()
		x := streamed(stalled)
		x.onBody = func() { go x.interrupt(errGone) }
		err := forks(t, c).Do(x)
		require.ErrorIs(t, err, errGone)
		linger(t, err)
		require.False(t, log.has("read"))
	})
	for name, timeout := range map[string]time.Duration{"time-out": 200 * time.Millisecond, "end of Run": 0} {
		t.Run(name, func(t *testing.T) {
			c := function(t, watchdog.Streaming, "wait-quietly")
			c.Finish, c.Timeout, c.Grace = true, timeout, 10*time.Millisecond
			f := forks(t, c) // whose end is checked
			x := newExchange("GET /")
			done := make(chan error, 1)
			go func() { done <- f.Do(x) }()
			require.Eventually(t, x.running, 10*time.Second, time.Millisecond)
			x.interrupt(errGone)
			err := <-done
			require.ErrorIs(t, err, errGone)
			if timeout > 0 {
				linger(t, err)
			}
		})
	}
}

// The end of Run ends what runs, SIGTERM first (rule D4).
func TestD4TheEndOfRunEndsAllProcesses(t *testing.T) {
	f, err := watchdog.NewFork(function(t, watchdog.Streaming, "begin"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stalled, w := io.Pipe()
	defer w.Close()
	x := streamed(stalled)
	x.onWrite = func([]byte) error { cancel(); return nil }
	require.ErrorIs(t, f.Do(x), watchdog.ErrForkClosed)
	require.NoError(t, <-ended)
	require.Zero(t, f.Stats().Running)
}

// A log without bounds is cut to bounds, is stamped with its request and holds nothing up (rule W14).
func TestW14StandardErrorIsReadToItsEnd(t *testing.T) {
	both(t, func(t *testing.T, mode watchdog.ForkMode) {
		log := &forkLog{}
		c := function(t, mode, "noise", "10000000")
		c.Output = log.add
		f := forks(t, c)
		x := newExchange("GET /")
		require.NoError(t, f.Do(x))
		require.Equal(t, "quiet", x.answer.String())
		require.Equal(t, 1, log.cut)
		require.Len(t, log.lines, 1001)
		require.Equal(t, "id-1 stderr line", log.lines[1000], "the last one has no newline")
	})
}

func TestW14AFloodOfLinesIsBounded(t *testing.T) {
	log := &forkLog{}
	c := function(t, watchdog.Streaming, "noise", "10")
	c.Output, c.OutputRate = log.add, 100_000
	f := forks(t, c)
	for range 5 {
		require.NoError(t, f.Do(newExchange("GET /")))
	}
	require.Zero(t, f.Stats().Dropped, "the rate is each process's own")
	c.OutputRate = 20_000
	f = forks(t, c)
	require.NoError(t, f.Do(newExchange("GET /")))
	require.Positive(t, f.Stats().Dropped)
}

func TestACommandThatCannotBeStarted(t *testing.T) {
	c := function(t, watchdog.Streaming, "cat")
	c.Path = filepath.Join(t.TempDir(), "none")
	f := forks(t, c)
	for range 2 {
		require.ErrorIs(t, f.Do(post([]byte("x"))), watchdog.ErrNotStarted)
		require.NotErrorIs(t, f.Do(post([]byte("x"))), watchdog.ErrNoRoom)
	}
	require.EqualValues(t, 4, f.Stats().Failures["start"])
	_, err := watchdog.NewFork(watchdog.DefaultForkConfig())
	require.Error(t, err, "no command")
}

// When the system has no room, requests are refused for a moment and served again (rules W16, L12).
func TestW16NoRoomForAProcessPasses(t *testing.T) {
	f := forks(t, function(t, watchdog.Streaming, "cat"))
	require.NoError(t, f.Do(post([]byte("x")))) // all that is opened once is open
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	tight := before
	tight.Cur = uint64(openFiles(t)) + 4
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &tight))
	defer func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)) }()
	for range 10 {
		require.ErrorIs(t, f.Do(post([]byte("x"))), watchdog.ErrNoRoom)
	}
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before))
	require.Eventually(t, func() bool { return f.Do(post([]byte("x"))) == nil }, 5*time.Second, time.Millisecond)
	require.GreaterOrEqual(t, f.Stats().Failures["no_room"], uint64(10))
}

// Nothing but the three streams reaches a process, in its own group, without core dumps (rules W17, W18, W3).
func TestW17AProcessHasItsStreamsAlone(t *testing.T) {
	f := forks(t, function(t, watchdog.Streaming, "descriptors"))
	x := newExchange("GET /")
	require.NoError(t, f.Do(x))
	lines := strings.Split(strings.TrimSpace(x.answer.String()), "\n")
	require.Len(t, lines, 3, lines)
	require.Contains(t, lines[0], "/dev/null", "no body is an end at once")
	require.Contains(t, lines[1], "pipe:")

	f = forks(t, function(t, watchdog.Streaming, "limits"))
	x = newExchange("GET /")
	require.NoError(t, f.Do(x))
	require.Regexp(t, `Max core file size +0 +0`, x.answer.String())
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	require.NoError(t, err)
	score, err := strconv.Atoi(strings.TrimSpace(string(own)))
	require.NoError(t, err)
	require.Contains(t, x.answer.String(), fmt.Sprintf("oom_score_adj %d\n", min(score+watchdog.DefaultOOMScoreAdj, 1000)))
}

// Many requests at once leave no process, descriptor, goroutine or thread behind.
func TestManyRequestsLeaveNothingBehind(t *testing.T) {
	log := &forkLog{}
	c := function(t, watchdog.Serializing, "count")
	c.Output = log.add
	f := forks(t, c)
	var wg sync.WaitGroup
	failures := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for i := range 25 {
				x := post(make([]byte, i))
				if i%2 == 1 {
					x = streamed(bytes.NewReader(make([]byte, i)))
				}
				if err := f.Do(x); err != nil || x.answer.String() != strconv.Itoa(i) {
					failures <- fmt.Errorf("%d bytes: %w, %q", i, err, x.answer.String())
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failures:
		require.NoError(t, err)
	default:
	}
	require.Empty(t, descendants(t))
	require.Len(t, log.lines, 200)
	require.Zero(t, f.Stats().Running)
}

// Streaming holds no more of a large answer than a piece; serializing holds it once.
func TestMemoryOfLargeAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("50 MB")
	}
	const size = 50 << 20
	most := func(mode watchdog.ForkMode) uint64 {
		f := forks(t, function(t, mode, "zeros", strconv.Itoa(size)))
		x := newExchange("GET /")
		x.discard = true
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, f.Do(x))
		require.EqualValues(t, size, x.size)
		runtime.ReadMemStats(&now)
		return now.TotalAlloc - before.TotalAlloc
	}
	require.Less(t, most(watchdog.Streaming), uint64(1<<20))
	require.Less(t, most(watchdog.Serializing), uint64(size+size/5))
}
