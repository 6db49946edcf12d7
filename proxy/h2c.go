package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/proxy/http2"
)

const (
	upgradeTime  = 10 * time.Second  // for a client to begin what it asked for
	settingBytes = 6                 // of one setting (RFC 9113 §6.5.1)
	settingsMost = 50 * settingBytes // that a client may begin with, twice
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
// request as the first stream.
func (c *conn) upgrade(x *Exchange) (early []byte, ok bool) {
	c.enter(phaseClose, never)
	x.answer.out = append(appendUpgrade(http1.AppendStatusLine(x.answer.out[:0], 101), []byte("h2c")), '\r', '\n')
	if c.write(x.answer.out) != nil || c.setReadDeadline(upgradeTime) != nil {
		return nil, false
	}
	b := bytes.Clone(x.in[x.taken:x.used])
	end := len(preface) + http2.HeadSize // of what must be here
	for room := make([]byte, settingsMost); len(b) < end; {
		n, err := c.nc.Read(room)
		if err != nil {
			return nil, false
		}
		c.shard.BytesIn.Add(uint64(n))
		if b = append(b, room[:n]...); len(b) < len(preface)+http2.HeadSize {
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
	settings = append(settings, b[len(preface)+http2.HeadSize:end]...)
	early = http2.AppendFrame([]byte(preface), http2.Settings, 0, 0, settings) // one frame: it is acknowledged once
	return append(x.appendStream(early), b[end:]...), true
}

// firstSettings returns the end of the first frame behind the preface, which are the client's settings.
func firstSettings(b []byte) (end int, ok bool) {
	h := http2.ParseHead(b[len(preface):])
	plain := h.Kind == http2.Settings && !h.Has(http2.Ack) && h.Stream == 0
	ok = string(b[:len(preface)]) == preface && plain && h.Length%settingBytes == 0 && h.Length <= settingsMost
	return len(preface) + http2.HeadSize + h.Length, ok
}

// appendStream appends the request as the frames of stream 1. Nothing of it changes the state of the compression.
func (x *Exchange) appendStream(dst []byte) []byte {
	r := &x.req
	var head []byte
	for _, f := range [...]struct {
		name  string
		value []byte
	}{{":method", r.Method}, {":scheme", []byte(x.c.scheme)}, {":authority", r.Host}, {":path", r.Target}} {
		head = http2.AppendField(head, []byte(f.name), f.value)
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop {
			head = http2.AppendField(head, bytes.ToLower(f.Name), f.Value)
		}
	}
	if r.TETrailers {
		head = http2.AppendField(head, []byte("te"), []byte("trailers"))
	}
	return http2.AppendHeaders(dst, http2.EndStream, 1, head)
}
