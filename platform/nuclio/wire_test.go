package nuclio

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

// §7.3: what differs between the sizes of values is their head.
func TestNuclio73PackHeads(t *testing.T) {
	for _, test := range []struct {
		value any
		want  []byte
	}{
		{"", []byte{0xa0}},
		{string(make([]byte, 31)), []byte{0xbf, 0}},
		{string(make([]byte, 32)), []byte{0xd9, 32}},
		{string(make([]byte, 256)), []byte{0xda, 1, 0}},
		{string(make([]byte, 1<<16)), []byte{0xdb, 0, 1, 0, 0}},
		{[]byte{}, []byte{0xc4, 0}},
		{make([]byte, 256), []byte{0xc5, 1, 0}},
		{make([]byte, 1<<16), []byte{0xc6, 0, 1, 0, 0}},
		{[]any{}, []byte{0x90}},
		{make([]any, 16), []byte{0xdc, 0, 16, 0xc0}},
		{map[string]any{}, []byte{0x80}},
		{-1, []byte{0xd3, 255, 255, 255, 255, 255, 255, 255, 255}},
		{1.0, []byte{0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}},
		{nil, []byte{0xc0}},
		{true, []byte{0xc3}},
		{false, []byte{0xc2}},
	} {
		got := packValue(nil, test.value)
		require.Equal(t, test.want, got[:len(test.want)])
	}
	many := map[string]any{}
	for i := range 16 {
		many[string(rune('a'+i))] = nil
	}
	require.Equal(t, []byte{0xde, 0, 16}, packValue(nil, many)[:3])
}

// §7.3: other wrappers read lines.
func TestNuclio73Lines(t *testing.T) {
	e, err := newWireEvent(&http1.Request{Method: []byte("GET"), Target: []byte("/a?b=c")}, "http/web", []byte("x\n"), time.Unix(5, 0))
	require.NoError(t, err)
	frame, err := e.frame(true)
	require.NoError(t, err)
	require.Equal(t, byte('\n'), frame[len(frame)-1])
	require.NotContains(t, string(frame[:len(frame)-1]), "\n")
	var got map[string]any
	require.NoError(t, json.Unmarshal(frame, &got))
	require.Equal(t, "eAo=", got["body"])
	require.InDelta(t, 5, got["timestamp"], 0)
	require.Equal(t, map[string]any{"b": "c"}, got["fields"])

	e, err = newWireEvent(&http1.Request{Method: []byte("GET"), Target: []byte("/")}, "http/web", nil, time.Unix(5, 0))
	require.NoError(t, err)
	frame, err = e.frame(true)
	require.NoError(t, err)
	require.Contains(t, string(frame), `"body":""`, "an empty body is one")
	frame, err = e.frame(false)
	require.NoError(t, err)
	require.Contains(t, string(frame), "body\xc4\x00")
}

// What wrappers and clients send may be anything.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{`{"body": "x", "body_encoding": "text"}`, `[]`, `null`, `[null]`, `{"headers": {"a": "b\r\n"}, "body_encoding": "base64", "status_code": 999}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseReply(text)
		if err != nil || r == nil {
			return
		}
		require.True(t, r.Status >= 200 && r.Status <= 599)
		for _, field := range r.fields() {
			require.True(t, http1.ValidName(field[0]), "%q", field)
			require.True(t, http1.ValidValue(field[1]), "%q", field)
		}
	})
}

func FuzzCloudEvent(f *testing.F) {
	f.Add([]byte(`{"eventID": "i", "data": {"a": [1, null, "x"]}}`), "/a/../b?c=%ff")
	f.Fuzz(func(t *testing.T, body []byte, target string) {
		fields := []http1.Field{{Name: []byte("Content-Type"), Value: []byte("application/cloudevents")}}
		e, err := newWireEvent(&http1.Request{Target: []byte(target), Fields: fields}, "http/web", body, time.Time{})
		if err != nil {
			return
		}
		_, err = e.frame(false)
		require.NoError(t, err)
		line, err := e.frame(true)
		require.NoError(t, err)
		require.True(t, json.Valid(line))
	})
}
