package workers_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// W11, P5: garbage, a wrong id, frames out of place, of the wrong size or cut kill the worker.
func TestWorkerThatMisbehavesIsReplaced(t *testing.T) {
	for _, c := range []struct {
		path string
		want error
		text string
	}{
		{"/garbage", workers.ErrProtocol, "frame of type"},
		{"/wrong-id", workers.ErrProtocol, "for request"},
		{"/type?5", workers.ErrProtocol, "WINDOW"},
		{"/type?1", workers.ErrProtocol, "frame of type 0x01"},
		{"/type?64", workers.ErrProtocol, "frame of type 0x40"},
		{"/half-frame", workers.ErrDied, "exit status 0"},
		{"/half-body", workers.ErrDied, "exit status 0"},
		{"/oversized", workers.ErrProtocol, "1073741824 bytes"},
		{"/oversized-meta", workers.ErrProtocol, "1073741824 bytes"},
		{"/oversized-lane", workers.ErrProtocol, "lane"},
		{"/data-first", workers.ErrProtocol, "out of place"},
		{"/ready-again", workers.ErrProtocol, "frame of type 0x12"},
		{"/close", workers.ErrProtocol, "closed its pipe"},
		{"/exit?3", workers.ErrDied, "exit status 3"},
		{"/exit?0", workers.ErrDied, "exit status 0"},
		{"/kill", workers.ErrDied, "killed by SIGKILL"},
	} {
		t.Run(c.path, func(t *testing.T) {
			t.Parallel()
			p := running(t, config(t, "good"))
			x := newExchange(c.path)
			err := p.Do(x)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.Zero(t, x.status, "nothing of it is forwarded")
			require.Equal(t, "hello", p.get(t, "/hello"))
			require.EqualValues(t, 2, p.Stats().Starts)
		})
	}
}

// W19, P5: a late answer reaches nobody.
func TestWorkerThatTalksOnAfterItsAnswerIsReplaced(t *testing.T) {
	for _, path := range []string{"/twice", "/twice-later", "/answer-then-die"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			p := running(t, config(t, "good"))
			require.Equal(t, "good", p.get(t, path))
			p.settled(t, "replaced", func(s workers.Stats) bool { return s.Starts == 2 && s.Idle == 1 })
			for range 3 {
				require.Equal(t, "hello", p.get(t, "/hello"))
			}
		})
	}
}

// R2, P11: what the death of a worker cut does not look whole.
func TestAnswerCutByDeathIsNoAnswer(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/stream-then-die")
	require.ErrorIs(t, p.Do(x), workers.ErrDied)
	require.Equal(t, "part", x.text())
	require.False(t, x.finished)
}

func TestIdleWorkersThatClosedTheirPipesAreReplacedTogether(t *testing.T) {
	t.Parallel()
	c := config(t, "good")
	c.Min, c.Max = 12, 12
	p := running(t, c)
	p.settled(t, "all idle", func(s workers.Stats) bool { return s.Idle == c.Max })
	answered := make(chan error, c.Max)
	for range c.Max {
		go func() { answered <- p.Do(newExchange("/answer-then-close")) }()
	}
	for range c.Max {
		require.NoError(t, <-answered)
	}
	p.settled(t, "seen", func(s workers.Stats) bool { return s.Ends[workers.ReasonProtocol] > 0 })
	first := time.Now()
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Starts == uint64(2*c.Max) && s.Idle == c.Max })
	require.Less(t, time.Since(first), 4*time.Second) // one after the other they take half a second each
}

func TestWorkerThatSaidByeGetsNoRequest(t *testing.T) {
	t.Parallel()
	c := function(t, "handler.js", `module.exports = async (req) => {
		if (req.path === '/late') {
			setTimeout(() => { throw new Error('late'); }, 5);
			await new Promise(() => {});
		}
		return 'good';
	};`)
	p := running(t, c)
	for range 3 {
		var raised *workers.HandlerError
		require.ErrorAs(t, p.Do(newExchange("/late")), &raised)
		require.Equal(t, "late", raised.Message)
		require.NoError(t, p.Do(post("/", make([]byte, 3<<20)))) // too large to be tried again
	}
	s := p.Stats()
	require.EqualValues(t, 3, s.Ends[workers.ReasonExited])
}

