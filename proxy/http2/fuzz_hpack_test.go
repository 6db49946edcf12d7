package http2_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"github.com/fnpod/fnpod/proxy/http2"
)

// arguable tells whether a block has what x/net and we read differently on purpose:
//   - a number of more than four further bytes, which x/net takes up to nine of; RFC 7541 §5.1 leaves the limit to us;
//   - a size update behind a field, which x/net takes while its table is empty; §4.2 has no such exception;
//   - a second size update, which x/net refuses unless its table is empty; §4.2 allows it.
//
// It stops where a block ends early.
func arguable(block []byte) bool {
	number := func(mask byte) (n uint64, long bool) {
		n = uint64(block[0] & mask)
		block = block[1:]
		if n < uint64(mask) {
			return n, false
		}
		for i := 0; len(block) > 0; i++ {
			b := block[0]
			block = block[1:]
			if i == 4 {
				return 0, true
			}
			n += uint64(b&0x7f) << (7 * i)
			if b < 0x80 {
				return n, false
			}
			if i == 3 {
				return 0, true
			}
		}
		return n, false
	}
	for updates, fields := 0, 0; len(block) > 0; {
		b := block[0]
		if b&0xe0 == 0x20 {
			if updates++; updates > 1 || fields > 0 {
				return true
			}
			if _, long := number(0x1f); long {
				return true
			}
			continue
		}
		fields++
		mask, texts := byte(0x0f), 1
		if b&0x80 != 0 {
			mask, texts = 0x7f, 0
		} else if b&0x40 != 0 {
			mask = 0x3f
		}
		n, long := number(mask)
		if long {
			return true
		}
		if n == 0 && texts > 0 {
			texts++
		}
		for ; texts > 0 && len(block) > 0; texts-- {
			n, long := number(0x7f)
			if long {
				return true
			}
			block = block[min(n, uint64(len(block))):]
		}
	}
	return false
}

// FuzzDecode gives the blocks in raw, each behind a byte with its length, to one decoder of ours and one of x/net.
func FuzzDecode(f *testing.F) {
	for _, e := range examples {
		var raw []byte
		for _, b := range e.blocks {
			block := unhex(f, b[0])
			raw = append(append(raw, byte(len(block))), block...)
		}
		f.Add(raw, uint16(e.table))
	}
	for _, raw := range []string{
		"0120 0140 0180", "053fe11f4100 0261ff", "0682 4081 1f 81 1f", "0a 0084fffffffc0085ffff", "0a 4001 6101 31 bebe7e0132 04 bebfc0c1",
		"0c 7e06 7878 7878 7878 7e00 be bf", "03 3f09 82 04 3fe1 1fbe",
	} {
		f.Add(unhex(f, raw), uint16(100))
	}
	f.Fuzz(func(t *testing.T, raw []byte, size uint16) {
		limit := int(size) % 4097
		d, ref := http2.NewDecoder(limit), hpack.NewDecoder(uint32(limit), nil)
		for len(raw) > 0 {
			n := min(int(raw[0]), len(raw)-1)
			block := raw[1 : 1+n]
			raw = raw[1+n:]
			var want []string
			ref.SetEmitFunc(func(f hpack.HeaderField) { want = append(want, f.Name+": "+f.Value) })
			_, refErr := ref.Write(block)
			if refErr == nil {
				refErr = ref.Close()
			}
			before := bytes.Clone(block)
			got, err := decode(d, block)
			require.Equal(t, before, block)
			if arguable(block) {
				return
			}
			require.Equal(t, want, got)
			require.Equal(t, refErr == nil, err == nil, "x/net: %v, ours: %v", refErr, err)
			if err != nil {
				require.ErrorIs(t, err, http2.ErrCompression)
				return
			}
		}
	})
}

// FuzzDecodeEncoded lets x/net encode the fields in text, lines of name and value cut at the first colon, with Huffman
// code and insertions; blocks are cut at empty lines, and a line "=" changes the size of the table.
func FuzzDecodeEncoded(f *testing.F) {
	f.Add(":method: GET\n:path: /\ncookie: a=b\n\n:method: GET\ncookie: a=b\n\n=\n:path: /\ncookie: a=c", uint16(200))
	f.Add("a:1\nb:2\nc:3\n\na:1\nb:2\nc:3\n\na:2\na:1", uint16(70))
	f.Add("a:"+strings.Repeat("long ", 100)+"\na:\xff\x00\x16", uint16(4096))
	f.Fuzz(func(t *testing.T, text string, size uint16) {
		limit := int(size) % 4097
		d := http2.NewDecoder(4096)
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for part := range strings.SplitSeq(text, "\n\n") {
			var want []string
			block.Reset()
			if strings.HasPrefix(part, "=") {
				e.SetMaxDynamicTableSize(uint32(limit))
				limit = (limit + 1000) % 4097
			}
			for line := range strings.SplitSeq(part, "\n") {
				name, value, _ := strings.Cut(line, ":")
				want = append(want, name+": "+value)
				require.NoError(t, e.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: strings.HasPrefix(value, "secret")}))
			}
			got, err := decode(d, block.Bytes())
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}

// FuzzAppendField reads what we write, with x/net and with our decoder.
func FuzzAppendField(f *testing.F) {
	f.Add([]byte(":method"), []byte("POST"), uint16(200))
	f.Add([]byte("content-type"), []byte(""), uint16(999))
	f.Add([]byte("grpc-status"), []byte("0"), uint16(100))
	f.Add([]byte(""), []byte(strings.Repeat("x", 300)), uint16(404))
	f.Fuzz(func(t *testing.T, name, value []byte, code uint16) {
		status := 100 + int(code)%900
		block := appendTableSize([]byte("kept"), int(code)%4097)
		block = http2.AppendStatus(block, status)
		block = http2.AppendField(block, name, value)
		block = http2.AppendField(block, value, name)
		require.Equal(t, "kept", string(block[:4]))
		block = block[4:]

		var want []string
		ref := hpack.NewDecoder(4096, func(f hpack.HeaderField) { want = append(want, f.Name+": "+f.Value) })
		_, err := ref.Write(block)
		require.NoError(t, err)
		require.NoError(t, ref.Close())
		require.Len(t, want, 3)
		require.Equal(t, []string{string(name) + ": " + string(value), string(value) + ": " + string(name)}, want[1:])

		d := http2.NewDecoder(4096)
		got, err := decode(d, block)
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = decode(d, []byte{0xbe})
		require.ErrorIs(t, err, http2.ErrCompression, "stateless: nothing goes into the table")
	})
}
