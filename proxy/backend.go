package proxy

// Backend runs requests. It is used by many goroutines at once.
type Backend interface {
	// Do runs one request and writes its answer to x. It returns when nothing
	// works on the request any more, because the slot is given back then
	// (invariant P4), or with an error that is Lingering. With an error the answer is aborted: the client gets a
	// status from errors.go, or a cut connection if the head was out already
	// (P11). An answer that was begun and not finished counts as an error.
	Do(x *Exchange) error
}

// Lingering is an error of a Backend that has given a request up and cannot stop
// the work on it at once. The client is answered now; the slot is given back when
// Linger returns (invariant P4). The Exchange is not used any more.
type Lingering interface {
	error
	Linger()
}

// BackendFunc lets a function be a Backend.
type BackendFunc func(x *Exchange) error

// Do calls f.
func (f BackendFunc) Do(x *Exchange) error { return f(x) }

// Interrupter is something that can be stopped from another goroutine. Interrupt
// makes the work end soon; it neither blocks nor calls back into the Exchange. An
// alias, so that packages below can name the same type without importing this one.
type Interrupter = interface{ Interrupt() }
