package proxy

import (
	"strconv"
	"sync"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/queue"
)

const (
	inSize  = 4 << 10  // grows to the largest head and to bodies read before queueing
	upFirst = 4 << 10  // what is read of an answer, until one is larger
	upSize  = 16 << 10 // pieces of a streamed answer
	keepMax = 32 << 10 // larger buffers are not kept for the next request
	copyMax = 4 << 10  // larger pieces of an answer are not copied if they go alone
)

// Exchange is one request and its answer, as a Backend sees them. It is used by
// one goroutine at a time (interruption comes from others) and ends with Do:
// nothing of it, no byte slice either, may be kept.
type Exchange struct {
	c     *link
	req   http1.Request
	id    []byte
	in    []byte // what was read from the client: head, then what followed
	small []byte // what in was before it grew
	used  int    // bytes of in that are filled
	head  int    // bytes of in that are the head; 0 before it is parsed
	taken int    // bytes of in that belong to this request, body included

	arrived, granted, answered int64 // on the server's clock; 0 means not yet
	deadline                   int64 // likewise; never if there is none
	bypass                     bool  // it runs without a slot
	own                        bool  // it is answered without the function
	unbound                    bool  // no time-out strikes
	mark                       uint8 // the platform's
	attached                   any   // likewise
	class                      int   // of the queue

	body         requestBody
	answer       answer
	up           []byte // what was read from an HTTP upstream
	received     []byte // what a stream of HTTP/2 has brought
	block        []byte // a head, as fields of HTTP/2
	upReceived   []byte // received, by a stream from the function
	upHead       []byte // the head of its answer
	resp         http1.Response
	answerChunks http1.Chunked
	waiter       queue.Waiter
	asksSwitch   bool    // the function was asked for a tunnel
	tunnel       *tunnel // that became of the request
}

var exchanges = sync.Pool{New: func() any { return newExchange(make([]byte, inSize), make([]byte, 0, inSize)) }}

func newExchange(in, out []byte) *Exchange {
	return &Exchange{deadline: never, in: in, answer: answer{out: out}}
}

func takeExchange(c *link) *Exchange {
	x := exchanges.Get().(*Exchange)
	x.c = c
	return x
}

// release gives x back as if it were new. Buffers that grew large go.
func (x *Exchange) release() {
	if x.in == nil { // lent for good
		return
	}
	x.reset()
	x.c, x.used, x.body.surplus = nil, 0, nil
	x.shrink()
	exchanges.Put(x)
}

// shrink goes back to the buffers that were there before they grew.
func (x *Exchange) shrink() {
	if len(x.in) > keepMax {
		giveBuffer(x.in)
		x.in, x.small = x.small, nil
		if x.in == nil {
			x.in = make([]byte, inSize)
		}
	}
	if out := x.answer.out; cap(out) > keepMax {
		giveBuffer(out)
		x.answer.out, x.answer.small = x.answer.small, nil
		if x.answer.out == nil {
			x.answer.out = make([]byte, 0, inSize)
		}
	}
	if len(x.up) > keepMax {
		x.up = nil
	}
	if x.block == nil { // no HTTP/2 yet
		return
	}
	for _, b := range [...]*[]byte{&x.received, &x.block, &x.upReceived, &x.upHead} {
		if cap(*b) > keepMax {
			*b = nil
		}
	}
}

// next prepares x for the next request on its connection. What came behind the
// last one moves to the front.
func (x *Exchange) next() {
	x.used = copy(x.in, x.in[x.taken:x.used])
	x.used += x.body.restore(x)
	x.reset()
}

// reset forgets the request and its answer, not the bytes in x.in.
func (x *Exchange) reset() {
	x.head, x.taken, x.id = 0, 0, x.id[:0]
	x.arrived, x.granted, x.answered = 0, 0, 0
	x.deadline, x.class = never, 0
	x.bypass, x.own, x.unbound, x.mark, x.attached = false, false, false, 0, nil
	x.body.reset()
	x.answer.reset()
	x.asksSwitch, x.tunnel = false, nil
}

// Request returns the checked head of the request.
func (x *Exchange) Request() *http1.Request { return &x.req }

// Peer returns the client's address without the port; "" on a unix socket.
func (x *Exchange) Peer() string { return x.c.peer }

// Scheme returns "http" or "https".
func (x *Exchange) Scheme() string { return x.c.scheme }

// HTTP2 reports whether the request is a stream of HTTP/2.
func (x *Exchange) HTTP2() bool { return x.c.stream != nil }

// Received returns how many bytes of the request's body have been read.
func (x *Exchange) Received() int64 { return x.body.total }

// ID returns the request's id: the client's X-Request-Id if it is 1 to 128
// characters of [A-Za-z0-9._-] (rule M7), else one of ours.
func (x *Exchange) ID() string { return string(x.requestID()) }

// idBase is that of the numbers in ids: a power of two, which takes no divisions.
const idBase = 32

// AppendID appends it.
func (x *Exchange) AppendID(b []byte) []byte { return append(b, x.requestID()...) }

func (x *Exchange) requestID() []byte {
	if len(x.id) > 0 {
		return x.id
	}
	if v, n := http1.Find(x.req.Fields, http1.RequestID); n == 1 && validID(v) {
		x.id = append(x.id, v...)
		return x.id
	}
	x.c.requests++
	x.id = append(x.id, x.c.srv.nonce...)
	x.id = strconv.AppendUint(x.id, x.c.id, idBase)
	x.id = append(x.id, '-')
	x.id = strconv.AppendUint(x.id, x.c.requests, idBase)
	return x.id
}

func validID(v []byte) bool {
	if len(v) == 0 || len(v) > 128 {
		return false
	}
	for _, b := range v {
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if !letter && (b < '0' || b > '9') && b != '.' && b != '_' && b != '-' {
			return false
		}
	}
	return true
}

// Remaining returns the time until the request's deadline, at least a
// nanosecond; 0 means that it has none.
func (x *Exchange) Remaining() time.Duration {
	if x.deadline == never {
		return 0
	}
	return max(time.Duration(x.deadline-x.c.srv.now()), 1)
}

// OnInterrupt registers what is stopped when the client leaves, a time-out
// strikes or the pod must end; nil takes it back. It returns why the request was
// interrupted before, or nil; then i is not called any more.
func (x *Exchange) OnInterrupt(i Interrupter) error { return x.c.guard.onInterrupt(i) }

// waiting makes the place in the queue interruptible.
type waiting Exchange

func (w *waiting) Interrupt() { w.waiter.Cancel(w.c.guard.cause) } // called under guard.mu
