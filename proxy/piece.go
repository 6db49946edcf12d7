package proxy

import "sync"

// bigBuffer holds a head and the largest body that is read before its request queues by default, or a piece of a
// large body.
const bigBuffer = 72 << 10

var bigBuffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}

// takeBuffer returns n bytes or more.
func takeBuffer(n int) []byte {
	if n <= keepMax || n > bigBuffer {
		return make([]byte, n)
	}
	return bigBuffers.Get().(*[bigBuffer]byte)[:]
}

// giveBuffer gives back what came from takeBuffer and is not used any more.
func giveBuffer(b []byte) {
	if cap(b) == bigBuffer {
		bigBuffers.Put((*[bigBuffer]byte)(b[:bigBuffer]))
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
