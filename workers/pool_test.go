package workers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// patience bounds waits for processes; only a failing test gets near it.
const patience = 20 * time.Second

// logs collects log records.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) records(message string) []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for line := range bytes.Lines(l.b.Bytes()) {
		var r map[string]any
		if json.Unmarshal(line, &r) == nil && r["msg"] == message {
			found = append(found, r)
		}
	}
	return found
}

// count is len(records(message)), but quick.
func (l *logs) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(`"msg":"`+message+`"`))
}

// running returns how many requests have reached the function, of those that
// last.
func (l *logs) running() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(`"line":"running"`))
}

// pool is a running pool of test workers.
type pool struct {
	*workers.Pool
	logs   *logs
	cancel context.CancelFunc
	end    chan error
}

func config(t testing.TB, mode string) workers.Config {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	c := workers.DefaultConfig()
	c.Command = []string{exe}
	c.Env = []string{modeVariable + "=" + mode, "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" + t.TempDir()}
	c.Min, c.Max = 1, 1
	c.ClientGone = errGone
	return c
}

func run(t testing.TB, c workers.Config, change ...func(*workers.Pool)) *pool {
	t.Helper()
	l := new(logs)
	c.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	require.NoError(t, c.Validate())
	p := &pool{Pool: workers.New(c), logs: l, end: make(chan error, 1)}
	for _, f := range change {
		f(p.Pool)
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go func() { p.end <- p.Run(ctx) }()
	t.Cleanup(func() {
		p.cancel()
		t.Log("pool ended:", <-p.end) // judged by the tests that are about it
		require.Zero(t, p.busyOrAlive(), "workers are left")
	})
	return p
}

func (p *pool) busyOrAlive() int {
	s := p.Stats()
	return s.Starting + s.Idle + s.Busy + s.Leaving + s.Stuck
}

// running waits until the first worker is ready.
func running(t testing.TB, c workers.Config, change ...func(*workers.Pool)) *pool {
	t.Helper()
	p := run(t, c, change...)
	select {
	case <-p.Ready():
	case err := <-p.end:
		p.end <- err
		require.NoError(t, err, "pool ended")
	case <-time.After(patience):
		require.Fail(t, "no worker ready")
	}
	return p
}

// stop ends the pool and returns what Run did.
func (p *pool) stop() error {
	p.cancel()
	err := <-p.end
	p.end <- err
	return err
}

// get returns the body of an answer that has to be good.
func (p *pool) get(t testing.TB, target string) string {
	t.Helper()
	x := newExchange(target)
	require.NoError(t, p.Do(x))
	require.True(t, x.finished)
	return x.text()
}

// settled waits for a state of the pool.
func (p *pool) settled(t testing.TB, what string, ok func(workers.Stats) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return ok(p.Stats()) }, patience, time.Millisecond, what)
}

func TestDoAnswersRequest(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/hello?a=b")
	require.NoError(t, p.Do(x))
	require.Equal(t, 200, x.status)
	require.Equal(t, int64(5), x.length)
	require.Equal(t, []string{"content-type: text/plain"}, x.fields)
	require.Equal(t, "hello", x.text())
	require.True(t, x.finished)
	s := p.Stats()
	require.Equal(t, 1, s.Idle)
	require.EqualValues(t, 1, s.Requests)
}

func TestWorkerIsToldTheRequest(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/meta?a=b%20c&d")
	x.deadline = time.Hour
	require.NoError(t, p.Do(x))
	parts := strings.Split(x.text(), "|")
	left, err := strconv.Atoi(parts[5])
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Milliseconds(), left, 1)
	parts[5] = "deadline"
	require.Equal(t, []string{
		"GET", "/meta", "a=b%20c&d", "http pod.example:8080", "192.0.2.1", "deadline",
		"host", "pod.example:8080", "x-request-id", "id-1", "user-agent", "test", "x-one", "1", "x-one", "2",
	}, parts)
}

func TestWorkerHasItsEnvironmentAndNoOther(t *testing.T) {
	t.Setenv("SECRET", "1")
	p := running(t, config(t, "good"))
	env := p.get(t, "/env")
	require.NotContains(t, env, "SECRET")
	require.Contains(t, env, "FNPOD_WORKER_PROTOCOL=1-1\n")
	require.Contains(t, env, "FNPOD_WORKER_FDS=3,4\n")
	require.Contains(t, env, "FNPOD_WORKER_LANE=5,1048576,1048576")
	require.Contains(t, env, "FNPOD_WORKER_CONCURRENCY=1\n")
}

