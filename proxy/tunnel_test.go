package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// upgrade is a request for a tunnel, with more fields if any.
func upgrade(fields ...string) string {
	return "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + strings.Join(fields, "") + "\r\n"
}

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	goingAway   = "\x88\x02\x03\xe9"                 // as a server sends it
	closeReply  = "\x88\x82\x01\x02\x03\x04\x02\xeb" // the client's
	nameTunnels = "fnpod_tunnels"
)

// agreeing is a function that agrees to a tunnel, and then does what the test says.
func agreeing(then func(*fconn)) func(*fconn) {
	return func(c *fconn) {
		c.request()
		c.write(switching)
		then(c)
	}
}

// echo sends back what comes, to its end.
func (c *fconn) echo() {
	_, _ = io.Copy(c.Conn, c.r)
	c.finish()
}

// finish says that nothing more comes from this side.
func (c *fconn) finish() { _ = c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// expect reads exactly what is expected.
func expect(t testing.TB, r io.Reader, what string) {
	t.Helper()
	got := make([]byte, len(what))
	n, err := io.ReadFull(r, got)
	require.NoError(t, err, "%q", got[:n])
	require.Equal(t, what, string(got))
}

// tunnel opens a tunnel.
func (p *pod) tunnel() *client {
	p.t.Helper()
	c := p.dial()
	c.send(upgrade())
	c.switched()
	return c
}

// switched reads the answer that opens a tunnel.
func (c *client) switched() {
	c.t.Helper()
	r := c.head("GET")
	require.Equal(c.t, 101, r.StatusCode)
	require.Equal(c.t, "websocket", r.Header.Get("Upgrade"))
	require.Equal(c.t, []string{"Upgrade"}, r.Header["Connection"])
	require.Equal(c.t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", r.Header.Get("Sec-Websocket-Accept"))
}

// waitTunnels waits until there are so many, and each holds a slot (U5).
func (p *pod) waitTunnels(n int) {
	p.t.Helper()
	p.waitQueue(n, 0)
	eventually(p.t, func() bool {
		return p.count(nameTunnels) == n && int(p.metrics.Requests().InFlight) == n
	}, "tunnels")
}

// onAll is onBoth, and TLS on the client's side.
func onAll(t *testing.T, test func(t *testing.T, network string)) {
	t.Helper()
	onBoth(t, test)
	t.Run("tls", func(t *testing.T) { test(t, "tls") })
}

// U1: the function sees an upgrade of ours with the fields of the WebSocket as they
// stand, and then bytes go both ways.
func TestU1ATunnelCarriesBytesBothWays(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		heads := make(chan request, 1)
		f := newFunction(t, network, func(c *fconn) {
			heads <- c.request()
			c.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
			c.write(switching)
			c.echo()
		})
		p := newPod(t, f.backend(), over(network))
		c := p.dial()
		c.send(upgrade("X-Field: 1\r\nSec-WebSocket-Protocol: chat\r\n"))
		require.Equal(t, 103, c.head("GET").StatusCode)
		c.switched()
		h := (<-heads).header
		require.Equal(t, []string{"Upgrade"}, h["Connection"])
		require.Equal(t, []string{"websocket"}, h["Upgrade"])
		require.Equal(t, "dGhlIHNhbXBsZSBub25jZQ==", h.Get("Sec-Websocket-Key"))
		require.Equal(t, "13", h.Get("Sec-Websocket-Version"))
		require.Equal(t, "chat", h.Get("Sec-Websocket-Protocol"))
		require.Equal(t, "1", h.Get("X-Field"))
		require.NotEmpty(t, h.Get("X-Request-Id"))
		p.waitTunnels(1)
		for _, size := range []int{1, 100, 16 << 10, 1 << 20} {
			message := string(pattern(size))
			go func() { _, _ = io.WriteString(c.nc, message) }() // the read below judges
			expect(t, c.r, message)
		}
		c.finish()
		c.requireEnd()
		p.waitTunnels(0)
		require.EqualValues(t, 1, p.metrics.Requests().Answered[1])
		require.Zero(t, p.count("fnpod_request_duration_seconds"), "an hour of talk is no duration of a request")
		require.Zero(t, p.count("fnpod_run_seconds"))
		require.Zero(t, p.queue.Stats().Service)
		require.Equal(t, 1, p.count("fnpod_first_byte_seconds"))
		require.Greater(t, p.count("fnpod_received_bytes_total"), 1<<20)
		require.Greater(t, p.count("fnpod_sent_bytes_total"), 1<<20)
	})
}

