package function

import (
	"errors"
	"fmt"

	"github.com/fnpod/fnpod/workers/protocol"
)

// mostBody is the largest body in a frame.
const mostBody = 1 << 20

// errProtocol means that the parent's bytes make no sense: nothing can be trusted any more.
var errProtocol = errors.New("worker protocol")

// frame is one frame; meta and body are parts of the buffer that it was parsed from.
type frame struct {
	typ   protocol.Type
	flags uint8
	id    uint32
	size  int // bytes of the body, here or in the lane
	meta  []byte
	body  []byte
}

// appendHeader appends a frame's first bytes.
func appendHeader(b []byte, typ protocol.Type, flags uint8, code uint16, id uint32, meta, body int) []byte {
	var h [protocol.HeaderSize]byte
	protocol.Header{Type: typ, Flags: flags, Code: code, ID: id, Meta: uint32(meta), Body: uint32(body)}.Put(h[:])
	return append(b, h[:]...)
}

// parseFrame reads the frame at the start of b. It takes need bytes, and is complete if b has as many.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < protocol.HeaderSize {
		return f, protocol.HeaderSize, nil
	}
	h := protocol.Parse(b)
	f.typ, f.flags, f.id = h.Type, h.Flags, h.ID
	here := h.Here()
	if h.Meta > protocol.MostMeta || here > mostBody {
		return f, 0, fmt.Errorf("%w: frame too long: %d bytes of meta, %d of body", errProtocol, h.Meta, here)
	}
	end := protocol.HeaderSize + int(h.Meta)
	need = end + int(here)
	if len(b) >= need {
		f.size, f.meta, f.body = int(h.Body), b[protocol.HeaderSize:end:end], b[end:need:need]
	}
	return f, need, nil
}
