package workers_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// several is a pool of one worker that runs as many requests at once.
func several(t testing.TB, n int) workers.Config {
	t.Helper()
	c := config(t, "several")
	c.Concurrency = n
	return c
}

// begun starts requests and returns when all have reached the function; the channel brings their results.
func begun(t testing.TB, p *pool, xs ...*exchange) <-chan error {
	t.Helper()
	before, results := p.logs.running(), make(chan error, len(xs))
	for _, x := range xs {
		go func() { results <- p.Do(x) }()
	}
	require.Eventually(t, func() bool { return p.logs.running() == before+len(xs) }, patience, time.Millisecond)
	return results
}

func exchanges(n int, target string) []*exchange {
	xs := make([]*exchange, n)
	for i := range xs {
		xs[i] = newExchange(target)
		xs[i].id = "id-" + strconv.Itoa(i)
	}
	return xs
}

// As many requests as it may run at once are on one worker, and no more.
func TestOneWorkerRunsSeveralRequests(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	results := make(chan error, 30)
	for _, x := range exchanges(30, "/sleep?100") {
		go func() { results <- p.Do(x) }()
	}
	p.settled(t, "ten of them", func(s workers.Stats) bool { return s.Waiting == 20 && s.Busy == 1 && p.logs.running() == 10 })
	for range 30 {
		require.NoError(t, <-results)
	}
	p.settled(t, "idle", func(s workers.Stats) bool { return s.Idle == 1 && s.Busy == 0 && s.Starts == 1 && s.Requests == 30 })
}

// Requests go to the worker that has least to do, and another is started when all are full.
func TestRequestsAreSpreadOverWorkers(t *testing.T) {
	t.Parallel()
	c := several(t, 2)
	c.Min, c.Max = 1, 2
	p := running(t, c)
	results := begun(t, p, exchanges(4, "/sleep?300")...)
	require.EqualValues(t, 2, p.Stats().Starts)
	for range 4 {
		require.NoError(t, <-results)
	}
	p.settled(t, "both idle", func(s workers.Stats) bool { return s.Idle == 2 })
	xs := exchanges(2, "/sleep?1000")
	results = begun(t, p, xs...)
	require.Equal(t, 2, p.Stats().Busy)
	require.NoError(t, errors.Join(<-results, <-results))
}

// P5: every answer belongs to its request, whatever else is on the worker.
func TestP5AnswersOfOneWorkerBelongToTheirRequests(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 50))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for n := range 20 {
				x := newExchange(fmt.Sprintf("/meta?%d.%d", i, n))
				if err := p.Do(x); err != nil || !strings.Contains(x.text(), fmt.Sprintf("|%d.%d|", i, n)) {
					t.Errorf("%v %q", err, x.text())
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, p.Stats().Starts)
}

// W7, W11: the end of a worker is the end of all requests on it, and of no other.
func TestW7W11AWorkerTakesItsRequestsAlong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target string
		want   error
	}{
		{"/exit?3", workers.ErrDied},
		{"/kill", workers.ErrDied},
		{"/close", workers.ErrProtocol},
		{"/garbage", workers.ErrProtocol},
		{"/wrong-id", workers.ErrProtocol},
		{"/half-frame", workers.ErrDied},
		{"/oversized", workers.ErrProtocol},
		{"/data-first", workers.ErrProtocol},
		{"/ready-again", workers.ErrProtocol},
		{"/type?127", workers.ErrProtocol},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			p := running(t, several(t, 10))
			results := begun(t, p, exchanges(5, "/sleep?60000")...)
			require.ErrorIs(t, p.Do(newExchange(c.target)), c.want)
			for range 5 {
				require.ErrorIs(t, <-results, c.want)
			}
			p.settled(t, "another", func(s workers.Stats) bool { return s.Starts == 2 && s.Idle == 1 && s.Leaving == 0 })
			require.Equal(t, "hello", p.get(t, "/hello"))
		})
	}
}

