package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// function is a scripted HTTP server: what it does with a connection is up to
// the test, byte by byte.
type function struct {
	t      testing.TB
	ln     net.Listener
	calls  atomic.Int64 // requests whose head was read
	opened atomic.Int64

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
	work  sync.WaitGroup
}

// fconn is one connection to a function. Its methods end the script's goroutine
// when the connection has ended.
type fconn struct {
	net.Conn
	r *bufio.Reader
	f *function
}

// newFunction runs script for every connection.
func newFunction(t testing.TB, network string, script func(*fconn)) *function {
	t.Helper()
	f := &function{t: t, ln: listen(t, network)}
	f.work.Go(func() {
		for {
			nc, err := f.ln.Accept()
			if err != nil {
				return
			}
			f.opened.Add(1)
			f.mu.Lock()
			f.conns = append(f.conns, nc)
			f.mu.Unlock()
			f.work.Go(func() {
				defer func() { _ = nc.Close() }()
				_ = nc.SetDeadline(time.Now().Add(2 * patience))
				script(&fconn{nc, bufio.NewReader(nc), f})
			})
		}
	})
	t.Cleanup(f.close)
	return f
}

func (f *function) close() {
	_ = f.ln.Close()
	f.mu.Lock()
	for _, nc := range f.conns {
		_ = nc.Close()
	}
	f.mu.Unlock()
	f.work.Wait()
}

// backend returns a backend for f with short time-outs.
func (f *function) backend() *proxy.HTTPBackend {
	b := &proxy.HTTPBackend{
		Network: f.ln.Addr().Network(), Address: f.ln.Addr().String(), ConnectTimeout: 5 * time.Second, MaxIdle: 100,
	}
	f.t.Cleanup(b.CloseIdle)
	return b
}

// calling runs one function of the test for every request, with keep-alive.
func calling(answer func(*fconn, request)) func(*fconn) {
	return func(c *fconn) {
		for {
			answer(c, c.request())
		}
	}
}

// request is what the function was sent, untouched.
type request struct {
	head    string
	line    string
	header  http.Header
	body    string
	trailer http.Header
	chunked bool
}

// readHead reads one head as it stands.
func (c *fconn) readHead() string {
	var head strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			runtime.Goexit()
		}
		head.WriteString(line)
		if line == "\r\n" {
			c.f.calls.Add(1)
			return head.String()
		}
	}
}

// request reads one request whole. A cut one ends the script.
func (c *fconn) request() request {
	r, err := c.readRequest()
	if err != nil {
		runtime.Goexit()
	}
	return r
}

func (c *fconn) readRequest() (request, error) {
	head := c.readHead()
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return request{}, err
	}
	line, _, _ := strings.Cut(head, "\r\n")
	r := request{head: head, line: line, header: parsed.Header, chunked: len(parsed.TransferEncoding) > 0}
	if r.chunked || parsed.ContentLength > 0 {
		body, trailer, err := c.readBody(parsed.ContentLength, r.chunked)
		if err != nil {
			return r, err
		}
		r.body, r.trailer = body, trailer
	}
	return r, nil
}

// readBody reads exactly one body.
func (c *fconn) readBody(length int64, chunked bool) (string, http.Header, error) {
	if !chunked {
		b := make([]byte, length)
		_, err := io.ReadFull(c.r, b)
		return string(b), nil, err
	}
	b, err := io.ReadAll(httputil.NewChunkedReader(c.r))
	if err != nil {
		return "", nil, err
	}
	trailer := http.Header{}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", nil, err
		}
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		if !ok {
			return string(b), trailer, nil
		}
		trailer.Add(name, value)
	}
}

// lines splits off the field lines of a head.
func (r request) lines() []string {
	all := strings.Split(strings.TrimSuffix(r.head, "\r\n\r\n"), "\r\n")
	return all[1:]
}

func (c *fconn) write(parts ...string) {
	if _, err := io.WriteString(c.Conn, strings.Join(parts, "")); err != nil {
		runtime.Goexit()
	}
}

func (c *fconn) answer(body string) {
	c.write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// wait reads until the connection ends.
func (c *fconn) wait() { _, _ = io.Copy(io.Discard, c.r) }

// newEcho is a function that answers with the request line and the body.
func newEcho(t testing.TB, network string) *function {
	return newFunction(t, network, calling(func(c *fconn, r request) { c.answer(r.line + "\n" + r.body) }))
}

// unused is a port nobody listens on.
func unused(t testing.TB) string {
	t.Helper()
	ln := listen(t, "tcp")
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}
