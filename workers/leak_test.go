package workers_test

import (
	"fmt"
	"math"
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

	"github.com/fnpod/fnpod/workers"
)

// holdings is what a pool may not keep: goroutines, descriptors, children.
type holdings struct{ goroutines, files, children int }

func held(t *testing.T) (holdings, string) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	children := 0
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // that thread has ended
		}
		children += len(strings.Fields(string(b)))
	}
	stacks := goroutines()
	return holdings{len(stacks), len(files), children}, strings.Join(stacks, "\n\n")
}

// goroutines returns the stacks of those that run code of this module, tests
// apart. The plain number of goroutines would count what belongs to the testing
// package, to other tests, and to require.Eventually, which has one of its own.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var ours []string
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "fnpod/workers.") || strings.Contains(stack, "fnpod/watchdog.") {
			ours = append(ours, stack)
		}
	}
	return ours
}

// everything does to a pool what ends workers.
func everything(t *testing.T, c workers.Config) {
	t.Helper()
	c.Min, c.Max = 2, 2
	c.Timeout = 100 * time.Millisecond
	c.ClientGrace = 20 * time.Millisecond
	p := running(t, c)
	hello := func() { // which several requests on one worker may keep each other from
		require.Eventually(t, func() bool { return p.Do(newExchange("/hello")) == nil }, patience, time.Millisecond)
	}
	for _, target := range []string{
		"/hello", "/hang", "/exit?1", "/kill", "/garbage", "/half-frame", "/close", "/stream?1000000", "/recycle",
		"/twice", "/stream-then-die",
	} {
		hello()                       // so that the function does not count as failing
		_ = p.Do(newExchange(target)) // other tests look at what comes back
		hello()
		_ = p.Do(post(target, make([]byte, 3<<20)))
	}
	require.ErrorIs(t, interrupted(t, p, newExchange("/hang"), errGone), errGone)
	require.NoError(t, p.stop())
}

// TestNothingIsLeftBehind runs a pool through everything that ends workers.
//
// P3: goroutines, descriptors and children are at the level of before.
func TestNothingIsLeftBehind(t *testing.T) {
	round := func() {
		for _, c := range []workers.Config{config(t, "good"), several(t, 10)} {
			everything(t, c)
		}
	}
	// left waits until no more is held than allowed, which may be a moment after
	// Run has returned.
	left := func(most holdings) holdings {
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			now, stacks := held(t)
			if now.goroutines <= most.goroutines && now.files <= most.files && now.children <= most.children {
				return now
			}
			require.Truef(t, time.Now().Before(end), "allowed %+v, held %+v\n%s", most, now, stacks)
		}
	}
	round() // files that are opened once and kept
	before := left(holdings{files: math.MaxInt})
	for range 3 {
		round()
	}
	left(before)
}

// TestAnswersBelongToTheirRequests has clients compare what they get while
// workers are killed at random.
//
// P5: an answer belongs to its request.
func TestAnswersBelongToTheirRequests(t *testing.T) {
	c := config(t, "good")
	c.Min, c.Max = 3, 3
	p := running(t, c)
	end := make(chan struct{})
	var clients, killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
			x := newExchange("/pid")
			if p.Do(x) != nil {
				continue
			}
			if pid, err := strconv.Atoi(x.text()); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have been killed meanwhile
			}
		}
	})
	var mu sync.Mutex
	var wrong []string
	answered := 0
	for client := range 8 {
		clients.Go(func() {
			for i := range 300 {
				body := fmt.Sprintf("%d-%d-", client, i)
				body += strings.Repeat("x", (i%4)*10_000)
				x := post("/echo", []byte(body))
				err := p.Do(x)
				mu.Lock()
				switch {
				case err == nil && x.answer.String() == body:
					answered++
				case err == nil:
					wrong = append(wrong, "someone else's answer for "+body[:8])
				case x.status != 0:
					wrong = append(wrong, "answer and error for "+body[:8])
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	close(end)
	killer.Wait()
	require.Empty(t, wrong)
	require.Positive(t, answered)
	p.settled(t, "back to size", func(s workers.Stats) bool { return s.Idle == 3 && s.Busy == 0 && s.Waiting == 0 })
	require.Positive(t, p.Stats().Ends[workers.ReasonSignaled])
}

// TestGrandchildThatHoldsThePipes keeps nobody waiting: the process counts, not
// the end of the pipe.
func TestGrandchildThatHoldsThePipes(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/orphan")
	require.ErrorIs(t, p.Do(x), workers.ErrDied)
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// TestGrandchildThatHoldsThePipesOfASlowAnswer has the worker die while its
// answer is being written, and leave some of it unread.
func TestGrandchildThatHoldsThePipesOfASlowAnswer(t *testing.T) {
	p := running(t, config(t, "good"))
	shortest := patience
	for range 3 { // the machine may be busy
		x := newExchange("/stream-then-orphan")
		var last time.Time
		x.onWrite = func(x *exchange, b []byte) (int, error) {
			time.Sleep(150 * time.Millisecond)
			last = time.Now()
			return x.answer.Write(b)
		}
		require.ErrorIs(t, p.Do(x), workers.ErrDied)
		require.Equal(t, "partmore", x.text())
		shortest = min(shortest, time.Since(last))
	}
	require.Less(t, shortest, 400*time.Millisecond) // the pool itself looks after about two seconds
}
