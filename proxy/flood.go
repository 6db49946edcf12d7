package proxy

import (
	"time"

	"github.com/fnpod/fnpod/proxy/http2"
)

// A connection may send burst frames that bring nothing on (RFC 9113 §10.5), and rate
// per second more. Frames that do bring something on earn one each: those who transfer
// data may ping. A stream that is reset has earned nothing, whoever has to do it.
const (
	floodBurst = 1000
	floodRate  = 100
	resetCost  = 2 // what its HEADERS earned, and one more
)

// flood judges what a client of HTTP/2 sends.
type flood struct {
	credit int   // frames that it may still send for nothing
	since  int64 // when credit was last added for time
}

// see takes the frame that arrived at now, a time on the server's clock, and reports
// whether the client is bearable.
func (f *flood) see(h http2.Head, now int64) bool {
	if f.since == 0 {
		f.since, f.credit = now, floodBurst
	}
	if earned := (now - f.since) * floodRate / int64(time.Second); earned > 0 {
		f.credit = int(min(int64(f.credit)+earned, floodBurst))
		f.since = now
	}
	f.credit = min(f.credit-cost(h), floodBurst)
	return f.credit >= 0
}

// cost is what a frame takes of the credit.
func cost(h http2.Head) int {
	switch h.Kind {
	case http2.Headers:
		return -1
	case http2.Data:
		if h.Length > 0 || h.Has(http2.EndStream) {
			return -1
		}
	case http2.WindowUpdate:
		return 0
	case http2.Continuation:
		if h.Length > 0 {
			return 0
		}
	case http2.Settings, http2.Ping:
		if h.Has(http2.Ack) {
			return 0
		}
	case http2.Reset:
		return resetCost
	default:
	}
	return 1
}