func TestNewestIdleWorkerIsTakenFirst(t *testing.T) {
	c := config(t, "good")
	c.Min, c.Max = 2, 2
	p := running(t, c)
	p.settled(t, "two idle", func(s workers.Stats) bool { return s.Idle == 2 })
	first := p.get(t, "/pid")
	for range 20 {
		require.Equal(t, first, p.get(t, "/pid"))
	}
}

func TestPoolGrowsWhileRequestsWaitAndShrinksAfterwards(t *testing.T) {
	c := config(t, "good")
	c.Max = 3
	c.IdleTimeout = 100 * time.Millisecond
	p := running(t, c)
	var g sync.WaitGroup
	for range 3 {
		g.Go(func() { _ = p.Do(newExchange("/sleep?300")) })
	}
	p.settled(t, "three workers", func(s workers.Stats) bool { return s.Busy == 3 })
	g.Wait()
	p.settled(t, "back to one", func(s workers.Stats) bool { return s.Idle == 1 && s.Ends[workers.ReasonIdle] == 2 })
}

func TestWithoutMinTheFirstRequestStartsAWorker(t *testing.T) {
	c := config(t, "good")
	c.Min = 0
	p := run(t, c)
	require.NoError(t, p.Health())
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.EqualValues(t, 1, p.Stats().Starts)
}

// P8: first come, first served.
func TestRequestsWaitForAWorkerInOrder(t *testing.T) {
	p := running(t, config(t, "good"))
	var g sync.WaitGroup
	var mu sync.Mutex
	var order []int
	g.Go(func() { _ = p.Do(newExchange("/sleep?200")) })
	p.settled(t, "busy", func(s workers.Stats) bool { return s.Busy == 1 })
	for i := range 5 {
		g.Go(func() {
			x := newExchange("/hello")
			x.onWrite = func(_ *exchange, b []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				return len(b), nil
			}
			_ = p.Do(x)
		})
		p.settled(t, "in line", func(s workers.Stats) bool { return s.Waiting == i+1 })
	}
	g.Wait()
	require.Equal(t, []int{0, 1, 2, 3, 4}, order)
}

// P7, P10: nobody waits longer than he may or wants to.
func TestWaitingEndsWithDeadlineAndInterruption(t *testing.T) {
	p := running(t, config(t, "good"))
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() { _ = p.Do(newExchange("/sleep?500")) })
	p.settled(t, "busy", func(s workers.Stats) bool { return s.Busy == 1 })

	x := newExchange("/hello")
	x.deadline = 10 * time.Millisecond
	require.ErrorIs(t, p.Do(x), workers.ErrTimeout)
	require.Zero(t, x.status)

	y := newExchange("/hello")
	got := make(chan error, 1)
	go func() { got <- p.Do(y) }()
	p.settled(t, "in line", func(s workers.Stats) bool { return s.Waiting == 1 })
	y.interrupt(errGone)
	require.ErrorIs(t, <-got, errGone)

	z := newExchange("/hello")
	z.interrupt(errGone)
	require.ErrorIs(t, p.Do(z), errGone)
	require.Zero(t, p.Stats().Waiting)
}

func TestRunReturnsInitErrorOnce(t *testing.T) {
	c := config(t, "init-error")
	c.Min, c.Max = 4, 4
	p := run(t, c)
	err := <-p.end
	p.end <- err
	var init *workers.InitError
	require.ErrorAs(t, err, &init)
	require.Equal(t, workers.InitError{Type: "SyntaxError", Message: "invalid syntax", Traceback: "line 1\nline 2"}, *init)
	require.Empty(t, p.logs.records("worker did not start"))
	require.ErrorIs(t, p.Do(newExchange("/hello")), workers.ErrNotReady)
	require.ErrorIs(t, p.Health(), workers.ErrNotReady)
}

