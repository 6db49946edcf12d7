package http2

import (
	"encoding/binary"
	"fmt"
)

// Preface is how a client begins (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Kind is the type of a frame (RFC 9113 §6).
type Kind uint8

// The kinds of frames that have a meaning; all others are ignored (§5.5).
const (
	Data         Kind = 0x0
	Headers      Kind = 0x1
	Priority     Kind = 0x2
	Reset        Kind = 0x3 // RST_STREAM
	Settings     Kind = 0x4
	PushPromise  Kind = 0x5
	Ping         Kind = 0x6
	GoAway       Kind = 0x7
	WindowUpdate Kind = 0x8
	Continuation Kind = 0x9
)

// Flags of frames.
const (
	EndStream   = 0x1  // of Data and Headers
	Ack         = 0x1  // of Settings and Ping
	EndHeaders  = 0x4  // of Headers and Continuation
	Padded      = 0x8  // of Data and Headers
	HasPriority = 0x20 // of Headers
)

// Sizes of the protocol, in bytes.
const (
	HeadSize     = 9     // of what every frame begins with
	MinFrame     = 16384 // what a peer must take, and what we take
	MaxFrame     = 1<<24 - 1
	FirstWindow  = 65535 // of a connection, and of a stream until SETTINGS say otherwise
	MaxWindow    = 1<<31 - 1
	settingSize  = 6
	prioritySize = 5
)

// Code says why a stream or a connection ends (RFC 9113 §7). It is an error, which
// ends the connection.
type Code uint32

// The codes of the protocol.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	SettingsTimeout    Code = 0x4
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	ConnectError       Code = 0xa
	EnhanceYourCalm    Code = 0xb
	InadequateSecurity Code = 0xc
	HTTP11Required     Code = 0xd
)

var codes = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the name of the code in the standard.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c]
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Error implements error.
func (c Code) Error() string { return "HTTP/2: " + c.String() }

// Head is what every frame begins with.
type Head struct {
	Length int // of the payload, in bytes
	Kind   Kind
	Flags  uint8
	Stream uint32
}

// Has reports whether all of the flags are set.
func (h Head) Has(flags uint8) bool { return h.Flags&flags == flags }

// ParseHead reads the head of a frame; b has at least HeadSize bytes.
func ParseHead(b []byte) Head {
	_ = b[HeadSize-1]
	return Head{
		Length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		Kind:   Kind(b[3]), Flags: b[4],
		Stream: binary.BigEndian.Uint32(b[5:]) & MaxWindow,
	}
}

// Check reports what is wrong with a frame by its head alone: its size, and whether
// it belongs to a stream. Nil means nothing.
func (h Head) Check() error {
	if h.Length > MinFrame {
		return FrameSizeError
	}
	switch h.Kind {
	case Data, Headers, Continuation, PushPromise:
		return onStream(h)
	case Priority:
		return onStream(h) // its size is an error of the stream
	case Reset:
		return sized(h, onStream(h), 4)
	case Settings:
		switch {
		case h.Stream != 0:
			return ProtocolError
		case h.Length%settingSize != 0, h.Has(Ack) && h.Length != 0:
			return FrameSizeError
		}
	case Ping:
		return sized(h, onConnection(h), 8)
	case GoAway:
		if h.Length < 8 {
			return FrameSizeError
		}
		return onConnection(h)
	case WindowUpdate:
		return sized(h, nil, 4)
	}
	return nil
}

func sized(h Head, err error, size int) error {
	if err == nil && h.Length != size {
		return FrameSizeError
	}
	return err
}

func onStream(h Head) error {
	if h.Stream == 0 {
		return ProtocolError
	}
	return nil
}

func onConnection(h Head) error {
	if h.Stream != 0 {
		return ProtocolError
	}
	return nil
}

