package http1

// Error says why a message is refused and with which status. All values are predeclared in this
// package, so they may be compared by identity; nothing of the message is in them.
type Error struct {
	Status int    // status of the answer to the client
	Reason Reason // label for metrics
	Msg    string // short fixed text
}

// Error returns the text.
func (e *Error) Error() string { return "http1: " + e.Msg }

// Refusals of a request. The connection can not be read any further after one of them.
var (
	ErrRequestLine = &Error{400, ReasonRequestLine, "malformed request line"}
	ErrVersion     = &Error{505, ReasonVersion, "version not supported"}
	ErrMethod      = &Error{400, ReasonMethod, "malformed method"}
	ErrNotAllowed  = &Error{405, ReasonMethod, "method not allowed"}
	ErrTarget      = &Error{400, ReasonTarget, "malformed request target"}
	ErrHost        = &Error{400, ReasonHost, "missing, repeated or malformed host"}
	ErrHeader      = &Error{400, ReasonHeader, "malformed header field"}
	ErrLineSize    = &Error{414, ReasonHeaderSize, "request line too long"}
	ErrHeaderSize  = &Error{431, ReasonHeaderSize, "request head too large"}
	ErrHeaderCount = &Error{431, ReasonHeaderCount, "too many header fields"}
	ErrFraming     = &Error{400, ReasonFraming, "ambiguous or malformed body framing"}
	ErrCoding      = &Error{501, ReasonFraming, "transfer coding not supported"}
	ErrExpect      = &Error{417, ReasonExpect, "expectation not supported"}
)

// Refusals of a chunked body, written for the body of a request. When the body is a function's
// answer, ErrAnswer is the one to report.
var (
	ErrChunk   = &Error{400, ReasonChunk, "malformed chunk"}
	ErrTrailer = &Error{400, ReasonTrailer, "malformed or too large trailer"}
)

// Refusals of a function's answer.
var (
	ErrAnswer       = &Error{502, ReasonMalformed, "malformed answer"}
	ErrAnswerSize   = &Error{502, ReasonHeaderSize, "answer head too large"}
	ErrAnswerStatus = &Error{502, ReasonStatus, "status of the answer out of range"}
)

// errMore is the internal word for "the bytes end here and are good so far".
var errMore = &Error{Msg: "more bytes needed"}

// Reason is a closed list of metric labels. The zero value is no reason.
type Reason uint8

// Reasons to refuse a request.
const (
	ReasonRequestLine Reason = iota + 1
	ReasonVersion
	ReasonMethod
	ReasonTarget
	ReasonHost
	ReasonHeader
	ReasonHeaderSize // also for answers
	ReasonHeaderCount
	ReasonFraming
	ReasonBodySize // not given by this package; limits on bodies belong to the caller
	ReasonChunk
	ReasonTrailer
	ReasonExpect
	ReasonUpgrade // not given by this package; an unusable Upgrade is dropped
)

// Reasons to refuse a function's answer.
const (
	ReasonMalformed Reason = iota + ReasonUpgrade + 1
	ReasonStatus
)

var reasons = [...]string{
	ReasonRequestLine: "request_line",
	ReasonVersion:     "version",
	ReasonMethod:      "method",
	ReasonTarget:      "target",
	ReasonHost:        "host",
	ReasonHeader:      "header",
	ReasonHeaderSize:  "header_size",
	ReasonHeaderCount: "header_count",
	ReasonFraming:     "framing",
	ReasonBodySize:    "body_size",
	ReasonChunk:       "chunk",
	ReasonTrailer:     "trailer",
	ReasonExpect:      "expect",
	ReasonUpgrade:     "upgrade",
	ReasonMalformed:   "malformed",
	ReasonStatus:      "status",
}

// String returns the label, "" for a value outside the list.
func (r Reason) String() string {
	if int(r) >= len(reasons) {
		return ""
	}
	return reasons[r]
}
