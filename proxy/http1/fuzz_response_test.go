package http1_test

import (
	"bufio"
	"bytes"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/fnpod/fnpod/e2e/hostile"
	"github.com/fnpod/fnpod/proxy/http1"
)

var answerSyntax = regexp.MustCompile("^HTTP/1\\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r\n" + fieldLines)

func FuzzResponse(f *testing.F) {
	for _, c := range refusedAnswers {
		if len(c.raw) < 2000 {
			f.Add([]byte(c.raw), false, uint16(len(c.raw)-1))
		}
	}
	f.Add(answer4, true, uint16(20))
	f.Add([]byte(answer("HTTP/1.0 404 x", "A:", "Connection: A, keep-alive", "Content-Length: 5")), false, uint16(50))
	f.Add([]byte(answer("HTTP/1.1 101 x", "Connection: upgrade", "Upgrade: websocket")), false, uint16(5))
	f.Add([]byte(answer("HTTP/1.1 304 x", "Transfer-Encoding: chunked")), false, uint16(5))
	for _, c := range hostile.Cases() {
		if c.Script != nil && len(c.Script.Bytes()) < 2000 {
			f.Add([]byte(c.Script.Bytes()), len(c.Reads) > 0 && c.Reads[0].Method == "HEAD", uint16(10))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, toHEAD bool, cut uint16) {
		var r, part http1.Response
		n, err := r.Parse(bytes.Clone(raw), toHEAD, http1.DefaultLimits())
		checkEnd(t, raw, n, err)
		if int(cut) < len(raw) {
			m, early := part.Parse(bytes.Clone(raw[:cut]), toHEAD, http1.DefaultLimits())
			switch {
			case early != nil:
				require.Equal(t, err, early)
			case n > 0 && int(cut) >= n:
				require.Equal(t, n, m)
			default:
				require.Zero(t, m)
			}
		}
		match := answerSyntax.FindSubmatchIndex(raw)
		if n == 0 {
			require.False(t, match != nil && err == nil, "a whole head is taken for a part of one")
			return
		}
		require.NotNil(t, match, "accepted against the syntax")
		require.Equal(t, match[1], n)
		checkFields(t, string(raw[match[4]:match[5]]), r.Fields)
		checkForwardedAnswer(t, &r, toHEAD)
		checkFasthttpAnswer(t, raw[:n], &r, toHEAD)
	})
}

// checkForwardedAnswer parses what is forwarded and expects no framing but a length that says
// nothing about this connection.
func checkForwardedAnswer(t *testing.T, r *http1.Response, toHEAD bool) {
	t.Helper()
	forwarded := http1.AppendStatusLine(nil, r.Status)
	forwarded = append(http1.AppendFields(forwarded, r.Fields), "\r\n"...)
	var again http1.Response
	n, err := again.Parse(forwarded, toHEAD, http1.Limits{HeadBytes: len(forwarded), Fields: 256})
	require.NoError(t, err)
	require.Equal(t, len(forwarded), n)
	require.Equal(t, r.Status, again.Status)
	require.Equal(t, names(r.Fields), names(again.Fields))
	if toHEAD || r.Status < 200 || r.Status == 204 || r.Status == 304 {
		require.Zero(t, r.Length)
		require.Zero(t, again.Length)
	} else {
		require.Equal(t, int64(-2), again.Length)
	}
	if r.Length == -2 {
		require.False(t, r.KeepAlive)
	}
}

// checkFasthttpAnswer expects fasthttp to read the same answer.
func checkFasthttpAnswer(t *testing.T, raw []byte, r *http1.Response, toHEAD bool) {
	t.Helper()
	var h fasthttp.ResponseHeader
	h.DisableNormalizing()
	in := bufio.NewReaderSize(bytes.NewReader(raw), 32<<10)
	if err := h.Read(in); err != nil {
		_, trailers := http1.Find(r.Fields, http1.Trailer)
		if trailers > 0 || bytes.IndexByte(raw, '\r') == len("HTTP/1.1 200") {
			return // it reads the announced names, we drop the field; it insists on the space before an empty phrase
		}
		require.NoError(t, err)
	}
	require.Zero(t, in.Buffered(), "both heads end at the same byte")
	require.Equal(t, r.Status, h.StatusCode())
	if r.KeepAlive && !toHEAD && r.Status >= 200 && r.Status != 204 && r.Status != 304 {
		require.False(t, h.ConnectionClose() && r.Minor > 0, "in HTTP/1.0 it reads only the first Connection")
		require.Equal(t, r.Length, int64(h.ContentLength()))
	}
	for _, field := range r.Fields {
		if field.Kind == http1.Other && !keptApart[string(bytes.ToLower(field.Name))] {
			require.Contains(t, texts(h.PeekAll(string(field.Name))), string(field.Value))
		}
	}
}

func texts(values [][]byte) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

// keptApart are fields of which fasthttp keeps only the last or a changed form.
var keptApart = map[string]bool{"content-type": true, "content-encoding": true, "server": true, "set-cookie": true}
