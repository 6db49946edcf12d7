package workers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// W7: a function that ends right after it became ready is started again with
// pauses that grow, however many requests come; they are refused and the pool is
// not ready.
func TestW7AFunctionThatEndsWhenItIsReadyIsStartedWithPauses(t *testing.T) {
	t.Parallel()
	p := running(t, config(t, "exit-after-ready"))
	refused := func() bool { return errors.Is(p.Do(newExchange("/hello")), workers.ErrNotReady) }
	require.Eventually(t, refused, patience, time.Millisecond)
	require.EqualValues(t, 5, p.Stats().Ends[workers.ReasonExited])
	require.ErrorIs(t, p.Health(), workers.ErrNotReady)
	require.ErrorContains(t, p.Health(), "exit status 9")
	require.LessOrEqual(t, p.Stats().Starts, uint64(8), "one for each pause, and those that took a request along")
}

// W7: the pauses double from 0.1 s to 10 s, and are spread by as much as half.
func TestW7PausesDoubleToTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := workers.New(workers.DefaultConfig())
		most := 100 * time.Millisecond
		for range 100 {
			pause := p.BackOff()
			require.LessOrEqual(t, pause, most)
			require.GreaterOrEqual(t, pause, most/2)
			most = min(2*most, 10*time.Second)
		}
	})
}

// W7: a worker that has seen a request to its end costs no pause.
func TestW7AFunctionThatAnswersIsStartedAtOnce(t *testing.T) {
	t.Parallel()
	p := running(t, config(t, "good"))
	for i := range 10 {
		require.Equal(t, "hello", p.get(t, "/hello"))
		require.ErrorIs(t, p.Do(newExchange("/exit?3")), workers.ErrDied)
		p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonExited] == uint64(i+1) })
	}
}

// W10, P4: a request whose worker does not die is answered; the worker keeps its
// place until it is gone.
func TestW10AWorkerThatDoesNotDieKeepsItsPlace(t *testing.T) {
	t.Parallel()
	c := config(t, "good")
	c.Timeout = 100 * time.Millisecond
	var mortal atomic.Bool
	var immortal atomic.Pointer[watchdog.Process]
	p := running(t, c, func(p *workers.Pool) {
		p.SetKill(func(process *watchdog.Process) {
			if mortal.Load() {
				process.Kill()
			} else {
				immortal.Store(process)
			}
		})
	})
	require.ErrorIs(t, p.do(t, newExchange("/hang")), workers.ErrTimeout)
	s := p.Stats()
	require.Equal(t, 1, s.Stuck)
	require.EqualValues(t, 1, s.Starts)
	require.Equal(t, 1, p.logs.count("worker was killed and does not end"))
	require.ErrorIs(t, p.do(t, newExchange("/hello")), workers.ErrNotReady, "no place, and none is expected")
	require.ErrorIs(t, p.Health(), workers.ErrNotReady)
	mortal.Store(true)
	immortal.Load().Kill()
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Stuck == 0 && s.Idle == 1 })
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.EqualValues(t, 1, p.Stats().Ends[workers.ReasonTimeout])
}

// R7, P4: a panic in the path of a request costs its worker, and the slot is
// given back when it is dead.
func TestR7APanicEndsTheWorkerBeforeTheSlotIsFree(t *testing.T) {
	t.Parallel()
	p := running(t, config(t, "good"))
	pid, err := strconv.Atoi(p.get(t, "/pid"))
	require.NoError(t, err)
	x := newExchange("/hello")
	x.onWrite = func(*exchange, []byte) (int, error) { panic("a bug") }
	require.PanicsWithValue(t, "a bug", func() { _ = p.Do(x) })
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.Equal(t, "hello", p.get(t, "/hello"))
}

func TestTheLogNamesTheRequestThatDiedAndNoOther(t *testing.T) {
	t.Parallel()
	p := running(t, config(t, "good"))
	ready := p.logs.records("worker ready")
	require.Len(t, ready, 1)
	require.InDelta(t, 0, ready[0]["init_ms"], 0, "a number")
	pid, err := strconv.Atoi(p.get(t, "/pid"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Ends[workers.ReasonSignaled] == 1 && s.Idle == 1 })
	require.NotContains(t, p.logs.records("worker died")[0], "request_id")
	require.ErrorIs(t, p.Do(newExchange("/exit?3")), workers.ErrDied)
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Ends[workers.ReasonExited] == 1 })
	require.Equal(t, "id-1", p.logs.records("worker died")[1]["request_id"])
}

