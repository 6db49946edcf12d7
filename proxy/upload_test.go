package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// upload begins a request whose body is streamed.
func upload(framing string) string {
	return "POST /up HTTP/1.1\r\nHost: h\r\n" + framing + "\r\n\r\n"
}

const chunkedFraming = "Transfer-Encoding: chunked"

func lengthFraming(n int) string { return fmt.Sprintf("Content-Length: %d", n) }

// R2: whatever ends an upload early, the function never sees it whole.
func TestACutUploadNeverLooksWhole(t *testing.T) {
	large := string(pattern(1 << 20))
	for _, test := range []struct{ name, send string }{
		{"small body", upload(lengthFraming(100)) + "abc"},
		{"middle body", upload(lengthFraming(30_000)) + "abc"},
		{"streamed body", upload(lengthFraming(100_000)) + large[:70_000]},
		{"spliced body", upload(lengthFraming(2<<20)) + large},
		{"inside a chunk", upload(chunkedFraming) + "A\r\nabc"},
		{"after a chunk's data", upload(chunkedFraming) + "3\r\nabc"},
		{"chunk boundary", upload(chunkedFraming) + "3\r\nabc\r\n"},
		{"after the last chunk", upload(chunkedFraming) + "3\r\nabc\r\n0\r\n"},
		{"inside the trailers", upload(chunkedFraming) + "3\r\nabc\r\n0\r\nX: y\r\n"},
	} {
		for _, how := range []string{"FIN", "RST"} {
			t.Run(test.name+" "+how, func(t *testing.T) {
				whole := make(chan bool, 1)
				f := newFunction(t, "tcp", func(c *fconn) {
					defer close(whole)
					if _, err := c.readRequest(); err == nil {
						whole <- true
					}
				})
				p := newPod(t, f.backend())
				c := p.dial()
				c.send(test.send)
				if how == "FIN" {
					c.finish()
					got, _ := c.rawRest()
					if got != "" {
						require.True(t, strings.HasPrefix(got, "HTTP/1.1 400 "), got)
						require.Contains(t, got, "Fnpod-Error: cut\r\n")
					}
				} else {
					reset(c.nc)
				}
				if strings.HasPrefix(test.name, "small") || strings.HasPrefix(test.name, "middle") {
					p.waitRejected("cut")
					require.Zero(t, f.opened.Load(), "nothing was sent to the function")
					return
				}
				require.False(t, <-whole, "the function saw a whole request")
				if how == "FIN" {
					p.waitRejected("cut")
				}
				p.waitQueue(0, 0)
			})
		}
	}
}

// A client that stops inside a body has cut its request, also when that has run so long that its end is watched for:
// the reason is cut (§3).
func TestACutUploadOfALongRequestIsCut(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.readHead()
		c.wait()
	})
	p := newPod(t, f.backend())
	var clients []*client
	for range 20 {
		c := p.dial()
		c.send(upload(chunkedFraming), "3\r\nabc\r\n")
		clients = append(clients, c)
	}
	p.waitQueue(20, 0)
	time.Sleep(60 * time.Millisecond) // long enough to be watched; right if not
	for i, c := range clients {
		if i%2 == 0 {
			c.finish()
			got, _ := c.rawRest()
			require.True(t, got == "" || strings.HasPrefix(got, "HTTP/1.1 400 "), got)
		} else {
			reset(c.nc)
		}
	}
	eventually(t, func() bool { return p.count(nameRejected, "cut") == 20 }, "cut requests are counted")
	require.Zero(t, p.count(nameFaults))
}

