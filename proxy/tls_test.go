package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// secure opens a connection with TLS and offers protocols.
func (p *pod) secure(protocols ...string) *tls.Conn {
	p.t.Helper()
	nc, err := (&net.Dialer{}).DialContext(p.t.Context(), "tcp", p.address)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(p.t, nc.SetDeadline(time.Now().Add(patience)))
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	require.NoError(p.t, c.HandshakeContext(p.t.Context()))
	return c
}

// plain opens a connection without TLS.
func (p *pod) plain() *client {
	p.t.Helper()
	q := &pod{t: p.t, network: "tcp", address: p.address}
	return q.dial()
}

func TestTLSNegotiatesTheProtocol(t *testing.T) {
	f, seen := newRecorder(t)
	p := newPod(t, f.backend(), over("tls"))
	for _, test := range []struct {
		offered []string
		want    string
	}{
		{[]string{"h2", "http/1.1"}, "h2"},
		{[]string{"h2"}, "h2"},
		{[]string{"http/1.1", "h2"}, "h2"},
		{[]string{"http/1.1"}, "http/1.1"},
		{nil, ""},
	} {
		nc := p.secure(test.offered...)
		require.Equal(t, test.want, nc.ConnectionState().NegotiatedProtocol)
		if test.want == "h2" {
			c := newClient2(t, nc)
			require.Equal(t, "GET / HTTP/1.1\n", string(c.get("/").body))
			continue
		}
		_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		buf := make([]byte, 100)
		_, err = io.ReadAtLeast(nc, buf, 20)
		require.NoError(t, err)
		require.Contains(t, string(buf), "HTTP/1.1 200 OK")
	}
	for _, r := range seen() {
		require.Equal(t, "https", r.header.Get("X-Forwarded-Proto"))
	}
	p = newPod(t, f.backend(), over("tls"), func(s *setup) { s.HTTP2Streams = 0 })
	require.Equal(t, "http/1.1", p.secure("h2", "http/1.1").ConnectionState().NegotiatedProtocol)
}

// Who speaks without TLS where TLS is spoken is told, and the other way round.
func TestTLSOnOneSideAlone(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), over("tls"))
	c := p.plain()
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	require.True(t, c.requireCode(400, "request_line").closes)
	c.requireEnd()
	p.waitRejected("request_line")

	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", newPod(t, newEcho(t, "tcp").backend()).address)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	err = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
	require.Error(t, err)
	require.False(t, isTimeout(err))
}

// L1: a handshake has the time of a head, and so has the silence behind it.
func TestL1HandshakesThatStall(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), over("tls"), func(s *setup) { s.HeadTimeout = 100 * time.Millisecond })
	silent, begun := p.plain(), p.plain()
	begun.send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	silent.requireEnd()
	_, err := begun.rawRest()
	require.False(t, isTimeout(err))
	for _, protocol := range []string{"h2", "http/1.1"} {
		_, err := io.ReadAll(p.secure(protocol))
		require.False(t, isTimeout(err), protocol)
	}
	c := newClient2(t, p.secure("h2"))
	require.Equal(t, "200", c.get("/").get(":status"))
}

func TestKeepAliveAndPipeliningOverTLS(t *testing.T) {
	c := newPod(t, newEcho(t, "tcp").backend(), over("tls")).dial()
	var all strings.Builder
	for i := range 50 {
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", i)
	}
	c.send(all.String())
	for i := range 50 {
		require.Equal(t, fmt.Sprintf("POST /%d HTTP/1.1\nhi", i), c.receive("POST").body)
	}
	for _, b := range []byte(post("/slow", "hello")) { // one record each
		c.send(string(b))
	}
	require.Equal(t, "POST /slow HTTP/1.1\nhello", c.receive("POST").body)
	c.send("GET /\r\n\r\n")
	c.requireCode(400, "request_line")
	c.requireEnd()
}

func TestLargeBodiesOverTLS(t *testing.T) {
	body := string(pattern(5 << 20))
	p := newPod(t, newEcho(t, "tcp").backend(), over("tls"))
	c := p.dial()
	for range 2 {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = io.WriteString(c.nc, post("/", body)) // a failure shows below
		}()
		require.Equal(t, "POST / HTTP/1.1\n"+body, c.receive("POST").body)
		<-sent
	}
}

// R2: an answer that was cut is not ended as if it were whole.
func TestR2CutAnswersOverTLS(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
	} {
		for _, version := range []string{"1.0", "1.1"} { // the former ends with the connection
			t.Run(name+" "+version, func(t *testing.T) {
				f := newFunction(t, "tcp", func(c *fconn) {
					c.request()
					c.write(answer)
				})
				p := newPod(t, f.backend(), over("tls"))
				c := p.dial()
				c.send("GET / HTTP/" + version + "\r\nHost: h\r\n\r\n")
				rest, err := c.rawRest()
				require.Error(t, err, "there was no word that all is well: %q", rest)
				require.False(t, isTimeout(err))
				p.waitAborted(1)
			})
		}
	}
	t.Run("whole", func(t *testing.T) {
		f := newFunction(t, "tcp", func(c *fconn) {
			c.request()
			c.write("HTTP/1.1 200 OK\r\n\r\n12345")
		})
		c := newPod(t, f.backend(), over("tls")).dial()
		c.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n")
		rest, err := c.rawRest()
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(rest, "12345"))
	})
}

// P7: in all ways to leave.
func TestP7ClientsWithTLSThatLeave(t *testing.T) {
	for _, how := range []string{"close", "half", "abrupt"} {
		for _, queued := range []bool{false, true} {
			t.Run(fmt.Sprint(how, queued), func(t *testing.T) {
				f := newFunction(t, "tcp", func(c *fconn) {
					c.request()
					c.wait()
				})
				p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit = 1 }, over("tls"))
				first := p.dial()
				first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				p.waitQueue(1, 0)
				c, left := first, 0
				if queued {
					c, left = p.dial(), 1
					c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
					p.waitQueue(1, 1)
				}
				socket := c.nc.(*tls.Conn).NetConn()
				switch how {
				case "close":
					_ = c.nc.Close()
				case "half":
					_ = socket.(*net.TCPConn).CloseWrite()
				default:
					_ = socket.Close()
				}
				p.waitQueue(left, 0)
				p.waitGone()
			})
		}
	}
}

// L2, D2: idle connections end with the word that all is well, in a drain, too.
func TestIdleConnectionsWithTLSEnd(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), over("tls"), func(s *setup) { s.IdleTimeout = 50 * time.Millisecond })
	c := p.dial()
	require.Equal(t, 200, c.get("/").code)
	rest, err := c.rawRest()
	require.NoError(t, err)
	require.Empty(t, rest)

	release, let := gate(t)
	f := newFunction(t, "tcp", calling(func(c *fconn, _ request) {
		<-release
		c.answer("ok")
	}))
	p = newPod(t, f.backend(), over("tls"))
	idle, busy := p.dial(), p.dial()
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	p.waitQueue(1, 0)
	p.cancel()
	_, err = idle.rawRest()
	require.False(t, isTimeout(err))
	let()
	r := busy.receive("GET")
	require.Equal(t, "ok", r.body)
	require.True(t, r.closes)
	require.NoError(t, p.stop())
}
