package function

import (
	"encoding/binary"
	"errors"
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
	typeExit     frameType = 0x08
	typePing     frameType = 0x09
	typeHello    frameType = 0x11
	typeReady    frameType = 0x12
	typeResponse frameType = 0x21
	typeError    frameType = 0x22
	typePong     frameType = 0x29
	typeBye      frameType = 0x2F
	typeOptional frameType = 0x80 // from here on unknown types are skipped
	flagLane               = 1
	flagMore               = 2
	headerSize             = 16
	mostMeta               = 1 << 20
	mostBody               = 1 << 20 // in a frame
	inline                 = 8 << 10 // larger answers take the lane
	piece                  = 64 << 10
	firstCredit            = 256 << 10 // bytes of DATA that may be sent unasked
	grantAfter             = firstCredit / 2

	protocolVersion = 1
)

// errProtocol means that the parent's bytes make no sense: nothing can be trusted any more.
var errProtocol = errors.New("worker protocol")

// frame is one frame; meta and body are parts of the buffer that it was parsed from.
type frame struct {
	typ   frameType
	flags uint8
	id    uint32
	size  int // bytes of the body, here or in the lane
	meta  []byte
	body  []byte
}

// appendHeader appends a frame's first 16 bytes.
func appendHeader(b []byte, typ frameType, flags uint8, code uint16, id uint32, meta, body int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(meta))
	b = binary.LittleEndian.AppendUint32(b, uint32(body))
	b = append(b, byte(typ), flags)
	b = binary.LittleEndian.AppendUint16(b, code)
	return binary.LittleEndian.AppendUint32(b, id)
}

// parseFrame reads the frame at the start of b. It takes need bytes, and is complete if b has as many.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < headerSize {
		return f, headerSize, nil
	}
	meta, size := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	f.typ, f.flags, f.id = frameType(b[8]), b[9], binary.LittleEndian.Uint32(b[12:])
	here := size
	if f.flags&flagLane != 0 {
		here = 0
	}
	if meta > mostMeta || here > mostBody {
		return f, 0, fmt.Errorf("%w: frame too long: %d bytes of meta, %d of body", errProtocol, meta, here)
	}
	end := headerSize + int(meta)
	need = end + int(here)
	if len(b) >= need {
		f.size, f.meta, f.body = int(size), b[headerSize:end:end], b[end:need:need]
	}
	return f, need, nil
}
