package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

// What a stream brings has the same parts when the function reads it, or is refused
// (R1, H1 to H9).
func FuzzHTTP2Head(f *testing.F) {
	f.Add("GET", "/", "h", "x-a", "b", int64(0), "")
	f.Add("POST", "/a?b#c", "h:80", "content-length", "5", int64(5), "5")
	f.Add("GET /x HTTP/1.1", "//x/..", "u@h", "transfer-encoding", "chunked", int64(-1), "+5")
	f.Add("OPTIONS", "*", "[::1]:80", "connection", "x-a", int64(0), "05")
	f.Add("PUT", "http://other/x", "", "host", "other", int64(3), "3")
	f.Add("GET", "/\r\nHost: x", "h\r\n", "x-a\r\nb", "c\r\nd: e", int64(0), "")
	s := &Server{cfg: DefaultConfig(), limits: http1.Limits{HeadBytes: 16 << 10, Fields: 256}, sweeper: newSweeper()}
	f.Fuzz(func(t *testing.T, method, path, host, name, value string, length int64, lengthText string) {
		var fields http2Fields
		fields.begin(32 << 10)
		add := func(name, value string) { fields.add([]byte(name), []byte(value)) }
		add(":method", method)
		add(":scheme", "http")
		add(":authority", host)
		add(":path", path)
		add(name, value)
		if lengthText != "" {
			add("content-length", lengthText)
		}
		fields.end()
		if !fields.isRequest() && !fields.large {
			return
		}
		st := &stream{conn: &http2Conn{}, fault: fields.fault(), hasLength: fields.length}
		st.session, st.stream, st.srv, st.scheme = &st.conn.http2Session, st, s, "http"
		st.ended = length == 0
		x := takeExchange(&st.link)
		defer x.release()
		b := fields.appendHead(x.in[:0])
		x.in, x.used = b[:cap(b)], len(b)
		if x.takeHead() != nil {
			return
		}
		x.deadline = never
		sent := x.appendRequest(nil, &HTTPBackend{Address: "fallback"})
		got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
		require.NoError(t, err, "%q", sent)
		require.Equal(t, method, got.Method)
		require.Equal(t, path, got.RequestURI)
		require.Equal(t, host, got.Host)
		require.Equal(t, x.req.Length, got.ContentLength, "%q", sent)
		require.Equal(t, x.req.Length < 0, len(got.TransferEncoding) > 0)
		require.False(t, length == 0 && x.req.Length != 0)
		if http1.KindOf(name) == http1.Other && name != "cookie" {
			require.Equal(t, []string{strings.Trim(value, " \t")}, got.Header.Values(name), "%q", sent)
		}
		require.Equal(t, 1, bytes.Count(sent, []byte("\r\n\r\n")), "nothing of it is a second request")
		require.Equal(t, 1, bytes.Count(bytes.ToLower(sent), []byte("\r\nhost:")))
	})
}