// U1, U2: what is no complete request for a WebSocket is an ordinary request without
// Upgrade.
func TestU1U2OtherUpgradesAreOrdinaryRequests(t *testing.T) {
	const ws = "Upgrade: websocket\r\n"
	for name, r := range map[string]string{
		"U1 method":           "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nContent-Length: 0\r\n" + ws,
		"U1 head":             "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n" + ws,
		"U1 version":          "GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade, keep-alive\r\n" + ws,
		"U1 not listed":       "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n" + ws,
		"U1 no Connection":    "GET / HTTP/1.1\r\nHost: h\r\n" + ws,
		"U1 body":             "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nContent-Length: 3\r\n" + ws + "\r\nabc",
		"U1 chunked":          "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n" + ws + "\r\n3\r\nabc\r\n0\r\n\r\n",
		"U1 other protocol":   "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tls/1.0\r\n",
		"U1 list":             "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"U1 twice":            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n" + ws + ws,
		"U1 long s":           "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: web\u017focket\r\n",
		"U1 no value":         "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade:\r\n",
		"U1 lists no Upgrade": "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n",
		"U2 h2c":              "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"U2 h2c body":         "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 3\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(r, "\r\n\r\n") {
				r += "\r\n"
			}
			method, _, _ := strings.Cut(r, " ")
			heads := make(chan request, 2)
			f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
				heads <- r
				c.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n")
			}))
			p := newPod(t, f.backend())
			c := p.dial()
			for range 2 { // the connection goes on, and so does the one to the function
				c.send(r)
				a := c.receive(method)
				require.Equal(t, 200, a.code)
				require.Empty(t, a.header["Upgrade"])
				h := (<-heads).header
				for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
					require.Empty(t, h[name], name)
				}
			}
			opened := map[string]int64{"HEAD": 2} // after it no connection is used again
			require.Equal(t, max(opened[method], 1), f.opened.Load())
			require.Zero(t, p.count(nameTunnels))
		})
	}
}

// U1: a backend that is no HTTP server knows nothing of tunnels.
func TestU1OtherBackendsSeeAnOrdinaryRequest(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		for _, f := range x.Request().Fields {
			if strings.EqualFold(string(f.Name), "upgrade") && !f.Hop {
				return fmt.Errorf("field %s", f.Name)
			}
		}
		x.Respond(200, 2)
		if _, err := x.Write([]byte("ok")); err != nil {
			return err
		}
		return x.Finish()
	})
	p := newPod(t, b)
	c := p.dial()
	c.send(upgrade(), "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
	for range 2 {
		a := c.receive("GET")
		require.Equal(t, 200, a.code)
		require.Empty(t, a.header["Upgrade"])
		require.False(t, a.closes)
	}
}

// U3: what follows the request is neither sent on nor taken for a request before the
// function has agreed.
func TestU3BytesBehindTheRequestWaitForThe101(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		const early = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
		f := newFunction(t, network, func(c *fconn) {
			c.request()
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			if b, err := c.r.ReadByte(); !isTimeout(err) {
				t.Errorf("%q came before the 101: %v", b, err)
			}
			_ = c.SetReadDeadline(time.Now().Add(patience))
			c.write(switching)
			b := make([]byte, len(early))
			if _, err := io.ReadFull(c.r, b); err != nil || string(b) != early {
				t.Errorf("%q: %v", b, err)
			}
			c.write("late")
			c.wait()
		})
		p := newPod(t, f.backend(), over(network))
		c := p.dial()
		c.send(upgrade(), early[:10])
		p.waitQueue(1, 0)
		c.send(early[10:])
		c.switched()
		expect(t, c.r, "late")
		require.EqualValues(t, 1, f.calls.Load())
		c.finish()
		c.requireEnd()
	})
}

