//go:build !race

package http2_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http2"
)

func TestFieldBlocksDoNotAllocate(t *testing.T) {
	d := http2.NewDecoder(4096)
	for _, block := range browserBlocks() {
		require.NoError(t, d.Decode(block, ignore))
	}
	blocks := browserBlocks()
	inserting := append([]byte{0x40, 1, 'a', 50}, make([]byte, 50)...)
	refused, updates := []byte{0x82, 0x80}, []byte{0x20, 0x3f, 0xe1, 0x1f}
	dst := make([]byte, 0, 4096)
	name, value := []byte("content-type"), []byte("application/json")
	for what, f := range map[string]func(){
		"indexed fields":   func() { _ = d.Decode(blocks[1], ignore) },
		"new fields":       func() { _ = d.Decode(inserting, ignore) },
		"literals, coded":  func() { _ = d.Decode(literalBlock, ignore) },
		"size updates":     func() { _ = d.Decode(updates, ignore) },
		"refused":          func() { _ = d.Decode(refused, ignore) },
		"appending fields": func() { dst = http2.AppendField(http2.AppendStatus(dst[:0], 503), name, value) },
	} {
		for range 200 { // the table reaches its size
			f()
		}
		require.Zero(t, testing.AllocsPerRun(500, f), what)
	}
}

// A decoder whose peer keeps nothing costs itself alone: there is no table.
func TestDecoderIsLazy(t *testing.T) {
	var fresh *http2.Decoder
	block := []byte{0x82, 0x86, 0x84, 0x01, 1, 'h'}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		fresh = http2.NewDecoder(4096)
		_ = fresh.Decode(block, ignore)
	}), 1.0)
}
