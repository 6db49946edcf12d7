package http1_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

// get is a request with the given lines after a valid Host.
func get(lines ...string) string {
	head := "GET / HTTP/1.1\r\nHost: h\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	return head + "\r\n"
}

// request is a request line followed by a valid Host.
func request(line string) string { return line + "\r\nHost: h\r\n\r\n" }

func parse(t *testing.T, raw string) *http1.Request {
	t.Helper()
	var r http1.Request
	n, err := r.Parse([]byte(raw), http1.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, len(raw), n)
	return &r
}

// names lists the fields that are forwarded.
func names(fields []http1.Field) (out []string) {
	for _, f := range fields {
		if !f.Hop {
			out = append(out, string(f.Name))
		}
	}
	return out
}

var refusedRequests = []struct {
	name string
	raw  string
	err  *http1.Error
}{
	{"empty method", request(" / HTTP/1.1"), http1.ErrRequestLine},
	{"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", http1.ErrRequestLine},
	{"TLS hello, first byte", "\x16", http1.ErrRequestLine},
	{"other protocol", "SSH-2.0-OpenSSH_9.2p1\r\n", http1.ErrRequestLine},
	{"garbage after a message", "{\"a\":1}", http1.ErrRequestLine},
	{"NUL first", "\x00", http1.ErrRequestLine},
	{"LF before the line", "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", http1.ErrRequestLine},
	{"CR before the line", "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", http1.ErrRequestLine},
	{"five empty lines", strings.Repeat("\r\n", 5) + get(), http1.ErrRequestLine},
	{"double space before target", request("GET  / HTTP/1.1"), http1.ErrRequestLine},
	{"double space after target", request("GET /  HTTP/1.1"), http1.ErrRequestLine},
	{"tab after method", request("GET\t/ HTTP/1.1"), http1.ErrRequestLine},
	{"tab after target", request("GET /\tHTTP/1.1"), http1.ErrRequestLine},
	{"VT after target", request("GET /\vHTTP/1.1"), http1.ErrRequestLine},
	{"space in target", request("GET /a b HTTP/1.1"), http1.ErrRequestLine},
	{"trailing space", request("GET / HTTP/1.1 "), http1.ErrRequestLine},
	{"method only", "GET\r\n\r\n", http1.ErrRequestLine},
	{"HTTP/0.9 form", "GET /\r\n\r\n", http1.ErrRequestLine},
	{"S5 LF after the line", "GET / HTTP/1.1\nHost: h\r\n\r\n", http1.ErrRequestLine},
	{"CR inside the line", request("GET / HTTP\r/1.1"), http1.ErrRequestLine},
	{"CR CR LF", "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", http1.ErrRequestLine},
	{"version in small letters", request("GET / http/1.1"), http1.ErrRequestLine},
	{"version without minor", request("GET / HTTP/1"), http1.ErrRequestLine},
	{"version with two digits", request("GET / HTTP/1.10"), http1.ErrRequestLine},
	{"version with leading zero", request("GET / HTTP/01.1"), http1.ErrRequestLine},
	{"version without a number", request("GET / HTTP/d.d"), http1.ErrRequestLine},
	{"version with a comma", request("GET / HTTP/1,1"), http1.ErrRequestLine},
	{"version with a letter", request("GET / HTTP/1.x"), http1.ErrRequestLine},
	{"S6 HTTP/0.9", request("GET / HTTP/0.9"), http1.ErrVersion},
	{"S6 HTTP/2.0", request("GET / HTTP/2.0"), http1.ErrVersion},
	{"S6 HTTP/3.0", request("GET / HTTP/3.0"), http1.ErrVersion},
	{"S6 HTTP/9.9", request("GET / HTTP/9.9"), http1.ErrVersion},

	{"method with a bracket", request("GE[T / HTTP/1.1"), http1.ErrMethod},
	{"method with a colon", request("GET: / HTTP/1.1"), http1.ErrMethod},
	{"method with a high byte", request("GE\xc3T / HTTP/1.1"), http1.ErrRequestLine},
	{"S20 method of 33 bytes", request(strings.Repeat("M", 33) + " / HTTP/1.1"), http1.ErrMethod},
	{"S20 method of 9 kB", request(strings.Repeat("M", 9000) + " / HTTP/1.1"), http1.ErrMethod},
	{"S10 CONNECT", request("CONNECT h:443 HTTP/1.1"), http1.ErrNotAllowed},
	{"S10 CONNECT with a path", request("CONNECT / HTTP/1.1"), http1.ErrNotAllowed},
	{"S10 TRACE", request("TRACE / HTTP/1.1"), http1.ErrNotAllowed},

	{"relative target", request("GET a/b HTTP/1.1"), http1.ErrTarget},
	{"relative target that starts like a scheme", request("GET http HTTP/1.1"), http1.ErrTarget},
	{"backslash", request("GET \\a HTTP/1.1"), http1.ErrTarget},
	{"authority form", request("GET h:80 HTTP/1.1"), http1.ErrTarget},
	{"asterisk with GET", request("GET * HTTP/1.1"), http1.ErrTarget},
	{"asterisk and more", request("OPTIONS *a HTTP/1.1"), http1.ErrTarget},
	{"h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http1.ErrTarget},
	{"control byte", request("GET /\x01 HTTP/1.1"), http1.ErrTarget},
	{"NUL in target", request("GET /\x00 HTTP/1.1"), http1.ErrTarget},
	{"DEL in target", request("GET /\x7f HTTP/1.1"), http1.ErrTarget},
	{"S7 fragment", request("GET /#f HTTP/1.1"), http1.ErrTarget},
	{"S7 fragment in an absolute target", request("GET http://h/#f HTTP/1.1"), http1.ErrTarget},
	{"S7 scheme without host", request("GET http:// HTTP/1.1"), http1.ErrTarget},
	{"S7 scheme with a path only", request("GET http:///a HTTP/1.1"), http1.ErrTarget},
	{"S7 file scheme", request("GET file:///etc/passwd HTTP/1.1"), http1.ErrTarget},
	{"S7 userinfo", request("GET http://u:p@h/ HTTP/1.1"), http1.ErrTarget},
	{"S7 user without password", request("GET http://u@h/ HTTP/1.1"), http1.ErrTarget},
	{"backslash after host", request("GET http://h\\@g/ HTTP/1.1"), http1.ErrTarget},
	{"bad port in target", request("GET http://h:x/ HTTP/1.1"), http1.ErrTarget},

	{"missing Host", "GET / HTTP/1.1\r\n\r\n", http1.ErrHost},
	{"missing Host in 1.2", "GET / HTTP/1.2\r\n\r\n", http1.ErrHost},
	{"missing Host with absolute target", "GET http://h/ HTTP/1.1\r\n\r\n", http1.ErrHost},
	{"bad Host with absolute target", "GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n", http1.ErrHost},
	{"repeated Host", get("Host: h"), http1.ErrHost},
	{"repeated Host in another case", get("hOST: g"), http1.ErrHost},
	{"repeated Host in 1.0", "GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", http1.ErrHost},

	{"S3 space in name", get("Transfer Encoding: chunked"), http1.ErrHeader},
	{"space before colon", get("Transfer-Encoding : chunked"), http1.ErrHeader},
	{"tab before colon", get("Transfer-Encoding\t: chunked"), http1.ErrHeader},
	{"empty name", get(": a"), http1.ErrHeader},
	{"no colon", get("abc"), http1.ErrHeader},
	{"high byte in name", get("n\xc3\xa4me: a"), http1.ErrHeader},
	{"NUL in name", get("a\x00b: a"), http1.ErrHeader},
	{"bracket in name", get("a(b: a"), http1.ErrHeader},
	{"S4 fold with space", get("A: b", " c"), http1.ErrHeader},
	{"S4 fold with tab", get("A: b", "\tc"), http1.ErrHeader},
	{"S4 folded framing", get("Transfer-Encoding:", " chunked"), http1.ErrHeader},
	{"S4 folded Expect", get("Expect: 100-", " continue"), http1.ErrHeader},
	{"space before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", http1.ErrHeader},
	{"S5 LF after a field", "GET / HTTP/1.1\r\nHost: h\n\r\n", http1.ErrHeader},
	{"S5 LF ends the head", "GET / HTTP/1.1\r\nHost: h\r\n\n", http1.ErrHeader},
	{"S5 LF LF, CRLFCRLF later", "GET / HTTP/1.1\r\nHost: h\n\nX: a\r\n\r\n", http1.ErrHeader},
	{"bare CR in value", get("A: b\rc"), http1.ErrHeader},
	{"CR before the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\rX", http1.ErrHeader},
	{"NUL in value", get("A: b\x00c"), http1.ErrHeader},
	{"control byte in value", get("A: b\x1fc"), http1.ErrHeader},
	{"VT in value", get("A: b\vc"), http1.ErrHeader},
	{"DEL in value", get("A: bcdefghijkl\x7fm"), http1.ErrHeader},
	{"more names in Connection than anyone needs", get("Connection: " + strings.Repeat("a,", 65)), http1.ErrHeader},
	{"more names in several Connections", get("Connection: "+strings.Repeat("a,", 40), "Connection: "+strings.Repeat("b,", 40)), http1.ErrHeader},

	{"S1 Content-Length and Transfer-Encoding", get("Content-Length: 5", "Transfer-Encoding: chunked"), http1.ErrFraming},
	{"S1 Transfer-Encoding and Content-Length", get("Transfer-Encoding: chunked", "Content-Length: 0"), http1.ErrFraming},
	{"S2 identity", get("Transfer-Encoding: identity"), http1.ErrCoding},
	{"S2 identity with length", get("Content-Length: 5", "Transfer-Encoding: identity"), http1.ErrCoding},
	{"unknown coding", get("Transfer-Encoding: gzip"), http1.ErrCoding},
	{"unknown coding before chunked", get("Transfer-Encoding: gzip, chunked"), http1.ErrCoding},
	{"chunked twice in a list", get("Transfer-Encoding: chunked, chunked"), http1.ErrFraming},
	{"chunked not last", get("Transfer-Encoding: chunked, identity"), http1.ErrFraming},
	{"chunked with comma", get("Transfer-Encoding: chunked,"), http1.ErrFraming},
	{"chunked after comma", get("Transfer-Encoding: ,chunked"), http1.ErrFraming},
	{"chunked with parameter", get("Transfer-Encoding: chunked;a=b"), http1.ErrFraming},
	{"quoted coding", get("Transfer-Encoding: \"chunked\""), http1.ErrFraming},
	{"empty coding", get("Transfer-Encoding:"), http1.ErrFraming},
	{"repeated Transfer-Encoding", get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), http1.ErrFraming},
	{"Transfer-Encoding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", http1.ErrFraming},
	{"equal Content-Length twice", get("Content-Length: 5", "Content-Length: 5"), http1.ErrFraming},
	{"Content-Length list", get("Content-Length: 5, 5"), http1.ErrFraming},
	{"empty Content-Length", get("Content-Length:"), http1.ErrFraming},
	{"Content-Length with plus", get("Content-Length: +5"), http1.ErrFraming},
	{"Content-Length with minus", get("Content-Length: -5"), http1.ErrFraming},
	{"Content-Length in hex", get("Content-Length: 0x5"), http1.ErrFraming},
	{"Content-Length with space inside", get("Content-Length: 1 2"), http1.ErrFraming},
	{"Content-Length above 2^62", get("Content-Length: 4611686018427387905"), http1.ErrFraming},
	{"Content-Length beyond 64 bits", get("Content-Length: 18446744073709551621"), http1.ErrFraming},
	{"Content-Length of 10^30", get("Content-Length: 1" + strings.Repeat("0", 30)), http1.ErrFraming},

	{"S28 unknown expectation", get("Expect: 200-ok"), http1.ErrExpect},
	{"S28 expectation list", get("Expect: 100-continue, x"), http1.ErrExpect},
	{"S28 second field unknown", get("Expect: 100-continue", "Expect: x"), http1.ErrExpect},

	{"S18 head above 16 KiB", get("Cookie: " + strings.Repeat("c", 16<<10)), http1.ErrHeaderSize},
	{"request line above 16 KiB", request("GET /" + strings.Repeat("a", 16<<10) + " HTTP/1.1"), http1.ErrLineSize},
	{"S19 257 fields", get(many(256)...), http1.ErrHeaderCount},
	{"S19 3000 fields", get(many(3000)...), http1.ErrHeaderCount},
}

