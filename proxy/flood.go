package proxy

import "encoding/binary"

// Frames of HTTP/2 that cost us work and bring no request on (RFC 9113 §6, §10.5).
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameWindow   = 0x8
	frameMore     = 0x9 // CONTINUATION; net/http bounds what it continues
	frameGoAway   = 0x7
	frameSettings = 0x4
	framePing     = 0x6

	flagEndStream = 0x1
	flagEndHead   = 0x4
	flagAck       = 0x1

	frameHead = 9

	noError          = 0x0
	protocolError    = 0x1
	flowControlError = 0x3
	streamClosed     = 0x5
	frameSizeError   = 0x6
	refusedStream    = 0x7
	enhanceYourCalm  = 0xb
)

// A connection may send burst frames that bring nothing on, and rate per second
// more. Frames that do bring something on earn one each: those who transfer data
// may ping. A stream that is reset has earned nothing, whoever has to do it.
const (
	floodBurst = 1000
	floodRate  = 100
	resetCost  = 2 // what its HEADERS earned, and one more
)

// frames follows the boundaries of frames in a stream of bytes.
type frames struct {
	head [frameHead]byte
	have int // bytes of head
	left int // bytes of the payload to come
}

// between reports whether no frame has begun.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

// next consumes bytes of p up to the end of a frame's head and reports whether there
// is one.
func (f *frames) next(p []byte) (rest []byte, whole bool) {
	if n := min(f.left, len(p)); n > 0 {
		f.left -= n
		p = p[n:]
	}
	if len(p) == 0 {
		return nil, false
	}
	n := copy(f.head[f.have:], p)
	f.have += n
	if f.have < frameHead {
		return nil, false
	}
	f.have = 0
	f.left = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	return p[n:], true
}

// blamed follows all of p and counts the resets in it that blame the other side. One
// whose code is not here as a whole is not looked at.
func (f *frames) blamed(p []byte) (n int) {
	for len(p) > 0 {
		var whole bool
		if p, whole = f.next(p); !whole || f.head[3] != frameReset || len(p) < 4 {
			continue
		}
		switch binary.BigEndian.Uint32(p) {
		case protocolError, flowControlError, streamClosed, frameSizeError, refusedStream:
			n++
		}
	}
	return n
}

// flood judges what a client of HTTP/2 sends.
type flood struct {
	in      frames
	preface int    // bytes of the preface seen
	credit  int    // frames that it may still send for nothing
	since   int64  // when credit was last added for time
	stream  uint32 // the latest stream that it opened
	open    bool   // a head goes on in the next frame
}

// inHead reports whether a head has begun and is not here as a whole.
func (f *flood) inHead() bool { return f.open || f.in.left > 0 && f.in.ofHead() }

// ofHead reports whether the latest frame is part of a head.
func (f *frames) ofHead() bool { return f.head[3] == frameHeaders || f.head[3] == frameMore }

// see takes what arrived at now, a time on the server's clock, and reports whether
// the client is bearable.
func (f *flood) see(p []byte, now int64) bool {
	if f.since == 0 {
		f.since, f.credit = now, floodBurst
	}
	if n := min(len(preface)-f.preface, len(p)); n > 0 {
		f.preface += n
		p = p[n:]
	}
	const second = 1_000_000_000
	if earned := (now - f.since) * floodRate / second; earned > 0 {
		f.credit = int(min(int64(f.credit)+earned, floodBurst))
		f.since = now
	}
	for len(p) > 0 {
		var whole bool
		if p, whole = f.in.next(p); whole {
			f.open = f.in.ofHead() && f.in.head[4]&flagEndHead == 0
			f.credit = min(f.credit-f.cost(), floodBurst)
		}
	}
	return f.credit >= 0
}

// cost is what the frame in f.in takes of the credit.
func (f *flood) cost() int {
	h := &f.in.head
	switch h[3] {
	case frameHeaders:
		f.stream = max(f.stream, binary.BigEndian.Uint32(h[5:])&^(1<<31))
		return -1
	case frameData:
		if f.in.left > 0 || h[4]&flagEndStream != 0 {
			return -1
		}
	case frameWindow:
		return 0
	case frameMore:
		if f.in.left > 0 {
			return 0
		}
	case frameSettings, framePing:
		if h[4]&flagAck != 0 {
			return 0
		}
	case frameReset:
		return resetCost
	}
	return 1
}

// appendGoAway appends the frame that ends a connection.
func appendGoAway(dst []byte, lastStream, code uint32) []byte {
	payload := binary.BigEndian.AppendUint32(make([]byte, 0, 8), lastStream)
	return appendFrame(dst, frameGoAway, 0, 0, binary.BigEndian.AppendUint32(payload, code))
}
