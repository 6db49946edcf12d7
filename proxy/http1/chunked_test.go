package http1_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

// outcome is what a decoder made of an input.
type outcome struct {
	body     string
	trailers string
	used     int
	done     bool
	err      error
}

// decode feeds the pieces one after the other until the body ends or is refused.
func decode(t require.TestingT, d *http1.Chunked, pieces ...string) (o outcome) {
	for _, piece := range pieces {
		b := []byte(piece)
		payload, consumed, err := d.Decode(b)
		if err != nil {
			require.Zero(t, payload)
			require.Zero(t, consumed)
			_, _, again := d.Decode([]byte("0\r\n\r\n"))
			require.Equal(t, err, again, "errors stick")
			require.False(t, d.Done())
			return outcome{err: err}
		}
		require.Equal(t, piece[consumed:], string(b[consumed:]), "what follows is untouched")
		o.body += string(b[:payload])
		o.used += consumed
		if d.Done() {
			break
		}
		require.Equal(t, len(b), consumed)
	}
	o.done = d.Done()
	o.trailers = string(http1.AppendFields(nil, d.Trailers()))
	return o
}

// allSplits checks that the outcome is the same for every cut into two, and for single bytes.
func allSplits(t require.TestingT, raw string, want outcome) {
	for i := range len(raw) + 1 {
		var d http1.Chunked
		require.Equal(t, want, decode(t, &d, raw[:i], raw[i:]), "cut at %d of %q", i, raw)
	}
	var d http1.Chunked
	require.Equal(t, want, decode(t, &d, strings.Split(raw, "")...), "single bytes of %q", raw)
}

func TestChunkedDecodes(t *testing.T) {
	line512 := "1;" + strings.Repeat("e", 510) + "\r\na\r\n0\r\n\r\n"
	for _, c := range []struct{ name, raw, body, trailers, rest string }{
		{"empty", "0\r\n\r\n", "", "", ""},
		{"one", "5\r\nhello\r\n0\r\n\r\n", "hello", "", ""},
		{"several", "1\r\na\r\n2\r\nbc\r\nA\r\n0123456789\r\n00\r\n\r\n", "abc0123456789", "", ""},
		{"hex", "b\r\nhello world\r\n00B\r\nHELLO WORLD\r\n0\r\n\r\n", "hello worldHELLO WORLD", "", ""},
		{"line ends in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", "", ""},
		{"extensions", "1;a=b;c=\"d \xe4\"\r\nx\r\n0;e\r\n\r\n", "x", "", ""},
		{"longest line", line512, "a", "", ""},
		{"next request follows", "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "x", "", "GET / HTTP/1.1\r\n"},
		{"trailers", "1\r\nx\r\n0\r\nGrpc-Status: 0\r\nA:\r\nB:  c \r\n\r\nrest", "x", "Grpc-Status: 0\r\nA:\r\nB:  c \r\n", "rest"},
		{"forbidden trailers", "0\r\n" + strings.Join([]string{
			"Content-Length: 5", "transfer-encoding: chunked", "Host: evil", "Authorization: a", "Cookie: a", "Set-Cookie: a",
			"X-Forwarded-For: a", "X-Forwarded-Any-Longer-Name-Than-All-Of-The-Others: a", "Forwarded: a", "Connection: b", "Trailer: b",
			"TE: a", "Content-Type: a", "x_y: a", "X-Request-Id: a", "Expect: a", "Proxy: a", "B: kept",
		}, "\r\n") + "\r\n\r\n", "", "B: kept\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			allSplits(t, c.raw, outcome{body: c.body, trailers: c.trailers, used: len(c.raw) - len(c.rest), done: true})
		})
	}
}

func TestChunkedIncomplete(t *testing.T) {
	raw := "5;e=f\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n"
	for i := range len(raw) {
		var d http1.Chunked
		o := decode(t, &d, raw[:i])
		require.NoError(t, o.err)
		require.False(t, o.done)
		require.Empty(t, o.trailers)
		require.Equal(t, i, o.used)
	}
}

func TestChunkedRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  string
		err  *http1.Error
	}{
		{"empty size", "\r\n", http1.ErrChunk},
		{"extension only", ";a\r\n", http1.ErrChunk},
		{"hex prefix", "0x5\r\nhello\r\n", http1.ErrChunk},
		{"plus", "+5\r\nhello\r\n", http1.ErrChunk},
		{"minus", "-5\r\nhello\r\n", http1.ErrChunk},
		{"underscore", "1_0\r\n", http1.ErrChunk},
		{"space before", " 5\r\nhello\r\n", http1.ErrChunk},
		{"space after", "5 \r\nhello\r\n", http1.ErrChunk},
		{"space before semicolon", "5 ;a\r\nhello\r\n", http1.ErrChunk},
		{"not hex", "g\r\n", http1.ErrChunk},
		{"size above 2^62", "4000000000000001\r\n", http1.ErrChunk},
		{"size of 15 f's and one", "ffffffffffffffff\r\n", http1.ErrChunk},
		{"size of 17 digits", "10000000000000000\r\n", http1.ErrChunk},
		{"LF after size", "5\nhello\r\n", http1.ErrChunk},
		{"CR alone after size", "5\rhello\r\n", http1.ErrChunk},
		{"LF after data", "5\r\nhello\n0\r\n\r\n", http1.ErrChunk},
		{"no CRLF after data", "5\r\nhello0\r\n\r\n", http1.ErrChunk},
		{"CR CR after data", "5\r\nhello\r\r0\r\n\r\n", http1.ErrChunk},
		{"too much data", "5\r\nhello!\r\n0\r\n\r\n", http1.ErrChunk},
		{"S11 NUL in extension", "5;a=\x00\r\nhello\r\n0\r\n\r\n", http1.ErrChunk},
		{"S11 tab in extension", "5;a=\t\r\nhello\r\n0\r\n\r\n", http1.ErrChunk},
		{"S11 DEL in extension", "5;a=\x7f\r\nhello\r\n0\r\n\r\n", http1.ErrChunk},
		{"S11 LF in extension", "5;a=\nhello\r\n0\r\n\r\n", http1.ErrChunk},
		{"S11 CR in extension", "5;a=\rb\r\nhello\r\n0\r\n\r\n", http1.ErrChunk},
		{"S12 line of 513 bytes", "1;" + strings.Repeat("e", 511) + "\r\na\r\n0\r\n\r\n", http1.ErrChunk},
		{"S12 513 digits", strings.Repeat("0", 512) + "1\r\na\r\n0\r\n\r\n", http1.ErrChunk},
		{"S13 LF after the last chunk", "0\r\n\nX: a\r\n\r\n", http1.ErrTrailer},
		{"S13 LF instead of CRLF", "0\n\r\n", http1.ErrChunk},
		{"CR alone after the last chunk", "0\r\n\rX", http1.ErrTrailer},
		{"trailer with LF", "0\r\nA: b\n\r\n", http1.ErrTrailer},
		{"trailer without colon", "0\r\nab\r\n\r\n", http1.ErrTrailer},
		{"trailer with space in its name", "0\r\nA B: c\r\n\r\n", http1.ErrTrailer},
		{"folded trailer", "0\r\nA: b\r\n c\r\n\r\n", http1.ErrTrailer},
		{"trailer with NUL", "0\r\nA: \x00\r\n\r\n", http1.ErrTrailer},
		{"no end of trailers", "0\r\nGET / HTTP/1.1\r\n\r\n", http1.ErrTrailer},
		{"257 trailers", "0\r\n" + strings.Repeat("a:\r\n", 257) + "\r\n", http1.ErrTrailer},
	} {
		t.Run(c.name, func(t *testing.T) { allSplits(t, c.raw, outcome{err: c.err}) })
	}
}

func TestChunkedTrailerLimit(t *testing.T) {
	section := func(n int) string { return "0\r\nA: " + strings.Repeat("b", n-7) + "\r\n\r\n" }
	fit, over := section(8<<10), section(8<<10+1)
	require.Len(t, fit, 3+8<<10)
	for _, cut := range []int{0, 3, 4, 100, 8 << 10, 8<<10 + 2} {
		var d http1.Chunked
		require.True(t, decode(t, &d, fit[:cut], fit[cut:]).done)
		d.Reset()
		require.Equal(t, outcome{err: http1.ErrTrailer}, decode(t, &d, over[:cut], over[cut:]))
	}
}

func TestChunkedOverheadS12(t *testing.T) {
	extended := func(size, extension, chunks int) string {
		chunk := string(http1.AppendChunkHeader(nil, size))
		chunk = chunk[:len(chunk)-2] + ";" + strings.Repeat("e", extension-1) + "\r\n" + strings.Repeat("a", size) + "\r\n"
		return strings.Repeat(chunk, chunks) + "0\r\n\r\n"
	}
	for _, c := range []struct {
		name string
		raw  string
		want bool
	}{
		{"many tiny chunks (L10)", strings.Repeat("1\r\na\r\n", 100_000) + "0\r\n\r\n", true},
		{"80 kB for 400 bytes", extended(1, 200, 400), false},
		{"200 bytes on 82 single bytes", extended(1, 200, 82), true},
		{"200 bytes on 83 single bytes", extended(1, 200, 83), false},
		{"twice the body", extended(100, 200, 1000), true},
		{"three times the body", extended(100, 300, 1000), false},
		{"zeros", strings.Repeat(strings.Repeat("0", 300)+"1\r\na\r\n", 1000) + "0\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var whole, halves http1.Chunked
			o := decode(t, &whole, c.raw)
			require.Equal(t, c.want, o.done)
			require.Equal(t, o, decode(t, &halves, c.raw[:len(c.raw)/2], c.raw[len(c.raw)/2:]))
		})
	}
}

func TestChunkedLargestSize(t *testing.T) {
	var d http1.Chunked
	require.Equal(t, outcome{body: "abc", used: 21}, decode(t, &d, "4000000000000000\r\nabc"))
}

func TestChunkedReset(t *testing.T) {
	var d http1.Chunked
	require.Error(t, decode(t, &d, "x").err)
	for range 3 {
		d.Reset()
		require.Equal(t, outcome{body: "a", trailers: "B: c\r\n", used: 17, done: true}, decode(t, &d, "1\r\na\r\n0\r\nB: c\r\n\r\n"))
		n, used, err := d.Decode([]byte("GET"))
		require.NoError(t, err)
		require.Zero(t, n+used, "nothing more is taken")
		d.Reset()
		require.False(t, d.Done())
		require.Empty(t, d.Trailers())
		require.Equal(t, outcome{used: 5, done: true}, decode(t, &d, "0\r\n\r\n"))
	}
}
