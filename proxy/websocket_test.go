package proxy

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// frameOf builds a frame with the shortest length.
func frameOf(first byte, payload int) []byte {
	b := []byte{first}
	switch {
	case payload < 126:
		b = append(b, byte(payload))
	case payload < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(payload))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(payload))
	}
	return append(b, bytes.Repeat([]byte{0x88}, payload)...)
}

// boundaries is the oracle: where a frame of ours may be put into b, and whether b is
// the protocol as far as it goes.
func boundaries(b []byte) (at []int, sane bool) {
	fragments := false
	for i := 0; ; {
		at = append(at, i)
		if i == len(b) {
			return at, true
		}
		rest := b[i:]
		if len(rest) < 2 {
			return at, true
		}
		size, length := 2, uint64(rest[1]&0x7f)
		switch rest[1] & 0x7f {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		if len(rest) < size {
			return at, true
		}
		switch size {
		case 4:
			length = uint64(binary.BigEndian.Uint16(rest[2:]))
		case 10:
			length = binary.BigEndian.Uint64(rest[2:])
		}
		short := size == 2 || size == 4 && length > 125 || size == 10 && length > 65535 && length < 1<<63
		control, final, op := rest[0]&8 != 0, rest[0] >= 0x80, rest[0]&0x0f
		bad := rest[1] >= 0x80 || rest[0]&0x30 != 0 || !short || op > 10 || op > 2 && op < 8
		if control {
			bad = bad || !final || size > 2 || rest[0]&0x40 != 0
		} else {
			bad = bad || fragments != (op == 0)
			fragments = !final
		}
		if bad {
			return at, false
		}
		if op == 8 || uint64(len(rest)-size) < length {
			return at, true
		}
		i += size + int(length)
	}
}

func TestFramesAreFollowedOverAnyCut(t *testing.T) {
	stream := bytes.Join([][]byte{
		frameOf(0x81, 0), frameOf(0x82, 1), frameOf(0x01, 125), frameOf(0x89, 125), frameOf(0x00, 126), frameOf(0x80, 3),
		frameOf(0xc2, 127), frameOf(0x82, 65535), frameOf(0x8a, 0), frameOf(0x82, 65536), frameOf(0x88, 2),
	}, nil)
	at, sane := boundaries(stream)
	require.True(t, sane)
	require.Len(t, at, 11, "before every frame; behind the last one nothing may follow")
	for _, step := range []int{1, 2, 3, 7, 126, 4096, len(stream)} {
		require.Equal(t, at, follow(stream, func() int { return step }), "%d bytes at a time", step)
	}
}

// follow returns where a scanner finds boundaries in b, which comes in pieces.
func follow(b []byte, size func() int) (at []int) {
	var f wsFrames
	if f.between() {
		at = append(at, 0)
	}
	for done := 0; done < len(b); {
		p := b[done : done+min(size(), len(b)-done)]
		for len(p) > 0 {
			n := f.next(p)
			done += n
			p = p[n:]
			if f.between() {
				at = append(at, done)
			}
		}
	}
	return at
}

func TestInsaneFramesEndTheSearch(t *testing.T) {
	for name, frame := range map[string][]byte{
		"text, no frames":       []byte("HTTP/1.1 200 OK\r\n"),
		"masked":                {0x81, 0x80, 1, 2, 3, 4},
		"RSV2":                  {0xa1, 0x00},
		"RSV3":                  {0x91, 0x00},
		"compressed ping":       {0xc9, 0x00},
		"opcode 3":              {0x83, 0x00},
		"opcode 11":             {0x8b, 0x00},
		"fragmented ping":       {0x09, 0x00},
		"long ping":             {0x89, 126, 0, 126},
		"length 126 too long":   {0x81, 126, 0, 125},
		"length 127 too long":   {0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
		"length negative":       {0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"continuation of none":  {0x80, 0x00},
		"message in a fragment": {0x01, 0x00, 0x81, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			_, sane := boundaries(frame)
			require.False(t, sane)
			var f wsFrames
			f.skip(frame)
			require.True(t, f.lost)
			require.False(t, f.between())
			f.skip(frameOf(0x81, 3))
			require.False(t, f.between(), "it does not come back")
			require.Equal(t, 5, f.toBoundary(make([]byte, 5)), "and everything passes")
		})
	}
}

func TestTheNextBoundaryIsFound(t *testing.T) {
	var f wsFrames
	require.Zero(t, f.toBoundary(frameOf(0x81, 5)), "here is one")
	f.skip([]byte{0x81})
	require.Equal(t, 6, f.toBoundary(append(frameOf(0x81, 5), frameOf(0x81, 7)...)[1:]))
	f.skip(frameOf(0x88, 2))
	require.Equal(t, 7, f.toBoundary(frameOf(0x81, 5)), "none follows a Close frame")
}

// FuzzFrameScanner compares the scanner with an oracle that sees everything at once, and
// looks for places that depend on how the bytes were cut.
func FuzzFrameScanner(f *testing.F) {
	f.Add(bytes.Join([][]byte{frameOf(0x81, 5), frameOf(0x02, 126), frameOf(0x89, 0), frameOf(0x80, 1)}, nil), []byte{1})
	f.Add(frameOf(0x82, 65536)[:40], []byte{255, 1, 7}) // a larger one is minimized without end
	f.Add(append(frameOf(0xc1, 3), frameOf(0x88, 2)...), []byte{2, 3})
	f.Add([]byte{0x81, 0x83, 1, 2, 3, 4, 5, 6, 7}, []byte{1, 1, 2})
	f.Add([]byte("220 ready\r\n"), []byte{4})
	f.Add([]byte{0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3}, []byte{3})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		i := 0
		got := follow(stream, func() int {
			if len(cuts) == 0 {
				return len(stream)
			}
			i++
			return int(cuts[i%len(cuts)]) + 1
		})
		want, _ := boundaries(stream)
		require.Equal(t, want, got)
	})
}
