package http2_test

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/fnpod/fnpod/proxy/http2"
)

func ignore(_, _ []byte) {}

// browser is what a browser sends.
var browser = []hpack.HeaderField{
	{Name: ":method", Value: "GET"},
	{Name: ":authority", Value: "function.default.example.com"},
	{Name: ":scheme", Value: "https"},
	{Name: ":path", Value: "/api/v1/items/4711?fields=name,price&sort=asc"},
	{Name: "accept", Value: "application/json, text/plain, */*"},
	{Name: "accept-encoding", Value: "gzip, deflate, br, zstd"},
	{Name: "accept-language", Value: "en-GB,en;q=0.9,de;q=0.8"},
	{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"},
	{Name: "referer", Value: "https://shop.example.com/items?page=12"},
	{Name: "cookie", Value: "session=0d5b2c1e7f6a4b3c9d8e; theme=dark; consent=yes"},
	{Name: "x-forwarded-for", Value: "203.0.113.7, 10.0.3.4"},
	{Name: "x-request-id", Value: "5f0c7e1a-9b7d-4a3e-8c21-2f6d1b0e9a77"},
	{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
}

// browserBlocks are the request twice on one connection: the second one is indexes.
func browserBlocks() [2][]byte {
	var blocks [2][]byte
	var buf bytes.Buffer
	e := hpack.NewEncoder(&buf)
	for i := range blocks {
		buf.Reset()
		for _, f := range browser {
			_ = e.WriteField(f) // a Buffer takes everything
		}
		blocks[i] = bytes.Clone(buf.Bytes())
	}
	return blocks
}

// literalBlock is the request with Huffman code and nothing of it kept.
var literalBlock = func() []byte {
	var buf bytes.Buffer
	e := hpack.NewEncoder(&buf)
	for _, f := range browser {
		f.Sensitive = true
		_ = e.WriteField(f) // as above
	}
	return buf.Bytes()
}()

// decoding names what the decoders are measured with: prime comes once before, block each time.
var decoding = map[string]struct{ prime, block []byte }{
	"indexed":  {browserBlocks()[0], browserBlocks()[1]},
	"inserted": {nil, browserBlocks()[0]},
	"coded":    {nil, literalBlock},
}

func BenchmarkDecode(b *testing.B) {
	for what, c := range decoding {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			d := http2.NewDecoder(4096)
			_ = d.Decode(c.prime, ignore)
			for b.Loop() {
				if err := d.Decode(c.block, ignore); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeXNet(b *testing.B) {
	for what, c := range decoding {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			d := hpack.NewDecoder(4096, func(hpack.HeaderField) {})
			_, _ = d.Write(c.prime)
			for b.Loop() {
				if _, err := d.Write(c.block); err != nil || d.Close() != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// answer is what most answers have, besides a status.
var answer = []hpack.HeaderField{
	{Name: "content-type", Value: "application/json"},
	{Name: "content-length", Value: "1234"},
	{Name: "date", Value: "Tue, 15 Jul 2025 08:00:00 GMT"},
	{Name: "server", Value: "function"},
	{Name: "x-duration-seconds", Value: "0.012345"},
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	names, values := make([][]byte, len(answer)), make([][]byte, len(answer))
	for i, f := range answer {
		names[i], values[i] = []byte(f.Name), []byte(f.Value)
	}
	dst := make([]byte, 0, 1024)
	for b.Loop() {
		dst = http2.AppendStatus(dst[:0], 200)
		for i, name := range names {
			dst = http2.AppendField(dst, name, values[i])
		}
	}
}

func BenchmarkAppendXNet(b *testing.B) {
	b.ReportAllocs()
	var buf bytes.Buffer
	e := hpack.NewEncoder(&buf)
	for b.Loop() {
		buf.Reset()
		_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		for _, f := range answer {
			_ = e.WriteField(f)
		}
	}
}
