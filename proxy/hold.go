package proxy

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// holdStep is how much room there is at least for what comes next of a body that is held.
const holdStep = 64 << 10

// HoldBody reads what is missing of the request's body, so that Body returns it whole; a backend that needs it so calls
// this first. A body of more than most bytes is an error, answered with 413; 0 means no limit but MaxBody. So is one
// that is cut, malformed or too slow.
func (x *Exchange) HoldBody(most int64) error {
	b := &x.body
	if b.inMemory {
		return nil
	}
	tooLarge := func(n int64) bool { return most > 0 && n > most }
	if tooLarge(x.req.Length) {
		return fmt.Errorf("%w: it has %d bytes, and %d may be held", errBodyTooLarge, x.req.Length, most)
	}
	x.extendAnswerTime(never / 2)
	var whole []byte
	for {
		whole = slices.Grow(whole, holdStep)
		n, err := x.ReadBody(whole[len(whole):cap(whole)])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		whole = whole[:len(whole)+n]
		if tooLarge(int64(len(whole))) {
			return fmt.Errorf("%w: %d bytes may be held", errBodyTooLarge, most)
		}
	}
	x.extendAnswerTime(x.c.srv.now())
	b.whole, b.inMemory = whole, true
	return nil
}
