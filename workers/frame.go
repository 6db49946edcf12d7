package workers

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// frameType says what a frame is; docs/worker-protocol.md has the table.
type frameType uint8

const (
	typeRequest  frameType = 0x01
	typeData     frameType = 0x02
	typeTrailers frameType = 0x03
	typeCancel   frameType = 0x04
	typeWindow   frameType = 0x05
	typeDrain    frameType = 0x07
	typePing     frameType = 0x09

	typeHello     frameType = 0x11
	typeReady     frameType = 0x12
	typeInitError frameType = 0x13
	typeResponse  frameType = 0x21
	typeError     frameType = 0x22
	typeLog       frameType = 0x23
	typeMetric    frameType = 0x24
	typePong      frameType = 0x29
	typeBye       frameType = 0x2F

	typeOptional frameType = 0x80 // from here on unknown types are skipped
)

// Flags of a frame.
const (
	flagLane     = 1 << iota // the body lies in the lane
	flagMore                 // DATA frames follow
	flagTrailers             // a TRAILERS frame follows
	flagRecycle              // the worker asks to be replaced after this answer
)

// Codes of CANCEL.
const (
	cancelLeft     = 1
	cancelDeadline = 2
	cancelDrain    = 3
)

const (
	headerSize = 16
	maxMeta    = 1 << 20
	maxInline  = 64 << 10 // body bytes in one frame
	smallBody  = 8 << 10  // larger request bodies take the lane
	maxFrame   = headerSize + maxMeta + maxInline

	protocolVersion = 1
)

// frame is one frame; meta and body are parts of the buffer it was parsed from.
type frame struct {
	typ   frameType
	flags uint8
	code  uint16
	id    uint32
	size  int // bytes of the body, here or in the lane
	meta  []byte
	body  []byte // nil if it lies in the lane
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// putHeader writes a frame's first 16 bytes to b.
func putHeader(b []byte, typ frameType, flags uint8, code uint16, id uint32, meta, body int) {
	_ = b[headerSize-1]
	binary.LittleEndian.PutUint32(b[0:], uint32(meta))
	binary.LittleEndian.PutUint32(b[4:], uint32(body))
	b[8] = byte(typ)
	b[9] = flags
	binary.LittleEndian.PutUint16(b[10:], code)
	binary.LittleEndian.PutUint32(b[12:], id)
}

// appendFrame appends a frame without meta.
func appendFrame(b []byte, typ frameType, code uint16, id uint32, body []byte) []byte {
	var h [headerSize]byte
	putHeader(h[:], typ, 0, code, id, 0, len(body))
	return append(append(b, h[:]...), body...)
}

// parseFrame reads the frame at the start of b, which a worker sent. The frame
// takes need bytes; it is complete, and f set, if b has as many.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < headerSize {
		return f, headerSize, nil
	}
	f, end, err := parseHead(b)
	if err != nil {
		return f, 0, err
	}
	inline := f.size
	if f.has(flagLane) {
		inline = 0
	}
	if inline > maxInline {
		return f, 0, fmt.Errorf("%w: body of %d bytes in a frame, allowed are %d", ErrProtocol, inline, maxInline)
	}
	need = end + inline
	if len(b) >= need && !f.has(flagLane) {
		f.body = b[end:need:need]
	}
	return f, need, nil
}

// parseHead reads the header of the frame at the start of b, and its meta block if b has all of it: up to end.
func parseHead(b []byte) (f frame, end int, err error) {
	meta := binary.LittleEndian.Uint32(b[0:])
	f.size = int(binary.LittleEndian.Uint32(b[4:]))
	f.typ = frameType(b[8])
	f.flags = b[9]
	f.code = binary.LittleEndian.Uint16(b[10:])
	f.id = binary.LittleEndian.Uint32(b[12:])
	if !f.typ.fromWorker() {
		return f, 0, fmt.Errorf("%w: frame of type %#02x", ErrProtocol, uint8(f.typ))
	}
	if meta > maxMeta {
		return f, 0, fmt.Errorf("%w: meta block of %d bytes, allowed are %d", ErrProtocol, meta, maxMeta)
	}
	end = headerSize + int(meta)
	if len(b) >= end {
		f.meta = b[headerSize:end:end]
	}
	return f, end, nil
}

// fromWorker reports whether a worker may send frames of this type.
func (t frameType) fromWorker() bool {
	switch t {
	case typeData, typeTrailers, typeWindow, typeHello, typeReady, typeInitError,
		typeResponse, typeError, typeLog, typeMetric, typePong, typeBye:
		return true
	default:
		return t >= typeOptional
	}
}

// cutPair takes the first name and value off a meta block that holds pairs. ok is
// false if a name has no value. An empty rest means that all were taken.
func cutPair(meta []byte) (name, value, rest []byte, ok bool) {
	i := bytes.IndexByte(meta, 0)
	if i < 0 {
		return nil, nil, nil, false
	}
	name, meta = meta[:i], meta[i+1:]
	if i = bytes.IndexByte(meta, 0); i < 0 {
		return name, meta, nil, true
	}
	return name, meta[:i], meta[i+1:], true
}

// lookup returns the first value of a name in a block of pairs.
func lookup(meta []byte, name string) string {
	for len(meta) > 0 {
		n, v, rest, ok := cutPair(meta)
		if !ok {
			return ""
		}
		if string(n) == name {
			return string(v)
		}
		meta = rest
	}
	return ""
}
