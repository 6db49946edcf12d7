package proxy

import (
	"math/bits"
	"sync"
)

// bigBuffer holds a head and the largest body that is read before its request queues by default, or a piece of a
// large body.
const bigBuffer = 72 << 10

var bigBuffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}

// hugeBuffers hold what is larger, for platforms that want bodies whole: the first twice as much, each of the others twice as
// much as the one before. A body of a megabyte costs more to be cleared and mapped than to be read.
var hugeBuffers [6]sync.Pool

// takeBuffer returns n bytes or more.
func takeBuffer(n int) []byte {
	switch {
	case n > bigBuffer:
		return takeHuge(n)
	case n > keepMax:
		return bigBuffers.Get().(*[bigBuffer]byte)[:]
	default:
		return make([]byte, n)
	}
}

func takeHuge(n int) []byte {
	class := bits.Len(uint(n-1)/bigBuffer) - 1
	if class >= len(hugeBuffers) {
		return make([]byte, n)
	}
	if b, ok := hugeBuffers[class].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 2*bigBuffer<<class)
}

// giveBuffer gives back what came from takeBuffer and is not used any more.
func giveBuffer(b []byte) {
	n := cap(b)
	class := bits.Len(uint(n)/bigBuffer) - 2
	switch {
	case n == bigBuffer:
		bigBuffers.Put((*[bigBuffer]byte)(b[:bigBuffer]))
	case n > bigBuffer && class < len(hugeBuffers) && n == 2*bigBuffer<<class:
		b = b[:n]
		hugeBuffers[class].Put(&b)
	}
}

// smallBuffers are pieces of tunnels, and of bodies whose other end may be slow.
var smallBuffers = sync.Pool{New: func() any { return new([upSize]byte) }}

// piece is the buffer through which a body goes. It is small until somebody fills it: who is slow holds little memory,
// and who is fast costs fewer system calls.
type piece struct {
	buf []byte
	big bool
}

// grow replaces the buffer, which somebody has filled, by a large one.
func (p *piece) grow() {
	if !p.big {
		p.buf, p.big = takeBuffer(bigBuffer), true
	}
}

// release gives the large buffer back.
func (p *piece) release() {
	if p.big {
		giveBuffer(p.buf)
		p.buf, p.big = nil, false
	}
}
