//go:build !race

package http1_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http1"
)

func TestNothingAllocates(t *testing.T) {
	l := http1.DefaultLimits()
	var r http1.Request
	var a http1.Response
	var d http1.Chunked
	dst := make([]byte, 0, 4096)
	piece := make([]byte, 4096)
	odd := []byte("GET http://g?q HTTP/1.0\r\nhost: h\r\nconnection: a, upgrade, b\r\nte: trailers\r\nupgrade: websocket\r\na: 1\r\n\r\n")
	refused := []byte(get("Content-Length: 1", "Transfer-Encoding: chunked"))
	body := "1\r\na\r\n5;e\r\nhello\r\n0\r\nA: b\r\nHost: c\r\n\r\n"

	for name, f := range map[string]func(){
		"request":         func() { _, _ = r.Parse(request12, l) },
		"unusual request": func() { _, _ = r.Parse(odd, l) },
		"refused request": func() { _, _ = r.Parse(refused, l) },
		"cut request":     func() { _, _ = r.Parse(request12[:100], l) },
		"answer":          func() { _, _ = a.Parse(answer4, false, l) },
		"refused answer":  func() { _, _ = a.Parse(refused, false, l) },
		"fields":          func() { dst = http1.AppendFields(dst[:0], r.Fields) },
		"field": func() {
			dst = http1.AppendField(dst[:0], "X-A", "b")
			dst = http1.AppendField(dst, "X-A", piece[:2])
		},
		"status line":  func() { dst = http1.AppendStatusLine(dst[:0], 404) },
		"chunk header": func() { dst = http1.AppendChunkHeader(dst[:0], 1<<20) },
		"chunked": func() {
			d.Reset()
			_, _, _ = d.Decode(piece[:copy(piece, body[:35])])
			_, _, _ = d.Decode(piece[:copy(piece, body[35:])])
		},
		"validation": func() {
			_ = http1.ValidName("Grpc-Status") && http1.ValidValue(piece) && http1.ValidTrailer("Grpc-Status")
			_ = http1.KindOf(request12[:10])
		},
	} {
		f()
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}