// P5: a second answer is found out when its first was the end of the request.
func TestP5ASecondAnswerEndsASharedWorker(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	require.Equal(t, "good", p.get(t, "/twice"))
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Ends[workers.ReasonProtocol] == 1 && s.Idle == 1 })
	require.Equal(t, "good", p.get(t, "/twice-later"))
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Ends[workers.ReasonProtocol] == 2 && s.Idle == 1 })
}

// R7: what a handler raises is its own request's.
func TestR7ARaisedErrorHarmsNoOther(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	results := begun(t, p, exchanges(3, "/sleep?200")...)
	var raised *workers.HandlerError
	require.ErrorAs(t, p.Do(newExchange("/error?500")), &raised)
	require.ErrorIs(t, p.Do(newExchange("/bad-header")), workers.ErrBadAnswer)
	for range 3 {
		require.NoError(t, <-results)
	}
	require.EqualValues(t, 1, p.Stats().Starts)
}

// W9, P4: a request whose time is up is answered at once and told to stop; the others go on.
func TestW9ATimeoutStopsOneRequest(t *testing.T) {
	t.Parallel()
	c := several(t, 10)
	c.Timeout = 5 * time.Second
	p := running(t, c)
	results := begun(t, p, exchanges(3, "/sleep?300")...)
	late := newExchange("/sleep?60000")
	late.deadline = 50 * time.Millisecond
	err := p.Do(late)
	require.ErrorIs(t, err, workers.ErrTimeout)
	var lingering *watchdog.Lingering
	require.ErrorAs(t, err, &lingering)
	lingering.Linger()
	for range 3 {
		require.NoError(t, <-results)
	}
	p.settled(t, "idle again", func(s workers.Stats) bool { return s.Idle == 1 && s.Starts == 1 })
}

// W9: the same for other reasons to give up: the pod's time-outs, and a client that leaves.
func TestW9AnInterruptionStopsOneRequest(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	for _, cause := range []error{errDeadline, errGone} {
		xs := exchanges(2, "/sleep?60000")
		results := begun(t, p, xs...)
		xs[0].interrupt(cause)
		require.ErrorIs(t, <-results, cause)
		require.Equal(t, "hello", p.get(t, "/hello"))
		xs[1].interrupt(cause)
		require.ErrorIs(t, <-results, cause)
	}
	p.settled(t, "idle again", func(s workers.Stats) bool { return s.Idle == 1 && s.Starts == 1 })
}

// W9: a worker with a request that does not end gets no more, has a successor, finishes the others, and is killed then.
func TestW9AStubbornRequestCostsItsWorkerLater(t *testing.T) {
	t.Parallel()
	c := several(t, 10)
	c.ClientGrace = 50 * time.Millisecond
	p := running(t, c)
	others := begun(t, p, exchanges(3, "/sleep?1000")...)
	late := newExchange("/stubborn?60000")
	late.deadline = 50 * time.Millisecond
	require.ErrorIs(t, p.Do(late), workers.ErrTimeout)
	p.settled(t, "a successor", func(s workers.Stats) bool { return s.Starts == 2 && s.Idle == 1 && s.Leaving == 1 })
	require.Equal(t, "hello", p.get(t, "/hello"))
	require.Len(t, p.logs.records("worker has a request that does not end"), 1)
	for range 3 {
		require.NoError(t, <-others)
	}
	p.settled(t, "killed", func(s workers.Stats) bool { return s.Leaving == 0 && s.Ends[workers.ReasonTimeout] == 1 })
}

