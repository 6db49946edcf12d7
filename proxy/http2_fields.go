package proxy

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/proxy/http2"
)

// pseudo is a field of HTTP/2 that is none (RFC 9113 §8.3).
type pseudo uint8

const (
	pseudoMethod pseudo = iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoStatus
	pseudos
)

// http2Fields are those of one block, as the lines of a head of HTTP/1.1: so there is
// one set of rules for both protocols (rules H1 to H9). Nothing can move between the
// lines, since none holds a byte that ends it.
type http2Fields struct {
	text    []byte // "Name: value\r\n" for each field
	cookies []byte // that come in crumbs (RFC 9113 §8.2.3)
	pseudo  [pseudos][]byte
	seen    uint8 // pseudo fields, one bit each
	regular bool  // a field that is no pseudo field has come
	bad     bool  // the standard forbids it: the stream is to be reset
	length  bool  // the length of a body is among them
	due     int64 // which is this; unknownLength if it is none, or there are two
	large   bool  // it is not here as a whole
	most    int   // bytes of text
}

// begin forgets the block before.
func (f *http2Fields) begin(most int) {
	if cap(f.text) > inSize { // of a large head
		*f = http2Fields{}
	}
	f.text, f.cookies = f.text[:0], f.cookies[:0]
	f.seen, f.regular, f.bad, f.length, f.due, f.large, f.most = 0, false, false, false, unknownLength, false, most
}

func (f *http2Fields) has(p pseudo) bool { return f.seen&(1<<p) != 0 }

// get returns a pseudo field, nil if it has not come.
func (f *http2Fields) get(p pseudo) []byte {
	if !f.has(p) {
		return nil
	}
	return f.pseudo[p]
}

// add takes one field.
func (f *http2Fields) add(name, value []byte) {
	if len(f.text)+len(f.cookies)+len(name)+len(value) > f.most {
		f.large = true
		return
	}
	if len(name) > 0 && name[0] == ':' {
		f.addPseudo(name, value)
		return
	}
	f.regular = true
	value = trim(value)
	if !http1.ValidName(name) || !http1.ValidValue(value) {
		f.bad = true
		return
	}
	switch http1.KindOf(name) {
	case http1.Connection, http1.ProxyConnection, http1.KeepAlive, http1.TransferEncoding, http1.Upgrade:
		f.bad = true
		return
	case http1.ContentLength:
		f.due = unknownLength // it will be refused, if it is not the only one and a number
		if n, err := strconv.ParseUint(string(value), 10, 63); err == nil && !f.length {
			f.due = int64(n)
		}
		f.length = true
	case http1.TE:
		if !bytes.EqualFold(value, []byte("trailers")) {
			f.bad = true
			return
		}
	case http1.Host:
		if len(f.get(pseudoAuthority)) > 0 {
			return
		}
	default:
		if string(name) == "cookie" {
			if len(f.cookies) > 0 {
				f.cookies = append(f.cookies, "; "...)
			}
			f.cookies = append(f.cookies, value...)
			return
		}
	}
	f.text = f.appendName(f.text, name)
	f.text = append(append(append(f.text, ": "...), value...), "\r\n"...)
}

// trim takes blanks off both ends (rule H6).
func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

// appendName appends a name as HTTP/1.1 usually writes it.
func (f *http2Fields) appendName(dst, name []byte) []byte {
	const toUpper = 'a' - 'A'
	first := true
	for _, c := range name {
		switch {
		case c >= 'A' && c <= 'Z':
			f.bad = true
		case first && c >= 'a' && c <= 'z':
			c -= toUpper
		}
		dst = append(dst, c)
		first = c == '-'
	}
	return dst
}

func (f *http2Fields) addPseudo(name, value []byte) {
	var p pseudo
	switch string(name) {
	case ":method":
		p = pseudoMethod
	case ":scheme":
		p = pseudoScheme
	case ":authority":
		p = pseudoAuthority
	case ":path":
		p = pseudoPath
	case ":status":
		p = pseudoStatus
	default:
		f.bad = true
		return
	}
	if f.regular || f.has(p) || !http1.ValidValue(value) {
		f.bad = true
		return
	}
	f.seen |= 1 << p
	f.pseudo[p] = append(f.pseudo[p][:0], value...)
}

// end adds what could only be known at the end.
func (f *http2Fields) end() {
	if len(f.cookies) > 0 {
		f.text = append(append(append(f.text, "Cookie: "...), f.cookies...), "\r\n"...)
	}
}

// isRequest reports whether the pseudo fields are those of a request.
func (f *http2Fields) isRequest() bool {
	switch {
	case f.bad, f.has(pseudoStatus), len(f.get(pseudoMethod)) == 0:
		return false
	case string(f.pseudo[pseudoMethod]) == "CONNECT":
		return !f.has(pseudoScheme) && !f.has(pseudoPath) && f.has(pseudoAuthority)
	}
	return len(f.get(pseudoScheme)) > 0 && len(f.get(pseudoPath)) > 0
}

// appendHead appends the head of a request of HTTP/1.1, without the empty line.
func (f *http2Fields) appendHead(dst []byte) []byte {
	dst = append(dst, f.pseudo[pseudoMethod]...)
	target := f.get(pseudoPath)
	if target == nil {
		target = f.get(pseudoAuthority)
	}
	dst = append(append(append(dst, ' '), target...), " HTTP/1.1\r\n"...)
	if host := f.get(pseudoAuthority); len(host) > 0 {
		dst = append(append(append(dst, "Host: "...), host...), "\r\n"...)
	}
	return append(dst, f.text...)
}

// appendBlock appends the fields of a checked head, without its start line and without
// what is hop-by-hop, of which the length may be wanted all the same.
func appendBlock(dst, head []byte, length bool) []byte {
	_, fields, _ := bytes.Cut(head, []byte("\r\n"))
	var lower [64]byte
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte{':'})
		kind := http1.KindOf(name)
		wanted := !kind.HopByHop() && kind != http1.Host || length && kind == http1.ContentLength
		if !ok || !wanted {
			continue
		}
		small := lower[:0]
		for _, c := range name {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			small = append(small, c)
		}
		dst = http2.AppendField(dst, small, trim(value))
	}
	return dst
}

// fieldOf returns the value of the first field with a name, which is in canonical form or
// in lower case, of a checked head.
func fieldOf(head []byte, name string) (value []byte, ok bool) {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(string(line[:len(name)]), name) {
			return trim(line[len(name)+1:]), true
		}
	}
	return nil, false
}
