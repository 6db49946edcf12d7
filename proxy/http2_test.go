package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/fnpod/fnpod/proxy"
)

// gate is a channel that let closes, at the latest with the test.
func gate(t testing.TB) (release chan struct{}, let func()) {
	release = make(chan struct{})
	let = sync.OnceFunc(func() { close(release) })
	t.Cleanup(let)
	return release, let
}

// newRecorder is an echo that notes the requests it got.
func newRecorder(t testing.TB) (*function, func() []request) {
	t.Helper()
	var mu sync.Mutex
	var all []request
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		mu.Lock()
		all = append(all, r)
		mu.Unlock()
		c.answer(r.line + "\n" + r.body)
	}))
	return f, func() []request {
		mu.Lock()
		defer mu.Unlock()
		return append([]request(nil), all...)
	}
}

func TestHTTP2IsServedLikeHTTP1(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		f, seen := newRecorder(t)
		p := newPod(t, f.backend(), over(network))
		c := p.dial2()
		r := c.get("/a?b=%2F//c")
		require.Equal(t, "GET /a?b=%2F//c HTTP/1.1\n", string(r.body))
		require.Equal(t, "200", r.get(":status"))
		require.Equal(t, "25", r.get("content-length"))
		id := c.open(false, "POST", "/p", "content-length", "5")
		c.data(id, true, "hello")
		require.Equal(t, "POST /p HTTP/1.1\nhello", string(c.receive(id).body))
		id = c.open(false, "PUT", "/p")
		c.data(id, false, "hello ")
		p.waitQueue(1, 0) // it is streamed
		c.data(id, true, "again")
		require.Equal(t, "PUT /p HTTP/1.1\nhello again", string(c.receive(id).body))
		require.Len(t, seen(), 3)
		require.Equal(t, "5", seen()[1].header.Get("Content-Length"))
		require.True(t, seen()[2].chunked)
	})
}

// H1 to H4, H7 to H9: what is refused in HTTP/1.1 is refused here, and nothing of
// it reaches the function, whose next request is not swallowed.
func TestH1ToH9MalformedHeadsAreRefused(t *testing.T) {
	long := strings.Repeat("x", 17<<10)
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("x-%d", i), "v")
	}
	head := func(pairs ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/refused"}, pairs...)
	}
	tests := []struct {
		name   string
		fields []string
		status int // 0 means a reset
		label  string
	}{
		{"H1 method with a target", []string{":method", "GET /x HTTP/1.1", ":scheme", "http", ":authority", "h", ":path", "/refused"}, 400, "method"},
		{"H1 method of 33 bytes", []string{":method", strings.Repeat("M", 33), ":scheme", "http", ":authority", "h", ":path", "/refused"}, 400, "method"},
		{"H2 path with a space", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/ HTTP/1.1"}, 400, "target"},
		{"H2 path with a fragment", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/a#b"}, 400, "target"},
		{"H2 path with a tab", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/a\tb"}, 0, ""},
		{"H2 path of a star", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "*"}, 400, "target"},
		{"H2 path is absolute", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "http://other/"}, 0, ""},
		{"H2 path without slash", []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "refused"}, 0, ""},
		{"H3 two lengths", head("content-length", "5", "content-length", "6"), 400, "framing"},
		{"H3 two equal lengths", head("content-length", "5", "content-length", "5"), 400, "framing"},
		{"H4 length without a body", head("content-length", "5"), 400, "framing"},
		{"H4 length with a sign", head("content-length", "+5"), 400, "framing"},
		{"H4 length with a list", head("content-length", "5, 5"), 400, "framing"},
		{"H4 length that overflows", head("content-length", "99999999999999999999"), 400, "framing"},
		{"H7 no host", []string{":method", "GET", ":scheme", "http", ":path", "/refused"}, 400, "host"},
		{"H7 no host, an empty authority", []string{":method", "GET", ":scheme", "http", ":authority", "", ":path", "/refused"}, 400, "host"},
		{"H7 host with a space", []string{":method", "GET", ":scheme", "http", ":authority", "h h", ":path", "/refused"}, 400, "host"},
		{"H7 host with a slash", []string{":method", "GET", ":scheme", "http", ":authority", "h/h", ":path", "/refused"}, 400, "host"},
		{"H7 host with userinfo", []string{":method", "GET", ":scheme", "http", ":authority", "u@h", ":path", "/refused"}, 0, ""},
		{"H8 CONNECT", []string{":method", "CONNECT", ":authority", "h:1"}, 405, "method"},
		{"H8 TRACE", []string{":method", "TRACE", ":scheme", "http", ":authority", "h", ":path", "/refused"}, 405, "method"},
		{"H9 connection field", head("connection", "close"), 0, ""},
		{"H9 transfer-encoding", head("transfer-encoding", "chunked"), 0, ""},
		{"H9 upgrade", head("upgrade", "websocket"), 0, ""},
		{"H9 TE other than trailers", head("te", "gzip"), 0, ""},
		{"name in upper case", head("X-Upper", "v"), 0, ""},
		{"name with a space", head("x y", "v"), 0, ""},
		{"value with a line end", head("x", "a\r\nb: c"), 0, ""},
		{"value with a NUL", head("x", "a\x00b"), 0, ""},
		{"head larger than 16 KiB", head("x", long), 431, "header_size"},
		{"more than 256 fields", head(many...), 431, "header_count"},
		{"unknown expectation", head("expect", "tea"), 417, "expect"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, seen := newRecorder(t)
			p := newPod(t, f.backend())
			c := p.dial2()
			require.Equal(t, "GET /before HTTP/1.1\n", string(c.get("/before").body))
			id := c.raw(true, test.fields...)
			if test.status == 0 {
				if r := c.receive(id); r.get(":status") != "400" {
					require.True(t, r.reset && !r.ended, "%+v", r)
				}
			} else {
				c.requireStatus(id, test.status, test.label)
				p.waitRejected(test.label)
			}
			require.Equal(t, "GET /after HTTP/1.1\n", string(c.get("/after").body))
			require.Len(t, seen(), 2)
			require.EqualValues(t, 1, f.opened.Load(), "one connection to the function, of which nothing was swallowed")
		})
	}
}