func TestTriesThatAllMetClosedPipes(t *testing.T) {
	t.Parallel()
	c := config(t, "slower-start") // so that there is nobody new to be tried
	c.Min, c.Max = 3, 3
	p := running(t, c)
	p.settled(t, "three idle", func(s workers.Stats) bool { return s.Idle == 3 })
	answered := make(chan error, c.Max)
	for range c.Max {
		go func() { answered <- p.Do(newExchange("/answer-then-close")) }()
	}
	for range c.Max {
		require.NoError(t, <-answered)
	}
	time.Sleep(5 * time.Millisecond)                    // longer than a worker is trusted unseen
	if err := p.Do(newExchange("/hello")); err != nil { // nil: the pool saw them first
		require.ErrorIs(t, err, workers.ErrProtocol)
	}
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// W13: a worker that does not read its input may answer.
func TestWorkerThatReadsNoMoreMayStillAnswer(t *testing.T) {
	c := config(t, "good")
	c.LaneBytes = 0
	p := running(t, c)
	x := post("/close-input", make([]byte, 4<<20))
	require.NoError(t, p.Do(x))
	require.Equal(t, "good", x.text())
	require.Equal(t, "hello", p.get(t, "/hello"))
}

// P6, R4: only what nobody has read is given to another worker.
func TestRequestThatTheDeadWorkerDidNotReadIsRunByAnother(t *testing.T) {
	p := running(t, config(t, "good"))
	old := p.get(t, "/pid")
	signal(t, old, syscall.SIGSTOP)
	require.Eventually(t, func() bool { return stopped(t, old) }, patience, time.Millisecond)
	x := newExchange("/pid")
	got := make(chan error, 1)
	go func() { got <- p.Do(x) }()
	p.settled(t, "busy", func(s workers.Stats) bool { return s.Busy == 1 })
	signal(t, old, syscall.SIGKILL)
	require.NoError(t, <-got)
	require.NotEqual(t, old, x.text())
}

// P1, P3: a kill costs one request.
func TestWorkerKilledAtAnyMomentCostsItsOwnRequestAtMost(t *testing.T) {
	c := config(t, "good")
	c.Min, c.Max = 2, 2
	p := running(t, c)
	for range 20 {
		signal(t, p.get(t, "/pid"), syscall.SIGKILL)
		if x := newExchange("/hello"); p.Do(x) != nil {
			require.Zero(t, x.status)
		}
		require.Equal(t, "hello", p.get(t, "/hello"))
	}
	p.settled(t, "back to size", func(s workers.Stats) bool { return s.Idle == 2 && s.Ends[workers.ReasonSignaled] == 20 })
}

func TestDeathWhileIdleIsSeenAtOnce(t *testing.T) {
	p := running(t, config(t, "good"))
	old := p.get(t, "/pid")
	signal(t, old, syscall.SIGKILL)
	p.settled(t, "replaced", func(s workers.Stats) bool { return s.Starts == 2 && s.Idle == 1 })
	require.NotEqual(t, old, p.get(t, "/pid"))
	records := p.logs.records("worker died")
	require.Len(t, records, 1)
	require.Equal(t, "signaled", records[0]["reason"])
	require.Equal(t, "killed by SIGKILL", records[0]["exit"])
}

func TestBodiesOfAllSizes(t *testing.T) {
	for _, lane := range []int{0, 1 << 20} {
		c := config(t, "good")
		c.LaneBytes = lane
		p := running(t, c)
		for _, n := range []int{0, 1, 8 << 10, 8<<10 + 1, 64 << 10, 100_000, 1 << 20, 1<<20 + 1, 5 << 20} {
			body := make([]byte, n)
			for i := range body {
				body[i] = byte(rand.Uint32())
			}
			for name, x := range map[string]*exchange{
				"in memory":      post("/echo", body),
				"known length":   streamed("/echo", bytes.NewReader(body), int64(n)),
				"unknown length": streamed("/echo", bytes.NewReader(body), -1),
				"duplex":         streamed("/duplex", bytes.NewReader(body), -1),
			} {
				require.NoError(t, p.Do(x), name)
				require.True(t, bytes.Equal(body, x.answer.Bytes()), "%s, %d bytes, lane %d: got %d bytes", name, n, lane, x.answer.Len())
				require.True(t, x.finished)
			}
		}
		require.EqualValues(t, 1, p.Stats().Starts, "one worker did it all")
	}
}

func TestLengthOfStreamedBodyIsKnown(t *testing.T) {
	c := config(t, "good")
	c.LaneBytes = 0
	p := running(t, c)
	x := streamed("/meta", strings.NewReader("abc"), 3)
	require.NoError(t, p.Do(x))
	require.Contains(t, x.text(), "|content-length|3")
}

// W13: an early answer is taken.
func TestAnswerBeforeTheWholeRequestWasRead(t *testing.T) {
	c := config(t, "good")
	c.LaneBytes = 0
	p := running(t, c)
	for range 20 {
		x := streamed("/early", endless{}, -1)
		require.NoError(t, p.Do(x))
		require.Equal(t, "early", x.text())
		y := post("/early", make([]byte, 3<<20))
		require.NoError(t, p.Do(y))
		require.Equal(t, "early", y.text())
	}
	require.Equal(t, "41", p.get(t, "/served"))
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return min(len(p), 4096), nil }

func TestStreamedAnswer(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/stream?3000000")
	require.NoError(t, p.Do(x))
	require.Equal(t, int64(-1), x.length)
	require.Equal(t, 3_000_000, x.answer.Len())
	require.Equal(t, []string{"x-a: 1", "x-a: 2"}, x.fields)

	x = newExchange("/trailers")
	require.NoError(t, p.Do(x))
	require.Equal(t, "body", x.text())
	require.Equal(t, []string{"x-sum: 42"}, x.trailers)

	x = newExchange("/interim")
	require.NoError(t, p.Do(x))
	require.Equal(t, "final", x.text())
}

func TestDeclaredLengthIsKept(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/declared?5")
	require.NoError(t, p.Do(x))
	require.Equal(t, int64(5), x.length)
	for _, target := range []string{"/declared?4", "/declared?6"} {
		x = newExchange(target)
		require.ErrorIs(t, p.Do(x), workers.ErrBadAnswer)
		require.False(t, x.finished)
	}
	require.EqualValues(t, 1, p.Stats().Starts)
}

func TestUnusableAnswersCostNoWorker(t *testing.T) {
	p := running(t, config(t, "good"))
	for _, target := range []string{"/status?0", "/status?600", "/status?99", "/bad-header", "/odd-meta"} {
		x := newExchange(target)
		require.ErrorIs(t, p.Do(x), workers.ErrBadAnswer, target)
		require.False(t, x.finished)
	}
	require.EqualValues(t, 1, p.Stats().Starts)
}

func TestAnswersWithoutBody(t *testing.T) {
	p := running(t, config(t, "good"))
	for _, target := range []string{"/status?204", "/status?304"} {
		x := newExchange(target)
		require.NoError(t, p.Do(x))
		require.Zero(t, x.writes)
	}
	x := newExchange("/hello")
	x.set("HEAD", "/hello")
	require.NoError(t, p.Do(x))
	require.Equal(t, int64(5), x.length)
	require.Zero(t, x.writes)
}

func TestFunctionThatRaises(t *testing.T) {
	p := running(t, config(t, "good"))
	for target, status := range map[string]int{"/error?500": 500, "/error?418": 418, "/error?200": 500, "/error-midway": 500} {
		var raised *workers.HandlerError
		x := newExchange(target)
		require.ErrorAs(t, p.Do(x), &raised)
		require.Equal(t, status, raised.Status)
		require.Equal(t, "ValueError", raised.Type)
		require.False(t, x.finished)
	}
	require.EqualValues(t, 1, p.Stats().Starts)
	require.Len(t, p.logs.records("function failed"), 4)
	found := false
	for _, r := range p.logs.records("function failed") {
		found = found || r["traceback"] == "Traceback\n  line" && r["request_id"] == "id-1" && r["message"] == "no such thing"
	}
	require.True(t, found)
}

// W9, P4: a worker that hangs is killed, and the slot is held until then.
func TestRunLimitKillsTheWorker(t *testing.T) {
	c := config(t, "good")
	c.Timeout = 100 * time.Millisecond
	p := running(t, c)
	x := newExchange("/hang")
	require.ErrorIs(t, p.Do(x), workers.ErrTimeout)
	require.Equal(t, "hello", p.get(t, "/hello"))
	p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonTimeout] == 1 && s.Starts == 2 })
}