// W9: a worker whose requests all stand still is killed although nobody gave the others up.
func TestW9ABlockedWorkerIsKilled(t *testing.T) {
	t.Parallel()
	c := several(t, 10)
	c.ClientGrace, c.Grace = 50*time.Millisecond, 100*time.Millisecond
	p := running(t, c)
	others := begun(t, p, exchanges(3, "/sleep?60000")...)
	blocked := newExchange("/blocked")
	blocked.deadline = 50 * time.Millisecond
	require.ErrorIs(t, p.Do(blocked), workers.ErrTimeout)
	for range 3 {
		require.ErrorIs(t, <-others, workers.ErrDied)
	}
	require.Equal(t, "hello", p.get(t, "/hello"))
	p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonTimeout] == 1 })
}

// R4: requests that the dead worker had not read are run by another, those it had read are not.
func TestR4RequestsThatADeadSharedWorkerDidNotRead(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 100))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			target := "/hello"
			if i%10 == 0 {
				target = "/exit?1"
			}
			for range 10 {
				x := newExchange(target)
				err := p.Do(x)
				if err == nil && x.text() != "hello" || err != nil && !errors.Is(err, workers.ErrDied) && !errors.Is(err, workers.ErrNotReady) {
					t.Errorf("%v %q", err, x.text())
				}
			}
		})
	}
	all.Wait()
}

// R6: a worker may not make us hold more than its credit, even if nobody takes it.
func TestR6AnAnswerBeyondItsCreditEndsTheWorker(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	x := newExchange("/credit")
	held := make(chan struct{})
	x.onWrite = func(_ *exchange, b []byte) (int, error) {
		<-held
		return len(b), nil
	}
	result := make(chan error, 1)
	go func() { result <- p.Do(x) }()
	p.settled(t, "ended", func(s workers.Stats) bool { return s.Ends[workers.ReasonProtocol] == 1 })
	close(held)
	require.ErrorIs(t, <-result, workers.ErrProtocol)
}

