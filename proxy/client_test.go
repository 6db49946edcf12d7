package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// client is a raw connection to a pod.
type client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func (p *pod) dial() *client {
	p.t.Helper()
	network := p.network
	if network == "tls" {
		network = "tcp"
	}
	nc, err := (&net.Dialer{}).DialContext(context.Background(), network, p.address)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(p.t, nc.SetDeadline(time.Now().Add(patience)))
	if p.network == "tls" {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	return &client{p.t, nc, bufio.NewReader(nc)}
}

func (c *client) send(parts ...string) {
	c.t.Helper()
	_, err := io.WriteString(c.nc, strings.Join(parts, ""))
	require.NoError(c.t, err)
}

// certificate is one that only these clients accept.
func certificate() *tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}

// reply is an answer as a client saw it.
type reply struct {
	code     int
	header   http.Header
	trailer  http.Header
	body     string
	length   int64
	chunked  bool
	closes   bool
	protocol string
}

// head reads the head of the next answer, final or not.
func (c *client) head(method string) *http.Response {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, &http.Request{Method: method})
	require.NoError(c.t, err)
	return r
}

// receive reads the next answer whole.
func (c *client) receive(method string) reply {
	c.t.Helper()
	r := c.head(method)
	body, err := io.ReadAll(r.Body)
	require.NoError(c.t, err)
	return replyOf(r, body)
}

func replyOf(r *http.Response, body []byte) reply {
	return reply{
		code: r.StatusCode, header: r.Header, trailer: r.Trailer, body: string(body), length: r.ContentLength,
		chunked: len(r.TransferEncoding) > 0, closes: r.Close, protocol: r.Proto,
	}
}

// requireCode reads an answer and checks its status and its label.
func (c *client) requireCode(code int, label string) reply {
	c.t.Helper()
	r := c.receive("GET")
	require.Equal(c.t, code, r.code, r.body)
	require.Equal(c.t, label, r.header.Get("Fnpod-Error"))
	if label != "" {
		require.Equal(c.t, label+"\n", r.body)
		require.NotEmpty(c.t, r.header.Get("Date"))
	}
	return r
}

// requireEnd checks that the connection ended without another byte.
func (c *client) requireEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	require.Empty(c.t, rest)
	if err != nil && !isReset(err) {
		require.NoError(c.t, err)
	}
}

// requireCut checks that an answer that has begun does not look whole.
func (c *client) requireCut(r *http.Response) {
	c.t.Helper()
	_, err := io.ReadAll(r.Body)
	require.Error(c.t, err)
	require.False(c.t, isTimeout(err), "the answer hangs")
}

// rawRest reads all that comes until the connection ends, in any way.
func (c *client) rawRest() (string, error) {
	b, err := io.ReadAll(c.r)
	return string(b), err
}

// get sends a GET and returns its answer.
func (c *client) get(path string) reply {
	c.t.Helper()
	c.send("GET ", path, " HTTP/1.1\r\nHost: h\r\n\r\n")
	return c.receive("GET")
}

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// finish says that nothing more comes from this side.
func (c *client) finish() {
	c.t.Helper()
	require.NoError(c.t, c.nc.(interface{ CloseWrite() error }).CloseWrite())
}

// reset ends the connection the hard way.
func reset(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func isReset(err error) bool { return err != nil && !isTimeout(err) }

// pattern returns n bytes that show where a piece is missing or doubled.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%08x", i*2654435761)
	}
	return b.Bytes()[:n]
}
