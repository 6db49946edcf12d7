package metrics

import "sync/atomic"

// padding keeps a shard away from its neighbours: two cache lines, because
// processors fetch them in pairs.
const padding = 128

// Shard is one set of the counters on the path of a request. Any number of
// goroutines may use it at the same time; it is fastest when few do. Shards are
// added up when somebody asks, so it does not matter which one counts what, except
// that all counters of one request belong to one shard.
//
// Every request counts in Accepted when it begins and, when it ends, in exactly
// one of Answered, ClientGone and Aborted (P12).
type Shard struct {
	_ [padding]byte

	ConnectionsOpened atomic.Uint64
	ConnectionsClosed atomic.Uint64 // after ConnectionsOpened
	AcceptErrors      atomic.Uint64

	Accepted   atomic.Uint64    // a request began
	Answered   [6]atomic.Uint64 // by status/100; answered completely, by the function or by us
	ClientGone atomic.Uint64    // the client left before the answer was complete
	Aborted    atomic.Uint64    // the answer was cut after it had begun
	Tunnels    atomic.Int64     // open; they count in Answered when they end

	BytesIn  atomic.Uint64 // read from clients
	BytesOut atomic.Uint64 // written to clients
	Retries  atomic.Uint64 // second attempts
	Panics   atomic.Uint64 // caught bugs of ours

	QueueWait Histogram // time in line of a request that was given a slot, 0 without waiting
	FirstByte Histogram // slot to first byte of the function's answer
	RunTime   Histogram // slot to end of answer
	Duration  Histogram // first byte of request to end of answer

	Rejected       [len(rejectReasons)]atomic.Uint64   // by RejectReason; 0 is not exposed
	UpstreamErrors [len(upstreamReasons)]atomic.Uint64 // by UpstreamReason; 0 is not exposed

	_ [padding]byte
}
