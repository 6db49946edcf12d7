package http1_test

import (
	"bytes"
	"io"
	"net/http/httputil"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/e2e/hostile"
	"github.com/fnpod/fnpod/proxy/http1"
)

var (
	chunkLine      = regexp.MustCompile("^([0-9A-Fa-f]+)(?:;[^\\x00-\\x1f\\x7f]*)?\r\n")
	trailerSection = regexp.MustCompile("^" + fieldLines)
)

// reference decodes a whole chunked body in the plainest way. It knows no limits.
func reference(raw []byte) (body []byte, used int, ok bool) {
	rest := raw
	for {
		line := chunkLine.FindSubmatch(rest)
		if line == nil {
			return nil, 0, false
		}
		size, err := strconv.ParseInt(string(line[1]), 16, 64)
		rest = rest[len(line[0]):]
		if err != nil {
			return nil, 0, false
		}
		if size == 0 {
			break
		}
		if int64(len(rest)) < size || !bytes.HasPrefix(rest[size:], []byte("\r\n")) {
			return nil, 0, false
		}
		body = append(body, rest[:size]...)
		rest = rest[size+2:]
	}
	end := trailerSection.Find(rest)
	return body, len(raw) - len(rest) + len(end), end != nil
}

func FuzzChunked(f *testing.F) {
	for _, raw := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "1;a=b;c=\"d\"\r\nx\r\n00;e\r\nA: b\r\nHost: c\r\n\r\n",
		"4\r\n\r\n\r\n\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "5\r\nhello!\r\n", "0\r\n\nX: a\r\n\r\n", "5 \r\nhello\r\n", "0\r\n x\r\n\r\n",
	} {
		f.Add([]byte(raw), []byte{3, 1, 7})
	}
	for _, c := range hostile.Cases() {
		if _, body, _ := strings.Cut(c.Bytes(), "\r\n\r\n"); (c.Class == hostile.Chunks || c.Class == hostile.Trailers) && len(body) < 2000 {
			f.Add([]byte(body), []byte{2, 5})
		}
	}
	f.Fuzz(func(t *testing.T, raw, cuts []byte) {
		if len(raw) > 4096 {
			return // beyond the limits the reference does not know
		}
		var whole, cut http1.Chunked
		got := decode(t, &whole, string(raw))
		require.Equal(t, got, decode(t, &cut, split(raw, cuts)...))
		checkTrailers(t, whole.Trailers())

		body, used, ok := reference(raw)
		if got.done {
			require.True(t, ok, "accepted against the syntax")
			require.Equal(t, string(body), got.body)
			require.Equal(t, used, got.used)
			lenient, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(raw)))
			require.NoError(t, err)
			require.Equal(t, string(lenient), got.body)
		}
		if ok && !got.done {
			require.True(t, longLine.Match(raw) || bytes.Count(raw, []byte("\r\n")) > 256, "refused or not ended without a limit being hit: %v", got.err)
		}
	})
}

// longLine may be a chunk line above its limit.
var longLine = regexp.MustCompile("[^\r\n]{513}")

// split cuts raw into pieces of the given lengths and a rest.
func split(raw, cuts []byte) (pieces []string) {
	for _, n := range cuts {
		n := min(int(n), len(raw))
		pieces = append(pieces, string(raw[:n]))
		raw = raw[n:]
	}
	return append(pieces, string(raw))
}

func checkTrailers(t *testing.T, trailers []http1.Field) {
	t.Helper()
	for _, f := range trailers {
		require.False(t, f.Hop)
		require.True(t, http1.ValidTrailer(f.Name))
		require.True(t, http1.ValidValue(f.Value))
		require.Equal(t, http1.Other, f.Kind)
	}
}