// W15: what the kernel kills for want of memory is told from other kills.
func TestW15AWorkerThatMemoryRanOutFor(t *testing.T) {
	dir := memoryGroup(t)
	if dir == "" {
		t.Log("no control group can be made here; TestW15AKillThatTheKernelCounted looks at the rest")
		return
	}
	c := function(t, "handler.py", fmt.Sprintf(`
import os
def handle(req):
    if req.path == "/pid":
        return str(os.getpid())
    with open(%q, "w") as f:
        f.write(str(os.getpid()))
    return str(len(bytearray(os.urandom(1 << 20)) * 200))
`, filepath.Join(dir, "cgroup.procs")))
	p := running(t, c, func(p *workers.Pool) {
		p.CountOOM(filepath.Join(dir, "memory.oom_control"), filepath.Join(dir, "memory.events"))
	})
	require.ErrorIs(t, p.Do(newExchange("/eat")), workers.ErrMemory)
	p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonOOM] == 1 && s.Idle == 1 })
	pid, err := strconv.Atoi(p.get(t, "/pid"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	p.settled(t, "another kill", func(s workers.Stats) bool { return s.Ends[workers.ReasonSignaled] == 1 })
}

// memoryGroup makes a control group of 64 MiB; "" where that is not possible.
func memoryGroup(t *testing.T) string {
	t.Helper()
	for root, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir := filepath.Join(root, fmt.Sprintf("fnpod-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { require.NoError(t, syscall.Rmdir(dir)) })
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			continue // an ordinary folder: there, the root of the groups holds nothing but their mounts
		}
		if os.WriteFile(filepath.Join(dir, limit), []byte("67108864"), 0o600) == nil {
			return dir
		}
	}
	return ""
}

// W15: the same with a count of our own.
func TestW15AKillThatTheKernelCounted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "memory.events")
	require.NoError(t, os.WriteFile(file, []byte("low 0\nhigh 0\nmax 0\noom 0\noom_kill 4\n"), 0o600))
	p := running(t, config(t, "good"), func(p *workers.Pool) { p.CountOOM(file) })
	x := newExchange("/kill")
	require.ErrorIs(t, p.Do(x), workers.ErrDied)
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.NoError(t, os.WriteFile(file, []byte("low 0\nhigh 0\nmax 0\noom 1\noom_kill 5\n"), 0o600))
	require.ErrorIs(t, p.Do(x), workers.ErrMemory)
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.ErrorIs(t, p.Do(x), workers.ErrDied)
	p.settled(t, "counted", func(s workers.Stats) bool {
		return s.Ends[workers.ReasonOOM] == 1 && s.Ends[workers.ReasonSignaled] == 2
	})
}

// touchy is a log handler that panics at one line of a worker: a bug of ours.
type touchy struct {
	slog.Handler
	line string
}

func (h touchy) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "line" && strings.Contains(a.Value.String(), h.line) {
			panic("a bug")
		}
		return true
	})
	return h.Handler.Handle(ctx, r)
}

func (touchy) Enabled(context.Context, slog.Level) bool { return true }

func (h touchy) WithAttrs(attrs []slog.Attr) slog.Handler {
	return touchy{h.Handler.WithAttrs(attrs), h.line}
}

// W20, R7: a panic while we listen to a worker costs this worker, whoever listens.
func TestW20APanicCostsItsWorker(t *testing.T) {
	t.Parallel()
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		c := config(t, "good")
		c.Log = slog.New(touchy{slog.DiscardHandler, "loading"})
		require.ErrorContains(t, workers.New(c).Run(t.Context()), "panic")
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		c := config(t, "good")
		ctx, stop := context.WithCancel(t.Context())
		c.Log = slog.New(touchy{slog.DiscardHandler, "xxxxxxxx"})
		p := workers.New(c)
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		<-p.Ready()
		func() {
			defer func() { _ = recover() }() // as the front door does, if the request has heard the first of it
			require.NoError(t, p.Do(newExchange("/log-flood")), "it goes on when the answer is out")
		}()
		require.Eventually(t, func() bool {
			s := p.Stats()
			return s.Ends[workers.ReasonProtocol]+s.Ends[workers.ReasonCanceled] == 1 && s.Idle == 1
		}, patience, time.Millisecond, "replaced")
		require.NoError(t, p.Do(newExchange("/hello")))
		stop()
		require.NoError(t, <-ended)
	})
}