func many(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = "a:"
	}
	return lines
}

func TestRequestIsRefused(t *testing.T) {
	for _, c := range refusedRequests {
		t.Run(c.name, func(t *testing.T) {
			var r http1.Request
			n, err := r.Parse([]byte(c.raw), http1.DefaultLimits())
			require.Equal(t, error(c.err), err)
			require.Zero(t, n)
		})
	}
}

// A head that is cut anywhere is incomplete or refused as the whole would be, and it is not
// refused for its cut.
func TestRequestCutAnywhere(t *testing.T) {
	check := func(t *testing.T, raw string, whole error) {
		var r http1.Request
		failed := false
		for i := range len(raw) {
			n, err := r.Parse([]byte(raw[:i]), http1.DefaultLimits())
			require.Zero(t, n, "%q", raw[:i])
			require.False(t, failed && err == nil, "refused, then not: %q", raw[:i])
			if failed = err != nil; failed {
				require.Equal(t, whole, err, "%q", raw[:i])
			}
		}
	}
	for _, c := range refusedRequests {
		if len(c.raw) < 2000 {
			t.Run(c.name, func(t *testing.T) { check(t, c.raw, c.err) })
		}
	}
	for _, raw := range acceptedRequests {
		t.Run(raw, func(t *testing.T) { check(t, raw, nil) })
	}
}

