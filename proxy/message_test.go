package proxy_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// onBoth runs a test over TCP and over unix sockets, on both sides.
func onBoth(t *testing.T, test func(t *testing.T, network string)) {
	t.Helper()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

func over(network string) func(*setup) { return func(s *setup) { s.Network = network } }

func TestKeepAliveServesOneRequestAfterAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		f := newEcho(t, network)
		c := newPod(t, f.backend(), over(network)).dial()
		for i := range 10 {
			r := c.get(fmt.Sprintf("/%d", i))
			require.Equal(t, fmt.Sprintf("GET /%d HTTP/1.1\n", i), r.body)
			require.False(t, r.closes)
		}
		require.EqualValues(t, 1, f.opened.Load(), "the connection to the function is used again")
	})
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		c := newPod(t, newEcho(t, network).backend(), over(network)).dial()
		var all strings.Builder
		for i := range 20 {
			fmt.Fprintf(&all, "GET /g%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
			all.WriteString(post(fmt.Sprintf("/p%d", i), strings.Repeat("x", i*100)))
			fmt.Fprintf(&all, "PUT /c%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", i)
			all.WriteString(post(fmt.Sprintf("/l%d", i), string(pattern(70_000))))
		}
		go func() { _, _ = io.WriteString(c.nc, all.String()) }()
		for i := range 20 {
			require.Equal(t, fmt.Sprintf("GET /g%d HTTP/1.1\n", i), c.receive("GET").body)
			require.Equal(t, fmt.Sprintf("POST /p%d HTTP/1.1\n%s", i, strings.Repeat("x", i*100)), c.receive("POST").body)
			require.Equal(t, fmt.Sprintf("PUT /c%d HTTP/1.1\nabcd", i), c.receive("PUT").body)
			require.Equal(t, fmt.Sprintf("POST /l%d HTTP/1.1\n%s", i, pattern(70_000)), c.receive("POST").body)
		}
	})
}

func TestGarbageAfterAMessageIsRefused(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend())
	c := p.dial()
	c.send(post("/a", "abc"), "\x00garbage\r\n\r\n")
	require.Equal(t, "POST /a HTTP/1.1\nabc", c.receive("POST").body)
	require.True(t, c.requireCode(400, "request_line").closes)
	c.requireEnd()
	p.waitRejected("request_line")
}

// A head is refused when it is too large, whether or not one of its lines has ended (R6, L9).
func TestLinesWithoutAnEndAreRefusedAtTheLimit(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend())
	c := p.dial()
	c.send("GET /")
	eventually(t, func() bool { return p.count("fnpod_received_bytes_total") == 5 }, "the first bytes are there")
	c.send(strings.Repeat("a", 20_000))
	require.True(t, c.requireCode(414, "header_size").closes)
	c.finish()
	c.requireEnd()
	p.waitRejected("header_size")
}

