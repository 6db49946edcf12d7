package workers

import (
	"errors"
	"fmt"
)

// What can go wrong with a request, apart from what its Exchange reports and from
// HandlerError. Do returns errors that wrap one of these.
var (
	// ErrDied means that the worker ended before its answer did.
	ErrDied = errors.New("workers: worker died")
	// ErrMemory means that the kernel killed the worker because memory ran out.
	ErrMemory = errors.New("workers: worker was killed for want of memory")
	// ErrProtocol means that the worker broke the protocol and was killed.
	ErrProtocol = errors.New("workers: worker broke the protocol")
	// ErrTimeout means that the request's deadline or the run limit passed.
	ErrTimeout = errors.New("workers: time-out")
	// ErrBadAnswer means that the function's answer cannot be sent: an impossible
	// status, an illegal field, a body that does not fit its declared length.
	ErrBadAnswer = errors.New("workers: unusable answer")
	// ErrNotReady means that there is no worker and none is expected soon, because
	// the function fails to start. The error also wraps the *InitError.
	ErrNotReady = errors.New("workers: function not ready")
	// ErrClosed means that the pool has ended or is about to.
	ErrClosed = errors.New("workers: pool closed")
	// ErrTooLarge means that the request's head does not fit a frame (431).
	ErrTooLarge = errors.New("workers: request head too large for a frame")
)

// HandlerError is an error that the function raised, or a value it returned that
// is no answer. Its traceback is in the log.
type HandlerError struct {
	Status  int    // to answer, 500 unless the wrapper says otherwise
	Type    string // of the exception, in the words of the language
	Message string
}

// Error returns type and message.
func (e *HandlerError) Error() string {
	return fmt.Sprintf("workers: function failed: %s: %s", e.Type, e.Message)
}

// InitError says why a function could not be started.
type InitError struct {
	Type      string // exception type, or one of Exec, Exited, StartTimeout, Protocol
	Message   string
	Traceback string // as the language printed it; may be empty
}

// Error returns type and message, without the traceback.
func (e *InitError) Error() string {
	return fmt.Sprintf("workers: function did not start: %s: %s", e.Type, e.Message)
}