// W8: a start that does not come to an end counts as a fault.
func TestStartsThatLeadToNothing(t *testing.T) {
	for _, c := range []struct{ mode, typ, message string }{
		{"exit-at-once", "Exited", "exit status 7"},
		{"garbage-at-start", "Protocol", "frame of type"},
		{"silent", "StartTimeout", "not ready within 300ms (workers-start-timeout)"},
		{"never-ready", "StartTimeout", "workers-start-timeout"},
		{"version", "Protocol", "version 9"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, c.mode)
			if c.typ == "StartTimeout" {
				cfg.StartTimeout = 300 * time.Millisecond
			} else {
				cfg.StartTimeout = patience
			}
			p := run(t, cfg)
			err := <-p.end
			p.end <- err
			var init *workers.InitError
			require.ErrorAs(t, err, &init)
			require.Equal(t, c.typ, init.Type)
			require.Contains(t, init.Message, c.message)
		})
	}
}

// W7: with pauses that grow.
func TestLaterInitErrorsAreRetriedWithPauses(t *testing.T) {
	c := config(t, "init-error-later")
	c.Env = append(c.Env, "FNPOD_TEST_MARK="+t.TempDir()+"/mark")
	p := running(t, c)
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.ErrorIs(t, p.Do(newExchange("/exit?1")), workers.ErrDied)
	p.settled(t, "several failures", func(s workers.Stats) bool { return s.Failures >= 2 })
	require.ErrorIs(t, p.Health(), workers.ErrNotReady)
	records := p.logs.records("worker did not start")
	require.GreaterOrEqual(t, len(records), 1)
	require.Equal(t, "ImportError", records[0]["type"])

	var init *workers.InitError
	err := p.Do(newExchange("/hello")) // waits until the pool gives up hope
	require.ErrorIs(t, err, workers.ErrNotReady)
	require.ErrorAs(t, err, &init)
	require.GreaterOrEqual(t, p.Stats().Failures, uint64(5))
}

func TestFunctionThatWorksAgainIsFoundWithoutMin(t *testing.T) {
	t.Parallel()
	mark := t.TempDir() + "/mark"
	c := config(t, "init-error-later")
	c.Env = append(c.Env, "FNPOD_TEST_MARK="+mark)
	c.Min = 0
	p := run(t, c)
	require.ErrorIs(t, p.Do(newExchange("/exit?1")), workers.ErrDied)
	require.ErrorIs(t, p.Do(newExchange("/hello")), workers.ErrNotReady)
	require.ErrorIs(t, p.Do(newExchange("/hello")), workers.ErrNotReady)
	require.NoError(t, os.Remove(mark))
	p.settled(t, "a worker", func(s workers.Stats) bool { return s.Idle == 1 })
	require.NoError(t, p.Health())
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// W17: workers are replaced after a number of requests.
func TestWorkersAreRecycledWithTheSuccessorWarm(t *testing.T) {
	c := config(t, "good")
	c.MaxRequests = 5
	p := running(t, c)
	seen := map[string]int{}
	for range 100 {
		seen[p.get(t, "/pid")]++
		s := p.Stats()
		require.Positive(t, s.Idle+s.Busy, "never without a worker")
	}
	p.settled(t, "a recycled worker", func(s workers.Stats) bool { return s.Ends[workers.ReasonRecycled] > 0 && s.Idle == 1 })
	for len(seen) < 2 {
		seen[p.get(t, "/pid")]++
	}
	s := p.Stats()
	require.Zero(t, s.Ends[workers.ReasonExited]+s.Ends[workers.ReasonSignaled])
}

func TestWorkerAsksToBeReplaced(t *testing.T) {
	p := running(t, config(t, "good"))
	old := p.get(t, "/recycle")
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Ends[workers.ReasonRecycled] == 1 && s.Idle == 1 })
	require.NotEqual(t, old, p.get(t, "/pid"))
}

// W17: workers are replaced after a time, one after the other, also those that have nothing to do.
func TestW17WorkersAreReplacedWhenTheyAreOld(t *testing.T) {
	t.Parallel()
	c := config(t, "good")
	c.Min, c.Max, c.MaxAge = 2, 2, 300*time.Millisecond
	p := running(t, c)
	p.settled(t, "both replaced", func(s workers.Stats) bool {
		require.LessOrEqual(t, s.Starting, 2)
		return s.Ends[workers.ReasonRecycled] >= 2
	})
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// W15: a ceiling for the memory of one worker, between requests.
func TestLargeWorkersAreReplaced(t *testing.T) {
	c := config(t, "good")
	c.MaxRSS = 1 << 20 // a Go program is larger at once
	p := running(t, c)
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Ends[workers.ReasonRecycled] >= 1 })
}

