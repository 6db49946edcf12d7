package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// P10: a client can shorten its request's time, by any of the fields that platforms
// use, and never lengthen it; the function is told what is left.
func TestP10ClientsShortenTheirTime(t *testing.T) {
	soon, late, past := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano), "2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
	for _, test := range []struct {
		fields      string
		least, most time.Duration // of what is left; 0 for neither: none; -1: refused
	}{
		{"", 0, 0},
		{"X-Timeout: 100\r\n", 99 * time.Second, 100 * time.Second},
		{"X-Timeout: 90s\r\n", 89 * time.Second, 90 * time.Second},
		{"x-timeout: 1.5m\r\n", 89 * time.Second, 90 * time.Second},
		{"Fn-Deadline: " + soon + "\r\n", 59 * time.Minute, time.Hour},
		{"ce-expirytime: " + soon + "\r\n", 59 * time.Minute, time.Hour},
		{"ce-expirytime: " + late + "\r\nX-Timeout: 5s\r\nFn-Deadline: " + soon + "\r\n", 4 * time.Second, 5 * time.Second},
		{"X-Timeout: 0\r\n", -1, 0},
		{"Fn-Deadline: " + past + "\r\n", -1, 0},
		{"X-Timeout: soon\r\n", 0, 0},
		{"X-Timeout: -5\r\n", 0, 0},
		{"X-Timeout: 1e300\r\n", 0, 0},
		{"Fn-Deadline: tomorrow\r\n", 0, 0},
		{"X-Timeout: 5\r\nX-Timeout: 6\r\n", 0, 0},
	} {
		for _, most := range []time.Duration{0, 30 * time.Second} {
			f := newFunction(t, "tcp", func(c *fconn) {
				for {
					c.answer(c.request().head)
				}
			})
			p := newPod(t, f.backend(), func(s *setup) { s.Timeout = most })
			c := p.dial()
			c.send("GET / HTTP/1.1\r\nHost: h\r\n", test.fields, "\r\n")
			if test.least < 0 {
				c.requireCode(504, "timeout")
				require.Zero(t, f.calls.Load(), "it does not start")
				continue
			}
			head := c.receive("GET").body
			want := test.most
			if most > 0 && (want == 0 || want > most) {
				want = most
			}
			if want == 0 {
				require.Equal(t, strings.Count(test.fields, "X-Timeout"), strings.Count(head, "X-Timeout"), "what is no time is not ours")
				continue
			}
			_, rest, found := strings.Cut(head, "X-Timeout: ")
			require.True(t, found, head)
			text, rest, _ := strings.Cut(rest, "\r\n")
			left, err := time.ParseDuration(text)
			require.NoError(t, err)
			require.LessOrEqual(t, left, want)
			require.Greater(t, left, want-patience)
			require.NotContains(t, strings.ToLower(rest), "x-timeout", "the client's own is replaced")
		}
	}
}

func TestADeadlineThatCannotBeMetIsRefusedAtOnce(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		for {
			c.request()
			c.answer("ok")
		}
	})
	p := newPod(t, f.backend(), func(s *setup) {
		s.Queue = queue.Config{Limit: 1, Depth: 10, Discipline: queue.Adaptive}
	})
	p.queue.Observe(time.Minute) // requests take that long, as far as is known
	require.True(t, p.queue.TryAcquire(0))
	c := p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-Timeout: 30\r\n\r\n")
	r := c.requireCode(503, "queue_late")
	require.NotEmpty(t, r.header.Get("Retry-After"))
	p.queue.Release(0)
	require.Equal(t, "ok", c.get("/").body)
}

func TestClassesAndKeys(t *testing.T) {
	block, entered := make(chan struct{}), make(chan string, 10)
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		entered <- string(x.Request().Target)
		<-block
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) {
		s.Queue = queue.Config{Limit: 1, Depth: 10, Discipline: queue.FIFO, Classes: []queue.Class{{}, {}, {}}, Lanes: 64}
		s.Classes = []proxy.ClassRule{{Field: "X-Plan", Value: "gold"}, {Path: "/api/"}, {}}
		s.Fairness = proxy.Fairness{Field: "X-User"}
	})
	ask := func(target, fields string) *client {
		c := p.dial()
		c.send("GET ", target, " HTTP/1.1\r\nHost: h\r\n", fields, "\r\n")
		return c
	}
	clients := []*client{ask("/first", "")}
	require.Equal(t, "/first", <-entered)
	for i, line := range []struct{ target, fields string }{
		{"/a1", "X-User: a\r\n"},
		{"/a2", "X-User: a\r\n"},
		{"/b1", "X-User: b\r\n"},
		{"/api/x", ""},
		{"/gold", "x-plan: gold\r\n"},
		{"/silver", "X-Plan: silver\r\n"},
	} {
		clients = append(clients, ask(line.target, line.fields))
		p.waitQueue(1, i+1)
	}
	var order []string
	for range len(clients) - 1 {
		block <- struct{}{}
		order = append(order, <-entered)
	}
	block <- struct{}{}
	require.Equal(t, []string{"/gold", "/api/x", "/a1"}, order[:3])
	require.Less(t, index(order, "/b1"), index(order, "/a2"), "keys take turns")
	for _, c := range clients {
		require.Equal(t, 200, c.receive("GET").code)
	}
}

func index(all []string, one string) int {
	for i, s := range all {
		if s == one {
			return i
		}
	}
	return -1
}

func TestServerTimingTellsWhereTheTimeWent(t *testing.T) {
	p := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, 2)
		if _, err := x.Write([]byte("ok")); err != nil {
			return err
		}
		return x.Finish()
	}), func(s *setup) { s.Timing, s.Queue.Limit, s.Queue.Depth = true, 1, 0 })
	c := p.dial()
	require.Regexp(t, `^queue;dur=0\.\d{3}, run;dur=\d+\.\d{3}$`, c.get("/").header.Get("Server-Timing"))
	p.waitQueue(0, 0)
	require.True(t, p.queue.TryAcquire(0))
	r := c.get("/")
	require.Equal(t, 503, r.code)
	require.Regexp(t, `^queue;dur=\d+\.\d{3}, run;dur=0\.000$`, r.header.Get("Server-Timing"))
	require.Equal(t, "queue-depth=0", r.header.Get("Fnpod-Limit"))
	p.queue.Release(0)
}
