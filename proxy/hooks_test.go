package proxy_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

func TestHooks(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		for {
			c.answer(c.request().line)
		}
	})
	var mu sync.Mutex
	var ended []proxy.Outcome
	var answered []bool
	p := newPod(t, f.backend(), func(s *setup) {
		s.Queue.Limit, s.Queue.Depth = 1, 0
		s.Hooks = proxy.Hooks{
			Own: func(x *proxy.Exchange) bool {
				switch string(x.Request().Target) {
				case "/own":
					x.Respond(204, 0)
					require.NoError(t, x.Finish())
					return true
				case "/probe":
					x.Bypass([]byte("/ready?x"))
				}
				return false
			},
			Fields: func(x *proxy.Exchange, head, _ []byte) []byte {
				if x.Answered() {
					return append(bytes.ReplaceAll(head, []byte("X-A: "), []byte("X-B: ")), "X-Ran: yes\r\n"...)
				}
				return head
			},
			Ended: func(x *proxy.Exchange, o proxy.Outcome) {
				mu.Lock()
				defer mu.Unlock()
				ended, answered = append(ended, o), append(answered, x.Answered())
			},
		}
	})
	c := p.dial()
	require.Equal(t, 204, c.get("/own").code)
	require.Zero(t, f.calls.Load())
	r := c.get("/x")
	require.Equal(t, "GET /x HTTP/1.1", r.body)
	require.Equal(t, "yes", r.header.Get("X-Ran"))
	p.waitQueue(0, 0)
	require.True(t, p.queue.TryAcquire(0))
	require.Equal(t, "GET /ready?x HTTP/1.1", c.get("/probe").body, "it needs no slot")
	r = c.get("/x")
	require.Equal(t, 503, r.code)
	require.Empty(t, r.header.Get("X-Ran"))
	p.queue.Release(0)
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ended) == 4
	}, "all are reported")
	require.Equal(t, []bool{false, true, true, false}, answered)
	for i, status := range []int{204, 200, 200, 503} {
		require.Equal(t, status, ended[i].Status)
		require.True(t, ended[i].Whole)
		require.Equal(t, i == 0, ended[i].Own)
		require.Equal(t, i == 3, ended[i].Err != nil)
		require.EqualValues(t, len([]string{"", "GET /x HTTP/1.1", "GET /ready?x HTTP/1.1", "queue_full\n"}[i]), ended[i].Bytes)
	}
}

// A platform may refuse in words of its own.
func TestStatusesWithWordsOfTheirOwn(t *testing.T) {
	p := newPod(t, failing(proxy.ErrTimeout), func(s *setup) {
		s.Statuses = []proxy.Status{
			{Err: proxy.ErrTimeout, Code: 408, Label: "timeout", Text: "Killed process.\n", Fields: "X-Internal: watchdog\r\n"},
		}
	})
	r := p.dial().get("/")
	require.Equal(t, 408, r.code)
	require.Equal(t, "Killed process.\n", r.body)
	require.Equal(t, "watchdog", r.header.Get("X-Internal"))
	require.Empty(t, r.header.Get("Fnpod-Error"))
	require.Empty(t, r.header.Get("Content-Type"))
}

// The code of what was refused by its bytes stays; the words are the platform's.
func TestWordsOfTheirOwnForACodeThatStays(t *testing.T) {
	p := newPod(t, failing(proxy.ErrTimeout), func(s *setup) {
		s.Statuses = []proxy.Status{{Label: "framing", Text: "No.", Fields: "X-Internal: yes\r\n"}, {Code: 400, Label: "header_size", Text: "Too much."}}
	})
	c := p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
	r := c.receive("GET")
	require.Equal(t, 400, r.code)
	require.Equal(t, "No.", r.body)
	require.Equal(t, "yes", r.header.Get("X-Internal"))
	c = p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n")
	r = c.receive("GET")
	require.Equal(t, 400, r.code)
	require.Equal(t, "Too much.", r.body)
}

func failing(err error) proxy.Backend {
	return proxy.BackendFunc(func(*proxy.Exchange) error { return err })
}

func TestWaitedIsTheTimeInLine(t *testing.T) {
	waits := make(chan time.Duration, 3)
	f := newFunction(t, "tcp", func(c *fconn) {
		for {
			c.answer(c.request().line)
		}
	})
	p := newPod(t, f.backend(), func(s *setup) {
		s.Queue.Limit, s.Queue.Depth = 1, 1
		s.Hooks.Ended = func(x *proxy.Exchange, _ proxy.Outcome) { waits <- x.Waited() }
	})
	require.Equal(t, 200, p.dial().get("/").code)
	require.Zero(t, <-waits, "a slot was free")
	p.waitQueue(0, 0)
	require.True(t, p.queue.TryAcquire(0))
	c := p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	eventually(t, func() bool { return p.queue.Stats().Queued == 1 }, "it waits")
	p.queue.Release(0)
	require.Equal(t, 200, c.receive("GET").code)
	require.Positive(t, <-waits)
}