// An authority that is empty is none (RFC 9113 §8.3.1): the field Host tells the name.
func TestH7AnEmptyAuthorityIsNone(t *testing.T) {
	f, seen := newRecorder(t)
	c := newPod(t, f.backend()).dial2()
	c.get("/before") // whose authority is not this one's
	c.requireStatus(c.raw(true, ":method", "GET", ":scheme", "http", ":authority", "", ":path", "/", "host", "example.com"), 200, "")
	require.Contains(t, seen()[1].head, "\r\nHost: example.com\r\n")
}

// A head that is far too large ends the connection: it is not even decoded.
func TestHeadsFarBeyondTheLimitAreRefused(t *testing.T) {
	f, seen := newRecorder(t)
	c := newPod(t, f.backend()).dial2()
	var fields []string
	for i := range 40 {
		fields = append(fields, fmt.Sprintf("x-%d", i), strings.Repeat("x", 1<<10))
	}
	c.open(true, "GET", "/refused", fields...)
	c.requireEnd(http2.ErrCodeProtocol)
	require.Empty(t, seen())
}

// H5: a body that is shorter or longer than declared never looks whole, and the
// function's next request is not swallowed.
func TestH5BodiesThatContradictTheirLength(t *testing.T) {
	for _, length := range []int{5, 100 << 10} { // read before queueing, and streamed
		for _, sent := range []int{0, length - 1, length + 1} {
			t.Run(fmt.Sprintf("%d of %d", sent, length), func(t *testing.T) {
				f, seen := newRecorder(t)
				c := newPod(t, f.backend()).dial2()
				id := c.open(false, "POST", "/cut", "content-length", fmt.Sprint(length))
				c.stream(id, strings.Repeat("x", sent))
				r := c.receive(id)
				require.True(t, r.reset || r.get(":status") == "400", "%+v", r)
				require.Equal(t, "GET /after HTTP/1.1\n", string(c.get("/after").body))
				require.Len(t, seen(), 1, "only the second was whole")
			})
		}
	}
}