// Block returns the part of a field block that a Headers frame carries, without
// padding and priority. dependsOn is the stream that the priority names, 0 if none.
func (h Head) Block(payload []byte) (block []byte, dependsOn uint32, err error) {
	pad := 0
	if h.Has(Padded) {
		if len(payload) == 0 {
			return nil, 0, FrameSizeError
		}
		pad, payload = int(payload[0]), payload[1:]
	}
	if h.Has(HasPriority) {
		if len(payload) < prioritySize {
			return nil, 0, FrameSizeError
		}
		dependsOn, payload = binary.BigEndian.Uint32(payload)&MaxWindow, payload[prioritySize:]
	}
	if pad > len(payload) {
		return nil, 0, ProtocolError
	}
	return payload[:len(payload)-pad], dependsOn, nil
}

// Setting is one parameter of a connection (RFC 9113 §6.5.2).
type Setting struct {
	ID    SettingID
	Value uint32
}

// SettingID names a Setting.
type SettingID uint16

// The settings of the standard.
const (
	HeaderTableSize      SettingID = 0x1
	EnablePush           SettingID = 0x2
	MaxConcurrentStreams SettingID = 0x3
	InitialWindowSize    SettingID = 0x4
	MaxFrameSize         SettingID = 0x5
	MaxHeaderListSize    SettingID = 0x6
)

// ParseSetting reads the first setting of a payload and returns the rest.
func ParseSetting(payload []byte) (s Setting, rest []byte) {
	return Setting{SettingID(binary.BigEndian.Uint16(payload)), binary.BigEndian.Uint32(payload[2:])}, payload[settingSize:]
}

// Check reports a value that the standard forbids.
func (s Setting) Check() error {
	switch {
	case s.ID == EnablePush && s.Value > 1:
		return ProtocolError
	case s.ID == InitialWindowSize && s.Value > MaxWindow:
		return FlowControlError
	case s.ID == MaxFrameSize && (s.Value < MinFrame || s.Value > MaxFrame):
		return ProtocolError
	}
	return nil
}

// AppendHead appends the head of a frame whose payload has length bytes.
func AppendHead(dst []byte, length int, kind Kind, flags uint8, stream uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendFrame appends a frame (RFC 9113 §4.1).
func AppendFrame(dst []byte, kind Kind, flags uint8, stream uint32, payload []byte) []byte {
	return append(AppendHead(dst, len(payload), kind, flags, stream), payload...)
}

// AppendHeaders appends a field block as one Headers frame and as many Continuation
// frames as it needs. flags are those of the first but EndHeaders.
func AppendHeaders(dst []byte, flags uint8, stream uint32, block []byte) []byte {
	for kind := Headers; ; kind, flags = Continuation, 0 {
		if len(block) <= MinFrame {
			return AppendFrame(dst, kind, flags|EndHeaders, stream, block)
		}
		dst = AppendFrame(dst, kind, flags, stream, block[:MinFrame])
		block = block[MinFrame:]
	}
}

// AppendSettings appends a Settings frame.
func AppendSettings(dst []byte, settings ...Setting) []byte {
	dst = AppendHead(dst, len(settings)*settingSize, Settings, 0, 0)
	for _, s := range settings {
		dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, uint16(s.ID)), s.Value)
	}
	return dst
}

// AppendReset appends the frame that ends a stream.
func AppendReset(dst []byte, stream uint32, code Code) []byte {
	return binary.BigEndian.AppendUint32(AppendHead(dst, 4, Reset, 0, stream), uint32(code))
}

// AppendWindowUpdate appends the frame that lets the peer send n bytes more.
func AppendWindowUpdate(dst []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(AppendHead(dst, 4, WindowUpdate, 0, stream), uint32(n))
}

// AppendGoAway appends the frame that ends a connection: streams above last were not
// looked at.
func AppendGoAway(dst []byte, last uint32, code Code) []byte {
	dst = binary.BigEndian.AppendUint32(AppendHead(dst, 8, GoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}
