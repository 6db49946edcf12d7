package http2

import (
	"encoding/binary"
	"slices"
)

// symbols is the code of RFC 7541 appendix B. It is canonical: codes of one length are consecutive numbers in the order
// of their bytes, and the next length goes on where the last one ended. What is left over, 30 ones, is the end of string.
var symbols = [...]struct {
	bits  int
	bytes string
}{
	{5, "012aceiost"},
	{6, " %-./3456789=A_bdfghlmnpru"},
	{7, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"},
	{8, "&*,;XZ"},
	{10, "!\"()?"},
	{11, "'+|"},
	{12, "#>"},
	{13, "\x00$@[]~"},
	{14, "^}"},
	{15, "<`{"},
	{19, "\\\xc3\xd0"},
	{20, "\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"},
	{21, "\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"},
	{22, "\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9"},
	{23, "\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef"},
	{24, "\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"},
	{25, "\xc7\xcf\xea\xeb"},
	{26, "\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"},
	{27, "\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"},
	{28, "\x02\x03\x04\x05\x06\a\b\v\f\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9"},
	{30, "\n\r\x16"},
}

// code is a byte and the length of its code.
type code struct {
	symbol byte
	bits   uint8
}

// span is the codes of one length: those with the 30 bits from first up to, not with, end.
type span struct {
	first, end uint32
	bits       uint8
	bytes      string
}

// short has the code that the next 8 bits begin with. Every byte that headers are made of is there; the others have 0
// bits and are found in long, in the order of length.
var short, long = func() (short [256]code, long []span) {
	next := uint32(0)
	for _, s := range symbols {
		first := next
		for _, c := range []byte(s.bytes) {
			if s.bits <= 8 {
				for i := next >> 22; i < (next+1<<(30-s.bits))>>22; i++ {
					short[i] = code{c, uint8(s.bits)}
				}
			}
			next += 1 << (30 - s.bits)
		}
		if s.bits > 8 {
			long = append(long, span{first, next, uint8(s.bits), s.bytes})
		}
	}
	return short, long
}()

// appendExpanded appends what the Huffman code in src stands for, RFC 7541 §5.2. It is false when the code is broken
// off, has the end of string in it, or is padded with more than 7 bits or other bits than ones.
func appendExpanded(dst, src []byte) ([]byte, bool) {
	w := len(dst)
	dst = slices.Grow(dst, len(src)*8/5)
	dst = dst[:cap(dst)]
	var acc uint64 // bits that were read and not used, the next one on top
	var n uint     // how many
	for len(src) >= 8 {
		acc |= binary.BigEndian.Uint64(src) >> n
		src = src[(63-n)>>3:]
		for n |= 56; n >= 30; w++ {
			c := short[acc>>56]
			if c.bits == 0 {
				if c = longCode(acc); c.bits == 0 {
					return dst[:w], false
				}
			}
			dst[w] = c.symbol
			acc <<= c.bits & 63
			n -= uint(c.bits)
		}
	}
	for {
		for ; n <= 56 && len(src) > 0; src = src[1:] {
			acc |= uint64(src[0]) << (56 - n)
			n += 8
		}
		padded := acc | ^uint64(0)>>n
		c := short[padded>>56]
		if c.bits == 0 {
			c = longCode(padded)
		}
		if c.bits == 0 || uint(c.bits) > n {
			return dst[:w], n < 8 && padded == ^uint64(0)
		}
		dst[w] = c.symbol
		w++
		acc <<= c.bits & 63
		n -= uint(c.bits)
	}
}

// longCode finds a code of more than 8 bits at the top of acc. The end of string has 0 bits.
func longCode(acc uint64) code {
	top := uint32(acc >> 34)
	for i := range long {
		if s := &long[i]; top < s.end {
			return code{s.bytes[(top-s.first)>>(30-s.bits)], s.bits}
		}
	}
	return code{}
}