// stream sends a body in pieces and ends it.
func (c *client2) stream(id uint32, body string) {
	c.t.Helper()
	for len(body) > 16<<10 {
		c.data(id, false, body[:16<<10])
		body = body[16<<10:]
	}
	if c.fr.WriteData(id, true, []byte(body)) != nil {
		return // the connection ended meanwhile
	}
}

// H6, H9: values are trimmed; what is hop-by-hop or dangerous is dropped, the rest
// goes on with our own description of the client.
func TestH6H9FieldsAreCleaned(t *testing.T) {
	f, seen := newRecorder(t)
	c := newPod(t, f.backend()).dial2()
	id := c.open(true, "GET", "/", "x-space", "  a b\t", "x_under", "v", "proxy", "http://evil", "x-forwarded-for", "1.2.3.4",
		"proxy-authorization", "secret", "te", "trailers", "cookie", "a=1", "cookie", "b=2", "x-request-id", "mine", "x-twice", "1", "x-twice", "2")
	c.requireStatus(id, 200, "")
	got := seen()[0]
	require.Equal(t, "a b", got.header.Get("X-Space"))
	require.Contains(t, got.head, "\r\nX-Space: a b\r\n", "trimmed on the wire")
	require.Equal(t, "a=1; b=2", got.header.Get("Cookie"))
	require.Equal(t, []string{"1", "2"}, got.header.Values("X-Twice"))
	require.Equal(t, "1.2.3.4, 127.0.0.1", got.header.Get("X-Forwarded-For"))
	require.Equal(t, "http", got.header.Get("X-Forwarded-Proto"))
	require.Equal(t, "mine", got.header.Get("X-Request-Id"))
	for _, name := range []string{"X_under", "Proxy", "Proxy-Authorization"} {
		require.NotContains(t, strings.ToLower(got.head), "\r\n"+strings.ToLower(name)+":")
	}
}

// H10: illegal trailers end the request, and it never looks whole.
func TestH10IllegalTrailersCancelTheRequest(t *testing.T) {
	for name, field := range map[string]string{"pseudo": ":path", "framing": "content-length", "upper case": "X-Upper"} {
		t.Run(name, func(t *testing.T) {
			f, seen := newRecorder(t)
			c := newPod(t, f.backend()).dial2()
			id := c.open(false, "POST", "/cut", "trailer", "x-sum, content-length")
			c.data(id, false, "hello")
			c.headers(id, true, field, "5")
			c.requireReset(id)
			require.Equal(t, "GET /after HTTP/1.1\n", string(c.get("/after").body))
			require.Len(t, seen(), 1)
		})
	}
}

// Trailers pass in both directions; a forbidden one is dropped.
func TestTrailersPassBothWays(t *testing.T) {
	trailers := make(chan http.Header, 1)
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		trailers <- r.trailer
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		c.write("0\r\nX-Sum: 9\r\nSet-Cookie: a=b\r\n\r\n")
	}))
	c := newPod(t, f.backend()).dial2()
	for _, framing := range [][]string{{"trailer", "x-sum, authorization"}, {"trailer", "x-sum", "content-length", "5"}} {
		id := c.open(false, "POST", "/", framing...)
		c.data(id, false, "hello")
		c.headers(id, true, "x-sum", "5")
		r := c.requireStatus(id, 200, "")
		require.Equal(t, http.Header{"X-Sum": {"5"}}, <-trailers)
		require.Equal(t, "abc", string(r.body))
		require.Equal(t, "9", fieldOf(r.trailers, "x-sum"))
		require.Len(t, r.trailers, 1)
	}
}