// U3: however much it is, and wherever the request stands in the pipeline.
func TestU3AllThatIsHeldBackGoesOn(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		f := newFunction(t, network, calling(func(c *fconn, r request) {
			if r.header.Get("Upgrade") == "" {
				c.answer(r.line)
				return
			}
			c.write(switching)
			c.echo()
		}))
		p := newPod(t, f.backend(), over(network))
		for _, size := range []int{1, 5000, 8 << 10, 100_000} {
			early := string(pattern(size))
			c := p.dial()
			go func() { // more than the pod reads before the 101
				_, _ = io.WriteString(c.nc, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n"+upgrade()+early)
			}()
			require.Equal(t, "GET /first HTTP/1.1", c.receive("GET").body)
			c.switched()
			expect(t, c.r, early)
			c.finish()
			c.requireEnd()
		}
	})
}

// What a function sends together with its 101 goes on.
func TestU3BytesBehindThe101ReachTheClient(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.request()
		c.write(switching, "\x81\x02hi")
		c.wait()
	})
	p := newPod(t, f.backend())
	c := p.tunnel()
	expect(t, c.r, "\x81\x02hi")
	c.finish()
	c.requireEnd()
}

// U3, U4: any other final answer is an ordinary one; then the client's next bytes are
// its next request. The connection to the function is never used again.
func TestU3U4ARefusalIsAnOrdinaryAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"200 length":      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
		"200 chunked":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"200 to close":    "HTTP/1.1 200 OK\r\n\r\nbody",
		"204":             "HTTP/1.1 204 No Content\r\n\r\n",
		"304":             "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		"302":             "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
		"400":             "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"426":             "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
		"500":             "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
		"interim and 403": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nbody",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
				if r.line != "GET /ws HTTP/1.1" {
					c.answer(r.line)
					return
				}
				c.write(answer)
				if name == "200 to close" {
					c.finish()
				}
			}))
			p := newPod(t, f.backend())
			c := p.dial()
			c.send(upgrade(), "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
			first := c.receive("GET")
			for first.code < 200 {
				first = c.receive("GET")
			}
			require.Contains(t, name, strconv.Itoa(first.code))
			require.Empty(t, first.header["Upgrade"])
			if strings.Contains(answer, "body") {
				require.Equal(t, "body", first.body)
			}
			require.Equal(t, "GET /next HTTP/1.1", c.receive("GET").body)
			require.Equal(t, "GET /more HTTP/1.1", c.get("/more").body)
			require.EqualValues(t, 2, f.opened.Load(), "one connection for the upgrade, one for the rest")
			p.waitQueue(0, 0)
		})
	}
}

// U4: neither is a tunnel put on a connection from the pool.
func TestU4ATunnelHasAConnectionOfItsOwn(t *testing.T) {
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		if r.header.Get("Upgrade") == "" {
			c.answer("")
			return
		}
		c.write(switching)
		c.echo()
	}))
	p := newPod(t, f.backend())
	c := p.dial()
	require.Equal(t, 200, c.get("/").code)
	c.send(upgrade())
	c.switched()
	require.EqualValues(t, 2, f.opened.Load())
	require.Equal(t, 200, p.dial().get("/").code)
	require.EqualValues(t, 2, f.opened.Load(), "the idle one is still in the pool")
	c.finish()
	c.requireEnd()
	p.waitTunnels(0)
	require.Equal(t, 200, p.dial().get("/").code)
	require.EqualValues(t, 2, f.opened.Load())
}

// U3: a 101 that was not asked for, or names something else, is a fault.
func TestU3AForged101IsRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"other protocol": "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"no Upgrade":     "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n",
		"not listed":     "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n",
		"list":           "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
		"twice":          "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
		"long s":         "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: web\u017focket\r\n\r\n",
		"HTTP/1.0":       "HTTP/1.0 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"not asked for":  switching,
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan struct{}, 1)
			f := newFunction(t, "tcp", func(c *fconn) {
				if r := c.request(); r.line == "GET /next HTTP/1.1" {
					c.answer("next")
				}
				c.write(answer)
				c.wait()
				seen <- struct{}{}
			})
			p := newPod(t, f.backend())
			c := p.dial()
			if name == "not asked for" {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			} else {
				c.send(upgrade(), "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
			}
			require.False(t, c.requireCode(502, "status").closes)
			<-seen
			if name != "not asked for" {
				require.Equal(t, "next", c.receive("GET").body)
			}
			p.waitFault("status", 1)
			require.Zero(t, p.count(nameTunnels))
		})
	}
}

