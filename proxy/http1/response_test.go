package http1_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

// answer is a response head from its lines.
func answer(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

const ok200 = "HTTP/1.1 200 OK"

var refusedAnswers = []struct {
	name string
	raw  string
	err  *http1.Error
}{
	{"C6 status 000", answer("HTTP/1.1 000 OK"), http1.ErrAnswerStatus},
	{"C7 status 099", answer("HTTP/1.1 099 OK"), http1.ErrAnswerStatus},
	{"C7 status 600", answer("HTTP/1.1 600 OK"), http1.ErrAnswerStatus},
	{"C7 status 999", answer("HTTP/1.1 999"), http1.ErrAnswerStatus},
	{"status of two digits", answer("HTTP/1.1 20 OK"), http1.ErrAnswer},
	{"status of four digits", answer("HTTP/1.1 2000 OK"), http1.ErrAnswer},
	{"status of four digits out of range", answer("HTTP/1.1 9999 OK"), http1.ErrAnswer},
	{"status with sign", answer("HTTP/1.1 +20 OK"), http1.ErrAnswer},
	{"status not a number", answer("HTTP/1.1 ddd OK"), http1.ErrAnswer},
	{"two spaces before the status", answer("HTTP/1.1  200 OK"), http1.ErrAnswer},
	{"tab before the status", answer("HTTP/1.1\t200 OK"), http1.ErrAnswer},
	{"tab after the status", answer("HTTP/1.1 200\tOK"), http1.ErrAnswer},
	{"C8 HTTP/2.0", answer("HTTP/2.0 200 OK"), http1.ErrAnswer},
	{"C8 HTTP/9.9", answer("HTTP/9.9 200 OK"), http1.ErrAnswer},
	{"C8 HTTP/1.2", answer("HTTP/1.2 200 OK"), http1.ErrAnswer},
	{"version in small letters", answer("http/1.1 200 OK"), http1.ErrAnswer},
	{"garbage", "hello", http1.ErrAnswer},
	{"empty line first", "\r\n" + answer(ok200), http1.ErrAnswer},
	{"C8 LF after the status line", ok200 + "\nA: b\r\n\r\n", http1.ErrAnswer},
	{"C8 LF after a field", ok200 + "\r\nA: b\n\r\n", http1.ErrAnswer},
	{"C8 LF ends the head", ok200 + "\r\nA: b\r\n\n", http1.ErrAnswer},
	{"CR in the phrase", answer("HTTP/1.1 200 O\rK"), http1.ErrAnswer},
	{"C8 space before colon", answer(ok200, "Transfer-Encoding : chunked"), http1.ErrAnswer},
	{"C8 folded coding", answer(ok200, "Transfer-Encoding:", " chunked"), http1.ErrAnswer},
	{"C8 name with space", answer(ok200, "X Y: a"), http1.ErrAnswer},
	{"NUL in value", answer(ok200, "X: a\x00b"), http1.ErrAnswer},
	{"empty name", answer(ok200, ": b"), http1.ErrAnswer},
	{"C9 length and coding", answer(ok200, "Content-Length: 5", "Transfer-Encoding: chunked"), http1.ErrAnswer},
	{"C9 length and coding to HEAD", answer("HTTP/1.1 304 X", "Transfer-Encoding: chunked", "Content-Length: 5"), http1.ErrAnswer},
	{"length twice", answer(ok200, "Content-Length: 5", "Content-Length: 5"), http1.ErrAnswer},
	{"length not a number", answer(ok200, "Content-Length: 5a"), http1.ErrAnswer},
	{"C2 length of 9e18", answer(ok200, "Content-Length: 9000000000000000000"), http1.ErrAnswer},
	{"unknown coding", answer(ok200, "Transfer-Encoding: gzip"), http1.ErrAnswer},
	{"identity", answer(ok200, "Transfer-Encoding: identity"), http1.ErrAnswer},
	{"coding twice", answer(ok200, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), http1.ErrAnswer},
	{"chunked in 1.0", answer("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), http1.ErrAnswer},
	{"more names in Connection than anyone needs", answer(ok200, "Connection: "+strings.Repeat("a,", 65)), http1.ErrAnswer},
	{"C13 head above 16 KiB", answer(ok200, "A: "+strings.Repeat("a", 16<<10)), http1.ErrAnswerSize},
	{"C13 phrase above 16 KiB", answer(ok200 + strings.Repeat("a", 16<<10)), http1.ErrAnswerSize},
	{"257 fields", answer(append([]string{ok200}, many(257)...)...), http1.ErrAnswerSize},
}

func TestAnswerIsRefused(t *testing.T) {
	for _, c := range refusedAnswers {
		t.Run(c.name, func(t *testing.T) {
			var r http1.Response
			n, err := r.Parse([]byte(c.raw), false, http1.DefaultLimits())
			require.Equal(t, error(c.err), err)
			require.Zero(t, n)
			require.Equal(t, 502, c.err.Status)
		})
	}
}

func TestAnswerCutAnywhere(t *testing.T) {
	check := func(t *testing.T, raw string, whole error) {
		var r http1.Response
		failed := false
		for i := range len(raw) {
			n, err := r.Parse([]byte(raw[:i]), false, http1.DefaultLimits())
			require.Zero(t, n, "%q", raw[:i])
			require.False(t, failed && err == nil, "refused, then not: %q", raw[:i])
			if failed = err != nil; failed {
				require.Equal(t, whole, err, "%q", raw[:i])
			}
		}
	}
	for _, c := range refusedAnswers {
		if len(c.raw) < 2000 {
			t.Run(c.name, func(t *testing.T) { check(t, c.raw, c.err) })
		}
	}
	check(t, answer(ok200), nil)
	check(t, answer("HTTP/1.0 404", "A:", "Transfer_Encoding: x", "Connection: A, keep-alive", "Content-Length: 5"), nil)
}

func parseAnswer(t *testing.T, raw string, toHEAD bool) *http1.Response {
	t.Helper()
	var r http1.Response
	n, err := r.Parse([]byte(raw), toHEAD, http1.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, len(raw), n)
	return &r
}

func TestAnswerFraming(t *testing.T) {
	const length, chunked = "Content-Length: 7", "Transfer-Encoding: chunked"
	for _, c := range []struct {
		name      string
		raw       string
		toHEAD    bool
		length    int64
		keepAlive bool
		forwarded []string // framing fields that go on
	}{
		{"length", answer(ok200, length), false, 7, true, nil},
		{"zero", answer(ok200, "Content-Length: 0"), false, 0, true, nil},
		{"chunked", answer(ok200, chunked), false, -1, true, nil},
		{"until close", answer(ok200), false, -2, false, nil},
		{"until close although keep-alive", answer(ok200, "Connection: keep-alive"), false, -2, false, nil},
		{"close", answer(ok200, length, "Connection: close"), false, 7, false, nil},
		{"1.0", answer("HTTP/1.0 200 OK", length), false, 7, false, nil},
		{"1.0 keep-alive", answer("HTTP/1.0 200 OK", length, "Connection: Keep-Alive"), false, 7, true, nil},
		{"1.0 until close", answer("HTTP/1.0 200 OK", "Connection: keep-alive"), false, -2, false, nil},
		{"HEAD with length", answer(ok200, length), true, 0, true, []string{"Content-Length"}},
		{"HEAD with length named in Connection", answer(ok200, length, "Connection: content-length"), true, 0, true, []string{"Content-Length"}},
		{"HEAD chunked", answer(ok200, chunked), true, 0, true, nil},
		{"HEAD without framing", answer(ok200), true, 0, true, nil},
		{"304 with length", answer("HTTP/1.1 304 Not Modified", length), false, 0, true, []string{"Content-Length"}},
		{"304", answer("HTTP/1.1 304 Not Modified"), false, 0, true, nil},
		{"204", answer("HTTP/1.1 204 No Content"), false, 0, true, nil},
		{"204 with length 0", answer("HTTP/1.1 204 No Content", "Content-Length: 0"), false, 0, true, nil},
		{"204 with length", answer("HTTP/1.1 204 No Content", length), false, 0, false, nil},
		{"204 with length to HEAD", answer("HTTP/1.1 204 No Content", length), true, 0, false, nil},
		{"204 chunked", answer("HTTP/1.1 204 No Content", chunked), false, 0, false, nil},
		{"100", answer("HTTP/1.1 100 Continue"), false, 0, true, nil},
		{"103 with length to HEAD", answer("HTTP/1.1 103 Early Hints", length), true, 0, false, nil},
		{"205 is like any other", answer("HTTP/1.1 205 Reset Content", length), false, 7, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := parseAnswer(t, c.raw, c.toHEAD)
			require.Equal(t, c.length, r.Length)
			require.Equal(t, c.keepAlive, r.KeepAlive)
			require.Equal(t, c.forwarded, names(r.Fields))
		})
	}
}

func TestAnswerPhraseC12(t *testing.T) {
	for _, line := range []string{"HTTP/1.1 404 a\x00\x01\x1b[31m", "HTTP/1.1 404", "HTTP/1.1 404 ", "HTTP/1.0 404 \xff"} {
		r := parseAnswer(t, answer(line), false)
		require.Equal(t, "HTTP/1.1 404 Not Found\r\n", string(http1.AppendStatusLine(nil, r.Status)))
	}
}

func TestAnswerSwitchingProtocols(t *testing.T) {
	const line = "HTTP/1.1 101 Switching Protocols"
	r := parseAnswer(t, answer(line, "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: a"), false)
	require.Equal(t, 101, r.Status)
	require.Equal(t, "websocket", string(r.Upgrade))
	require.False(t, r.KeepAlive)
	require.Equal(t, []string{"Sec-WebSocket-Accept"}, names(r.Fields))

	require.Nil(t, parseAnswer(t, answer(line, "Upgrade: websocket"), false).Upgrade)
	require.Nil(t, parseAnswer(t, answer(line, "Connection: upgrade"), false).Upgrade)
	require.Nil(t, parseAnswer(t, answer(line, "Connection: upgrade", "Upgrade: a", "Upgrade: b"), false).Upgrade)
	require.Nil(t, parseAnswer(t, answer(ok200, "Connection: upgrade", "Upgrade: h2c"), false).Upgrade)
}

func TestAnswerDropsFields(t *testing.T) {
	r := parseAnswer(t, answer(
		ok200, "Date: d", "Server: s", "Retry-After: 1", "X_Y: own spelling", "Set-Cookie: a", "Set-Cookie: b",
		"Connection: Secret, x-request-id", "Secret: a", "X-Request-Id: i", "Keep-Alive: 1", "Proxy-Connection: a",
		"Proxy-Authenticate: a", "Trailer: t", "Upgrade: h2c", "Content-Length: 0",
	), false)
	require.Equal(t, []string{"Date", "Server", "Retry-After", "X_Y", "Set-Cookie", "Set-Cookie", "X-Request-Id"}, names(r.Fields))
}

func TestAnswerHeadOf16KiBC13(t *testing.T) {
	l := http1.DefaultLimits()
	fit := answer(ok200, "A: "+strings.Repeat("a", l.HeadBytes-len(answer(ok200, "A: "))))
	require.Len(t, fit, l.HeadBytes)
	parseAnswer(t, fit, false)
}

func TestAnswerIsReusable(t *testing.T) {
	var r http1.Response
	_, err := r.Parse([]byte(answer("HTTP/1.0 101 A", "Connection: upgrade", "Upgrade: a")), false, http1.DefaultLimits())
	require.NoError(t, err)
	_, err = r.Parse([]byte(answer(ok200, "Content-Length: 3")), false, http1.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, 200, r.Status)
	require.Equal(t, int64(3), r.Length)
	require.True(t, r.KeepAlive)
	require.Nil(t, r.Upgrade)
	require.Len(t, r.Fields, 1)
}
