package http1_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/fnpod/fnpod/proxy/http1"
)

var (
	request1 = []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")

	// request12 is what a browser sends, 650 bytes.
	request12 = []byte("GET /api/v1/items/4711?fields=name,price&sort=asc HTTP/1.1\r\n" +
		"Host: function.default.example.com\r\n" +
		"Connection: keep-alive\r\n" +
		"Accept: application/json, text/plain, */*\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\n" +
		"Referer: https://shop.example.com/items?page=12\r\n" +
		"Cookie: session=0d5b2c1e7f6a4b3c9d8e; theme=dark; consent=yes\r\n" +
		"X-Forwarded-For: 203.0.113.7, 10.0.3.4\r\n" +
		"X-Forwarded-Proto: https\r\n" +
		"X-Request-Id: 5f0c7e1a-9b7d-4a3e-8c21-2f6d1b0e9a77\r\n" +
		"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n" +
		"\r\n")

	answer4 = []byte("HTTP/1.1 200 OK\r\n" +
		"Server: function\r\n" +
		"Date: Tue, 15 Jul 2025 08:00:00 GMT\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: 4\r\n" +
		"\r\n")
)

func BenchmarkRequest(b *testing.B) {
	for name, raw := range map[string][]byte{"1": request1, "12": request12} {
		b.Run(name, func(b *testing.B) {
			var r http1.Request
			for b.Loop() {
				if n, err := r.Parse(raw, http1.DefaultLimits()); n == 0 || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRequestFasthttp(b *testing.B) {
	for name, raw := range map[string][]byte{"1": request1, "12": request12} {
		b.Run(name, func(b *testing.B) {
			var h fasthttp.RequestHeader
			var in bytes.Reader
			buffered := bufio.NewReaderSize(&in, 16<<10)
			for b.Loop() {
				in.Reset(raw)
				buffered.Reset(&in)
				if err := h.Read(buffered); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	var r http1.Response
	for b.Loop() {
		if n, err := r.Parse(answer4, false, http1.DefaultLimits()); n == 0 || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnswerFasthttp(b *testing.B) {
	var h fasthttp.ResponseHeader
	var in bytes.Reader
	buffered := bufio.NewReaderSize(&in, 16<<10)
	for b.Loop() {
		in.Reset(answer4)
		buffered.Reset(&in)
		if err := h.Read(buffered); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendFields(b *testing.B) {
	var r http1.Request
	if _, err := r.Parse(request12, http1.DefaultLimits()); err != nil {
		b.Fatal(err)
	}
	var dst []byte
	for b.Loop() {
		dst = http1.AppendFields(dst[:0], r.Fields)
	}
}

// BenchmarkAppendFieldsNetHTTP is what a reverse proxy on net/http does with the fields: it takes what belongs to the
// connection out of a copy, and writes that.
func BenchmarkAppendFieldsNetHTTP(b *testing.B) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request12)))
	require.NoError(b, err)
	var out bytes.Buffer
	for b.Loop() {
		h := r.Header.Clone()
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
			h.Del(name)
		}
		out.Reset()
		if err := h.Write(&out); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChunkedNetHTTP is the standard library's decoder.
func BenchmarkChunkedNetHTTP(b *testing.B) {
	for name, size := range map[string]int{"16": 16, "4096": 4096} {
		raw := http1.AppendChunkHeader(nil, size)
		raw = append(raw, strings.Repeat("a", size)+"\r\n0\r\n\r\n"...)
		b.Run(name, func(b *testing.B) {
			var in bytes.Reader
			buffered := bufio.NewReaderSize(&in, 16<<10)
			piece := make([]byte, len(raw))
			b.SetBytes(int64(size))
			for b.Loop() {
				in.Reset(raw)
				buffered.Reset(&in)
				if n, err := io.ReadFull(httputil.NewChunkedReader(buffered), piece[:size]); n != size || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkChunked(b *testing.B) {
	for name, size := range map[string]int{"16": 16, "4096": 4096} {
		raw := http1.AppendChunkHeader(nil, size)
		raw = append(raw, strings.Repeat("a", size)+"\r\n0\r\n\r\n"...)
		b.Run(name, func(b *testing.B) {
			piece := make([]byte, len(raw))
			var d http1.Chunked
			b.SetBytes(int64(size))
			for b.Loop() {
				copy(piece, raw)
				d.Reset()
				if _, _, err := d.Decode(piece); err != nil || !d.Done() {
					b.Fatal(err)
				}
			}
		})
	}
}