// A function that ends before it has answered is a fault as ever, and nothing is tried
// again.
func TestU4AFunctionThatDiesInTheHandshakeIsA502(t *testing.T) {
	for how, label := range map[string]string{"close": "early_close", "reset": "reset"} {
		t.Run(how, func(t *testing.T) {
			f := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				if how == "reset" {
					reset(c.Conn)
				}
			})
			p := newPod(t, f.backend())
			c := p.dial()
			c.send(upgrade())
			c.requireCode(502, label)
			require.EqualValues(t, 1, f.calls.Load())
			require.Zero(t, p.count(nameRetries))
		})
	}
}

// U5: a half-closed tunnel carries the other direction on.
func TestU5HalfCloseIsPassedOn(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		t.Run("client first", func(t *testing.T) {
			f := newFunction(t, network, agreeing(func(c *fconn) {
				all, err := io.ReadAll(c.r)
				if err != nil {
					t.Errorf("client's end: %v", err)
				}
				time.Sleep(60 * time.Millisecond) // the hang-up watcher could have struck meanwhile
				c.write("after: ", string(all))
			}))
			p := newPod(t, f.backend(), over(network))
			c := p.tunnel()
			c.send("words")
			c.finish()
			expect(t, c.r, "after: words")
			c.requireEnd()
			p.waitTunnels(0)
			require.EqualValues(t, 1, p.metrics.Requests().Answered[1])
		})
		t.Run("function first", func(t *testing.T) {
			heard := make(chan string, 1)
			f := newFunction(t, network, agreeing(func(c *fconn) {
				c.write("words")
				c.finish()
				all, _ := io.ReadAll(c.r)
				heard <- string(all)
			}))
			p := newPod(t, f.backend(), over(network))
			c := p.tunnel()
			expect(t, c.r, "words")
			_, err := c.r.ReadByte()
			require.ErrorIs(t, err, io.EOF)
			p.waitTunnels(1)
			c.send("after")
			c.finish()
			require.Equal(t, "after", <-heard)
			p.waitTunnels(0)
		})
	})
}

// U5: an end by force is passed on as one.
func TestU5AResetIsPassedOn(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		seen := make(chan error, 1)
		f := newFunction(t, "tcp", agreeing(func(c *fconn) {
			_, err := io.Copy(io.Discard, c.r)
			seen <- err
		}))
		p := newPod(t, f.backend())
		c := p.tunnel()
		p.waitTunnels(1)
		reset(c.nc)
		require.Error(t, <-seen)
		p.waitTunnels(0)
		require.Zero(t, p.count(nameFaults), "it is not the function's fault")
	})
	t.Run("function", func(t *testing.T) {
		f := newFunction(t, "tcp", agreeing(func(c *fconn) {
			c.write("words")
			_, _ = c.r.ReadByte()
			reset(c.Conn)
		}))
		p := newPod(t, f.backend())
		c := p.tunnel()
		expect(t, c.r, "words")
		c.send("x")
		_, err := c.r.ReadByte()
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF)
		require.False(t, isTimeout(err))
		p.waitTunnels(0)
		p.waitFault("reset", 1)
		require.EqualValues(t, 1, p.metrics.Requests().Answered[1], "P12: tunnels count when they end, however that is")
	})
}

// A function that breaks is not taken for one that said goodbye by a client with TLS.
func TestU5AResetReachesAClientWithTLS(t *testing.T) {
	f := newFunction(t, "tcp", agreeing(func(c *fconn) {
		_, _ = c.r.ReadByte()
		reset(c.Conn)
	}))
	p := newPod(t, f.backend(), over("tls"))
	c := p.tunnel()
	c.send("x")
	_, err := c.r.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	require.False(t, isTimeout(err))
	p.waitTunnels(0)
}

// A function that says its last words and is gone while the client still sends: they
// arrive.
func TestU5LastWordsArrive(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		words := string(pattern(200 << 10))
		f := newFunction(t, network, agreeing(func(c *fconn) {
			_, _ = c.r.ReadByte()
			c.write(words)
			_ = c.Close()
		}))
		p := newPod(t, f.backend(), over(network))
		c := p.tunnel()
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for range 1000 { // more than the function reads
				if _, err := c.nc.Write(pattern(1000)); err != nil {
					return
				}
			}
		}()
		if network == "unix" { // closing with unread bytes is a reset there that spares what was sent
			expect(t, c.r, words[:1000])
		} else {
			got, _ := io.ReadAll(io.LimitReader(c.r, int64(len(words)))) // the function's own kernel may cut it
			require.Equal(t, words[:len(got)], string(got))
		}
		_ = c.nc.Close()
		<-stop
		p.waitTunnels(0)
	})
}

