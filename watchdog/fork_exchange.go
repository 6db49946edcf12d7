package watchdog

import (
	"github.com/fnpod/fnpod/proxy/http1"
)

// Exchange is what a process needs of one request and its answer. It is used by
// the goroutine that called Do, and ReadBody by another one at the same time.
// Nothing of it is kept after Do.
type Exchange interface {
	// Request returns the checked head.
	Request() *http1.Request
	// AppendID appends the request's id: 1 to 128 characters without control bytes.
	AppendID(b []byte) []byte
	// Peer returns the client's address without port.
	Peer() string
	// Scheme returns "http" or "https".
	Scheme() string

	// Body returns the body if it is whole in memory.
	Body() (whole []byte, ok bool)
	// ReadBody reads a body that is not; io.EOF, with n == 0, only at its true end.
	ReadBody(p []byte) (int, error)
	// Continue tells a client that waits for it to send its body. It comes before
	// the first ReadBody.
	Continue() error
	// StopBody makes a ReadBody in progress return, whatever the client does, and
	// calls wait, which returns when nobody is in ReadBody any more.
	StopBody(wait func())

	// OnInterrupt registers what is called once, from another goroutine, when the
	// client leaves, a time-out strikes or the pod must end. It returns the cause if
	// that happened already. OnInterrupt(nil) takes it back and returns the cause if
	// it had struck; no call is under way or follows when it has returned.
	OnInterrupt(i interface{ Interrupt() }) error

	// Respond starts the answer; length -1 means unknown.
	Respond(status int, length int64)
	// AddField adds a field before the first Write or Finish; an illegal name or
	// value is an error.
	AddField(name, value []byte) error
	// Write writes bytes of the answer's body. Those of an answer of unknown length
	// go on at once.
	Write(p []byte) (int, error)
	// Finish ends the answer.
	Finish() error
}