// W9, P10: so does the deadline of the request.
func TestDeadlineKillsTheWorker(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/hang")
	x.deadline = 50 * time.Millisecond
	require.ErrorIs(t, p.Do(x), workers.ErrTimeout)
	require.Equal(t, "hello", p.get(t, "/hello"))
}

func TestShorterDeadlineAfterLongerOne(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/hello")
	x.deadline = time.Hour
	require.NoError(t, p.Do(x))
	y := newExchange("/hang")
	y.deadline = 50 * time.Millisecond
	require.ErrorIs(t, p.Do(y), workers.ErrTimeout)
}

// P7: the function is stopped when nobody wants its answer.
func TestInterruptionKillsTheWorkerAtOnce(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/hang")
	require.ErrorIs(t, interrupted(t, p, x, errDeadline), errDeadline)
	require.Equal(t, "hello", p.get(t, "/hello"))
	p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonCanceled] == 1 })
}

// interrupted runs a request and interrupts it when the function has it; before
// that the worker would not hear of either.
func interrupted(t *testing.T, p *pool, x *exchange, cause error) error {
	t.Helper()
	before := p.logs.running()
	return interruptedWhen(t, p, x, cause, func(workers.Stats) bool { return p.logs.running() > before })
}

func interruptedWhen(t *testing.T, p *pool, x *exchange, cause error, running func(workers.Stats) bool) error {
	t.Helper()
	got := make(chan error, 1)
	go func() { got <- p.Do(x) }()
	p.settled(t, "running", running)
	x.interrupt(cause)
	return <-got
}