func TestHTTP2AnswersWithoutBodies(t *testing.T) {
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		switch {
		case strings.HasPrefix(r.line, "HEAD"):
			c.write("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: a/b\r\n\r\n")
		case strings.Contains(r.line, "/204"):
			c.write("HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")
		case strings.Contains(r.line, "/304"):
			c.write("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n")
		case strings.Contains(r.line, "/103"):
			c.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		default:
			c.answer(r.line)
		}
	}))
	p := newPod(t, f.backend())
	c := p.dial2()
	r := c.requireStatus(c.open(true, "HEAD", "/"), 200, "")
	require.Equal(t, "1234", r.get("content-length"))
	require.Empty(t, r.body)
	r = c.requireStatus(c.open(true, "GET", "/204"), 204, "")
	require.Equal(t, "b", r.get("x-a"))
	require.Empty(t, r.get("content-length"))
	r = c.requireStatus(c.open(true, "GET", "/304"), 304, "")
	require.Equal(t, `"x"`, r.get("etag"))
	r = c.requireStatus(c.open(true, "GET", "/103"), 200, "")
	require.Len(t, r.interim, 1)
	require.Equal(t, "</a>", fieldOf(r.interim[0], "link"))
	require.Empty(t, r.get("link"))
	require.Equal(t, "ok", string(r.body))
	r = c.requireStatus(c.open(true, "OPTIONS", "*"), 200, "")
	require.Equal(t, "OPTIONS * HTTP/1.1", string(r.body))
	require.Empty(t, r.get("content-type"), "none was guessed")
}

// 100 Continue is said when the body is about to be read, and not when it never is.
func TestExpectOverHTTP2(t *testing.T) {
	f, seen := newRecorder(t)
	c := newPod(t, f.backend(), func(s *setup) { s.MaxBody = 1000 }).dial2()
	id := c.open(false, "POST", "/", "expect", "100-continue", "content-length", "5")
	c.pump(func() bool { return len(c.streams[id].interim) == 1 })
	c.data(id, true, "hello")
	c.requireStatus(id, 200, "")
	require.Empty(t, seen()[0].header.Get("Expect"))
	id = c.open(false, "POST", "/", "expect", "100-continue", "content-length", "1001")
	require.Empty(t, c.requireStatus(id, 413, "body_size").interim)
	require.Len(t, seen(), 1)
}

// L8: declared, and found while it is read.
func TestL8BodiesOverHTTP2HaveALimit(t *testing.T) {
	for _, declared := range []bool{true, false} {
		f, seen := newRecorder(t)
		p := newPod(t, f.backend(), func(s *setup) { s.MaxBody = 10 })
		c := p.dial2()
		fields := []string{"content-length", "11"}
		if !declared {
			fields = nil
		}
		id := c.open(false, "POST", "/", fields...)
		c.data(id, true, "hello world")
		c.requireStatus(id, 413, "body_size")
		p.waitRejected("body_size")
		require.Equal(t, "200", c.get("/").get(":status"))
		require.Len(t, seen(), 1)
	}
}

// L3: a body that stops is given up; the rest of the connection goes on.
func TestL3BodiesOverHTTP2ThatStall(t *testing.T) {
	for _, fields := range [][]string{{"content-length", "11"}, {"content-length", "100000"}, nil} {
		f, _ := newRecorder(t)
		p := newPod(t, f.backend(), func(s *setup) { s.BodyTimeout = 50 * time.Millisecond })
		c := p.dial2()
		id := c.open(false, "POST", "/", fields...)
		c.data(id, false, "hello")
		c.requireStatus(id, 408, "timeout_body")
		p.waitRejected("timeout_body")
		require.Equal(t, "GET / HTTP/1.1\n", string(c.get("/").body))
		p.waitQueue(0, 0)
	}
}

// P7: a stream that is reset leaves the queue, or ends the function.
func TestP7AResetStreamIsGone(t *testing.T) {
	cancelled := make(chan string, 10)
	f := newFunction(t, "tcp", func(c *fconn) {
		line := c.request().line
		if strings.Contains(line, "/left") {
			t.Error("it was run")
		}
		c.wait()
		cancelled <- line
	})
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 1 })
	c := p.dial2()
	running := c.open(true, "GET", "/running")
	p.waitQueue(1, 0)
	waiting := c.open(true, "GET", "/left")
	p.waitQueue(1, 1)
	require.NoError(t, c.fr.WriteRSTStream(waiting, http2.ErrCodeCancel))
	p.waitQueue(1, 0)
	p.waitGoneTotal(1)
	require.NoError(t, c.fr.WriteRSTStream(running, http2.ErrCodeCancel))
	require.Equal(t, "GET /running HTTP/1.1", <-cancelled)
	p.waitQueue(0, 0)
	p.waitGoneTotal(2)
	c.ping()
}

