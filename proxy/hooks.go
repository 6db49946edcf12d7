package proxy

import (
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// Hooks are what a platform adds to the path of a request. All are optional, and are
// called from many goroutines at once, each with an Exchange of its own.
type Hooks struct {
	// Own looks at a request before it queues. It may answer it, with Respond to Finish,
	// and report true; or call Bypass; or leave it alone.
	Own func(x *Exchange) (answered bool)
	// Deadline returns how long the client waits for its answer, instead of the fields that we
	// know; it can only shorten. Nothing is told to the function then.
	Deadline func(x *Exchange) (d time.Duration, ok bool)
	// Request adds fields to the head that the function gets, and may take out others before:
	// see Exchange.Hide.
	Request func(x *Exchange, head []byte) []byte
	// Fields takes a last look at an answer's head: the status line and the fields, without
	// framing and without the empty line, and at the first bytes of the body, of which there
	// may be none. It returns what is sent instead of the head, and may append to it.
	Fields func(x *Exchange, head, body []byte) []byte
	// Sniffs lets the head of an answer without Content-Type wait for the first bytes of its
	// body, so that Fields sees them.
	Sniffs bool
	// Ended is told of every request that was accepted, when it has ended.
	Ended func(x *Exchange, o Outcome)
	// Rules are what the platform wants otherwise.
	Rules Rules
}

// Outcome is what became of a request.
type Outcome struct {
	Status int           // of the answer, whole or not; 0 if none was begun
	Bytes  int64         // of its body, as far as it was sent
	Took   time.Duration // from the end of the request's head
	Err    error         // why there is no whole answer of the function; nil if there is
	Whole  bool          // the client was sent a whole answer, of the function or ours
	Own    bool          // Hooks.Own answered
}

// Bypass lets the request run without a slot, with another target: a probe that must not
// wait, nor count against the limit. Hooks.Own may call it.
func (x *Exchange) Bypass(target []byte) {
	x.bypass = true
	x.req.Target = target
}

// Bypassed reports whether Bypass was called.
func (x *Exchange) Bypassed() bool { return x.bypass }

// Field returns the value of the request's first field with a name, in any case.
func (x *Exchange) Field(name string) (value []byte, ok bool) {
	return http1.FindName(x.req.Fields, name)
}

// Hide takes a field, which is one of Request().Fields, out of what the function gets.
func (x *Exchange) Hide(f *http1.Field) { f.Hop = true }

// Mark keeps a number with the request until it has ended, for who calls it: what the request's
// fields said is gone when a tunnel ends. It is 0 at first.
func (x *Exchange) Mark(n uint8) { x.mark = n }

// Marked returns what Mark was given.
func (x *Exchange) Marked() uint8 { return x.mark }

// Attach keeps something with the request until it has ended, for who calls it.
func (x *Exchange) Attach(v any) { x.attached = v }

// Attached returns what Attach was given; nil at first.
func (x *Exchange) Attached() any { return x.attached }

// Answered reports whether the answer is the function's.
func (x *Exchange) Answered() bool { return x.granted > 0 && !x.answer.ours }

// Waited returns how long the request waited for its slot; 0 if it was given one at once, or has none.
func (x *Exchange) Waited() time.Duration {
	if x.granted == 0 {
		return 0
	}
	return time.Duration(x.granted - x.arrived)
}

// Ran returns the time since the request was given its slot; 0 if it was not.
func (x *Exchange) Ran() time.Duration {
	if x.granted == 0 {
		return 0
	}
	return time.Duration(x.c.srv.now() - x.granted)
}
