package proxy_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// idBackend answers with the request's id.
var idBackend = proxy.BackendFunc(func(x *proxy.Exchange) error {
	id := x.ID()
	x.Respond(200, int64(len(id)))
	if _, err := x.Write([]byte(id)); err != nil {
		return err
	}
	return x.Finish()
})

// M3: a client's text is printable ASCII in the log, at most 512 bytes of it, and always in the same place.
func TestM3TextOfClientsInTheLog(t *testing.T) {
	var plain, structured bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&plain, nil)), slog.New(slog.NewJSONHandler(&structured, nil))} {
		p := newPod(t, idBackend, func(s *setup) { s.AccessLog, s.Log = true, log })
		c := p.dial()
		for _, target := range []string{"/a", "/\xe2\x80\xae\xff\x80?x=\\x41", "/" + strings.Repeat("y", 5000)} {
			c.send("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")
			require.Equal(t, 200, c.receive("GET").code)
		}
		require.NoError(t, p.stop())
	}
	for _, text := range []string{plain.String(), structured.String()} {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		require.Len(t, lines, 4)
		require.Contains(t, lines[3], "drained")
		for _, line := range lines[:3] {
			require.Regexp(t, `^[ -~]+$`, line)
			require.Less(t, len(line), 1000)
			require.Regexp(t, `level"?[=:].*msg"?[=:].*request_id"?[=:].*peer"?[=:].*method"?[=:].*target"?[=:].*status"?[=:].*total_ms`, line)
		}
	}
	lines := bytes.Split(structured.Bytes(), []byte("\n"))
	var r struct{ Target string }
	require.NoError(t, json.Unmarshal(lines[1], &r))
	require.Equal(t, `/\xe2\x80\xae\xff\x80?x=\x5cx41`, r.Target)
	require.NoError(t, json.Unmarshal(lines[2], &r))
	require.Len(t, r.Target, 512)
}

// M7: a client's request id is taken if it is harmless, else replaced.
func TestM7RequestIDs(t *testing.T) {
	p := newPod(t, idBackend)
	c := p.dial()
	for id, taken := range map[string]bool{
		"a": true, "0-9_AZ.az": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "": false, "a b": false, "a/b": false, "a\"b": false, "a:b": false, "\xc3\xa4": false, "a\tb": false,
	} {
		c.send("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " + id + "\r\n\r\n")
		got := c.receive("GET").body
		if taken {
			require.Equal(t, id, got)
		} else {
			require.Regexp(t, `^t-[a-z0-9]+-[a-z0-9]+$`, got)
		}
	}
}

// M6: what is wrong inside stays in the log.
func TestM6AnswersTellNothingOfTheInside(t *testing.T) {
	address := unused(t)
	var log bytes.Buffer
	p := newPod(t, &proxy.HTTPBackend{Network: "tcp", Address: address, ConnectTimeout: 1}, func(s *setup) {
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	r := p.dial().get("/")
	require.Equal(t, 502, r.code)
	require.Equal(t, "connect\n", r.body)
	for name, values := range r.header {
		require.NotContains(t, strings.Join(values, " "), "127.0.0.1", name)
		require.NotEqual(t, "Server", name)
	}
	require.NoError(t, p.stop())
	require.Contains(t, log.String(), "reason=connect")
}
