package http1

import (
	"encoding/binary"
	"math/bits"
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
	if letter || decimal || indexByte("!#$%&'*+-.^_`|~", c) >= 0 {
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
	if letter || decimal || indexByte(".-_", c) >= 0 {
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

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// textEnd returns the index of the first byte at or after i that is not text, or len(b).
// It looks at eight bytes at a time. In a word, each of the two tests below sets the high bit of
// every byte that is below 0x20 or equal to 0x7f; a borrow may set more of them, but only above a
// byte that is really hit, and only the lowest one is used.
func textEnd(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		y := x ^ 0x7f*ones
		hit := ((x-0x20*ones)&^x | (y-ones)&^y) & high
		if hit == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(hit) >> 3
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(b) && class[b[i]]&text != 0 {
		i++
	}
	return i
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
