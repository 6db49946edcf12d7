package http1_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

func TestAppendFieldsForwardsCheckedLines(t *testing.T) {
	r := parse(t, get("A: 1", "b:2", "Connection: d", "C:  3 ", "D: 4", "E: 5", "F: 6"))
	require.Equal(t, "x: y\r\nA: 1\r\nb:2\r\nC:  3 \r\nE: 5\r\nF: 6\r\n", string(http1.AppendFields([]byte("x: y\r\n"), r.Fields)))
	require.Empty(t, http1.AppendFields(nil, nil))
}

func TestAppendFieldsFromDifferentBuffers(t *testing.T) {
	fields := []http1.Field{
		{Line: []byte("A: 1\r\n")},
		{Line: []byte("B: 2\r\n"), Hop: true},
		{Line: make([]byte, 0, 10)},
		{Line: append(make([]byte, 0, 100), "C: 3\r\n"...)},
		{Line: []byte("D: 4\r\n")},
	}
	require.Equal(t, "A: 1\r\nC: 3\r\nD: 4\r\n", string(http1.AppendFields(nil, fields)))
}

func TestFind(t *testing.T) {
	r := parse(t, get("X-Request-ID: 1", "A: b", "x-request-id: 2"))
	value, n := http1.Find(r.Fields, http1.RequestID)
	require.Equal(t, "1", string(value))
	require.Equal(t, 2, n)
	value, n = http1.Find(r.Fields, http1.Expect)
	require.Nil(t, value)
	require.Zero(t, n)
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]http1.Kind{
		"Host": http1.Host, "cOnnection": http1.Connection, "Content-Length": http1.ContentLength,
		"TRANSFER-ENCODING": http1.TransferEncoding, "Keep-Alive": http1.KeepAlive, "Proxy-Connection": http1.ProxyConnection,
		"Proxy-Authenticate": http1.ProxyAuthenticate, "Proxy-Authorization": http1.ProxyAuthorization, "te": http1.TE,
		"Trailer": http1.Trailer, "Upgrade": http1.Upgrade, "Expect": http1.Expect, "HTTP2-Settings": http1.HTTP2Settings,
		"Proxy": http1.ProxyField, "X-Forwarded-For": http1.XForwardedFor, "X-Forwarded-Proto": http1.XForwardedProto,
		"X-Forwarded-Host": http1.XForwardedHost, "Forwarded": http1.Forwarded, "X-Request-ID": http1.RequestID,
		"Date": http1.Date, "Server": http1.Server, "Retry-After": http1.RetryAfter, "Content_Length": http1.Underscore,
		"_": http1.Underscore, "": http1.Other, "h": http1.Other, "hosx": http1.Other, "Accept": http1.Other,
		"Content-Lengthh": http1.Other, "a-name-that-is-longer-than-all-that-are-known": http1.Other,
	} {
		require.Equal(t, want, http1.KindOf(name), name)
		require.Equal(t, want, http1.KindOf([]byte(name)), name)
		framing := want == http1.ContentLength || want == http1.TransferEncoding
		if !framing && http1.ValidName(name) {
			require.Equal(t, want, parse(t, "GET / HTTP/1.0\r\n"+name+": 100-continue\r\n\r\n").Fields[0].Kind, name)
		}
	}
}

func TestHopByHop(t *testing.T) {
	require.True(t, http1.TransferEncoding.HopByHop())
	require.True(t, http1.KeepAlive.HopByHop())
	require.False(t, http1.Other.HopByHop())
	require.False(t, http1.Underscore.HopByHop())
	require.False(t, http1.Kind(250).HopByHop())
}

func TestValidName(t *testing.T) {
	for c := range 256 {
		want := c == '-' || c == '_' || c == '~' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			c == '!' || '#' <= c && c <= '\'' || c == '*' || c == '+' || c == '.' || c == '^' || c == '`' || c == '|'
		require.Equal(t, want, http1.ValidName([]byte{'a', byte(c)}), "%q", c)
	}
	require.False(t, http1.ValidName(""))
	require.False(t, http1.ValidName("Set-Cookie: a=b; X"))
}

func TestValidValue(t *testing.T) {
	for c := range 256 {
		want := c >= 0x20 && c != 0x7f || c == '\t'
		require.Equal(t, want, http1.ValidValue([]byte{'a', byte(c)}), "%q", c)
		raw := get("A: 1234567" + string([]byte{byte(c)}) + "89012345678")
		_, err := new(http1.Request).Parse([]byte(raw), http1.DefaultLimits())
		require.Equal(t, want, err == nil, "%q", c)
	}
	require.True(t, http1.ValidValue(""))
}

// Values are looked at in words: every byte has to be seen at every place, next to any neighbour.
func TestValueBytesAtEveryPlace(t *testing.T) {
	var r http1.Request
	head := []byte(get("A: " + strings.Repeat("x", 40)))
	value := head[len(head)-44 : len(head)-4]
	for _, neighbour := range []byte{' ', '\t', '~', 0x80, 0xff} {
		for i := range value {
			value[i] = neighbour
		}
		for i := 1; i < len(value)-1; i++ {
			for c := range 256 {
				value[i] = byte(c)
				_, err := r.Parse(head, http1.DefaultLimits())
				require.Equal(t, http1.ValidValue(value[i:i+1]), err == nil, "%q at %d next to %q", c, i, neighbour)
			}
			value[i] = neighbour
		}
	}
}

func TestValidTrailer(t *testing.T) {
	for _, name := range []string{"Grpc-Status", "ETag", "Server-Timing", "a"} {
		require.True(t, http1.ValidTrailer(name), name)
	}
	for _, name := range []string{"", "a b", "content-LENGTH", "X-Forwarded-Port", "x-real-ip", "Set-Cookie", "WWW-Authenticate", "a_b", "Proxy"} {
		require.False(t, http1.ValidTrailer(name), name)
	}
}

func TestAppendField(t *testing.T) {
	type id string
	b := http1.AppendField([]byte("a"), "X-Request-Id", id("7"))
	require.Equal(t, "aX-Request-Id: 7\r\nB: \r\n", string(http1.AppendField(b, "B", []byte(nil))))
}

func TestAppendStatusLine(t *testing.T) {
	for status, want := range map[int]string{
		100: "HTTP/1.1 100 Continue\r\n", 200: "HTTP/1.1 200 OK\r\n", 299: "HTTP/1.1 299 \r\n",
		504: "HTTP/1.1 504 Gateway Timeout\r\n", 599: "HTTP/1.1 599 \r\n",
		0: "HTTP/1.1 500 Internal Server Error\r\n", 99: "HTTP/1.1 500 Internal Server Error\r\n", 1000: "HTTP/1.1 500 Internal Server Error\r\n",
	} {
		require.Equal(t, "x"+want, string(http1.AppendStatusLine([]byte("x"), status)))
	}
}

func TestAppendChunkHeader(t *testing.T) {
	require.Equal(t, "1f4\r\n", string(http1.AppendChunkHeader(nil, 500)))
	require.Equal(t, "0\r\n", string(http1.AppendChunkHeader(nil, 0)))
}

func TestReasons(t *testing.T) {
	require.Equal(t, "request_line", http1.ErrRequestLine.Reason.String())
	require.Equal(t, "header_count", http1.ErrHeaderCount.Reason.String())
	require.Equal(t, "malformed", http1.ErrAnswer.Reason.String())
	require.Equal(t, "status", http1.ErrAnswerStatus.Reason.String())
	require.Empty(t, http1.Reason(200).String())
	require.Equal(t, "http1: malformed chunk", http1.ErrChunk.Error())
}
