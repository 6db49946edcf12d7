package proxy

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/fnpod/fnpod/proxy/http1"

	"github.com/fnpod/fnpod/proxy/http2"
)

// The request of an upgrade is the first stream as it is, however long it is.
func TestAppendStreamIsWhatADecoderReads(t *testing.T) {
	for _, size := range []int{0, 1, 126, 127, 128, 254, 255, 16 << 10, 60 << 10} {
		value := strings.Repeat("v", size)
		x := Exchange{c: &link{scheme: "http"}}
		head := "GET /p?q HTTP/1.1\r\nHost: h\r\nX-Field: " + value + "\r\nX-FIELD: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n"
		_, err := x.req.Parse([]byte(head), http1.Limits{HeadBytes: 1<<16 - 1, Fields: 10})
		require.NoError(t, err)
		fr := h2.NewFramer(nil, bytes.NewReader(x.appendStream(nil)))
		fr.ReadMetaHeaders = hpack.NewDecoder(0, nil)
		f, err := fr.ReadFrame()
		require.NoError(t, err)
		m, ok := f.(*h2.MetaHeadersFrame)
		require.True(t, ok, "%v", f)
		require.True(t, m.StreamEnded())
		for i := range m.Fields {
			m.Fields[i].Sensitive = false // nothing goes into a table
		}
		require.EqualValues(t, 1, m.StreamID)
		require.Equal(t, []hpack.HeaderField{
			{Name: ":method", Value: "GET"},
			{Name: ":scheme", Value: "http"},
			{Name: ":authority", Value: "h"},
			{Name: ":path", Value: "/p?q"},
			{Name: "x-field", Value: value},
			{Name: "x-field", Value: "2"},
			{Name: "te", Value: "trailers"},
		}, m.Fields)
	}
}

// What a client begins with is a frame of settings or nothing.
func FuzzUpgradeSettings(f *testing.F) {
	f.Add([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x05"))
	f.Add([]byte("\x00\x00\x00\x04\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < http2.HeadSize {
			return
		}
		b := append([]byte(preface), frame...)
		end, ok := firstSettings(b)
		if !ok || end > len(b) {
			return
		}
		got, err := h2.NewFramer(nil, bytes.NewReader(b[len(preface):end])).ReadFrame()
		require.NoError(t, err)
		require.IsType(t, new(h2.SettingsFrame), got)
	})
}
