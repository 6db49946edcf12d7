package metrics

import "slices"

// RejectReason says why a request was turned away by us. The zero value means that
// it was not. The list is closed: no other value is ever exposed.
type RejectReason uint8

// Reasons to turn a request away, in the order of the contract.
const (
	RejectRequestLine RejectReason = 1 + iota
	RejectVersion
	RejectMethod
	RejectTarget
	RejectHost
	RejectHeader
	RejectHeaderSize
	RejectHeaderCount
	RejectFraming
	RejectBodySize
	RejectChunk
	RejectTrailer
	RejectExpect
	RejectUpgrade
	RejectTimeoutHead
	RejectTimeoutBody
	RejectCut
	RejectConnLimit
	RejectQueueFull
	RejectQueueTimeout
	RejectDraining
	RejectAuth
)

var rejectReasons = [...]string{
	0: "", RejectRequestLine: "request_line", RejectVersion: "version", RejectMethod: "method", RejectTarget: "target",
	RejectHost: "host", RejectHeader: "header", RejectHeaderSize: "header_size", RejectHeaderCount: "header_count",
	RejectFraming: "framing", RejectBodySize: "body_size", RejectChunk: "chunk", RejectTrailer: "trailer",
	RejectExpect: "expect", RejectUpgrade: "upgrade", RejectTimeoutHead: "timeout_head", RejectTimeoutBody: "timeout_body",
	RejectCut: "cut", RejectConnLimit: "conn_limit", RejectQueueFull: "queue_full", RejectQueueTimeout: "queue_timeout",
	RejectDraining: "draining", RejectAuth: "auth",
}

// String returns the label value, "" for the zero value.
func (r RejectReason) String() string { return rejectReasons[r] }

// ParseRejectReason returns the reason with that label value, and whether there is one.
func ParseRejectReason(value string) (RejectReason, bool) {
	i := slices.Index(rejectReasons[1:], value) + 1
	return RejectReason(i), i > 0
}

// UpstreamReason says what went wrong with the function or on the way to it. The
// zero value means nothing did. The list is closed: no other value is ever exposed.
type UpstreamReason uint8

// Faults of the function, in the order of the contract.
const (
	UpstreamConnect UpstreamReason = 1 + iota
	UpstreamTimeout
	UpstreamCut
	UpstreamMalformed
	UpstreamHeaderSize
	UpstreamBodySize
	UpstreamSurplus
	UpstreamStatus
	UpstreamEarlyClose
	UpstreamStale
	UpstreamReset
	UpstreamPanic
	UpstreamWorkerExit
	UpstreamWorkerOOM
	UpstreamWorkerProtocol
)

var upstreamReasons = [...]string{
	0: "", UpstreamConnect: "connect", UpstreamTimeout: "timeout", UpstreamCut: "cut", UpstreamMalformed: "malformed",
	UpstreamHeaderSize: "header_size", UpstreamBodySize: "body_size", UpstreamSurplus: "surplus", UpstreamStatus: "status",
	UpstreamEarlyClose: "early_close", UpstreamStale: "stale", UpstreamReset: "reset", UpstreamPanic: "panic",
	UpstreamWorkerExit: "worker_exit", UpstreamWorkerOOM: "worker_oom", UpstreamWorkerProtocol: "worker_protocol",
}

// String returns the label value, "" for the zero value.
func (r UpstreamReason) String() string { return upstreamReasons[r] }

// ParseUpstreamReason returns the reason with that label value, and whether there is one.
func ParseUpstreamReason(value string) (UpstreamReason, bool) {
	i := slices.Index(upstreamReasons[1:], value) + 1
	return UpstreamReason(i), i > 0
}