// U5: a silent tunnel ends, one in which something moves does not, in either direction.
func TestU5ASilentTunnelEnds(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		const idle = 400 * time.Millisecond
		ended := make(chan error, 1)
		f := newFunction(t, network, agreeing(func(c *fconn) {
			for range 10 {
				c.write("x")
				time.Sleep(idle / 8)
			}
			for range 10 {
				_, _ = c.r.ReadByte()
			}
			_, err := c.r.ReadByte()
			ended <- err
		}))
		p := newPod(t, f.backend(), over(network), func(s *setup) { s.TunnelIdleTimeout = idle })
		c := p.tunnel()
		expect(t, c.r, strings.Repeat("x", 10))
		for range 10 {
			c.send("x")
			time.Sleep(idle / 8)
		}
		c.requireEnd()
		require.ErrorIs(t, <-ended, io.EOF)
		p.waitTunnels(0)
		require.EqualValues(t, 1, p.metrics.Requests().Answered[1])
		require.Zero(t, p.count(nameFaults))
	})
}

// U5: the time-outs of requests hold until the tunnel is there, and not after.
func TestU5TimeoutsEndWithTheHandshake(t *testing.T) {
	const limit = 50 * time.Millisecond
	for name, change := range map[string]func(*setup){
		"answer": func(s *setup) { s.AnswerTimeout = limit },
		"total":  func(s *setup) { s.Timeout = limit },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, "tcp", agreeing(func(c *fconn) { c.echo() }))
			p := newPod(t, f.backend(), change)
			c := p.tunnel()
			time.Sleep(4 * limit)
			c.send("still here")
			expect(t, c.r, "still here")
			c.finish()
			c.requireEnd()

			silent := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				c.wait()
			})
			p = newPod(t, silent.backend(), change)
			c = p.dial()
			c.send(upgrade())
			c.requireCode(504, "timeout")
			p.waitQueue(0, 0)
		})
	}
}

// P7: a client that leaves before the function has agreed ends the request.
func TestP7AClientThatLeavesTheHandshakeIsGone(t *testing.T) {
	for _, how := range waysToLeave {
		t.Run(how, func(t *testing.T) {
			seen := make(chan struct{})
			f := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				c.wait()
				close(seen)
			})
			p := newPod(t, f.backend())
			c := p.dial()
			c.send(upgrade())
			p.waitQueue(1, 0)
			c.leave(how)
			<-seen
			p.waitGone()
			p.waitQueue(0, 0)
		})
	}
}

// U5, P3: a tunnel holds its slot; the next in line gets it when both sides have ended.
func TestU5ATunnelHoldsItsSlot(t *testing.T) {
	f := newFunction(t, "tcp", agreeing(func(c *fconn) { c.echo() }))
	p := newPod(t, f.backend(), func(s *setup) { s.Queue = queue.Config{Limit: 1, Depth: 1} })
	for range 3 {
		first, second, third := p.tunnel(), p.dial(), p.dial()
		second.send(upgrade())
		p.waitQueue(1, 1)
		third.send(upgrade())
		third.requireCode(503, "queue_full")
		first.send("x")
		expect(t, first.r, "x")
		first.finish()
		first.requireEnd()
		second.switched()
		p.waitTunnels(1)
		second.finish()
		second.requireEnd()
		p.waitTunnels(0)
	}
}

