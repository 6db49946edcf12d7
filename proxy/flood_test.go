package proxy

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// frame returns a frame of HTTP/2.
func frame2(kind, flags byte, stream uint32, payload string) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

func TestFloodsAreToldFromTraffic(t *testing.T) {
	repeat := func(n int, frames ...[]byte) (all []byte) {
		for range n {
			for _, f := range frames {
				all = append(all, f...)
			}
		}
		return all
	}
	ping, headers, reset := frame2(framePing, 0, 0, "12345678"), frame2(frameHeaders, 5, 1, "x"), frame2(frameReset, 0, 1, "1234")
	data := frame2(frameData, 0, 1, "x")
	for _, test := range []struct {
		name   string
		frames []byte
		calm   bool
	}{
		{"pings, some", repeat(floodBurst, ping), true},
		{"pings", repeat(floodBurst+1, ping), false},
		{"pings with data", repeat(10_000, ping, data), true},
		{"answers to pings", repeat(10_000, frame2(framePing, flagAck, 0, "12345678")), true},
		{"settings", repeat(floodBurst+1, frame2(frameSettings, 0, 0, "")), false},
		{"empty data", repeat(floodBurst+1, frame2(frameData, 0, 1, "")), false},
		{"empty data that ends", repeat(10_000, headers, frame2(frameData, flagEndStream, 1, "")), true},
		{"priorities", repeat(floodBurst+1, frame2(2, 0, 1, "12345")), false},
		{"unknown frames", repeat(floodBurst+1, frame2(0xbb, 0, 1, "x")), false},
		{"resets", repeat(floodBurst+1, headers, reset), false},
		{"cancels, half of all", repeat(10_000, headers, headers, reset), true},
		{"cancels of uploads", repeat(10_000, headers, data, reset), true},
		{"empty continuations", repeat(floodBurst+1, frame2(frameMore, 0, 1, "")), false},
		{"windows", repeat(10_000, frame2(frameWindow, 0, 0, "1234")), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f flood
			require.True(t, f.see([]byte(preface), 1))
			require.Equal(t, test.calm, f.see(test.frames, 1))
		})
	}
}

func TestCreditComesBackWithTime(t *testing.T) {
	var f flood
	now := int64(1)
	require.True(t, f.see([]byte(preface), now))
	for range 100 {
		for range floodRate {
			require.True(t, f.see(frame2(framePing, 0, 0, "12345678"), now))
		}
		now += 1_000_000_000
	}
}

func TestResetsThatBlameTheClientAreCounted(t *testing.T) {
	var f frames
	one := frame2(frameReset, 0, 1, "\x00\x00\x00\x01")
	ours := frame2(frameReset, 0, 1, "\x00\x00\x00\x02")
	require.Equal(t, 2, f.blamed(append(append(append([]byte(nil), one...), ours...), one...)))
	require.True(t, f.between())
}

// Where the bytes are cut makes no difference.
func FuzzFrames(f *testing.F) {
	f.Add(append([]byte(preface), frame2(framePing, 0, 0, "12345678")...), uint16(5), uint16(30))
	f.Add(append([]byte(preface), frame2(frameHeaders, 4, 7, "abc")...), uint16(24), uint16(26))
	f.Add(append([]byte(preface), frame2(frameReset, 0, 7, "abcd")...), uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, first, second uint16) {
		var whole, cut flood
		a := whole.see(b, 1)
		i := min(int(first), len(b))
		j := min(i+int(second), len(b))
		cut.see(b[:i], 1)
		cut.see(b[i:j], 1)
		require.Equal(t, a, cut.see(b[j:], 1))
		require.Equal(t, whole, cut)

		// A plain reading of the same bytes.
		b = b[min(len(preface), len(b)):]
		last := uint32(0)
		for len(b) >= frameHead {
			size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
			if b[3] == frameHeaders {
				last = max(last, binary.BigEndian.Uint32(b[5:])&^(1<<31))
			}
			b = b[min(frameHead+size, len(b)):]
			if len(b) == 0 && size > 0 {
				break
			}
		}
		require.Equal(t, last, whole.stream)
	})
}
