package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

const (
	upgradeTime  = 10 * time.Second  // for a client to begin what it asked for
	settingBytes = 6                 // of one setting (RFC 9113 §6.5.1)
	settingsMost = 50 * settingBytes // that a client may begin with, twice
	headPiece    = 16 << 10          // of a head, in one frame (§4.2)
)

// wantsHTTP2 reports whether x asks to go on in HTTP/2 and can have it (Rules.AnyUpgrade). What is left of
// such a request otherwise is an ordinary one: a tunnel would let a client pass the queue.
func (c *conn) wantsHTTP2(x *Exchange) bool {
	if !http1.IsH2C(x.req.Upgrade) {
		return false
	}
	_, secure := c.nc.(*tls.Conn)
	if _, ok := upgradeSettings(x); ok && !secure && c.srv.cfg.HTTP2Streams > 0 && !c.srv.draining.Load() {
		return true
	}
	x.req.Upgrade = nil
	return false
}

// upgradeSettings are those that a request for HTTP/2 has in HTTP2-Settings.
func upgradeSettings(x *Exchange) (settings []byte, ok bool) {
	value, n := http1.Find(x.req.Fields, http1.HTTP2Settings)
	settings, err := base64.RawURLEncoding.DecodeString(string(value))
	return settings, n == 1 && err == nil && len(settings)%settingBytes == 0 && len(settings) <= settingsMost
}

// upgrade agrees to HTTP/2 (RFC 7540 §3.2) and returns how the connection begins: what the client says, with its
// request as the first stream. net/http knows no other way to be given one.
func (c *conn) upgrade(x *Exchange) (early []byte, ok bool) {
	c.enter(phaseClose, never)
	x.answer.out = append(appendUpgrade(http1.AppendStatusLine(x.answer.out[:0], 101), []byte("h2c")), '\r', '\n')
	if c.write(x.answer.out) != nil || c.setReadDeadline(upgradeTime) != nil {
		return nil, false
	}
	b := bytes.Clone(x.in[x.taken:x.used])
	end := len(preface) + frameHead // of what must be here
	for room := make([]byte, settingsMost); len(b) < end; {
		n, err := c.nc.Read(room)
		if err != nil {
			return nil, false
		}
		c.shard.BytesIn.Add(uint64(n))
		if b = append(b, room[:n]...); len(b) < len(preface)+frameHead {
			continue
		}
		if end, ok = firstSettings(b); !ok {
			return nil, false
		}
	}
	if end, ok = firstSettings(b); !ok {
		return nil, false
	}
	settings, _ := upgradeSettings(x) // they were good before
	settings = latest(append(settings, b[len(preface)+frameHead:end]...))
	early = appendFrame([]byte(preface), frameSettings, 0, 0, settings) // one frame: it is acknowledged once
	return append(x.appendStream(early), b[end:]...), true
}

// latest drops settings that come again: net/http takes those for an attack.
func latest(settings []byte) (left []byte) {
	for rest := settings; len(rest) > 0; {
		var one []byte
		one, rest = rest[:settingBytes], rest[settingBytes:]
		again := false
		for i := 0; i < len(rest); i += settingBytes {
			again = again || rest[i] == one[0] && rest[i+1] == one[1]
		}
		if !again {
			left = append(left, one...)
		}
	}
	return left
}

// firstSettings returns the end of the first frame behind the preface, which are the client's settings.
func firstSettings(b []byte) (end int, ok bool) {
	head := b[len(preface):]
	size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	plain := head[3] == frameSettings && head[4]&flagAck == 0 && binary.BigEndian.Uint32(head[5:])<<1 == 0
	ok = string(b[:len(preface)]) == preface && plain && size%settingBytes == 0 && size <= settingsMost
	return len(preface) + frameHead + size, ok
}

// appendStream appends the request as the frames of stream 1. Nothing of it changes the state of the compression.
func (x *Exchange) appendStream(dst []byte) []byte {
	r := &x.req
	var head []byte
	for _, f := range [...]struct {
		name  string
		value []byte
	}{{":method", r.Method}, {":scheme", []byte(x.c.scheme)}, {":authority", r.Host}, {":path", r.Target}} {
		head = appendLiteral(head, []byte(f.name), f.value)
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop {
			head = appendLiteral(head, bytes.ToLower(f.Name), f.Value)
		}
	}
	if r.TETrailers {
		head = appendLiteral(head, []byte("te"), []byte("trailers"))
	}
	for kind, flags := byte(frameHeaders), byte(flagEndStream); ; kind, flags = frameMore, 0 {
		n := min(len(head), headPiece)
		if n == len(head) {
			return appendFrame(dst, kind, flags|flagEndHead, 1, head)
		}
		dst = appendFrame(dst, kind, flags, 1, head[:n])
		head = head[n:]
	}
}

// appendFrame appends a frame of HTTP/2 (RFC 9113 §4.1).
func appendFrame(dst []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(dst, stream), payload...)
}

// appendLiteral appends a field that no table has or gets (RFC 7541 §6.2.2).
func appendLiteral(dst, name, value []byte) []byte {
	dst = append(dst, 0)
	for _, text := range [...][]byte{name, value} {
		dst = append(appendSize(dst, len(text)), text...)
	}
	return dst
}

// appendSize appends a number with a prefix of 7 bits (RFC 7541 §5.1).
func appendSize(dst []byte, n int) []byte {
	const most = 1<<7 - 1
	if n < most {
		return append(dst, byte(n))
	}
	return binary.AppendUvarint(append(dst, most), uint64(n-most))
}