func TestCloseEndsThePipeline(t *testing.T) {
	f := newEcho(t, "tcp")
	c := newPod(t, f.backend()).dial()
	c.send("GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
	r := c.receive("GET")
	require.Equal(t, "GET /1 HTTP/1.1\n", r.body)
	require.True(t, r.closes)
	c.requireEnd()
	require.EqualValues(t, 1, f.calls.Load())
}

func TestHTTP10(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend())

	c := p.dial()
	c.send("GET /plain HTTP/1.0\r\n\r\n")
	r := c.receive("GET")
	require.Equal(t, "GET /plain HTTP/1.1\n", r.body)
	require.Equal(t, "HTTP/1.1", r.protocol)
	require.True(t, r.closes)
	c.requireEnd()

	c = p.dial()
	for range 2 {
		c.send("GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		r = c.receive("GET")
		require.Equal(t, "GET /kept HTTP/1.1\n", r.body)
		require.Equal(t, "keep-alive", r.header.Get("Connection"))
	}
}

// An answer of unknown length ends with the connection for a client that does not
// know chunks.
func TestHTTP10GetsNoChunks(t *testing.T) {
	f := newFunction(t, "tcp", calling(func(c *fconn, _ request) {
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		c.write("3\r\ndef\r\n0\r\nX-T: v\r\n\r\n")
	}))
	c := newPod(t, f.backend()).dial()
	c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	r := c.receive("GET")
	require.Equal(t, "abcdef", r.body)
	require.False(t, r.chunked)
	require.True(t, r.closes)
	c.requireEnd()
}

func TestAnswersWithoutABody(t *testing.T) {
	for _, test := range []struct {
		name, method, answer string
		length               string
	}{
		{"HEAD with length", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "7"},
		{"HEAD chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"HEAD until close", "HEAD", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", ""},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"204 with length 0", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"a\"\r\n\r\n", "9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
				if !strings.Contains(r.line, "/odd") {
					c.answer("ordinary")
					return
				}
				c.write(test.answer)
				if strings.Contains(test.answer, "close") {
					_ = c.Close()
				}
			}))
			c := newPod(t, f.backend()).dial()
			for range 2 {
				c.send(test.method, " /odd HTTP/1.1\r\nHost: h\r\n\r\n")
				r := c.receive(test.method)
				require.Empty(t, r.body)
				require.False(t, r.chunked)
				require.Equal(t, test.length, r.header.Get("Content-Length"))
				require.Equal(t, "ordinary", c.get("/").body, "nothing is left over on the connection")
			}
		})
	}
}

// What a backend that is not an HTTP server says by Respond, Write and Finish.
func TestRespond(t *testing.T) {
	for _, test := range []struct {
		name, method string
		status       int
		length       int64
		write        []string
		want         string
		wantLength   string
		chunked      bool
	}{
		{"length", "GET", 200, 4, []string{"ab", "cd"}, "abcd", "4", false},
		{"unknown length", "GET", 201, -1, []string{"ab", "", "cd"}, "abcd", "", true},
		{"nothing of unknown length", "GET", 200, -1, nil, "", "0", false},
		{"length 0", "POST", 200, 0, nil, "", "0", false},
		{"HEAD with length", "HEAD", 200, 4, nil, "", "4", false},
		{"HEAD with a body that stays here", "HEAD", 200, 4, []string{"abcd"}, "", "4", false},
		{"HEAD of unknown length", "HEAD", 200, -1, []string{"abcd"}, "", "", false},
		{"204", "GET", 204, 0, nil, "", "", false},
		{"204 with a body", "GET", 204, 4, []string{"abcd"}, "", "", false},
		{"304", "GET", 304, 0, nil, "", "", false},
		{"304 of unknown length", "GET", 304, -1, []string{"abcd"}, "", "", false},
		{"large pieces", "GET", 200, 100_000, []string{string(pattern(100_000))}, string(pattern(100_000)), "100000", false},
		{"large chunks", "GET", 200, -1, []string{string(pattern(100_000)), "end"}, string(pattern(100_000)) + "end", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := proxy.BackendFunc(func(x *proxy.Exchange) error {
				x.Respond(test.status, test.length)
				if err := x.AddField([]byte("X-Own"), []byte("v")); err != nil {
					return err
				}
				for _, w := range test.write {
					if _, err := x.Write([]byte(w)); err != nil {
						return err
					}
				}
				return x.Finish()
			})
			c := newPod(t, b).dial()
			for range 3 {
				c.send(test.method, " / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
				r := c.receive(test.method)
				require.Equal(t, test.status, r.code)
				require.Equal(t, test.want, r.body)
				require.Equal(t, test.wantLength, r.header.Get("Content-Length"))
				require.Equal(t, test.chunked, r.chunked)
				require.Equal(t, "v", r.header.Get("X-Own"))
			}
		})
	}
}