// P7: so is the whole connection.
func TestP7AClosedConnectionEndsItsStreams(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.request()
		c.wait()
	})
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 5 })
	c := p.dial2()
	for range 10 {
		c.open(true, "GET", "/")
	}
	p.waitQueue(5, 5)
	require.NoError(t, c.nc.Close())
	p.waitQueue(0, 0)
	p.waitGoneTotal(10)
}

func TestTimeoutsOverHTTP2(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		if r := c.request(); strings.Contains(r.line, "/begun") {
			c.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
		}
		c.wait()
	})
	p := newPod(t, f.backend(), func(s *setup) { s.Timeout = 100 * time.Millisecond })
	c := p.dial2()
	c.requireStatus(c.open(true, "GET", "/"), 504, "timeout")
	for i := range 2 {
		r := c.requireReset(c.open(true, "GET", "/begun"))
		require.Equal(t, "12345", string(r.body))
		p.waitAborted(i + 1)
	}
	p.waitQueue(0, 0)
	c.ping()
}

// R2, P11: an answer that was cut is reset and never ended.
func TestR2CutAnswersAreReset(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
		"chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n12345",
		"gRPC":    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 10\r\n\r\n12345",
		"long":    "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n12345" + strings.Repeat("x", 150000),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, "tcp", func(c *fconn) {
				c.request()
				c.write(answer)
			})
			p := newPod(t, f.backend())
			c := p.dial2()
			r := c.requireReset(c.open(true, "GET", "/"))
			require.Equal(t, "200", r.get(":status"))
			require.True(t, strings.HasPrefix(string(r.body), "12345"))
			p.waitAborted(1)
			c.ping()
		})
	}
	t.Run("until the end of the connection, by reset", func(t *testing.T) {
		f := newFunction(t, "tcp", func(c *fconn) {
			c.request()
			c.write("HTTP/1.1 200 OK\r\n\r\n12345")
			time.Sleep(20 * time.Millisecond) // for the bytes to be read before the reset
			reset(c.Conn)
		})
		p := newPod(t, f.backend())
		p.dial2().get("/")
		p.waitAborted(1)
	})
}

func TestRefusalsOverHTTP2AreCounted(t *testing.T) {
	release, let := gate(t)
	f := newFunction(t, "tcp", calling(func(c *fconn, _ request) {
		<-release
		c.answer("")
	}))
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit, s.Queue.Depth = 1, 0 })
	c := p.dial2()
	first := c.open(true, "GET", "/")
	p.waitQueue(1, 0)
	r := c.requireStatus(c.open(true, "GET", "/"), 503, "queue_full")
	require.Equal(t, "1", r.get("retry-after"))
	p.waitRejected("queue_full")
	id := c.open(true, "POST", "/", "content-type", "application/grpc", "te", "trailers")
	r = c.receive(id)
	require.Equal(t, "200", r.get(":status"))
	require.Equal(t, "14", r.get("grpc-status"))
	require.Empty(t, r.body)
	let()
	c.requireStatus(first, 200, "")
	require.Equal(t, 2, p.count(nameRejected, "queue_full"))
}

// The preface may come in any pieces.
func TestThePrefaceByteByByte(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend())
	c := p.dial()
	for _, b := range []byte(http2.ClientPreface) {
		c.send(string(b))
		eventually(t, func() bool { return true }, "")
	}
	require.NoError(t, http2.NewFramer(c.nc, c.nc).WriteSettings())
	f, err := http2.NewFramer(c.nc, c.r).ReadFrame()
	require.NoError(t, err)
	require.Equal(t, http2.FrameSettings, f.Header().Type)
}