func TestRunEndsWithItsContext(t *testing.T) {
	c := config(t, "good")
	c.Min, c.Max = 2, 2
	p := running(t, c)
	x := newExchange("/sleep?200")
	got := make(chan error, 1)
	go func() { got <- p.Do(x) }()
	p.settled(t, "busy", func(s workers.Stats) bool { return s.Busy == 1 })
	require.NoError(t, p.stop())
	require.NoError(t, <-got, "the request in flight was finished")
	require.Equal(t, "slept", x.text())
	require.ErrorIs(t, p.Do(newExchange("/hello")), workers.ErrClosed)
	s := p.Stats()
	require.Zero(t, s.Starting+s.Idle+s.Busy+s.Leaving)
	require.EqualValues(t, 2, s.Ends[workers.ReasonStopped])
}

// W10: who ignores the end is killed after the grace time.
func TestGraceEndsWorkersThatStay(t *testing.T) {
	for _, mode := range []string{"ignores-drain", "good"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := config(t, mode)
			c.Grace = 100 * time.Millisecond
			p := running(t, c)
			got := make(chan error, 1)
			if mode == "good" {
				go func() { got <- p.Do(newExchange("/hang")) }()
				p.settled(t, "busy", func(s workers.Stats) bool { return s.Busy == 1 })
			} else {
				got <- workers.ErrClosed
			}
			require.NoError(t, p.stop())
			require.ErrorIs(t, <-got, workers.ErrClosed)
		})
	}
}

func TestStopDuringSlowStart(t *testing.T) {
	p := run(t, config(t, "silent"))
	p.settled(t, "starting", func(s workers.Stats) bool { return s.Starting == 1 })
	require.NoError(t, p.stop())
}

func TestDoWaitsForSlowStart(t *testing.T) {
	p := run(t, config(t, "slow-start"))
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// R7, P3: a panic gives the slot back.
func TestPanicOfExchangeCostsTheWorkerOnly(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/hello")
	x.onWrite = func(*exchange, []byte) (int, error) { panic("bug") }
	require.Panics(t, func() { _ = p.Do(x) })
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.EqualValues(t, 2, p.Stats().Starts)
}

func signal(t testing.TB, pid string, s syscall.Signal) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(n, s))
}

// stopped reports whether all threads of a process are stopped.
func stopped(t testing.TB, pid string) bool {
	t.Helper()
	stats, err := filepath.Glob("/proc/" + pid + "/task/*/stat")
	require.NoError(t, err)
	for _, file := range stats {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(b), ") ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

// W16, L12: want of descriptors is no fault of the function: the pool waits.
func TestW16LackOfMeansAtTheStartIsWaitedOut(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) })
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 10, Max: limit.Max}))
	p := run(t, config(t, "good"))
	p.settled(t, "several tries", func(s workers.Stats) bool { return s.Failures >= 5 })
	err := p.Do(newExchange("/hello"))
	require.ErrorIs(t, err, workers.ErrNotReady, "refused, not kept waiting")
	require.ErrorIs(t, p.Health(), workers.ErrNotReady)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	<-p.Ready()
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// A pool that may grow does so at once for those who wait; one that must shrink ends
// what is too much when its work is done.
func TestSetMaxWhileRequestsRun(t *testing.T) {
	c := config(t, "good")
	c.IdleTimeout = 0
	p := running(t, c)
	var g sync.WaitGroup
	for range 3 {
		g.Go(func() { require.NoError(t, p.Do(newExchange("/sleep?300"))) })
	}
	p.settled(t, "one may run", func(s workers.Stats) bool { return s.Busy == 1 && s.Waiting == 2 })
	p.SetMax(3)
	p.settled(t, "all may run", func(s workers.Stats) bool { return s.Busy == 3 })
	p.SetMax(1)
	g.Wait()
	p.settled(t, "one is left", func(s workers.Stats) bool { return s.Idle == 1 && s.Busy+s.Leaving == 0 })
	require.Equal(t, "hello", p.get(t, "/hello"))
}