func TestBadBodiesAreTheClientsFault(t *testing.T) {
	for _, test := range []struct {
		name, send, later string
		code              int
		label             string
	}{
		{"malformed chunk at once", upload(chunkedFraming) + "zz\r\n", "", 400, "chunk"},
		{"malformed chunk later", upload(chunkedFraming) + "3\r\nabc\r\n", "zz\r\n", 400, "chunk"},
		{"wrong end of a chunk", upload(chunkedFraming) + "3\r\nabc", "XX3\r\nabc\r\n0\r\n\r\n", 400, "chunk"},
		{"malformed trailer", upload(chunkedFraming) + "3\r\nabc\r\n", "0\r\nbad trailer\r\n\r\n", 400, "trailer"},
		{"declared too large", upload(lengthFraming(200_001)), "", 413, "body_size"},
		{"chunk announced too large", upload(chunkedFraming) + "5\r\nabcde\r\n", "30D40\r\n", 413, "body_size"},
		{"streamed too large", upload(chunkedFraming) + "5\r\nabcde\r\n", "30D40\r\n" + string(pattern(200_000)), 413, "body_size"},
	} {
		t.Run(test.name, func(t *testing.T) {
			whole := make(chan bool, 1)
			f := newFunction(t, "tcp", func(c *fconn) {
				_, err := c.readRequest()
				whole <- err == nil
			})
			p := newPod(t, f.backend(), func(s *setup) { s.MaxBody = 200_000 })
			c := p.dial()
			c.send(test.send)
			if test.later != "" {
				eventually(t, func() bool { return f.calls.Load() == 1 }, "the upload has begun")
				c.send(test.later)
			}
			require.True(t, c.requireCode(test.code, test.label).closes)
			c.finish()
			c.requireEnd()
			p.waitRejected(test.label)
			if f.calls.Load() > 0 {
				require.False(t, <-whole)
			}
		})
	}
}

func TestSlowRequestsTimeOut(t *testing.T) {
	short := func(s *setup) {
		s.HeadTimeout, s.BodyTimeout, s.IdleTimeout = 30*time.Millisecond, 30*time.Millisecond, 30*time.Millisecond
	}
	for _, test := range []struct {
		name, send string
		code       int
		label      string
	}{
		{"head", "GET / HTTP/1.1\r\nHo", 408, "timeout_head"},
		{"small body", upload(lengthFraming(100)) + "abc", 408, "timeout_body"},
		{"middle body", upload(lengthFraming(30_000)) + "abc", 408, "timeout_body"},
		{"streamed body", upload(lengthFraming(100_000)) + "abc", 408, "timeout_body"},
		{"spliced body", upload(lengthFraming(2<<20)) + string(pattern(1<<20)), 408, "timeout_body"},
		{"chunked body", upload(chunkedFraming) + "3\r\nabc\r\n", 408, "timeout_body"},
	} {
		onBoth(t, func(t *testing.T, network string) {
			t.Run(test.name, func(t *testing.T) {
				f := newFunction(t, network, func(c *fconn) {
					if _, err := c.readRequest(); err == nil {
						t.Error("the function saw a whole request")
					}
				})
				p := newPod(t, f.backend(), over(network), short)
				c := p.dial()
				c.send(test.send)
				require.True(t, c.requireCode(test.code, test.label).closes)
				p.waitRejected(test.label)
			})
		})
	}
	t.Run("no first byte", func(t *testing.T) {
		newPod(t, newEcho(t, "tcp").backend(), short).dial().requireEnd()
	})
	t.Run("idle", func(t *testing.T) {
		p := newPod(t, newEcho(t, "tcp").backend(), short)
		c := p.dial()
		require.Equal(t, 200, c.get("/").code)
		c.requireEnd()
		require.Zero(t, p.count(nameRejected))
	})
}

// A function that refuses an upload early is heard (row 3: answered early).
func TestAnEarlyAnswerReachesTheClient(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, framing := range []string{lengthFraming(100_000), lengthFraming(8 << 20), chunkedFraming} {
			for _, how := range []string{"open", "closes", "resets"} {
				t.Run(network+" "+framing+" "+how, func(t *testing.T) {
					f := newFunction(t, network, func(c *fconn) {
						c.readHead()
						c.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
						switch how {
						case "open":
							c.wait()
						case "resets":
							reset(c.Conn) // the answer may be lost with it
						}
					})
					c := newPod(t, f.backend(), over(network)).dial()
					c.send(upload(framing))
					stop := make(chan struct{})
					go func() {
						defer close(stop)
						piece := string(pattern(10_000))
						if framing == chunkedFraming {
							piece = "2710\r\n" + piece + "\r\n"
						}
						for sent := 0; sent < 90_000; sent += 10_000 {
							if _, err := io.WriteString(c.nc, piece); err != nil {
								return
							}
						}
					}()
					r := c.receive("POST")
					if how == "resets" && r.code == 502 {
						return
					}
					require.Equal(t, 413, r.code)
					require.Equal(t, "big", r.body)
					require.Equal(t, framing == lengthFraming(8<<20), r.closes, "nobody reads the rest of a large body")
					<-stop
				})
			}
		}
	}
}

