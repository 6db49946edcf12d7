package proxy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sees returns the field lines a function gets for a request head, sorted away
// from those that every request has.
func (p *pod) sees(lines ...string) []string {
	p.t.Helper()
	c := p.dial()
	c.send("GET / HTTP/1.1\r\n", strings.Join(lines, "\r\n"), "\r\n\r\n")
	r := c.receive("GET")
	require.Equal(p.t, 200, r.code)
	return strings.Split(r.body, "\n")
}

// newMirror is a function that answers with the field lines it got.
func newMirror(t *testing.T, network string) *function {
	t.Helper()
	return newFunction(t, network, calling(func(c *fconn, r request) { c.answer(strings.Join(r.lines(), "\n")) }))
}

func TestFieldsOnTheirWayToTheFunction(t *testing.T) {
	forwarded := func(mode string) func(*setup) { return func(s *setup) { s.Forwarded = mode } }
	for _, test := range []struct {
		name string
		mode string
		sent []string
		want []string
		not  []string // no line may begin with it, in any case
	}{
		{
			"as they stand", "off",
			[]string{"Host: h", "x-ODD:  a\tb ", "Cookie: a", "cookie: b", "X-Request-Id: id-1"},
			[]string{"Host: h", "X-Request-Id: id-1", "x-ODD:  a\tb ", "Cookie: a", "cookie: b"},
			nil,
		},
		{
			"hop-by-hop", "off",
			[]string{
				"Host: h", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: x", "Proxy: evil",
				"Proxy-Authorization: x", "TE: gzip", "Upgrade: h2c", "HTTP2-Settings: x", "Trailer: X",
			},
			nil,
			[]string{"connection", "x-hop", "keep-alive", "proxy", "te:", "upgrade", "http2", "trailer"},
		},
		{
			"what Connection may not name", "append",
			[]string{"Host: h", "Connection: Host, X-Forwarded-For, X-Request-Id, close", "X-Request-Id: id-1"},
			[]string{"Host: h", "X-Forwarded-For: 127.0.0.1", "X-Request-Id: id-1"},
			nil,
		},
		{"names with an underscore", "off", []string{"Host: h", "X_Forwarded_For: 1.2.3.4"}, nil, []string{"x_"}},
		{
			"added", "append",
			[]string{"Host: h:80"},
			[]string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: h:80"},
			nil,
		},
		{
			"appended", "append",
			[]string{"Host: h", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "X-Forwarded-Proto: https"},
			[]string{"X-Forwarded-For: 192.0.2.1, 192.0.2.2, 127.0.0.1", "X-Forwarded-Proto: https"},
			nil,
		},
		{
			"replaced", "replace",
			[]string{"Host: h", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=1.2.3.4"},
			[]string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: h"},
			nil,
		},
		{"a bad request id", "off", []string{"Host: h", "X-Request-Id: a b"}, nil, []string{"x-request-id: a"}},
		{"two request ids", "off", []string{"Host: h", "X-Request-Id: a", "X-Request-Id: b"}, nil, []string{"x-request-id: a", "x-request-id: b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := newPod(t, newMirror(t, "tcp").backend(), forwarded(test.mode)).sees(test.sent...)
			for _, want := range test.want {
				require.Contains(t, got, want)
			}
			ids := 0
			for _, line := range got {
				for _, not := range test.not {
					require.False(t, strings.HasPrefix(strings.ToLower(line), not), line)
				}
				require.NotContains(t, line, "evil")
				require.NotContains(t, line, "1.2.3.4")
				if strings.HasPrefix(line, "X-Request-Id: ") {
					ids++
				}
			}
			require.Equal(t, 1, ids, got)
		})
	}
}

// An absolute target names the host; what Host says does not matter then.
func TestAnAbsoluteTargetGoesOnInOriginForm(t *testing.T) {
	f := newFunction(t, "tcp", calling(func(c *fconn, r request) { c.answer(r.head) }))
	c := newPod(t, f.backend()).dial()
	c.send("GET http://real.example:81/a%2Fb/../c?d=//e HTTP/1.1\r\nHost: other\r\n\r\n")
	head := c.receive("GET").body
	require.True(t, strings.HasPrefix(head, "GET /a%2Fb/../c?d=//e HTTP/1.1\r\nHost: real.example:81\r\n"), head)
	require.NotContains(t, head, "other")
}
