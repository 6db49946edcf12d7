package proxy_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// The tests of Rules.AnyUpgrade, which Knative needs (section 8.5 of its contract), and of HTTP/2 by Upgrade (section 4).

// anyUpgrade allows all protocols.
func anyUpgrade(s *setup) { s.Hooks.Rules.AnyUpgrade = true }

// spdy is a request for a protocol that we know nothing of.
const spdy = "POST /exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n"

// agreed is the function's answer, in another case of letters.
const agreed = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: spdy/3.1\r\nX-Field: 1\r\n\r\n"

func TestKnative85AnyProtocolGoesThroughATunnel(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		heads := make(chan request, 1)
		f := newFunction(t, network, func(c *fconn) {
			heads <- c.request()
			c.write(agreed)
			c.echo()
		})
		p := newPod(t, f.backend(), over(network), anyUpgrade, func(s *setup) { s.Queue = queue.Config{Limit: 1} })
		c, other := p.dial(), p.dial()
		c.send(spdy, "early") // held back until the function agrees
		r := c.head("POST")
		require.Equal(t, 101, r.StatusCode)
		require.Equal(t, []string{"Upgrade"}, r.Header["Connection"])
		require.Equal(t, "spdy/3.1", r.Header.Get("Upgrade"))
		require.Equal(t, "1", r.Header.Get("X-Field"))
		h := <-heads
		require.Equal(t, "POST /exec HTTP/1.1", h.line)
		require.Equal(t, []string{"Upgrade"}, h.header["Connection"])
		require.Equal(t, []string{"SPDY/3.1"}, h.header["Upgrade"])
		expect(t, c.r, "early")
		p.waitTunnels(1) // it has its slot
		require.Equal(t, 503, other.get("/").code)
		message := string(pattern(100_000))
		go func() { _, _ = io.WriteString(c.nc, message) }() // the read below judges
		expect(t, c.r, message)
		c.finish() // the function still has something to say
		c.requireEnd()
		p.waitTunnels(0)
	})
}

// A drain puts no frame of a WebSocket into what is none.
func TestKnative85ADrainSaysNothingInAForeignProtocol(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		c.request()
		c.write(agreed, "before")
		_, _ = io.ReadAll(c.r)
		c.write("after")
	})
	p := newPod(t, f.backend(), anyUpgrade)
	c := p.dial()
	c.send(spdy)
	c.head("POST")
	expect(t, c.r, "before")
	p.cancel()
	require.NoError(t, c.nc.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.r.ReadByte()
	require.True(t, isTimeout(err), "%v", err)
	require.NoError(t, c.nc.SetReadDeadline(time.Now().Add(patience)))
	c.finish()
	expect(t, c.r, "after")
	c.requireEnd()
	require.NoError(t, p.stop())
}

func TestKnative85AnotherAnswerThanTheUpgradeAskedFor(t *testing.T) {
	answers := map[string]string{
		"/no":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
		"/other": switching, // nobody asked for that
	}
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		if answer, ok := answers[strings.Fields(r.line)[1]]; ok {
			c.write(answer)
			return
		}
		c.answer(r.header.Get("Upgrade"))
	}))
	p := newPod(t, f.backend(), anyUpgrade)
	c := p.dial()
	ask := func(path, more string) reply {
		c.send("GET ", path, " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: foo\r\n", more)
		return c.receive("GET")
	}
	require.Equal(t, "no", ask("/no", "\r\n").body)
	require.Equal(t, 502, ask("/other", "\r\n").code)
	require.Equal(t, "foo", ask("/", "\r\n").body)
	require.Empty(t, ask("/", "Content-Length: 3\r\n\r\nabc").body, "with a body it is an ordinary request")
	c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	require.Empty(t, c.receive("GET").body, "h2c is spoken here or not at all: a tunnel of requests would pass the queue")
}

// askHTTP2 is a request that goes on in HTTP/2, with a header table and a window of its own.
const askHTTP2 = "GET /first?a=b HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade, HTTP2-Settings, X-Hop\r\nUpgrade: h2c\r\nHTTP2-Settings: AAQAAAAF\r\n" +
	"X-Hop: 1\r\nX-Field: one\r\nX-Field: two\r\nTE: trailers\r\n"

// upgraded sends such a request and goes on in HTTP/2, of which the first stream is the request.
func (p *pod) upgraded(head string, settings ...http2.Setting) *client2 {
	p.t.Helper()
	c := p.dial()
	c.send(head, "\r\n")
	r := c.head("GET")
	require.Equal(p.t, 101, r.StatusCode)
	require.Equal(p.t, "h2c", r.Header.Get("Upgrade"))
	require.Equal(p.t, []string{"Upgrade"}, r.Header["Connection"])
	require.Zero(p.t, c.r.Buffered(), "nothing is said before the client has said its preface")
	c2 := newClient2(p.t, c.nc, settings...)
	c2.promise()
	return c2
}