var acceptedRequests = []string{
	get(),
	"\r\n\r\n\r\n\r\n" + get("A:b"),
	"POST /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: a, close ,\t,b\r\nA: 1\r\nB_c: 2\r\n\r\n",
	"PATCH http://Example.com?q HTTP/1.1\r\nhost: other\r\ntransfer-encoding: Chunked\r\nTE: trailers\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET /\xff HTTP/1.7\r\nHost: [::1]:80\r\nLong-Value: \t with \t tabs, and \xe4\xf6 high bytes \t \r\nEmpty:\r\n\r\n",
}

func TestRequestParts(t *testing.T) {
	r := parse(t, "POST /a//../%2F?b=c&d HTTP/1.1\r\nHost: Example.com:8080\r\nContent-Length: 0012\r\nX-A: \t b c \t\r\n\r\n")
	require.Equal(t, "POST", string(r.Method))
	require.Equal(t, "/a//../%2F?b=c&d", string(r.Target))
	require.Equal(t, "Example.com:8080", string(r.Host))
	require.Equal(t, uint8(1), r.Minor)
	require.Equal(t, int64(12), r.Length)
	require.True(t, r.HasLength)
	require.True(t, r.KeepAlive)
	require.False(t, r.Expect100)
	require.Nil(t, r.Upgrade)
	require.Len(t, r.Fields, 3)
	require.Equal(t, http1.Field{
		Name: []byte("X-A"), Value: []byte("b c"), Line: []byte("X-A: \t b c \t\r\n"),
	}, r.Fields[2])
}