// A preface that stops is refused after the head's time (L1), one that comes as a
// second request at once; without HTTP/2 it is no request.
func TestThePrefaceElsewhere(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.HeadTimeout = 50 * time.Millisecond })
	c := p.dial()
	c.send(http2.ClientPreface[:20])
	c.requireCode(408, "timeout_head")
	c = p.dial()
	require.Equal(t, 200, c.get("/").code)
	c.send(http2.ClientPreface)
	require.GreaterOrEqual(t, c.receive("GET").code, 400)
	c.requireEnd()
	c = newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.HTTP2Streams = 0 }).dial()
	c.send(http2.ClientPreface)
	require.GreaterOrEqual(t, c.receive("GET").code, 400)
}

// U2: the other way to HTTP/2 is ignored.
func TestU2UpgradeToH2CIsIgnored(t *testing.T) {
	f, seen := newRecorder(t)
	c := newPod(t, f.backend()).dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
	require.Equal(t, 200, c.receive("GET").code)
	require.NotContains(t, strings.ToLower(seen()[0].head), "h2c")
	require.NotContains(t, strings.ToLower(seen()[0].head), "http2-settings")
}

func TestStreamsOfAConnectionHaveALimit(t *testing.T) {
	release, let := gate(t)
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		<-release
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.HTTP2Streams = 3 })
	c := p.dial2()
	c.ping()
	var ids []uint32
	for range 3 {
		ids = append(ids, c.open(true, "GET", "/"))
	}
	p.waitQueue(3, 0)
	c.requireReset(c.open(true, "GET", "/"))
	let()
	for _, id := range ids {
		c.requireStatus(id, 200, "")
	}
}

// L6, L7: connections of HTTP/2 count, and idle ones make room. Those with a stream
// are not idle, nor is a stream whose body still comes.
func TestL7IdleConnectionsOfHTTP2MakeRoom(t *testing.T) {
	release, let := gate(t)
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		<-release
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.Connections = 3 })
	uploading := p.dial2()
	upload := uploading.open(false, "POST", "/", "content-length", "5")
	uploading.data(upload, false, "he")
	uploading.ping()
	busy := p.dial2()
	running := busy.open(true, "GET", "/")
	p.waitQueue(1, 0)
	idle := p.dial2()
	idle.ping()

	fourth := p.dial()
	fourth.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.requireEnd(http2.ErrCodeNo)
	require.Zero(t, idle.lastIn, "none of its streams was looked at")
	p.waitQueue(2, 0)
	p.dial().requireCode(503, "conn_limit")
	uploading.data(upload, true, "llo")
	p.waitQueue(3, 0)
	let()
	uploading.requireStatus(upload, 200, "")
	busy.requireStatus(running, 200, "")
	require.Equal(t, 200, fourth.receive("GET").code)
}

// L2: an idle connection ends with GOAWAY.
func TestL2IdleConnectionsOfHTTP2End(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.IdleTimeout = 50 * time.Millisecond })
	for _, ask := range []bool{true, false} {
		c := p.dial2()
		if ask {
			c.get("/")
		}
		c.requireEnd(http2.ErrCodeNo)
	}
}

// L4: a client that takes nothing of its answer is given up, however little is
// left; one that is slow is not.
func TestL4ClientsOfHTTP2ThatTakeNothing(t *testing.T) {
	for _, size := range []int{100, 5000, 300 << 10} {
		for _, whole := range []bool{true, false} { // a worker's answer comes in one piece
			t.Run(fmt.Sprint(size, whole), func(t *testing.T) {
				b := proxy.BackendFunc(func(x *proxy.Exchange) error {
					length := int64(size)
					if !whole {
						length = -1
					}
					x.Respond(200, length)
					if _, err := x.Write(pattern(size)); err != nil {
						return err
					}
					return x.Finish()
				})
				p := newPod(t, b, func(s *setup) { s.WriteTimeout = 200 * time.Millisecond })
				c := p.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				c.thrifty = true
				id := c.open(true, "GET", "/")
				c.requireReset(id)
				p.waitQueue(0, 0)
				c.ping()
			})
		}
	}
}

