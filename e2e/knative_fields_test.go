package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rawContainer is a function that knows only bytes: it reads a head up to its empty line, answers what is said, and tells the heads.
func rawContainer(t *testing.T, answer string) (address string, heads <-chan string) {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	seen := make(chan string, 10) // all of a test
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				r := bufio.NewReader(nc)
				var head strings.Builder
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if head.WriteString(line); line != "\r\n" {
						continue
					}
					seen <- head.String()
					head.Reset()
					_, _ = io.WriteString(nc, answer) // who has gone is seen by the next read
				}
			}()
		}
	}()
	return l.Addr().String(), seen
}

// raw sends bytes and reads an answer.
func (p *queuePod) raw(request string) *http.Response {
	p.t.Helper()
	nc, err := net.Dial("tcp", p.listen)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(p.t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(nc, request)
	require.NoError(p.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestKnative51And52WhatIsAddedAndTakenOut(t *testing.T) {
	t.Parallel()
	address, heads := rawContainer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Answer: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n{}")
	p := queueProxy(t, address)
	resp := p.raw("GET /a//b/../c?x=%zz&&;y HTTP/1.1\r\nHost: h:81\r\nTE: trailers, gzip\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: a\r\n" +
		"Proxy-Authorization: a\r\nConnection: close, X-Hop, TE\r\nX-Hop: 1\r\nBaggage: a=b\r\nTracestate: a=b\r\nK-Passthrough-Lb: true\r\nKnative-Serving-Default-Route: true\r\n" +
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: outside\r\nForwarded: for=x\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
	require.Equal(t, 200, resp.StatusCode)
	head := <-heads
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	require.Equal(t, "GET /a//b/../c?x=%zz&&;y HTTP/1.1", lines[0])
	for i := range lines {
		name, value, _ := strings.Cut(lines[i], ": ")
		lines[i] = http.CanonicalHeaderKey(name) + ": " + value
	}
	got := lines[1:]
	slices.Sort(got)
	got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "Connection: ") }) // to us
	require.Equal(t, []string{
		"Baggage: a=b", "Cookie: a=1", "Cookie: b=2", "Forwarded: for=x", "Host: h:81", "K-Passthrough-Lb: true", "Knative-Serving-Default-Route: true",
		"Te: trailers", "Tracestate: a=b", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: outside", "X-Forwarded-Proto: https",
	}, got, "no User-Agent, no Accept-Encoding")

	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "{}", string(body))
	names := make([]string, 0, len(resp.Header))
	for name := range resp.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	otherwise(t, "it adds the time, and looks for a type of the body")
	require.Equal(t, []string{"Content-Length", "X-Answer"}, names)
}

// 8.8: bodies without a length stay so, and what comes behind them, in both directions.
func TestKnative88ChunksAndTrailers(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, dualContainer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what was cut is shorter
		fmt.Fprintf(w, "%d %v %q %s", r.ContentLength, r.Proto, r.Trailer.Get("X-Sum"), body)
	}))
	resp := p.raw("POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "-1 HTTP/1.1 ")
	otherwise(t, "trailers of requests do not go on")
	require.Equal(t, `-1 HTTP/1.1 "7" hello`, string(body))

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.listen, io.MultiReader(strings.NewReader("hello")))
	require.NoError(t, err)
	r.Trailer = http.Header{"X-Sum": {"8"}}
	resp, err = clientOf(t, "h2c").Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, `-1 HTTP/2.0 "8" hello`, string(body))
}
