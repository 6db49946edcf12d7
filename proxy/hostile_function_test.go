package proxy_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// What a function may do wrong before its answer has begun: the client gets one
// plain 502 on a connection that stays usable, and the function's connection is
// never used again (rows C2 to C14, R3).
func TestFaultsBeforeTheAnswer(t *testing.T) {
	interims := strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17)
	for _, test := range []struct{ name, answer, label string }{
		{"early close", "", "early_close"},
		{"close inside the head", "HTTP/1.1 200 OK\r\nContent-", "early_close"},
		{"close after an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n", "early_close"},
		{"garbage", "\x16\x03\x01 no HTTP at all\r\n\r\n", "malformed"},
		{"HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", "malformed"},
		{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "malformed"},
		{"name with a space", "HTTP/1.1 200 OK\r\nA B: c\r\nContent-Length: 0\r\n\r\n", "malformed"},
		{"folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", "malformed"},
		{"length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "malformed"},
		{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nabc", "malformed"},
		{"overflowing chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", "malformed"},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc", "malformed"},
		{"status 000", "HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n", "status"},
		{"status 099", "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", "status"},
		{"status 600", "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n", "status"},
		{"status 999", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "status"},
		{"101 nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "status"},
		{"too many interim answers", interims, "malformed"},
		{"head too large", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("v", 17<<10) + "\r\n\r\n", "header_size"},
		{"head without an end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("v", 40<<10), "header_size"},
		{"too many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: v\r\n", 300) + "\r\n", "header_size"},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(test.name+" "+method, func(t *testing.T) {
				f := newFunction(t, "tcp", func(c *fconn) {
					for strings.Contains(c.request().line, "/good") {
						c.answer("good")
					}
					c.write(test.answer)
					_ = c.Conn.(*net.TCPConn).CloseWrite()
					c.wait()
				})
				p := newPod(t, f.backend())
				c := p.dial()
				require.Equal(t, "good", c.get("/good").body)
				c.send(method, " /bad HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
				for {
					if r := c.head(method); r.StatusCode != 102 && r.StatusCode != 103 {
						require.Equal(t, 502, r.StatusCode)
						require.Equal(t, test.label, r.Header.Get("Fnpod-Error"))
						require.Empty(t, r.Header.Get("X"))
						_, err := io.Copy(io.Discard, r.Body)
						require.NoError(t, err)
						break
					}
				}
				p.waitFault(test.label, 1)
				require.Equal(t, "good", c.get("/good").body)
				require.EqualValues(t, 3, f.calls.Load(), "the function ran once per request")
				require.EqualValues(t, 2, f.opened.Load())
			})
		}
	}
}

// After the answer has begun there is no second status, and what was cut never
// looks whole (R2, P11), whatever framing either side uses.
func TestFaultsInsideTheAnswer(t *testing.T) {
	big := string(pattern(300_000))
	for _, test := range []struct{ name, answer string }{
		{"cut length body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"},
		{"cut large length body", "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + big},
		{"cut inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nabc"},
		{"cut huge chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nabc"},
		{"cut between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"},
		{"cut before the last line", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"},
		{"cut inside the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: v\r\n"},
		{"bad chunk later", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n|xyz\r\n"},
	} {
		for _, version := range []string{"1.1", "1.0"} {
			for _, how := range []string{"close", "reset"} {
				t.Run(fmt.Sprintf("%s HTTP/%s %s", test.name, version, how), func(t *testing.T) {
					f := newFunction(t, "tcp", func(c *fconn) {
						c.readHead()
						first, later, _ := strings.Cut(test.answer, "|")
						c.write(first)
						if later != "" {
							time.Sleep(5 * time.Millisecond) // most likely two packets; right if they are one
							c.write(later)
						}
						if how == "reset" {
							reset(c.Conn)
						}
					})
					p := newPod(t, f.backend())
					c := p.dial()
					c.send("GET / HTTP/", version, "\r\nHost: h\r\n\r\n")
					got, err := c.rawRest()
					require.NotContains(t, got, "\r\n0\r\n")
					require.LessOrEqual(t, strings.Count(got, "HTTP/1.1"), 1)
					if strings.HasPrefix(got, "HTTP/1.1 502 ") {
						require.Contains(t, got, "Fnpod-Error: ")
						return
					}
					if strings.Contains(got, "HTTP/1.1 200") && !strings.Contains(got, "Content-Length") && !strings.Contains(got, "chunked") {
						require.Error(t, err, "nothing but a reset shows that a body is cut that ends with the connection")
					}
					p.waitAborted(1)
					require.Equal(t, 1, p.count(nameFaults), "the fault has a name")
				})
			}
		}
	}
}

func TestRefusedConnectionsAreWaitedForThen502(t *testing.T) {
	p := newPod(t, &proxy.HTTPBackend{Network: "tcp", Address: unused(t), ConnectTimeout: 30 * time.Millisecond})
	c := p.dial()
	for i := range 2 {
		c.send(post("/", "abc"))
		require.Equal(t, "1", c.requireCode(502, "connect").header.Get("Retry-After"))
		p.waitFault("connect", i+1)
	}
}

// P6: one that was up and refuses now is not starting.
func TestAFunctionThatRefusesAlthoughItIsUpIs502AtOnce(t *testing.T) {
	p := newPod(t, &proxy.HTTPBackend{
		Network: "tcp", Address: unused(t), ConnectTimeout: time.Hour, Starting: func() bool { return false },
	})
	c := p.dial()
	c.send(post("/", "abc"))
	require.Equal(t, "1", c.requireCode(502, "connect").header.Get("Retry-After"))
}

// P6: connect refused while the function starts is waiting, not a retry.
func TestAFunctionThatIsStartingIsWaitedFor(t *testing.T) {
	address := unused(t)
	b := &proxy.HTTPBackend{Network: "tcp", Address: address, ConnectTimeout: patience, MaxIdle: 1}
	t.Cleanup(b.CloseIdle)
	p := newPod(t, b)
	c := p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nup")
		_, _ = io.Copy(io.Discard, nc)
	}()
	require.Equal(t, "up", c.receive("GET").body)
}

// Rows C3 and C4: bytes behind an answer never reach another request.
func TestSurplusNeverReachesTheNextRequest(t *testing.T) {
	const stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
	answers := map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
		"204":     "HTTP/1.1 204 No Content\r\n\r\n",
		"empty":   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	}
	for name, answer := range answers {
		t.Run(name+" same packet", func(t *testing.T) {
			f := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				c.write(answer, stray)
				c.wait()
			})
			p := newPod(t, f.backend())
			c := p.dial()
			for i := range 5 {
				require.NotEqual(t, "stray", c.get("/").body)
				p.waitFault("surplus", i+1)
			}
			require.EqualValues(t, 5, f.opened.Load())
		})
		t.Run(name+" late", func(t *testing.T) {
			sent, ask := make(chan struct{}), make(chan struct{})
			f := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				c.write(answer)
				<-ask
				c.write(stray)
				sent <- struct{}{}
				c.wait()
			})
			p := newPod(t, f.backend())
			c := p.dial()
			for range 5 {
				require.NotEqual(t, "stray", c.get("/").body)
				ask <- struct{}{}
				<-sent
			}
			require.EqualValues(t, 5, f.opened.Load())
		})
	}
}