func TestL4SlowClientsOfHTTP2AreServed(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, 200<<10)
		if _, err := x.Write(pattern(200 << 10)); err != nil {
			return err
		}
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.WriteTimeout = 400 * time.Millisecond })
	c := p.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	c.thrifty = true
	id := c.open(true, "GET", "/")
	for range 13 { // two seconds in all
		time.Sleep(150 * time.Millisecond)
		require.NoError(t, c.fr.WriteWindowUpdate(id, 16<<10))
		require.NoError(t, c.fr.WriteWindowUpdate(0, 16<<10))
	}
	r := c.receive(id)
	require.True(t, r.ended, "%v", r.code)
	require.Equal(t, pattern(200<<10), r.body)
}

// D2, D3: GOAWAY to idle and busy connections; streams in flight finish; until the
// delay has passed new connections are served, and do not hold the drain up.
func TestD2DrainsOfHTTP2SayGoAway(t *testing.T) {
	release, let := gate(t)
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		if string(x.Request().Target) == "/wait" {
			<-release
		}
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.DrainDelay = time.Second })
	idle, busy := p.dial2(), p.dial2()
	idle.get("/")
	running := busy.open(true, "GET", "/wait")
	p.waitQueue(1, 0)
	p.cancel()
	busy.pump(func() bool { return len(busy.goAway) > 0 })
	require.Equal(t, []http2.ErrCode{http2.ErrCodeNo}, busy.goAway)
	idle.requireEnd(http2.ErrCodeNo)
	require.Equal(t, uint32(1), idle.lastIn)

	late, silent := p.dial2(), p.dial2()
	silent.ping()
	late.get("/")
	late.requireEnd(http2.ErrCodeNo)
	silent.requireEnd(http2.ErrCodeNo)
	let()
	busy.requireStatus(running, 200, "")
	busy.requireEnd()
	require.NoError(t, p.stop())
}

// D5: streams that never end are cut at the limit and counted as lost.
func TestD5ADrainOfHTTP2HasALimit(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		if r := c.request(); strings.Contains(r.line, "/begun") {
			c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		}
		c.wait()
	})
	p := newPod(t, f.backend(), func(s *setup) { s.DrainTimeout = 50 * time.Millisecond })
	c := p.dial2()
	begun, waiting := c.open(true, "GET", "/begun"), c.open(true, "GET", "/")
	c.pump(func() bool { return len(c.streams[begun].body) == 1 })
	p.waitQueue(2, 0)
	err := p.stop()
	require.ErrorIs(t, err, proxy.ErrLost)
	require.ErrorContains(t, err, "2")
	c.requireReset(begun)
	c.requireStatus(waiting, 503, "draining")
	p.err = nil // judged; the cleanup looks at the rest
}

// Answers to one connection do not mix, whatever their size and order.
func TestManyStreamsOfHTTP2(t *testing.T) {
	var most, now atomic.Int64
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		defer now.Add(-1)
		target := string(x.Request().Target)
		x.Respond(200, -1)
		for range 20 {
			if _, err := io.WriteString(x, target+"\n"); err != nil {
				return err
			}
		}
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.Queue.Limit, s.Queue.Depth = 8, 200 })
	c := p.dial2()
	ids := map[uint32]string{}
	for i := range 100 {
		path := fmt.Sprintf("/%d", i)
		ids[c.open(true, "GET", path)] = path
	}
	for id, path := range ids {
		require.Equal(t, strings.Repeat(path+"\n", 20), string(c.requireStatus(id, 200, "").body))
	}
	require.LessOrEqual(t, most.Load(), int64(8))
}

// R7: a panic of a backend is one request's.
func TestR7APanicEndsOneStream(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		if string(x.Request().Target) == "/panic" {
			panic("bug")
		}
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b)
	c := p.dial2()
	c.requireStatus(c.open(true, "GET", "/panic"), 500, "panic")
	require.Equal(t, "200", c.get("/").get(":status"))
	require.Equal(t, 1, p.count(namePanics))
}

