package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

// What a stream brings has the same parts when the function reads it, or is refused
// (R1, H1 to H9).
func FuzzHTTP2Head(f *testing.F) {
	f.Add("GET", "/", "h", "X-A", "b", int64(0), "")
	f.Add("POST", "/a?b#c", "h:80", "Content-Length", "5", int64(5), "5")
	f.Add("GET /x HTTP/1.1", "//x/..", "u@h", "Transfer-Encoding", "chunked", int64(-1), "+5")
	f.Add("OPTIONS", "*", "[::1]:80", "Connection", "x-a", int64(0), "05")
	f.Add("PUT", "http://other/x", "", "Host", "other", int64(3), "3")
	s := &Server{cfg: DefaultConfig(), limits: http1.Limits{HeadBytes: 16 << 10, Fields: 256}, sweeper: newSweeper()}
	f.Fuzz(func(t *testing.T, method, path, host, name, value string, length int64, lengthText string) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !http1.ValidName(name) || name == "Content-Length" || strings.ContainsAny(host+value+lengthText, "\r\n\x00") {
			return // net/http lets none of these through
		}
		r := &http.Request{Method: method, RequestURI: path, Host: host, Header: http.Header{name: {value}}, ContentLength: max(length, -1)}
		if lengthText != "" {
			r.Header["Content-Length"] = []string{lengthText}
		}
		l := &link{srv: s, scheme: "http"}
		x := takeExchange(l)
		defer x.release()
		if x.takeHead(r) != nil {
			return
		}
		x.deadline = never
		sent := x.appendRequest(nil, &HTTPBackend{Address: "fallback"})
		got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
		require.NoError(t, err, "%q", sent)
		require.Equal(t, method, got.Method)
		require.Equal(t, path, got.RequestURI)
		require.Equal(t, host, got.Host)
		require.Equal(t, r.ContentLength, got.ContentLength, "%q", sent)
		require.Equal(t, r.ContentLength < 0, len(got.TransferEncoding) > 0)
		if http1.KindOf(name) == http1.Other && r.Header.Get("Connection") == "" {
			require.Equal(t, []string{textproto.TrimString(value)}, got.Header.Values(name), "%q", sent)
		}
		require.Equal(t, 1, bytes.Count(sent, []byte("\r\n\r\n")), "nothing of it is a second request")
		require.Equal(t, 1, bytes.Count(bytes.ToLower(sent), []byte("\r\nhost:")))
	})
}