// A side that reads nothing holds up its own direction only, and not for ever.
func TestU5ASlowSideDoesNotBlockTheOther(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		t.Run("client", func(t *testing.T) {
			f := newFunction(t, network, agreeing(func(c *fconn) {
				go func() { _, _ = c.Write(make([]byte, 64<<20)) }()
				for {
					b, err := c.r.ReadByte()
					if err != nil {
						return
					}
					if b == 'x' {
						c.f.calls.Add(1)
					}
				}
			}))
			p := newPod(t, f.backend(), over(network), func(s *setup) { s.WriteTimeout = 300 * time.Millisecond })
			c := p.tunnel()
			for i := range 5 {
				c.send("x")
				eventually(t, func() bool { return int(f.calls.Load()) == 2+i }, "the other way is open")
			}
			p.waitTunnels(0)
			require.Zero(t, p.count(nameFaults))
		})
		t.Run("function", func(t *testing.T) {
			stop := make(chan struct{})
			f := newFunction(t, network, agreeing(func(c *fconn) {
				for range 10 {
					c.write("x")
					time.Sleep(10 * time.Millisecond)
				}
				<-stop // reads nothing
			}))
			t.Cleanup(func() { close(stop) })
			p := newPod(t, f.backend(), over(network), func(s *setup) { s.WriteTimeout = 300 * time.Millisecond })
			c := p.tunnel()
			go func() { _, _ = c.nc.Write(make([]byte, 64<<20)) }()
			expect(t, c.r, strings.Repeat("x", 10))
			p.waitTunnels(0)
			p.waitFault("timeout", 1)
		})
	})
}

// R7, P3: many tunnels that end in every way leave nothing behind.
func TestU5TunnelsThatBreakLeaveNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		f := newFunction(t, network, agreeing(func(c *fconn) { c.echo() }))
		p := newPod(t, f.backend(), over(network))
		done := make(chan struct{})
		const clients, each = 8, 25
		for i := range clients {
			go func() {
				defer func() { done <- struct{}{} }()
				for n := range each {
					nc, err := net.Dial(p.network, p.address)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.WriteString(nc, upgrade()+string(pattern(n*977)))
					switch (i + n) % 4 {
					case 0:
						reset(nc)
					case 1:
						_, _ = nc.Read(make([]byte, 100))
						reset(nc)
					case 2:
						_ = nc.(interface{ CloseWrite() error }).CloseWrite()
						_, _ = io.Copy(io.Discard, nc)
					}
					_ = nc.Close()
				}
			}()
		}
		for range clients {
			<-done
		}
		p.waitTunnels(0)
		eventually(t, func() bool { return p.count("fnpod_connections") == 0 }, "connections are left")
		require.Zero(t, p.count(namePanics))
	})
}

// lines is a log, record by record.
type lines chan []byte

func (l lines) Write(p []byte) (int, error) {
	l <- bytes.Clone(p)
	return len(p), nil
}

// The log has one record for a tunnel, when it has ended, with why if it was not the
// sides that ended it.
func TestATunnelIsLoggedWhenItHasEnded(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*pod, *client)
		err  string
	}{
		{"client", func(_ *pod, c *client) { c.finish() }, ""},
		{"idle", func(*pod, *client) {}, "tunnel was idle longer than --tunnel-idle-timeout"},
		{"function", func(_ *pod, c *client) { c.send("reset") }, "read from function: connection reset by peer"},
		{"drain", func(p *pod, _ *client) { p.cancel() }, "pod is draining"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFunction(t, "tcp", agreeing(func(c *fconn) {
				b := make([]byte, 5)
				for {
					n, err := c.r.Read(b)
					switch {
					case err != nil:
						return
					case string(b[:n]) == "reset":
						reset(c.Conn)
						return
					}
					c.write(string(b[:n]))
				}
			}))
			log := make(lines, 8)
			p := newPod(t, f.backend(), func(s *setup) {
				s.AccessLog, s.Log, s.DrainTimeout = true, slog.New(slog.NewJSONHandler(log, nil)), 50*time.Millisecond
				if test.name == "idle" {
					s.TunnelIdleTimeout = 50 * time.Millisecond
				}
			})
			c := p.tunnel()
			c.send("ping")
			expect(t, c.r, "ping")
			require.Empty(t, log)
			test.end(p, c)
			p.waitTunnels(0)
			var record struct {
				Msg, Method, Target, Err string
				Status                   int
				BytesIn                  int `json:"bytes_in"`
				BytesOut                 int `json:"bytes_out"`
			}
			require.NoError(t, json.Unmarshal(<-log, &record))
			require.Equal(t, "request", record.Msg)
			require.Equal(t, "GET", record.Method)
			require.Equal(t, "/ws", record.Target)
			require.Equal(t, 101, record.Status)
			require.Equal(t, test.err, record.Err)
			require.GreaterOrEqual(t, record.BytesIn, 4)
			require.GreaterOrEqual(t, record.BytesOut, 4)
		})
	}
}