// One connection takes at most half of the waiting room.
func TestOneConnectionOfHTTP2LeavesRoomInTheQueue(t *testing.T) {
	release, let := gate(t)
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		<-release
		x.Respond(200, 0)
		return x.Finish()
	})
	p := newPod(t, b, func(s *setup) { s.Queue.Limit, s.Queue.Depth = 1, 4 })
	greedy := p.dial2()
	var ids []uint32
	for i := range 3 {
		ids = append(ids, greedy.open(true, "GET", "/"))
		p.waitQueue(1, i)
	}
	r := greedy.requireStatus(greedy.open(true, "GET", "/"), 503, "queue_full")
	require.NotEmpty(t, r.get("retry-after"))
	p.waitRejected("queue_full")
	other := p.dial2()
	for i := range 2 {
		ids = append(ids, other.open(true, "GET", "/"))
		p.waitQueue(1, 3+i)
	}
	require.NoError(t, greedy.fr.WriteRSTStream(ids[2], http2.ErrCodeCancel)) // and the place is free again
	p.waitQueue(1, 3)
	ids[2] = greedy.open(true, "GET", "/")
	p.waitQueue(1, 4)
	let()
	for _, id := range ids[:3] {
		greedy.requireStatus(id, 200, "")
	}
	for _, id := range ids[3:] {
		other.requireStatus(id, 200, "")
	}
}

// L1: a head that does not end has a limit, and so has a frame of it.
func TestL1HeadsOfHTTP2ThatStall(t *testing.T) {
	for name, begin := range map[string]func(c *client2, block []byte){
		"without an end": func(c *client2, block []byte) {
			_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: c.promise(), BlockFragment: block})
		},
		"half a frame": func(c *client2, block []byte) {
			c.write(append([]byte{0, 0, 99, 1, 5, 0, 0, 0, byte(c.promise())}, block...))
		},
		"dripping": func(c *client2, block []byte) {
			id := c.promise()
			_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:1]})
			go func() {
				for c.fr.WriteContinuation(id, false, []byte("\x00\x01a\x01b")) == nil {
					time.Sleep(10 * time.Millisecond)
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, answering(), func(s *setup) { s.HeadTimeout = 100 * time.Millisecond })
			c := p.dial2()
			require.Equal(t, "200", c.get("/").get(":status"))
			begin(c, append([]byte(nil), c.encode(":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/")...))
			c.requireEnd(http2.ErrCodeEnhanceYourCalm)
			require.EqualValues(t, 1, c.lastIn&1)
			p.waitRejected("timeout_head")
		})
	}
}

// A stream may last longer than any head.
func TestTheLimitOfHeadsEndsWithThem(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.HeadTimeout = 50 * time.Millisecond })
	c := p.dial2()
	id := c.open(false, "POST", "/", "x", strings.Repeat("x", 14<<10), "y", "z")
	c.data(id, false, "a")
	time.Sleep(150 * time.Millisecond)
	c.data(id, true, "b")
	require.Equal(t, "POST / HTTP/1.1\nab", string(c.requireStatus(id, 200, "").body))
}

// What is on its way of bodies that nobody wants any more is no flood, and gives its window back.
func TestBodiesOfRefusedRequestsAreDropped(t *testing.T) {
	p := newPod(t, answering(), func(s *setup) { s.MaxBody = 10 })
	c := p.dial2()
	for range 5 {
		var ids []uint32
		for range 50 {
			ids = append(ids, c.open(false, "POST", "/", "content-length", "200000"))
		}
		for _, id := range ids {
			c.requireStatus(id, 413, "body_size")
		}
		for range 10 {
			for _, id := range ids { // 8 MB in all
				c.data(id, false, string(pattern(16<<10)))
			}
			c.ping()
		}
		for _, id := range ids {
			c.headers(id, true, "x-sum", "5")
		}
	}
	require.Equal(t, "200", c.get("/").get(":status"))
}

// A client that never opens a window leaves nothing behind.
func TestStreamsThatNeverSendAreForgotten(t *testing.T) {
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, 5000)
		if _, err := x.Write(pattern(5000)); err != nil {
			return err
		}
		return x.Finish()
	})
	p := newPod(t, b)
	c := p.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for range 300 {
		id := c.open(true, "GET", "/")
		c.pump(func() bool { return len(c.streams[id].head) > 0 })
		require.NoError(t, c.fr.WriteRSTStream(id, http2.ErrCodeCancel))
	}
	p.waitQueue(0, 0)
	require.NoError(t, c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16}))
	require.Equal(t, pattern(5000), c.get("/").body)
}