func TestRequestLeavesWhatFollows(t *testing.T) {
	raw := get("A: b")
	var r http1.Request
	n, err := r.Parse([]byte(raw+"GET /next"), http1.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, len(raw), n)
}

func TestRequestTarget(t *testing.T) {
	for _, c := range []struct{ line, target, host string }{
		{"GET / HTTP/1.1", "/", "h"},
		{"GET /%00%0a\\\"<>^`{|}\xff HTTP/1.1", "/%00%0a\\\"<>^`{|}\xff", "h"},
		{"GET //evil/x HTTP/1.1", "//evil/x", "h"},
		{"OPTIONS * HTTP/1.1", "*", "h"},
		{"GET http://g HTTP/1.1", "/", "g"},
		{"OPTIONS http://g HTTP/1.1", "*", "g"},
		{"OPTIONS http://g/ HTTP/1.1", "/", "g"},
		{"GET HTTPS://g:8443/a?b HTTP/1.1", "/a?b", "g:8443"},
		{"GET http://g?x=1 HTTP/1.1", "/?x=1", "g"},
		{"GET http://[::1]:80/@ HTTP/1.1", "/@", "[::1]:80"},
		{"unKnown-method /x HTTP/1.9", "/x", "h"},
	} {
		t.Run(c.line, func(t *testing.T) {
			r := parse(t, request(c.line))
			require.Equal(t, c.target, string(r.Target))
			require.Equal(t, c.host, string(r.Host))
			require.Equal(t, uint8(1), r.Minor)
		})
	}
}