// Row 1d: what a function may not say is 502, with nothing of it passed on.
func TestRespondRefusesWhatWouldDesyncTheClient(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(x *proxy.Exchange) error
	}{
		{"status 99", func(x *proxy.Exchange) error { x.Respond(99, 0); return x.Finish() }},
		{"status 100", func(x *proxy.Exchange) error { x.Respond(100, 0); return x.Finish() }},
		{"status 101", func(x *proxy.Exchange) error { x.Respond(101, -1); return x.Finish() }},
		{"status 600", func(x *proxy.Exchange) error { x.Respond(600, 0); return x.Finish() }},
		{"status 1000", func(x *proxy.Exchange) error { x.Respond(1000, 0); return x.Finish() }},
		{"status -1", func(x *proxy.Exchange) error { x.Respond(-1, 0); return x.Finish() }},
		{"status 99 with a body", func(x *proxy.Exchange) error {
			x.Respond(99, -1)
			if _, err := x.Write([]byte("body")); err != nil {
				return err
			}
			return x.Finish()
		}},
		{"field name", func(x *proxy.Exchange) error {
			x.Respond(200, 0)
			return x.AddField([]byte("Set-Cookie: a=b; X"), []byte("v"))
		}},
		{"field value", func(x *proxy.Exchange) error {
			x.Respond(200, 0)
			return x.AddField([]byte("X"), []byte("a\r\nInjected: b"))
		}},
		{"trailer", func(x *proxy.Exchange) error {
			x.Respond(200, -1)
			return x.AddTrailer([]byte("X"), []byte("a\r\n\r\n"))
		}},
		{"short body", func(x *proxy.Exchange) error { x.Respond(200, 3); return x.Finish() }},
		{"long body", func(x *proxy.Exchange) error {
			x.Respond(200, 3)
			_, err := x.Write([]byte("abcd"))
			return err
		}},
		{"not begun", func(x *proxy.Exchange) error { return x.Finish() }},
		{"not finished", func(x *proxy.Exchange) error { x.Respond(200, 0); return nil }},
		{"nothing at all", func(*proxy.Exchange) error { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPod(t, proxy.BackendFunc(test.run))
			c := p.dial()
			for range 2 {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				require.NotContains(t, c.requireCode(502, "malformed").header, "Injected")
			}
		})
	}
}

// A second answer to one request would be taken for the answer to the next.
func TestASecondAnswerIsNeverSent(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		for range 2 {
			x.Respond(200, -1)
			if _, err := x.Write([]byte("abc")); err != nil {
				return err
			}
		}
		return x.Finish()
	})
	p := newPod(t, b)
	c := p.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	rest, _ := c.rawRest()
	require.Equal(t, 1, strings.Count(rest, "HTTP/1.1"))
	require.NotContains(t, rest, "\r\n0\r\n")
	p.waitAborted(1)
}

func TestRequestBytesInPiecesOfAnySizeMeanTheSame(t *testing.T) {
	for _, test := range []struct{ name, send, want string }{
		{"head only", "GET /a?b HTTP/1.1\r\nHost: h\r\nX-Long: " + strings.Repeat("v", 300) + "\r\n\r\n", "GET /a?b HTTP/1.1\n"},
		{"length", post("/p", string(pattern(500))), "POST /p HTTP/1.1\n" + string(pattern(500))},
		{"chunked", "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n0A\r\n0123456789\r\n0\r\nX-T: v\r\n\r\n", "POST /c HTTP/1.1\nabcde0123456789"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newEcho(t, "tcp")
			c := newPod(t, f.backend()).dial()
			for _, size := range []int{1, 2, 3, 7, 64, 1000} {
				for i := 0; i < len(test.send); i += size {
					c.send(test.send[i:min(i+size, len(test.send))])
				}
				require.Equal(t, test.want, c.receive("POST").body, "pieces of %d", size)
			}
			require.EqualValues(t, 6, f.calls.Load())
		})
	}
}