// What is left of a refused body is never read as a request.
func TestTheRestOfARefusedBodyIsNotARequest(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		for {
			if strings.Contains(c.readHead(), "/up") {
				c.write("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				c.wait()
			}
			c.answer("next")
		}
	})
	smuggled := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", 4500) // some of it goes through the kernel's pipe
	for _, test := range []struct{ name, request string }{
		{"length", upload(lengthFraming(len(smuggled))) + smuggled},
		{"chunked", upload(chunkedFraming) + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newPod(t, f.backend()).dial()
			go func() {
				_, _ = io.WriteString(c.nc, test.request+"GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			}()
			require.Equal(t, 403, c.receive("POST").code)
			rest, err := c.rawRest()
			require.False(t, isTimeout(err), "the next request is neither answered nor refused")
			if rest != "" {
				require.True(t, strings.HasSuffix(rest, "\r\n\r\nnext"), rest)
				require.Equal(t, 1, strings.Count(rest, "HTTP/1.1"))
			}
		})
	}
}

// A small limit on buffered bodies must not take the next request for a part of
// the body.
func TestPipelinedBehindAStreamedBody(t *testing.T) {
	for _, most := range []int64{0, 3, 64 << 10} {
		c := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.BufferBody = most }).dial()
		for range 3 {
			c.send(post("/a", "hello"), "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", upload(chunkedFraming), "3\r\nabc\r\n")
			require.Equal(t, "POST /a HTTP/1.1\nhello", c.receive("POST").body)
			require.Equal(t, "GET /b HTTP/1.1\n", c.receive("GET").body)
			c.send("0\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n")
			require.Equal(t, "POST /up HTTP/1.1\nabc", c.receive("POST").body)
			require.Equal(t, "GET /c HTTP/1.1\n", c.receive("GET").body)
		}
	}
}

func TestExpect100Continue(t *testing.T) {
	const expect = "\r\nExpect: 100-continue"
	for _, test := range []struct {
		name, request, body string
		code                int // of the first answer
		label               string
	}{
		{"small body", upload(lengthFraming(3) + expect), "abc", 100, ""},
		{"middle body", upload(lengthFraming(30_000) + expect), string(pattern(30_000)), 100, ""},
		{"large body", upload(lengthFraming(300_000) + expect), string(pattern(300_000)), 100, ""},
		{"chunked body", upload(chunkedFraming + expect), "3\r\nabc\r\n0\r\n\r\n", 100, ""},
		{"body that is here already", upload(lengthFraming(3)+expect) + "abc", "", 200, ""},
		{"no body", "GET / HTTP/1.1\r\nHost: h" + expect + "\r\n\r\n", "", 200, ""},
		{"HTTP/1.0", "POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + lengthFraming(3) + expect + "\r\n\r\n", "abc", 200, ""},
		{"body over the limit", upload(lengthFraming(1_000_001) + expect), "", 413, "body_size"},
		{"another expectation", upload(lengthFraming(3) + "\r\nExpect: rain"), "", 417, "expect"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
				if r.header.Get("Expect") != "" {
					t.Error("Expect was forwarded")
				}
				c.answer(r.body)
			}))
			c := newPod(t, f.backend(), func(s *setup) { s.MaxBody = 1_000_000 }).dial()
			c.send(test.request)
			if test.code == 100 {
				require.Equal(t, 100, c.head("POST").StatusCode)
			}
			c.send(test.body)
			r := c.receive("POST")
			if test.code == 100 {
				require.Equal(t, 200, r.code)
			} else {
				require.Equal(t, test.code, r.code)
			}
			require.Equal(t, test.label, r.header.Get("Fnpod-Error"))
			if r.code == 200 {
				require.Equal(t, "next", c.getBody("next"))
			}
		})
	}
}

// getBody posts a body that an echo sends back.
func (c *client) getBody(body string) string {
	c.t.Helper()
	c.send(post("/", body))
	return c.receive("POST").body
}