// P4, P7: the slot is held as long as the function works.
func TestFunctionMayFinishAfterItsClientLeft(t *testing.T) {
	c := config(t, "good")
	c.ClientGrace = time.Hour
	p := running(t, c)
	x := newExchange("/sleep?200")
	require.ErrorIs(t, interrupted(t, p, x, errGone), errGone)
	require.Zero(t, x.status)
	require.Equal(t, 1, p.Stats().Idle, "the slot is held until the function has finished")

	y := newExchange("/until-cancel")
	require.ErrorIs(t, interrupted(t, p, y, errGone), errGone)
	require.Empty(t, p.logs.records("function failed"), "a cancelled function is no news")
	require.EqualValues(t, 1, p.Stats().Starts)
}

func TestFunctionIsKilledWhenTheGraceTimeEnds(t *testing.T) {
	for _, grace := range []time.Duration{0, 50 * time.Millisecond} {
		c := config(t, "good")
		c.ClientGrace = grace
		p := running(t, c)
		require.ErrorIs(t, interrupted(t, p, newExchange("/hang"), errGone), errGone)
		require.Equal(t, "hello", p.get(t, "/hello"))
		p.settled(t, "counted", func(s workers.Stats) bool { return s.Ends[workers.ReasonCanceled] == 1 })
	}
}