func TestRequestHost(t *testing.T) {
	for _, host := range []string{
		"a", "A-b_c.example", "127.0.0.1", "127.0.0.1:0", "a:65535", "[::]", "[::1]:80", "[1::]", "[1:2:3:4:5:6:7:8]",
		"[1:2:3:4:5:6:7::]", "[::ffff:1.2.3.4]", "[1:2:3:4:5:6:1.2.3.4]", "[fe80::ABCD]",
	} {
		require.Equal(t, host, string(parse(t, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n").Host))
	}
	for _, host := range []string{
		"", ":80", "a:", "a:x", "a:-1", "a:65536", "a:000080", "a:80:80", "a b", "a/b", "a#b", "a?b", "a\x00b", "a\tb",
		"user:pw@x" /* S8 */, "u@x", "a,b" /* S9 */, "\"a\"", "'a'", "a%41", "a\\b", "\xc3\xa4", "[", "[]", "[::1", "::1", "[::1]a",
		"[::1]:", "[:1]", "[1:]", "[:]", "[1:::2]", "[::1::2]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7:8::]",
		"[12345::]", "[g::]", "[fe80::1%25eth0]", "[::1.2.3]", "[::1.2.3.256]", "[::01.2.3.4]", "[::1.2.3.4.5]", "[::1.2.3.4:1]", "[v1.a]", "[1.2.3.4]",
	} {
		var r http1.Request
		_, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), http1.DefaultLimits())
		want := http1.ErrHost
		if strings.Contains(host, "\x00") {
			want = http1.ErrHeader
		}
		require.Equal(t, error(want), err, "%q", host)
	}
}

func TestRequestWithoutHostIn10(t *testing.T) {
	r := parse(t, "GET / HTTP/1.0\r\n\r\n")
	require.Empty(t, r.Host)
	require.Equal(t, uint8(0), r.Minor)
	require.False(t, r.KeepAlive)
}

func TestRequestFraming(t *testing.T) {
	for _, c := range []struct {
		name      string
		raw       string
		length    int64
		hasLength bool
	}{
		{"none", get(), 0, false},
		{"zero", get("Content-Length: 0"), 0, true},
		{"largest", get("Content-Length: 4611686018427387904"), 1 << 62, true},
		{"zeros", get("Content-Length: " + strings.Repeat("0", 40) + "7"), 7, true},
		{"chunked", get("Transfer-Encoding: chunked"), -1, false},
		{"CHUNKED", get("transfer-ENCODING:CHUNKED"), -1, false},
		{"length in 1.0", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", 3, true},
		{"underscore spelling has no effect", get("Content_Length: 5", "Transfer_Encoding: chunked"), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := parse(t, c.raw)
			require.Equal(t, c.length, r.Length)
			require.Equal(t, c.hasLength, r.HasLength)
			require.NotContains(t, names(r.Fields), "Content-Length")
			require.NotContains(t, names(r.Fields), "Transfer-Encoding")
		})
	}
}

func TestRequestDropsFields(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"hop by hop", []string{
			"Keep-Alive: 5", "Proxy-Connection: a", "Proxy-Authenticate: a", "Proxy-Authorization: a", "TE: gzip", "Trailer: a",
			"Upgrade: h2c", "HTTP2-Settings: a", "Proxy: http://evil", "Accept: a",
		}, []string{"Accept"}},
		{"any case", []string{"PROXY: a", "pRoxY-aUTHORIZATION: a", "http2-settings: a"}, nil},
		{"written by us", []string{"Content-Length: 1", "Expect: 100-continue"}, nil},
		{"underscore", []string{"X_Forwarded_For: a", "a_: b", "_: c", "X-A: d"}, []string{"X-A"}},
		{"named by Connection", []string{"A: 1", "Connection: a, b", "B: 1", "a: 2", "C: 3", "connection: d", "D: 4"}, []string{"C"}},
		{"named with odd spacing", []string{"Connection: ,,  close\t,\tA ,", "A: 1", "Close: 2"}, []string{"Close"}},
		{"naming ours has no effect", []string{
			"Connection: x-forwarded-for, X-Forwarded-Proto, x-forwarded-host, x-forwarded-port, forwarded, x-request-id, traceparent, tracestate",
			"X-Forwarded-For: a", "X-Forwarded-Proto: a", "X-Forwarded-Host: a", "X-Forwarded-Port: a", "Forwarded: a", "X-Request-Id: a",
			"Traceparent: a", "Tracestate: a",
		}, []string{
			"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded", "X-Request-Id",
			"Traceparent", "Tracestate",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, names(parse(t, get(c.lines...)).Fields))
		})
	}
}