// A body that is streamed is not asked for before there is a slot for it.
func TestNo100BeforeASlotIsGranted(t *testing.T) {
	release := make(chan struct{})
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		if strings.Contains(r.line, "/first") {
			<-release
		}
		c.answer(r.body)
	}))
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 1 })
	first, second := p.dial(), p.dial()
	first.send("GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	second.send(upload(chunkedFraming + "\r\nExpect: 100-continue"))
	p.waitQueue(1, 1)
	require.NoError(t, second.nc.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := second.r.Peek(1)
	require.True(t, isTimeout(err), "%v", err)
	require.NoError(t, second.nc.SetReadDeadline(time.Now().Add(patience)))
	second.r.Reset(second.nc)
	close(release)
	require.Equal(t, 200, first.receive("GET").code)
	require.Equal(t, 100, second.head("POST").StatusCode)
	second.send("3\r\nabc\r\n0\r\n\r\n")
	require.Equal(t, "abc", second.receive("POST").body)
}

// A client that waits for 100 and gets its final answer instead is not read on.
func TestAFinalAnswerInsteadOf100(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(401, 0)
		return x.Finish()
	})
	c := newPod(t, b).dial()
	c.send(upload(chunkedFraming + "\r\nExpect: 100-continue"))
	require.Equal(t, 401, c.receive("POST").code)
	c.finish()
	c.requireEnd()
}

// The limit on the start of the answer ends when it has begun, though the request
// may still be coming.
func TestAnAnswerThatBeganBeforeItsRequestEndedHasNoLimit(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.readHead()
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		_, _, _ = c.readBody(0, true)
		time.Sleep(300 * time.Millisecond) // longer than the limit, and nothing to wait for
		c.write("1\r\nb\r\n0\r\n\r\n")
	})
	p := newPod(t, f.backend(), func(s *setup) { s.AnswerTimeout = 100 * time.Millisecond })
	c := p.dial()
	c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	r := c.head("POST")
	var first [1]byte
	_, err := io.ReadFull(r.Body, first[:])
	require.NoError(t, err)
	c.send("0\r\n\r\n")
	rest, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, "ab", string(first[:])+string(rest))
}

// A function that has read all of a large body has not answered early, whichever goroutine runs first: the client's
// connection goes on.
func TestAnAnswerToAWholeUploadKeepsTheConnection(t *testing.T) {
	f := newEcho(t, "tcp")
	p := newPod(t, f.backend())
	body := string(pattern(300_000))
	var clients sync.WaitGroup
	for range 8 {
		c := p.dial()
		clients.Go(func() {
			for range 60 {
				c.send(upload(lengthFraming(len(body))), body)
				if r := c.receive("POST"); !assert.Equal(t, 200, r.code) || !assert.False(t, r.closes) {
					return
				}
			}
		})
	}
	clients.Wait()
}

// The limit on the start of the answer is for the function, not for a client that sends slowly; it strikes when the
// function takes nothing.
func TestAnAnswerHasItsTimeFromTheLastPieceOfItsRequest(t *testing.T) {
	stuck := make(chan struct{})
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		if err := x.Continue(); err != nil {
			return err
		}
		var piece [1]byte
		for {
			n, err := x.ReadBodyInTime(piece[:])
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if n == 1 && piece[0] == 's' {
				interrupted := interruption{make(chan struct{})}
				if err := x.OnInterrupt(interrupted); err != nil {
					return err
				}
				<-interrupted.c
				close(stuck)
				return x.OnInterrupt(nil)
			}
		}
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.AnswerTimeout = 200 * time.Millisecond })
	c := p.dial()
	c.send(upload(chunkedFraming))
	for range 5 { // more than the limit together
		time.Sleep(60 * time.Millisecond)
		c.send("1\r\nx\r\n")
	}
	c.send("0\r\n\r\n")
	require.Equal(t, 200, c.receive("POST").code)

	c.send(upload(chunkedFraming), "1\r\ns\r\n")
	require.Equal(t, 504, c.receive("POST").code)
	<-stuck
}

type interruption struct{ c chan struct{} }

func (i interruption) Interrupt() { close(i.c) }

// R2: what came with a head goes first, also where more of it came than fits the first piece.
func TestALargeBodyKeepsItsOrderBehindALargeBuffer(t *testing.T) {
	f := newEcho(t, "tcp")
	c := newPod(t, f.backend()).dial()
	body := string(pattern(300_000))
	for range 20 {
		c.send(post("/", body[:30_000])) // leaves a large buffer behind
		require.Equal(t, 200, c.receive("POST").code)
		c.send(upload(lengthFraming(len(body))) + body)
		r := c.receive("POST")
		require.Equal(t, 200, r.code)
		require.True(t, strings.HasSuffix(r.body, body), "the body is another one")
	}
}
