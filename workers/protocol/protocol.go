// Package protocol is what both sides of the worker protocol agree on: the numbers and the head of a frame. docs/worker-protocol.md
// says what they mean. workers is one side, workers/function the other in Go; other languages have their own.
package protocol

import "encoding/binary"

// Version is that of the protocol.
const Version = 1

// Type says what a frame is.
type Type uint8

// The types of frames to a worker; Data, Trailers and Window go both ways.
const (
	Request  Type = 0x01
	Data     Type = 0x02
	Trailers Type = 0x03
	Cancel   Type = 0x04
	Window   Type = 0x05
	Drain    Type = 0x07
	Exit     Type = 0x08
	Ping     Type = 0x09
)

// The types of frames from a worker.
const (
	Hello     Type = 0x11
	Ready     Type = 0x12
	InitError Type = 0x13
	Response  Type = 0x21
	Error     Type = 0x22
	Log       Type = 0x23
	Metric    Type = 0x24
	Pong      Type = 0x29
	Bye       Type = 0x2F
)

// Optional is where types begin that are skipped by who does not know them.
const Optional Type = 0x80

// Flags of a frame.
const (
	FlagLane     = 1 << iota // the body lies in the lane
	FlagMore                 // DATA frames follow
	FlagTrailers             // a TRAILERS frame follows
	FlagRecycle              // the worker asks to be replaced after this answer
)

// Codes of CANCEL.
const (
	CancelLeft     = 1 // the client
	CancelDeadline = 2
	CancelDrain    = 3
)

// Sizes, in bytes.
const (
	HeaderSize = 16
	MostMeta   = 1 << 20
	Inline     = 8 << 10   // bodies that are larger take the lane
	Piece      = 64 << 10  // most of a body in one frame of ours
	Credit     = 256 << 10 // bytes of DATA that each side may send unasked
	GrantAfter = Credit / 2
)

// Header is what a frame begins with.
type Header struct {
	Type  Type
	Flags uint8
	Code  uint16
	ID    uint32 // of the request; 0 stands for the connection
	Meta  uint32 // bytes of the meta block
	Body  uint32 // bytes of the body, here or in the lane
}

// Put writes h to the first HeaderSize bytes of b.
func (h Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	binary.LittleEndian.PutUint32(b[0:], h.Meta)
	binary.LittleEndian.PutUint32(b[4:], h.Body)
	b[8], b[9] = byte(h.Type), h.Flags
	binary.LittleEndian.PutUint16(b[10:], h.Code)
	binary.LittleEndian.PutUint32(b[12:], h.ID)
}

// Parse reads the header at the start of b, which has at least HeaderSize bytes.
func Parse(b []byte) Header {
	_ = b[HeaderSize-1]
	return Header{
		Meta: binary.LittleEndian.Uint32(b[0:]), Body: binary.LittleEndian.Uint32(b[4:]),
		Type: Type(b[8]), Flags: b[9], Code: binary.LittleEndian.Uint16(b[10:]), ID: binary.LittleEndian.Uint32(b[12:]),
	}
}

// Here returns how many bytes of the body follow the meta block.
func (h *Header) Here() uint32 {
	if h.Flags&FlagLane != 0 {
		return 0
	}
	return h.Body
}
