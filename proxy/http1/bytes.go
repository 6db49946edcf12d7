package http1

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// Classes of a byte; a byte may be in several.
const (
	token      = 1 << iota // field name and method, RFC 9110 §5.6.2
	underscore             // '_', which is a token byte too
	text                   // field value: visible, space, tab, 0x80 and up
	target                 // request target: as text without space, tab and '#'
	regName                // host without port: letters, digits, ".-_"
	digit
	hex
)

var class = func() (t [256]uint8) {
	for i := range t {
		t[i] = classOf(byte(i))
	}
	return t
}()

func classOf(c byte) (class uint8) {
	letter := 'a' <= c|0x20 && c|0x20 <= 'z'
	decimal := '0' <= c && c <= '9'
	if letter || decimal || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
		class |= token
	}
	if c == '_' {
		class |= underscore
	}
	if c >= 0x20 && c != 0x7f || c == '\t' {
		class |= text
	}
	if c > 0x20 && c != 0x7f && c != '#' {
		class |= target
	}
	if letter || decimal || strings.IndexByte(".-_", c) >= 0 {
		class |= regName
	}
	if decimal {
		class |= digit
	}
	if decimal || 'a' <= c|0x20 && c|0x20 <= 'f' {
		class |= hex
	}
	return class
}

// toLower folds ASCII letters.
var toLower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] |= 0x20
		}
	}
	return t
}()

// tokenEnd returns the index of the first byte that is not a token byte, or len(b), and the
// classes of all before it.
func tokenEnd(b []byte) (n int, all uint8) {
	for n, c := range b {
		if class[c]&token == 0 {
			return n, all
		}
		all |= class[c]
	}
	return len(b), all
}

const ones, high = 0x0101010101010101, 0x8080808080808080

// textEnd returns the index of the first byte at or after i that is not text, or len(b).
func textEnd(b []byte, i int) int {
	rest := b[i:]
	for len(rest) >= 16 {
		first, second := textBits(rest), textBits(rest[8:16])
		if first&second&high == high {
			rest = rest[16:]
			continue
		}
		n := bits.TrailingZeros64(^first&high) >> 3
		if n == 8 {
			n += bits.TrailingZeros64(^second&high) >> 3
		}
		if rest[n] != '\t' {
			return len(b) - len(rest) + n
		}
		rest = rest[n+1:]
	}
	for n, c := range rest {
		if class[c]&text == 0 {
			return len(b) - len(rest) + n
		}
	}
	return len(b)
}

// textBits looks at eight bytes at once. The high bit of a byte in the result is set if the byte
// is text, tab excepted. Adding 1 modulo 128 puts 0x7f in front of the control bytes, the next
// sum then reaches 0x80 from 0x20 up; neither carries into the next byte.
func textBits(b []byte) uint64 {
	x := binary.LittleEndian.Uint64(b)
	next := (x&^high + ones) &^ high
	return next + (0x80-0x21)*ones | x
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// trim cuts spaces and tabs off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && blank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// item cuts the first element off a comma-separated list.
func item(list []byte) (first, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}
