package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/e2e/hostile"
)

// hostileFlags are the limits that the table of hostile speaks of, and time-outs that a test can wait for.
var hostileFlags = []string{
	"--max-body", fmt.Sprint(hostile.MaxBody), "--head-timeout", "2s", "--body-timeout", "2s", "--answer-timeout", "2s", "--log-level", "error",
}

// lane is one pod with a function of its own. Cases on it follow each other; lanes run side by side.
type lane struct {
	*hostile.Runner
	pod   *pod
	began holdings
}

// openLanes starts pods, each before a function that records what reaches it.
func openLanes(t *testing.T, n int, begin func(t *testing.T, f *hostile.Function) *pod) []*lane {
	t.Helper()
	lanes := make([]*lane, n)
	for i := range lanes {
		f := startFunction(t)
		lanes[i] = &lane{Runner: &hostile.Runner{Function: f}, pod: begin(t, f)}
		lanes[i].Addr = lanes[i].pod.listen
	}
	for _, l := range lanes {
		l.pod.waitReady()
		http.DefaultClient.CloseIdleConnections()
		l.began = l.pod.holds()
	}
	return lanes
}

func startFunction(t *testing.T) *hostile.Function {
	t.Helper()
	f, err := hostile.StartFunction(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func beforeFunction(t *testing.T, f *hostile.Function) *pod {
	t.Helper()
	return begin(t, nil, "proxy", append([]string{"http://" + f.Addr()}, hostileFlags...)...)
}

// spread lets the lanes work through the items, each with its own next one. The last error of an item is reported.
func spread[L, T any](t *testing.T, lanes []L, items []T, work func(l L, item T) error) {
	t.Helper()
	next := make(chan T)
	failures := make(chan error, len(items))
	var all sync.WaitGroup
	for _, l := range lanes {
		all.Go(func() {
			for item := range next {
				if err := work(l, item); err != nil {
					failures <- err
				}
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	all.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
}

// slowFirst puts what waits for time-outs to the front, where others run beside.
func slowFirst(cases []hostile.Case) (ordered []hostile.Case) {
	for _, first := range []bool{true, false} {
		for _, c := range cases {
			if waits := c.Class == hostile.Slow || c.Script != nil && c.Script.Hangs; waits == first {
				ordered = append(ordered, c)
			}
		}
	}
	return ordered
}

// exactly plays a case and judges it by the letter.
func exactly(t *testing.T, l *lane, c hostile.Case) error {
	t.Helper()
	o, err := l.Run(t.Context(), c)
	if err == nil {
		err = hostile.Exact(c, o)
	}
	if err != nil {
		return fmt.Errorf("%s: %s (%s): %w\nsent: %.300q\nreceived: %.300q", c.Class, c.Name, c.Rules, err, c.Bytes(), o.Raw)
	}
	return nil
}

// Every row of the contract that can be seen on the wire: R1 to R7, S1 to S31, C1 to C15, heads, bodies, connections.
func TestHostileTable(t *testing.T) {
	cases := slowFirst(hostile.Cases())
	lanes := openLanes(t, 4, beforeFunction)
	spread(t, lanes, cases, func(l *lane, c hostile.Case) error { return exactly(t, l, c) })
	if !t.Failed() {
		addUp(t, lanes, cases)
	}
	restored(t, lanes)
}

// Where the bytes are cut into reads makes no difference, and what is malformed is refused without waiting for more.
func TestHostileTableInPieces(t *testing.T) {
	lanes := openLanes(t, 4, beforeFunction)
	for _, l := range lanes {
		l.NoProbeBehind = true
	}
	var cases []hostile.Case
	for _, c := range hostile.Cases() {
		if c.Class != hostile.Slow && c.Script == nil {
			cases = append(cases, c.Split(1))
		}
	}
	spread(t, lanes, cases, func(l *lane, c hostile.Case) error { return exactly(t, l, c) })
	restored(t, lanes)
}

// What reaches a handler of fnpod serve is read the same way: the handler passes on what it sees to the function that
// records it.
func TestHostileTableBeforeAHandler(t *testing.T) {
	lanes := openLanes(t, 2, func(t *testing.T, f *hostile.Function) *pod {
		t.Helper()
		return begin(t, []string{"HOSTILE_FUNCTION=" + f.Addr()}, "serve", append([]string{"testdata/hostile.py", "--workers-max", "1"}, hostileFlags...)...)
	})
	var cases []hostile.Case
	for _, c := range hostile.Cases() {
		if c.Script == nil && c.Class != hostile.Slow {
			cases = append(cases, seenByHandler(c))
		}
	}
	spread(t, lanes, cases, func(l *lane, c hostile.Case) error { return exactly(t, l, c) })
	for _, l := range lanes {
		require.Zero(t, l.pod.series(`fnpod_worker_deaths_total{reason="protocol"}`))
	}
	restored(t, lanes)
}

// seenByHandler leaves out what a handler is not shown.
func seenByHandler(c hostile.Case) hostile.Case {
	c.Reads = slices.Clone(c.Reads)
	c.Bodies = []string{}
	for i := range c.Reads {
		r := &c.Reads[i]
		r.Trailers, r.Lines = nil, nil
		if strings.Count(r.Target, "?") == 1 {
			r.Target = strings.TrimSuffix(r.Target, "?")
		}
		body := r.Method + " " + r.Target
		if r.Method == "HEAD" {
			body = ""
		}
		c.Bodies = append(c.Bodies, body)
	}
	return c
}

// addUp compares the counters of all lanes with what the cases say (rules R6, M1).
func addUp(t *testing.T, lanes []*lane, cases []hostile.Case) {
	t.Helper()
	rejected, faults := map[string]float64{}, map[string]float64{}
	for _, c := range cases {
		switch c.Must {
		case hostile.Refuse, hostile.Cut:
			rejected[c.Reason]++
		case hostile.Fault, hostile.CutAnswer:
			faults[c.Reason]++
		default:
		}
	}
	delete(rejected, "")
	sum := func(series, reason string) (n float64) {
		for _, l := range lanes {
			n += l.pod.series(fmt.Sprintf("%s{reason=%q}", series, reason))
		}
		return n
	}
	same := func(want float64, series, reason string) {
		t.Helper()
		require.Eventually(t, func() bool { return sum(series, reason) == want }, 5*time.Second, 5*time.Millisecond, // a client that left is counted later
			"%s %s: %v instead of %v", series, reason, sum(series, reason), want)
	}
	for reason := range strings.FieldsSeq("request_line version method target host header header_size header_count framing body_size chunk trailer expect upgrade " +
		"timeout_head timeout_body cut conn_limit queue_full queue_timeout draining auth") {
		same(rejected[reason], "fnpod_rejected_total", reason)
	}
	for reason := range strings.FieldsSeq("connect timeout cut malformed header_size body_size status early_close reset panic") {
		same(faults[reason], "fnpod_upstream_errors_total", reason)
	}
	for _, l := range lanes {
		require.Zero(t, l.pod.series("fnpod_panics_total"))
		answered := l.pod.series("fnpod_requests_client_gone_total") + l.pod.series("fnpod_requests_aborted_total") + l.pod.series("fnpod_requests_in_flight")
		for _, class := range []string{"1xx", "2xx", "3xx", "4xx", "5xx"} {
			answered += l.pod.series(fmt.Sprintf("fnpod_requests_total{code=%q}", class))
		}
		require.InDelta(t, l.pod.series("fnpod_requests_accepted_total"), answered, 0, "rule P12")
	}
}

// restored expects slots, goroutines and descriptors to be what they were, but for connections to the function that wait
// to be used again, and two pipes through which large bodies went (rule P3).
func restored(t *testing.T, lanes []*lane) {
	t.Helper()
	for _, l := range lanes {
		l.began.files += max(l.pod.series(`fnpod_upstream_connections{state="idle"}`), 0) + 4
		l.pod.rests(l.began)
	}
}
