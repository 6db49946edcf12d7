package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/fnpod/fnpod/e2e/hostile"
	"github.com/fnpod/fnpod/proxy/http1"
)

const (
	tokens     = "[-!#$%&'*+.^_`|~0-9A-Za-z]"
	fieldLines = "((?:" + tokens + "+:[^\\x00-\\x08\\x0a-\\x1f\\x7f]*\r\n)*)\r\n"
)

// requestSyntax is an independent statement of what a request head looks like.
var requestSyntax = regexp.MustCompile(
	"^(?:\r\n){0,4}(" + tokens + "{1,32}) ([^\\x00-\\x20\\x7f#]+) HTTP/1\\.[0-9]\r\n" + fieldLines)

func FuzzRequest(f *testing.F) {
	for _, raw := range acceptedRequests {
		f.Add([]byte(raw), uint16(len(raw)/2))
	}
	for _, c := range refusedRequests {
		if len(c.raw) < 2000 {
			f.Add([]byte(c.raw), uint16(len(c.raw)-1))
		}
	}
	f.Add(request12, uint16(40))
	for _, c := range hostile.Cases() {
		if raw := c.Bytes(); len(raw) < 2000 {
			f.Add([]byte(raw), uint16(len(raw)/3))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, cut uint16) {
		var r http1.Request
		n, err := r.Parse(bytes.Clone(raw), http1.DefaultLimits())
		checkEnd(t, raw, n, err)
		checkCutRequest(t, raw, int(cut), n, err)
		match := requestSyntax.FindSubmatchIndex(raw)
		if n == 0 {
			checkRefusal(t, match != nil, raw, err)
			return
		}
		require.NotNil(t, match, "accepted against the syntax")
		require.Equal(t, match[1], n)
		require.Equal(t, string(raw[match[2]:match[3]]), string(r.Method))
		checkFields(t, string(raw[match[6]:match[7]]), r.Fields)
		checkForwardedRequest(t, &r)
		if v := raw[match[5]+len(" HTTP/1.")]; v <= '1' { // it treats 1.2 and up as 1.0
			checkFasthttpRequest(t, raw[:n], &r, string(raw[match[4]:match[5]]))
		}
	})
}

func checkEnd(t *testing.T, raw []byte, n int, err error) {
	t.Helper()
	require.LessOrEqual(t, n, len(raw))
	if err != nil {
		require.Zero(t, n)
		var refusal *http1.Error
		require.ErrorAs(t, err, &refusal)
		require.Same(t, refusal, err, "wrapped")
		require.NotEmpty(t, refusal.Reason.String())
	}
}

func checkCutRequest(t *testing.T, raw []byte, cut, n int, err error) {
	t.Helper()
	if cut >= len(raw) {
		return
	}
	var r http1.Request
	m, early := r.Parse(bytes.Clone(raw[:cut]), http1.DefaultLimits())
	switch {
	case early != nil:
		require.Equal(t, err, early)
	case n > 0 && cut >= n:
		require.Equal(t, n, m)
	default:
		require.Zero(t, m)
	}
}

// checkRefusal tells refusals of the syntax from those of the meaning.
func checkRefusal(t *testing.T, wellFormed bool, raw []byte, err error) {
	t.Helper()
	if !wellFormed {
		return
	}
	require.Error(t, err, "a whole head is taken for a part of one")
	require.NotEqual(t, error(http1.ErrRequestLine), err)
	if errors.Is(err, http1.ErrHeader) {
		require.GreaterOrEqual(t, bytes.Count(raw, []byte(",")), 64, "only too many names in Connection are left as a reason")
	}
}

// checkFields compares with the lines of the block, taken apart in the plainest way.
func checkFields(t *testing.T, block string, fields []http1.Field) {
	t.Helper()
	lines := strings.SplitAfter(block, "\r\n")
	require.Len(t, fields, len(lines)-1)
	for i, f := range fields {
		name, value, _ := strings.Cut(lines[i], ":")
		require.Equal(t, lines[i], string(f.Line))
		require.Equal(t, name, string(f.Name))
		require.Equal(t, strings.Trim(value, " \t\r\n"), string(f.Value))
		require.True(t, http1.ValidName(f.Name))
		require.True(t, http1.ValidValue(f.Value))
		require.Equal(t, http1.KindOf(name), f.Kind)
	}
}

// checkForwardedRequest parses what is forwarded and expects it to mean the same.
func checkForwardedRequest(t *testing.T, r *http1.Request) {
	t.Helper()
	require.NotContains(t, string(r.Target), " ")
	require.NotContains(t, string(r.Target), "\r")
	forwarded := string(r.Method) + " " + string(r.Target) + " HTTP/1.1\r\nHost: h\r\n"
	forwarded = string(http1.AppendFields([]byte(forwarded), r.Fields)) + "\r\n"
	var again http1.Request
	n, err := again.Parse([]byte(forwarded), http1.Limits{HeadBytes: len(forwarded), Fields: 257})
	require.NoError(t, err)
	require.Equal(t, len(forwarded), n)
	require.Zero(t, again.Length)
	require.True(t, again.KeepAlive)
	require.Equal(t, string(r.Target), string(again.Target))
	require.Equal(t, names(r.Fields), names(again.Fields))
}

// checkFasthttpRequest expects fasthttp to read the same request. Where it refuses what we take,
// the reason is one of those below.
func checkFasthttpRequest(t *testing.T, raw []byte, r *http1.Request, target string) {
	t.Helper()
	var h fasthttp.RequestHeader
	h.DisableNormalizing()
	in := bufio.NewReaderSize(bytes.NewReader(raw), 32<<10)
	if err := h.Read(in); err != nil {
		_, trailers := http1.Find(r.Fields, http1.Trailer)
		if trailers > 0 {
			return // it reads the announced names, we drop the field
		}
		require.NoError(t, err)
	}
	require.Zero(t, in.Buffered(), "both heads end at the same byte")
	require.Equal(t, string(r.Method), string(h.Method()))
	require.Equal(t, target, string(h.RequestURI()))
	length := h.ContentLength()
	if r.Length == 0 && !r.HasLength {
		require.True(t, length == -2 || length == 0)
	} else {
		require.Equal(t, r.Length, int64(length))
	}
	if r.KeepAlive {
		require.False(t, h.ConnectionClose() && r.Minor > 0, "in HTTP/1.0 it reads only the first Connection")
	}
	i := 0
	for name, value := range h.AllInOrder() {
		require.Equal(t, string(r.Fields[i].Name), string(name))
		require.Equal(t, string(r.Fields[i].Value), string(value))
		i++
	}
	require.Len(t, r.Fields, i)
}
