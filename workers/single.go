package workers

import (
	"fmt"

	"github.com/fnpod/fnpod/workers/protocol"
)

// A process that lives for one request needs no pool: its standard input is a REQUEST frame, whose body goes on to the end, and
// its standard output the frame of the answer, likewise. These functions are what such a conversation needs.

// AppendRequest appends the frame without the body. withID says that the function gets our id of the request, else the
// client's alone.
func AppendRequest(b []byte, x Exchange, withID bool) ([]byte, error) {
	from := len(b)
	b = append(b, make([]byte, protocol.HeaderSize)...)
	b = appendMeta(b, x, x.Request(), 0, withID)
	meta := len(b) - from - protocol.HeaderSize
	if meta > protocol.MostMeta {
		return b[:from], ErrTooLarge
	}
	putHeader(b[from:], protocol.Request, protocol.FlagMore, 0, 1, meta, 0)
	return b, nil
}

// Answer is the head of an answer.
type Answer struct {
	Status int
	Length int64  // of the body; -1: it goes on to the end
	fields []byte // pairs
	// Failed is what the function raised instead of answering; nil: it answers.
	Failed *HandlerError
}

// CutAnswer takes the head of an answer from the start of b, of which more may come, and returns where the body begins. It is 0
// as long as the head is not whole. Nothing of b is kept but by the Answer.
func CutAnswer(b []byte) (a Answer, size int, err error) {
	if len(b) < protocol.HeaderSize {
		return a, 0, nil
	}
	f, need, err := parseHead(b)
	if err != nil || len(b) < need {
		return a, 0, err
	}
	switch {
	case f.typ == protocol.Error:
		a.Failed = &HandlerError{Status: 500, Type: lookup(f.meta, "type"), Message: lookup(f.meta, "message")}
	case f.typ != protocol.Response || f.has(protocol.FlagLane):
		return a, 0, fmt.Errorf("%w: frame of type %#02x as an answer", ErrProtocol, uint8(f.typ))
	case f.code < 200 || f.code > 599:
		return a, 0, fmt.Errorf("%w: status %d", ErrBadAnswer, f.code)
	}
	a.Status, a.Length, a.fields = int(f.code), int64(f.size), f.meta
	if f.has(protocol.FlagMore) {
		a.Length = -1
	}
	return a, need, nil
}

// AddTo adds the fields of the answer to what x answers with.
func (a *Answer) AddTo(x fieldAdder) error {
	return addFields(x, a.fields)
}