// P6: a connection that was closed while idle is replaced; that is no attempt.
func TestAConnectionClosedWhileIdleIsReplaced(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			closed := make(chan struct{})
			f := newFunction(t, "tcp", func(c *fconn) {
				r := c.request()
				c.answer(r.line)
				_ = c.Close()
				closed <- struct{}{}
			})
			p := newPod(t, f.backend())
			c := p.dial()
			for range 5 {
				c.send(method, " / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
				require.Equal(t, 200, c.receive(method).code)
				<-closed
			}
			require.EqualValues(t, 5, f.calls.Load())
			require.Zero(t, p.count(nameRetries))
		})
	}
}

// P6: a reused connection that is reset by our own bytes is the only case in which
// a request is sent again, and only if a repetition can do no harm.
//
// P6, R4: once, on a connection that was reused.
func TestOneRepetitionAtMost(t *testing.T) {
	for _, test := range []struct {
		method   string
		how      string
		attempts int64 // heads that the function saw for the request
		code     int
	}{
		{"GET", "reset", 2, 200},
		{"HEAD", "reset", 2, 200},
		{"OPTIONS", "reset", 2, 200},
		{"POST", "reset", 1, 502},
		{"PUT", "reset", 1, 502},
		{"DELETE", "reset", 1, 502},
		{"GET", "close", 1, 502},
		{"HEAD", "close", 1, 502},
		{"GET", "reset always", 2, 502},
		{"GET", "reset after a byte", 1, 502},
	} {
		t.Run(test.method+" "+test.how, func(t *testing.T) {
			f := newFunction(t, "tcp", func(c *fconn) {
				for strings.Contains(c.request().line, "/warm") {
					c.answer("warm")
				}
				if c.f.opened.Load() > 1 && test.how != "reset always" {
					c.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					c.wait()
				}
				switch test.how {
				case "close":
					return
				case "reset after a byte":
					c.write("H")
				}
				reset(c.Conn)
			})
			p := newPod(t, f.backend())
			c := p.dial()
			require.Equal(t, "warm", c.get("/warm").body)
			f.calls.Store(0)
			c.send(test.method, " / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
			require.Equal(t, test.code, c.receive(test.method).code)
			require.Equal(t, test.attempts, f.calls.Load())
			require.EqualValues(t, test.attempts-1, p.count(nameRetries))
		})
	}
}

// A fresh connection is never tried twice.
//
// P6: and never on a fresh one.
func TestNoRepetitionOnAFreshConnection(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.readHead()
		reset(c.Conn)
	})
	c := newPod(t, f.backend()).dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.requireCode(502, "reset")
	require.EqualValues(t, 1, f.calls.Load())
}

// An answer of HTTP/1.0, or one that says close, ends its connection.
//
// P5, R3: a connection about which there is doubt is not used again.
func TestConnectionsThatEndAreNotPooled(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\n\r\nok",
	} {
		f := newFunction(t, "tcp", func(c *fconn) {
			c.request()
			c.write(answer)
			if !strings.Contains(answer, "Length") {
				return
			}
			c.wait()
		})
		c := newPod(t, f.backend()).dial()
		for i := range 3 {
			r := c.get("/")
			require.Equal(t, "ok", r.body)
			require.False(t, r.closes, "the client's connection is another matter")
			require.EqualValues(t, i+1, f.opened.Load())
		}
	}
}

// waitress ends the connection after its answer to HEAD without saying so. What is sent on it meanwhile is lost, or might
// have been read.
func TestAConnectionIsNotUsedAgainAfterHEAD(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		for {
			r := c.request()
			if strings.HasPrefix(r.line, "HEAD") {
				c.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
				c.readHead() // nothing comes, since the next one would find no answer
				return
			}
			c.answer(r.line)
		}
	})
	p := newPod(t, f.backend())
	c := p.dial()
	for range 3 {
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		require.Equal(t, "POST / HTTP/1.1", c.receive("POST").body)
		c.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.Equal(t, 200, c.receive("HEAD").code)
	}
	require.EqualValues(t, 3, f.opened.Load())
}