func TestASharedWorkerSaysGoodbye(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	require.Equal(t, "bye", p.get(t, "/goodbye"))
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// R7: a panic in an Exchange stops its own request.
func TestR7APanicHarmsNoOtherRequest(t *testing.T) {
	t.Parallel()
	p := running(t, several(t, 10))
	results := begun(t, p, exchanges(2, "/sleep?200")...)
	x := newExchange("/hello")
	x.onWrite = func(*exchange, []byte) (int, error) { panic("exchange") }
	require.Panics(t, func() { _ = p.Do(x) })
	require.NoError(t, errors.Join(<-results, <-results))
	p.settled(t, "idle again", func(s workers.Stats) bool { return s.Idle == 1 && s.Starts == 1 })
}

// W17: a recycled worker finishes what it does while its successor takes what comes.
func TestW17ASharedWorkerIsRecycledUnderLoad(t *testing.T) {
	t.Parallel()
	c := several(t, 10)
	c.MaxRequests = 20
	p := running(t, c)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for p.Stats().Ends[workers.ReasonRecycled] < 3 {
				if err := p.Do(newExchange("/sleep?2")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	p.settled(t, "all old ones gone", func(s workers.Stats) bool {
		return s.Ends[workers.ReasonRecycled]+1 == s.Starts && s.Idle == 1 && s.Leaving == 0
	})
}

// The end of the pool lets requests finish, and does not wait for those that nobody waits for.
func TestASharedWorkerEndsWithItsPool(t *testing.T) {
	t.Parallel()
	c := several(t, 10)
	c.Grace = time.Minute
	p := running(t, c)
	xs := exchanges(3, "/sleep?300")
	results := begun(t, p, xs...)
	require.NoError(t, p.stop())
	for range 3 {
		require.NoError(t, <-results)
	}
	p = running(t, c)
	gone := newExchange("/stubborn?60000")
	results = begun(t, p, gone)
	gone.interrupt(errDeadline)
	require.ErrorIs(t, <-results, errDeadline)
	require.NoError(t, p.stop())
}

const severalPython = `
import asyncio
count = 0

async def handle(req):
    global count
    if req.path == '/together':
        count += 1
        while count < int(req.query):
            await asyncio.sleep(0.001)
        return 'together'
    if req.path == '/raise':
        raise KeyError('missing')
    if req.path == '/sleep':
        await asyncio.sleep(float(req.query))
    if req.path == '/stream':
        async def items():
            for _ in range(int(req.query)):
                yield b'x' * 1000
        return items()
    return req.body or 'hello'
`

const severalNode = `
let count = 0;
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
module.exports = async (req) => {
  if (req.path === '/together') {
    for (count++; count < Number(req.query);) await sleep(1);
    return 'together';
  }
  if (req.path === '/raise') throw new TypeError('missing');
  if (req.path === '/sleep') await sleep(1000 * Number(req.query));
  if (req.path === '/stream') return (async function* () { for (let i = 0; i < Number(req.query); i++) yield Buffer.alloc(1000, 'x'); })();
  return req.body.length ? req.body : 'hello';
};
`

// Async handlers of every language run several requests on one worker: bodies of all sizes, streams, errors, deadlines.
func TestAsyncHandlersRunSeveralRequests(t *testing.T) {
	for _, c := range []struct{ name, file, source string }{
		{"python", "handler.py", severalPython},
		{"node", "handler.js", severalNode},
		{"go", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cfg workers.Config
			if c.name == "go" {
				cfg = goHandler(t)
			} else {
				cfg = function(t, c.file, c.source)
			}
			if err := cfg.Validate(); err != nil {
				t.Skip("no interpreter: ", err)
			}
			cfg.Concurrency = 40
			p := running(t, cfg)
			var all sync.WaitGroup
			expect := func(x *exchange, want []byte) {
				all.Go(func() {
					if err := p.Do(x); err != nil || !bytes.Equal(x.answer.Bytes(), want) {
						t.Errorf("%v: %d bytes, want %d", err, x.answer.Len(), len(want))
					}
				})
			}
			if c.name != "go" {
				for range 40 {
					expect(newExchange("/together?40"), []byte("together"))
				}
				all.Wait()
			}
			for i, n := range []int{1, 8 << 10, 9 << 10, 100_000, 1 << 20, 3 << 20} {
				body := bytes.Repeat([]byte{byte(i), 'b', 255, '\n'}, n/4+1)[:n]
				expect(post("/echo", body), body)
				expect(streamed("/echo", bytes.NewReader(body), -1), body)
				expect(streamed("/echo", bytes.NewReader(body), int64(n)), body)
				x := newExchange("/stream?2000")
				expect(x, bytes.Repeat([]byte("x"), 2_000_000))
			}
			all.Wait()
			var raised *workers.HandlerError
			require.ErrorAs(t, p.Do(newExchange("/raise")), &raised)
			require.Contains(t, raised.Message, "missing")
			late := newExchange("/sleep?5")
			late.deadline = 20 * time.Millisecond
			err := p.Do(late)
			require.ErrorIs(t, err, workers.ErrTimeout)
			if c.name == "python" { // nothing stops a handler of Node, and this one in Go does not look
				var lingering *watchdog.Lingering
				require.ErrorAs(t, err, &lingering)
				lingering.Linger()
			}
			require.EqualValues(t, 1, p.Stats().Starts)
			require.NoError(t, p.stop())
		})
	}
}

// A function that can run only one request at once does so, whatever was asked for.
func TestASyncHandlerRunsOneRequestAtOnce(t *testing.T) {
	t.Parallel()
	c := function(t, "handler.py", "import time\ndef handle(req):\n    time.sleep(0.05)\n    return 'hello'\n")
	c.Concurrency = 10
	p := running(t, c)
	require.Len(t, p.logs.records("function runs one request at once: workers-concurrency is for async handlers"), 1)
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- p.Do(newExchange("/")) }()
	}
	p.settled(t, "they wait", func(s workers.Stats) bool { return s.Waiting == 2 })
	require.NoError(t, errors.Join(<-results, <-results, <-results))
}
