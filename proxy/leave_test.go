package proxy_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// leave ends a client in one of three ways.
func (c *client) leave(how string) {
	c.t.Helper()
	switch how {
	case "half":
		c.finish()
	case "close":
		require.NoError(c.t, c.nc.Close())
	case "reset":
		reset(c.nc)
	}
}

var waysToLeave = []string{"half", "close", "reset"}

// P7: a client that leaves while its request waits costs no slot and no run,
// whatever is unread of it.
func TestP7AClientThatLeavesTheQueueIsNotServed(t *testing.T) {
	for _, how := range waysToLeave {
		for _, sent := range []string{
			"GET /left HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /left HTTP/1.1\r\nHost: h\r\n\r\nGET /left HTTP/1.1\r\nHost: h\r\n\r\n",
			upload(chunkedFraming) + "3\r\nabc\r\n",
			"POST /left HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n" + string(pattern(100_000)),
		} {
			release := make(chan struct{})
			f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
				if strings.Contains(r.line, "/left") {
					t.Error("it was run")
				}
				<-release
				c.answer("")
			}))
			p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 1 })
			first, second := p.dial(), p.dial()
			first.send("GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
			p.waitQueue(1, 0)
			second.send(sent)
			p.waitQueue(1, 1)
			second.leave(how)
			left := time.Now()
			p.waitQueue(1, 0)
			t.Logf("%s: out of the line after %v", how, time.Since(left))
			p.waitGone()
			close(release)
			require.Equal(t, 200, first.receive("GET").code)
		}
	}
}

// P7: a client that leaves while its request runs ends it: the function sees its
// own client leave, and the slot is free again.
func TestP7AClientThatLeavesEndsItsRequest(t *testing.T) {
	for _, how := range waysToLeave {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(how+" "+network, func(t *testing.T) {
				if how == "reset" && network == "unix" {
					how = "close" // a unix socket knows no reset
				}
				seen := make(chan struct{})
				f := newFunction(t, network, func(c *fconn) {
					c.request()
					c.wait()
					close(seen)
				})
				p := newPod(t, f.backend(), over(network))
				c := p.dial()
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				p.waitQueue(1, 0)
				c.leave(how)
				<-seen
				p.waitQueue(0, 0)
				p.waitGone()
			})
		}
	}
}

// A client that leaves in the middle of an answer, or takes no more of it, ends the
// function's work. Neither is the function's fault (P7, L4).
func TestP7AClientThatLeavesEndsItsAnswer(t *testing.T) {
	for _, test := range []struct{ name, head, piece string }{
		{"chunked", "Transfer-Encoding: chunked", "8000\r\n" + string(pattern(0x8000)) + "\r\n"},
		{"spliced", "Content-Length: 100000000", string(pattern(0x8000))},
	} {
		for _, how := range []string{"close", "reset", "stall"} {
			t.Run(test.name+" "+how, func(t *testing.T) {
				seen := make(chan struct{})
				f := newFunction(t, "tcp", func(c *fconn) {
					defer close(seen)
					c.request()
					c.write("HTTP/1.1 200 OK\r\n", test.head, "\r\n\r\n")
					for range 1000 { // more than fits the sockets
						if _, err := io.WriteString(c, test.piece); err != nil {
							return
						}
					}
					c.wait()
				})
				p := newPod(t, f.backend(), func(s *setup) { s.WriteTimeout = 100 * time.Millisecond })
				c := p.dial()
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				r := c.head("GET")
				_, err := io.ReadFull(r.Body, make([]byte, 3))
				require.NoError(t, err)
				if how != "stall" {
					c.leave(how)
				}
				<-seen
				p.waitGone()
				require.Zero(t, p.count(nameFaults), "it is not the function's fault")
			})
		}
	}
}

// A client that sends its last request and the end of its side at once gets its
// answer, and its connection ends then: no event will tell of the end again.
func TestAHalfClosedConnectionIsAnsweredAndEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		p := newPod(t, newEcho(t, network).backend(), over(network))
		for range 20 {
			c := p.dial()
			c.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
			c.finish()
			require.Equal(t, "GET /1 HTTP/1.1\n", c.receive("GET").body)
			require.Equal(t, "GET /2 HTTP/1.1\n", c.receive("GET").body)
			c.requireEnd()
		}
		require.Zero(t, p.count(nameRejected))
	})
}

// The same for one that says nothing at all.
func TestAConnectionThatEndsAtOnceIsForgotten(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend())
	for _, how := range waysToLeave {
		c := p.dial()
		c.leave(how)
	}
	eventually(t, func() bool { return p.count("fnpod_connections") == 0 }, "connections are left")
	require.Zero(t, p.count(nameRejected))
}

// R7: a bug costs its request, not the process, and the slot comes back.
func TestAPanicIsA500(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		if string(x.Request().Target) == "/late" {
			x.Respond(200, 10)
			if _, err := x.Write([]byte("abc")); err != nil {
				return err
			}
		}
		panic("a bug")
	})
	p := newPod(t, b, func(s *setup) { s.Queue = queue.Config{Limit: 1, Depth: 1} })
	c := p.dial()
	for range 3 {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.requireCode(500, "panic")
	}
	c.send("GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
	c.requireCut(c.head("GET"))
	require.Equal(t, 4, p.count(namePanics))
}

// P4, P10: the client has its 504, the function is stopped.
func TestTimeoutsAnswer504AndStopTheFunction(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*setup)
	}{
		{"answer", func(s *setup) { s.AnswerTimeout = 30e6 }},
		{"total", func(s *setup) { s.Timeout = 30e6 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := make(chan struct{}, 1)
			f := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				c.wait()
				seen <- struct{}{}
			})
			p := newPod(t, f.backend(), test.change)
			c := p.dial()
			for range 2 {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				require.False(t, c.requireCode(504, "timeout").closes)
				<-seen
			}
			p.waitFault("timeout", 2)
			require.EqualValues(t, 2, f.calls.Load(), "a time-out is never followed by another attempt")
		})
	}
}

// P12: who is turned away before the queue is counted under the status it was answered with.
func TestP12WhoIsTurnedAwayIsAnswered(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.MaxBody, s.BodyTimeout = 1000, 50*time.Millisecond })
	for i, send := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		upload(lengthFraming(2000)),
		upload(lengthFraming(100)) + "too slow",
	} {
		c := p.dial()
		c.send(send)
		require.Equal(t, 4, c.receive("POST").code/100)
		c.requireEnd()
		r := p.metrics.Requests()
		require.EqualValues(t, i+1, r.Answered[4])
		require.EqualValues(t, i+1, r.Accepted)
	}
}