func TestClientThatCannotBeWritten(t *testing.T) {
	p := running(t, config(t, "good"))
	x := newExchange("/stream?5000000")
	x.onWrite = func(*exchange, []byte) (int, error) { return 0, io.ErrClosedPipe }
	require.ErrorIs(t, p.Do(x), io.ErrClosedPipe)
	require.Equal(t, 1, x.writes)
	x = newExchange("/hello")
	x.onWrite = func(*exchange, []byte) (int, error) { return 0, io.ErrClosedPipe }
	require.ErrorIs(t, p.Do(x), io.ErrClosedPipe)
	require.Equal(t, "3", p.get(t, "/served"))
}

// R2: a cut body is no body.
func TestCutUploadNeverLooksWhole(t *testing.T) {
	cut := errors.New("cut")
	for _, length := range []int64{-1, 1000, 3 << 20} {
		c := config(t, "good")
		c.ClientGrace = 50 * time.Millisecond
		p := running(t, c)
		x := streamed("/echo", io.MultiReader(strings.NewReader("abc"), broken{cut}), length)
		require.ErrorIs(t, p.Do(x), cut)
		require.Zero(t, x.status)
		require.Equal(t, "hello", p.get(t, "/hello"))
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// W12: what a function prints is no part of its answer.
func TestOutputBecomesLogRecords(t *testing.T) {
	p := running(t, config(t, "good"))
	require.Equal(t, "printed", p.get(t, "/print"))
	require.Eventually(t, func() bool { return p.logs.count("function output") == 2 }, patience, time.Millisecond)
	for _, r := range p.logs.records("function output") {
		require.Equal(t, "printed to "+r["stream"].(string), r["line"])
		require.Equal(t, "id-1", r["request_id"])
		require.EqualValues(t, 1, r["worker"])
	}
	require.Equal(t, "logged", p.get(t, "/log"))
	records := p.logs.records("function log")
	require.Len(t, records, 2)
	require.Equal(t, "WARN", records[1]["level"])
	require.Equal(t, "a word", records[1]["line"])
	require.Equal(t, map[string]any{"k": "v"}, records[1]["fields"])
}

// W14: floods of output and of log frames stop nobody.
func TestFloodsStopNobody(t *testing.T) {
	p := running(t, config(t, "good"))
	require.Equal(t, "flooded", p.get(t, "/flood"))
	require.Equal(t, "first", p.get(t, "/log-flood"))
	require.Equal(t, "hello", p.get(t, "/hello"))
	p.settled(t, "all read", func(s workers.Stats) bool {
		return p.logs.count("function log")+int(s.Dropped)/(8<<10) == 201
	})
	require.EqualValues(t, 1, p.Stats().Starts)
}

// W14: log frames are as much output as lines are, and what is left out is told of.
func TestW14LogFramesHaveARate(t *testing.T) {
	p := running(t, config(t, "good"))
	for range 2 {
		require.Equal(t, "first", p.get(t, "/log-flood"))
	}
	require.Equal(t, "hello", p.get(t, "/hello"))
	p.settled(t, "more than a burst", func(s workers.Stats) bool { return s.Dropped > 0 })
	p.settled(t, "told of", func(workers.Stats) bool {
		_ = p.get(t, "/log")
		for _, r := range p.logs.records("function log") {
			if r["dropped_bytes"] != nil {
				return true
			}
		}
		return false
	})
}

func TestIdleWorkerThatLogsIsHeard(t *testing.T) {
	p := running(t, config(t, "good"))
	require.Equal(t, "first", p.get(t, "/log-flood"))
	p.settled(t, "all read", func(workers.Stats) bool { return p.logs.count("function log") > 100 })
}
