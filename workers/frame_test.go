package workers

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/protocol"
)

func testFrame(typ protocol.Type, flags uint8, meta, body string) []byte {
	var h [protocol.HeaderSize]byte
	putHeader(h[:], typ, flags, 200, 7, len(meta), len(body))
	return append(append(h[:], meta...), body...)
}

func TestParseFrameNeedsWholeFrames(t *testing.T) {
	b := testFrame(protocol.Response, protocol.FlagMore, "a\x00b", "body")
	for n := range len(b) {
		f, need, err := parseFrame(b[:n])
		require.NoError(t, err)
		require.Greater(t, need, n)
		require.Nil(t, f.body)
	}
	f, need, err := parseFrame(append(b, "surplus"...))
	require.NoError(t, err)
	require.Equal(t, len(b), need)
	require.Equal(t, frame{typ: protocol.Response, flags: protocol.FlagMore, code: 200, id: 7, size: 4, meta: f.meta, body: f.body}, f)
	require.Equal(t, "a\x00b", string(f.meta))
	require.Equal(t, "body", string(f.body))
}

func TestBodyInLaneIsNotInFrame(t *testing.T) {
	b := testFrame(protocol.Response, protocol.FlagLane, "", "")
	binary.LittleEndian.PutUint32(b[4:], 1<<30)
	f, need, err := parseFrame(b)
	require.NoError(t, err)
	require.Equal(t, protocol.HeaderSize, need)
	require.Equal(t, 1<<30, f.size)
	require.Nil(t, f.body)
}

func TestPairs(t *testing.T) {
	for meta, want := range map[string][]string{
		"":                      nil,
		"a\x00b":                {"a", "b"},
		"a\x00":                 {"a", ""},
		"a\x00b\x00c\x00\xff d": {"a", "b", "c", "\xff d"},
	} {
		var got []string
		for rest := []byte(meta); len(rest) > 0; {
			name, value, r, ok := cutPair(rest)
			require.True(t, ok, meta)
			got = append(got, string(name), string(value))
			rest = r
		}
		require.Equal(t, want, got)
	}
	_, _, _, ok := cutPair([]byte("lonely"))
	require.False(t, ok)
	require.Equal(t, "2", lookup([]byte("a\x001\x00b\x002\x00b\x003"), "b"))
	require.Empty(t, lookup([]byte("a\x001\x00b"), "b"))
}

// FuzzFrames reads what a worker may send, cut into pieces, as a channel does.
func FuzzFrames(f *testing.F) {
	f.Add(testFrame(protocol.Response, 0, "a\x00b", "body"), 3)
	f.Add(append(testFrame(protocol.Log, 0, "", "x"), testFrame(protocol.Data, protocol.FlagMore, "", "y")...), 1)
	f.Add(testFrame(protocol.Response, protocol.FlagLane, "", ""), 16)
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), 5)
	f.Fuzz(func(t *testing.T, input []byte, step int) {
		step = max(step&0xff, 1)
		c := &channel{buf: make([]byte, 64)}
		var again []byte
		for rest := input; len(rest) > 0; {
			if c.makeRoom() != nil {
				return
			}
			if len(c.buf) > maxFrame {
				t.Fatal("buffer grew to ", len(c.buf))
			}
			n := copy(c.buf[c.end:], rest[:min(step, len(rest))])
			if n == 0 {
				t.Fatal("no room for the rest of a frame")
			}
			c.end += n
			rest = rest[n:]
			for {
				f, ok, err := c.take()
				if err != nil {
					return
				}
				if !ok {
					break
				}
				again = append(again, frameBytes(f)...)
				for meta := f.meta; len(meta) > 0; {
					_, _, next, ok := cutPair(meta)
					if !ok {
						break
					}
					meta = next
				}
			}
		}
		if !bytes.Equal(again, input[:len(again)]) {
			t.Fatal("frames are not the bytes they were read from")
		}
	})
}

func frameBytes(f frame) []byte {
	var h [protocol.HeaderSize]byte
	putHeader(h[:], f.typ, f.flags, f.code, f.id, len(f.meta), f.size)
	return append(append(h[:], f.meta...), f.body...)
}