func TestRequestNamingFramingInConnectionHasNoEffect(t *testing.T) {
	r := parse(t, get("Connection: Host, Content-Length, Transfer-Encoding", "Content-Length: 7"))
	require.Equal(t, int64(7), r.Length)
	require.Equal(t, "h", string(r.Host))
}

func TestRequestKeepAlive(t *testing.T) {
	for _, c := range []struct {
		version, connection string
		want                bool
	}{
		{"1.1", "a", true},
		{"1.1", "Close", false},
		{"1.1", "a, close, b", false},
		{"1.1", "keep-alive, close", false},
		{"1.1", "keep-alive", true},
		{"1.0", "a", false},
		{"1.0", "Keep-Alive", true},
		{"1.0", "keep-alive, close", false},
	} {
		r := parse(t, "GET / HTTP/"+c.version+"\r\nHost: h\r\nConnection: "+c.connection+"\r\n\r\n")
		require.Equal(t, c.want, r.KeepAlive, "%+v", c)
	}
	require.False(t, parse(t, get("Connection: keep-alive", "Connection: close")).KeepAlive)
}

func TestRequestExpect(t *testing.T) {
	require.True(t, parse(t, get("Expect: 100-Continue", "Content-Length: 1")).Expect100)
	require.True(t, parse(t, get("Expect: 100-continue", "Transfer-Encoding: chunked")).Expect100)
	require.False(t, parse(t, get("Expect: 100-continue")).Expect100, "S29: no body")
	require.False(t, parse(t, get("Expect: 100-continue", "Content-Length: 0")).Expect100, "S29: empty body")
	require.False(t, parse(t, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").Expect100)
}

func TestRequestTETrailers(t *testing.T) {
	require.True(t, parse(t, get("TE: trailers")).TETrailers)
	require.True(t, parse(t, get("TE: gzip;q=0.5 , Trailers")).TETrailers)
	require.True(t, parse(t, get("TE: gzip", "TE: trailers")).TETrailers)
	require.False(t, parse(t, get("TE: trailers2")).TETrailers)
	require.False(t, parse(t, get()).TETrailers)
}

func TestRequestUpgradeU1(t *testing.T) {
	ok := []string{"Connection: keep-alive, Upgrade", "Upgrade: WebSocket"}
	require.Equal(t, "WebSocket", string(parse(t, get(ok...)).Upgrade))
	require.NotNil(t, parse(t, get(append(ok, "Content-Length: 0")...)).Upgrade)
	require.NotContains(t, names(parse(t, get(ok...)).Fields), "Upgrade")

	for name, raw := range map[string]string{
		"with a body":        get(append(ok, "Content-Length: 1")...),
		"chunked":            get(append(ok, "Transfer-Encoding: chunked")...),
		"POST":               "POST" + get(ok...)[3:],
		"1.0":                strings.Replace(get(ok...), "1.1", "1.0", 1),
		"h2c (U2)":           get("Connection: Upgrade", "Upgrade: h2c"),
		"list":               get("Connection: Upgrade", "Upgrade: websocket, h2c"),
		"twice":              get(append(ok, "Upgrade: websocket")...),
		"not in Connection":  get("Upgrade: websocket"),
		"without an Upgrade": get("Connection: Upgrade"),
	} {
		t.Run(name, func(t *testing.T) { require.Nil(t, parse(t, raw).Upgrade) })
	}
}

func TestRequestUpgradeToAnyProtocol(t *testing.T) {
	l := http1.DefaultLimits()
	l.AnyUpgrade = true
	of := func(raw string) string {
		var r http1.Request
		n, err := r.Parse([]byte(raw), l)
		require.NoError(t, err)
		require.Equal(t, len(raw), n)
		require.NotContains(t, names(r.Fields), "Upgrade")
		require.NotContains(t, names(r.Fields), "HTTP2-Settings")
		return string(r.Upgrade)
	}
	settings := []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"}
	for want, raw := range map[string]string{
		"WebSocket": get("Connection: Upgrade", "Upgrade: WebSocket"),
		"SPDY/3.1":  "POST" + get("Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0")[3:],
		"tcp":       "PUT" + get("Connection: a, Upgrade", "Upgrade: tcp")[3:],
		"h2c":       "OPTIONS" + get(settings...)[3:],
	} {
		require.Equal(t, want, of(raw))
	}
	for name, raw := range map[string]string{
		"a WebSocket by POST":        "POST" + get("Connection: Upgrade", "Upgrade: websocket")[3:],
		"1.0":                        strings.Replace(get("Connection: Upgrade", "Upgrade: tcp"), "1.1", "1.0", 1),
		"not in Connection":          get("Upgrade: tcp"),
		"list":                       get("Connection: Upgrade", "Upgrade: tcp, udp"),
		"twice":                      get("Connection: Upgrade", "Upgrade: tcp", "Upgrade: tcp"),
		"nothing":                    get("Connection: Upgrade", "Upgrade:"),
		"no token":                   get("Connection: Upgrade", "Upgrade: a b"),
		"no name":                    get("Connection: Upgrade", "Upgrade: /1"),
		"no version":                 get("Connection: Upgrade", "Upgrade: a/"),
		"two versions":               get("Connection: Upgrade", "Upgrade: a/1/2"),
		"h2c without settings":       get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
		"h2c with two settings":      get(append(settings, "HTTP2-Settings: AA")...),
		"h2c with unlisted settings": get("Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AA"),
	} {
		t.Run(name, func(t *testing.T) { require.Empty(t, of(raw)) })
	}
	const body = "\r\n\r\nabc"
	var r http1.Request
	_, err := r.Parse([]byte("POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 3"+body), l)
	require.NoError(t, err)
	require.Nil(t, r.Upgrade, "with a body")
}

func TestRequestLimits(t *testing.T) {
	l := http1.DefaultLimits()
	fit := get("Cookie: " + strings.Repeat("c", l.HeadBytes-len(get("Cookie: "))))
	require.Len(t, fit, l.HeadBytes)
	parse(t, fit)
	parse(t, get(many(255)...))
	parse(t, request(strings.Repeat("M", 32)+" / HTTP/1.1"))

	var r http1.Request
	n, err := r.Parse([]byte(fit[:l.HeadBytes-1]), l)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = r.Parse([]byte(fit[:l.HeadBytes-2]+"cccccc"), l)
	require.Equal(t, error(http1.ErrHeaderSize), err, "full and no end: no need to wait for more")
	_, err = r.Parse([]byte(get()), http1.Limits{})
	require.Equal(t, error(http1.ErrLineSize), err)
}

func TestRequestIsReusable(t *testing.T) {
	var r http1.Request
	first := "POST http://g?q HTTP/1.1\r\nHost: h\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\nTE: trailers\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	_, err := r.Parse([]byte(first), http1.DefaultLimits())
	require.NoError(t, err)
	_, err = r.Parse([]byte(get()), http1.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, "/", string(r.Target))
	require.Equal(t, "h", string(r.Host))
	require.True(t, r.KeepAlive)
	require.Zero(t, r.Length)
	require.False(t, r.HasLength || r.Expect100 || r.TETrailers)
	require.Nil(t, r.Upgrade)
	require.Len(t, r.Fields, 1)
}
