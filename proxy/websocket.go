package proxy

import "encoding/binary"

// Opcodes of WebSocket frames (RFC 6455 §5.2).
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa
)

// goingAway is the Close frame of a server that ends, with status 1001 (RFC 6455 §7.4.1).
var goingAway = []byte{0x80 | opClose, 2, 1001 >> 8, 1001 & 0xff}

// wsFrames follows the boundaries of frames in what a WebSocket server sends. It
// finds out where a frame of ours may be put, so it gives up at the first byte that no
// sane server sends: a frame that is not sent costs less than one in a wrong place.
type wsFrames struct {
	head      [10]byte
	have      int    // bytes of head
	left      uint64 // bytes of the payload to come
	fragments bool   // a message has begun and its last frame has not come
	closed    bool   // the server has said goodbye itself
	lost      bool   // this is not the protocol
}

// between reports whether a frame of ours may follow: no frame has begun, and none was
// the last. Between the frames of a message it may (§5.4).
func (f *wsFrames) between() bool { return f.have == 0 && f.left == 0 && !f.closed && !f.lost }

// next follows p to the end of the present frame, or of p, and returns how far.
func (f *wsFrames) next(p []byte) int {
	if f.lost {
		return len(p)
	}
	n := 0
	for ; f.left == 0; n++ {
		if n == len(p) {
			return n
		}
		f.head[f.have] = p[n]
		if f.have++; f.have < f.headSize() {
			continue
		}
		f.have = 0
		f.left = f.payload()
		if f.lost = !f.sane(); f.lost {
			return len(p)
		}
		if f.left == 0 {
			return n + 1
		}
	}
	more := min(f.left, uint64(len(p)-n))
	f.left -= more
	return n + int(more)
}

// skip follows all of p.
func (f *wsFrames) skip(p []byte) {
	for len(p) > 0 {
		p = p[f.next(p):]
	}
}

// toBoundary follows p until a frame of ours may follow, and returns how far.
func (f *wsFrames) toBoundary(p []byte) (n int) {
	for n < len(p) && !f.between() {
		n += f.next(p[n:])
	}
	return n
}

// headSize is the size of the head as far as that is known. Servers do not mask.
func (f *wsFrames) headSize() int {
	switch {
	case f.have < 2:
		return 2
	case f.head[1]&0x7f == 126:
		return 4
	case f.head[1]&0x7f == 127:
		return 10
	default:
		return 2
	}
}

// payload is the length that the whole head declares.
func (f *wsFrames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}

// sane judges a whole head and remembers what it means for those that follow.
func (f *wsFrames) sane() bool {
	final, reserved, op := f.head[0]&0x80 != 0, f.head[0]&0x70, f.head[0]&0x0f
	length := f.head[1] & 0x7f
	switch {
	case f.head[1]&0x80 != 0: // masked
		return false
	case reserved&0x30 != 0: // RSV1 is the compression (RFC 7692); nobody uses the others
		return false
	case length == 126 && f.left < 126, length == 127 && (f.left <= 0xffff || f.left>>63 != 0):
		return false
	}
	switch op {
	case opContinue, opText, opBinary:
		if f.fragments != (op == opContinue) {
			return false
		}
		f.fragments = !final
		return true
	case opClose, opPing, opPong:
		f.closed = f.closed || op == opClose
		return final && reserved == 0 && length < 126
	default:
		return false
	}
}
