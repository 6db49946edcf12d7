package proxy

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy/http2"
)

// calm reports whether a client is bearable that sends all of these frames at once.
func calm(heads []http2.Head) bool {
	var f flood
	for _, h := range heads {
		if !f.see(h, 1) {
			return false
		}
	}
	return true
}

func TestFloodsAreToldFromTraffic(t *testing.T) {
	ping, headers, reset := http2.Head{Kind: http2.Ping, Length: 8}, http2.Head{Kind: http2.Headers, Flags: 5, Length: 1}, http2.Head{Kind: http2.Reset, Length: 4}
	data := http2.Head{Kind: http2.Data, Length: 1}
	repeat := func(n int, heads ...http2.Head) []http2.Head { return slices.Repeat(heads, n) }
	for _, test := range []struct {
		name   string
		frames []http2.Head
		calm   bool
	}{
		{"pings, some", repeat(floodBurst, ping), true},
		{"pings", repeat(floodBurst+1, ping), false},
		{"pings with data", repeat(10_000, ping, data), true},
		{"answers to pings", repeat(10_000, http2.Head{Kind: http2.Ping, Flags: http2.Ack, Length: 8}), true},
		{"settings", repeat(floodBurst+1, http2.Head{Kind: http2.Settings}), false},
		{"empty data", repeat(floodBurst+1, http2.Head{Kind: http2.Data}), false},
		{"empty data that ends", repeat(10_000, headers, http2.Head{Kind: http2.Data, Flags: http2.EndStream}), true},
		{"priorities", repeat(floodBurst+1, http2.Head{Kind: http2.Priority, Length: 5}), false},
		{"unknown frames", repeat(floodBurst+1, http2.Head{Kind: 0xbb, Length: 1}), false},
		{"resets", repeat(floodBurst+1, headers, reset), false},
		{"cancels, half of all", repeat(10_000, headers, headers, reset), true},
		{"cancels of uploads", repeat(10_000, headers, data, reset), true},
		{"empty continuations", repeat(floodBurst+1, http2.Head{Kind: http2.Continuation}), false},
		{"windows", repeat(10_000, http2.Head{Kind: http2.WindowUpdate, Length: 4}), true},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.calm, calm(test.frames)) })
	}
}

func TestCreditComesBackWithTime(t *testing.T) {
	var f flood
	now := int64(1)
	for range 100 {
		for range floodRate {
			require.True(t, f.see(http2.Head{Kind: http2.Ping, Length: 8}, now))
		}
		now += int64(time.Second)
	}
}
