package workers

import (
	"bytes"
	"fmt"

	"github.com/fnpod/fnpod/workers/protocol"
)

// maxFrame is the largest frame that a worker may send.
const maxFrame = protocol.HeaderSize + protocol.MostMeta + protocol.Piece

// frame is one frame; meta and body are parts of the buffer it was parsed from.
type frame struct {
	typ   protocol.Type
	flags uint8
	code  uint16
	id    uint32
	size  int // bytes of the body, here or in the lane
	meta  []byte
	body  []byte // nil if it lies in the lane
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// putHeader writes a frame's first bytes to b.
func putHeader(b []byte, typ protocol.Type, flags uint8, code uint16, id uint32, meta, body int) {
	protocol.Header{Type: typ, Flags: flags, Code: code, ID: id, Meta: uint32(meta), Body: uint32(body)}.Put(b)
}

// appendFrame appends a frame without meta.
func appendFrame(b []byte, typ protocol.Type, code uint16, id uint32, body []byte) []byte {
	var h [protocol.HeaderSize]byte
	putHeader(h[:], typ, 0, code, id, 0, len(body))
	return append(append(b, h[:]...), body...)
}

// parseFrame reads the frame at the start of b, which a worker sent. The frame
// takes need bytes; it is complete, and f set, if b has as many.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < protocol.HeaderSize {
		return f, protocol.HeaderSize, nil
	}
	f, end, err := parseHead(b)
	if err != nil {
		return f, 0, err
	}
	inline := f.size
	if f.has(protocol.FlagLane) {
		inline = 0
	}
	if inline > protocol.Piece {
		return f, 0, fmt.Errorf("%w: body of %d bytes in a frame, allowed are %d", ErrProtocol, inline, protocol.Piece)
	}
	need = end + inline
	if len(b) >= need && !f.has(protocol.FlagLane) {
		f.body = b[end:need:need]
	}
	return f, need, nil
}

// parseHead reads the header of the frame at the start of b, and its meta block if b has all of it: up to end.
func parseHead(b []byte) (f frame, end int, err error) {
	h := protocol.Parse(b)
	f.typ, f.flags, f.code, f.id, f.size = h.Type, h.Flags, h.Code, h.ID, int(h.Body)
	if !fromWorker(f.typ) {
		return f, 0, fmt.Errorf("%w: frame of type %#02x", ErrProtocol, uint8(f.typ))
	}
	if h.Meta > protocol.MostMeta {
		return f, 0, fmt.Errorf("%w: meta block of %d bytes, allowed are %d", ErrProtocol, h.Meta, protocol.MostMeta)
	}
	end = protocol.HeaderSize + int(h.Meta)
	if len(b) >= end {
		f.meta = b[protocol.HeaderSize:end:end]
	}
	return f, end, nil
}

// fromWorker reports whether a worker may send frames of this type.
func fromWorker(t protocol.Type) bool {
	switch t {
	case protocol.Data, protocol.Trailers, protocol.Window, protocol.Hello, protocol.Ready, protocol.InitError,
		protocol.Response, protocol.Error, protocol.Log, protocol.Metric, protocol.Pong, protocol.Bye:
		return true
	default:
		return t >= protocol.Optional
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