func TestKnative4HTTP2ByUpgrade(t *testing.T) {
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) {
		_, host, _ := strings.Cut(r.head, "Host: ")
		host, _, _ = strings.Cut(host, "\r\n")
		c.answer(r.line + " " + host + r.header.Get("X-Hop") + " " + strings.Join(r.header["X-Field"], ", ") + r.body)
	}))
	b := f.backend()
	b.Protocol = proxy.ProtocolSame
	p := newPod(t, b, anyUpgrade)
	c := p.upgraded(askHTTP2)
	first := c.streams[1]
	c.pump(func() bool { return len(first.body) == 5 })
	require.Equal(t, "GET /", string(first.body), "the window that the request told of")
	require.False(t, first.ended)
	require.NoError(t, c.fr.WriteWindowUpdate(1, 1000))
	require.Equal(t, "GET /first?a=b HTTP/1.1 example.com one, two", string(c.receive(1).body))
	require.Equal(t, "200", first.get(":status"))
	id := c.open(false, "POST", "/next", "x-field", "n")
	require.NoError(t, c.fr.WriteWindowUpdate(id, 1000))
	c.data(id, true, "body")
	require.Equal(t, "POST /next HTTP/1.1 h nbody", string(c.receive(id).body), "by HTTP/1.1, as the first")
	require.Equal(t, 1, c.settled, "all settings are acknowledged once")
	c = p.upgraded(askHTTP2, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 10})
	require.Equal(t, "GET /first?a=b HTTP/1.1 example.com one, two", string(c.receive(1).body), "the frame's settings are the later ones")
	p.waitQueue(0, 0)
	require.EqualValues(t, 3, p.metrics.Requests().Accepted)
}

// The head may be larger than what is read at once, and come as several frames.
func TestKnative4HTTP2ByUpgradeOfALargeHead(t *testing.T) {
	for _, size := range []int{10 << 10, 20 << 10, 40 << 10, 60 << 10} {
		f, seen := newRecorder(t)
		p := newPod(t, f.backend(), anyUpgrade, func(s *setup) { s.HeadBytes = 1<<16 - 1 })
		value := string(pattern(size))
		c := p.upgraded(strings.Replace(askHTTP2, "AAQAAAAF", "AAMAAABk", 1) + "X-Large: " + strings.Map(letter, value) + "\r\n")
		require.Equal(t, "200", c.receive(1).get(":status"))
		require.Equal(t, strings.Map(letter, value), seen()[0].header.Get("X-Large"))
		require.Equal(t, "200", c.get("/").get(":status"))
	}
}

// letter makes a letter of anything.
func letter(r rune) rune { return 'a' + r%26 }

// Whatever is wrong with the wish, the request is answered.
func TestKnative4HTTP2ByUpgradeIsAWish(t *testing.T) {
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) { c.answer(r.header.Get("Upgrade") + r.header.Get("Http2-Settings")) }))
	const head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	for name, more := range map[string]string{
		"no settings":      "\r\n",
		"no base64":        "HTTP2-Settings: *\r\n\r\n",
		"half a setting":   "HTTP2-Settings: AAAA\r\n\r\n",
		"a body":           "HTTP2-Settings: AAQAAAAF\r\nContent-Length: 3\r\n\r\nabc",
		"not listed":       "HTTP2-Settings: AAQAAAAF\r\nHTTP2-Settings: AAQAAAAF\r\n\r\n",
		"without the rule": "HTTP2-Settings: AAQAAAAF\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, f.backend(), func(s *setup) { s.Hooks.Rules.AnyUpgrade = name != "without the rule" })
			c := p.dial()
			for range 2 {
				c.send(head, more)
				r := c.receive("GET")
				require.Equal(t, 200, r.code)
				require.Empty(t, r.body)
			}
		})
	}
	t.Run("TLS", func(t *testing.T) {
		p := newPod(t, f.backend(), over("tls"), anyUpgrade)
		c := p.dial()
		c.send(askHTTP2, "\r\n")
		require.Equal(t, 200, c.receive("GET").code)
	})
}

// A client that asks and then says something else has no connection any more, and no request in the figures.
func TestKnative4HTTP2ByUpgradeNeedsThePreface(t *testing.T) {
	p := newPod(t, newFunction(t, "tcp", calling(func(c *fconn, _ request) { c.answer("") })).backend(), anyUpgrade)
	const preface = http2.ClientPreface
	for name, words := range map[string]string{
		"a request":       "GET / HTTP/1.1\r\nHost: h\r\nX-Fill: 123\r\n\r\n",
		"no settings":     preface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678",
		"of a stream":     preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x01",
		"acknowledgement": preface + "\x00\x00\x00\x04\x01\x00\x00\x00\x00",
		"half a setting":  preface + "\x00\x00\x03\x04\x00\x00\x00\x00\x00abc",
		"too many":        preface + "\x00\xff\xff\x04\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := p.dial()
			c.send(askHTTP2, "\r\n")
			require.Equal(t, 101, c.head("GET").StatusCode)
			c.send(words)
			c.requireEnd()
		})
	}
	require.Zero(t, p.metrics.Requests().Accepted)
}
