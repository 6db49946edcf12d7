package http2

import "errors"

// ErrCompression says that a field block is malformed. The connection can not go on: COMPRESSION_ERROR of RFC 9113 §4.3.
var ErrCompression = errors.New("http2: malformed field block")

const (
	// defaultTable is the size that an encoder begins with, in bytes: the first value of SETTINGS_HEADER_TABLE_SIZE.
	defaultTable = 4096

	// keepScratch is how much room for expanded strings outlives a block, in bytes.
	keepScratch = 16 << 10
)

// First bytes of the representations of RFC 7541 §6, and the bits of the integer that starts in the same byte.
const (
	indexed, indexedBits   = 0x80, 0x7f
	insert, insertBits     = 0x40, 0x3f // literal with incremental indexing
	resize, resizeBits     = 0x20, 0x1f // dynamic table size update
	literal, literalBits   = 0x10, 0x0f // literal never indexed; 0x00, without indexing, is read as the same
	huffman, stringLenBits = 0x80, 0x7f
)

// Decoder decodes the field blocks of one direction of a connection. One goroutine at a time. The zero value is not
// usable, see NewDecoder. It owns memory alone: there is nothing to close.
type Decoder struct {
	table    table
	maxTable int
	scratch  []byte // name and value of the field at hand, where they are not bytes of the block
}

// NewDecoder returns a decoder for a peer to which we announced maxTable bytes of dynamic table
// (SETTINGS_HEADER_TABLE_SIZE, 4096 when we said nothing). The peer begins with 4096, or maxTable if that is less, and
// reaches more only by a size update. With less than 4096 the peer's blocks from before it saw our settings may be
// refused. Nothing is allocated for the table before its first entry.
func NewDecoder(maxTable int) *Decoder {
	return &Decoder{table: table{limit: min(defaultTable, maxTable)}, maxTable: maxTable}
}

// Decode decodes one whole block and calls emit for each field in order. name and value must not be modified and are
// valid until emit returns. Names are as the peer wrote them, nothing is checked. The error is ErrCompression and ends
// the connection; fields before the fault were emitted.
func (d *Decoder) Decode(block []byte, emit func(name, value []byte)) error {
	first := true // no field yet: size updates stand at the start of a block, §4.2
	for i := 0; i < len(block); {
		var name, value []byte
		var ok bool
		switch b := block[i]; {
		case b >= indexed:
			var n int
			if n, i, ok = integer(block, i, indexedBits); !ok {
				return ErrCompression
			}
			if name, value, ok = d.table.field(n); !ok {
				return ErrCompression
			}
		case b >= insert:
			if name, value, i, ok = d.literal(block, i, insertBits); !ok {
				return ErrCompression
			}
			d.table.insert(name, value)
		case b >= resize:
			var n int
			if n, i, ok = integer(block, i, resizeBits); !ok || n > d.maxTable || !first {
				return ErrCompression
			}
			d.table.resize(n)
			continue
		default:
			if name, value, i, ok = d.literal(block, i, literalBits); !ok {
				return ErrCompression
			}
		}
		first = false
		emit(name, value)
	}
	if cap(d.scratch) > keepScratch {
		d.scratch = nil
	}
	return nil
}

// literal reads a representation with a literal value at i, RFC 7541 §6.2. Neither name nor value are memory of the
// dynamic table, so they outlive an insertion that evicts the entry of the name, §4.4.
func (d *Decoder) literal(block []byte, i int, mask byte) (name, value []byte, next int, ok bool) {
	d.scratch = d.scratch[:0]
	n, i, ok := integer(block, i, mask)
	switch {
	case !ok:
		return nil, nil, 0, false
	case n == 0:
		name, i, ok = d.text(block, i)
	case n < len(static):
		name = static[n].name
	default:
		name, _, ok = d.table.field(n)
		d.scratch = append(d.scratch, name...)
		name = d.scratch
	}
	if !ok {
		return nil, nil, 0, false
	}
	value, i, ok = d.text(block, i)
	return name, value, i, ok
}

// text reads a string literal at i, RFC 7541 §5.2. It is a part of the block or of d.scratch.
func (d *Decoder) text(block []byte, i int) (s []byte, next int, ok bool) {
	if i >= len(block) {
		return nil, 0, false
	}
	coded := block[i] >= huffman
	n, i, ok := integer(block, i, stringLenBits)
	if !ok || n > len(block)-i {
		return nil, 0, false
	}
	s, next = block[i:i+n], i+n
	if !coded {
		return s, next, true
	}
	start := len(d.scratch)
	d.scratch, ok = appendExpanded(d.scratch, s)
	return d.scratch[start:], next, ok
}

// integer reads an integer whose first bits are those of mask in block[i], RFC 7541 §5.1. i is below len(block). Four
// further bytes are the most: a number of more than 28 bits is larger than any index, length or table of ours.
func integer(block []byte, i int, mask byte) (n, next int, ok bool) {
	if b := block[i] & mask; b < mask {
		return int(b), i + 1, true
	}
	return longInteger(block, i+1, int(mask))
}

// longInteger reads the further bytes of an integer at i and adds them to n.
func longInteger(block []byte, i, n int) (_, next int, ok bool) {
	for shift := 0; shift < 28 && i < len(block); shift += 7 {
		b := block[i]
		i++
		n += int(b&0x7f) << shift
		if b < 0x80 {
			return n, i, true
		}
	}
	return 0, 0, false
}

// AppendField appends one field to a block and returns the extended buffer. name must be lower case already. The block
// depends on no state: it is an index of the static table when that has name and value, otherwise a literal without
// Huffman code that nobody puts into a table (§6.2.3), since whoever sent it to us may have wanted that.
func AppendField(dst, name, value []byte) []byte {
	i := staticIndex(name)
	if i == 0 {
		dst = append(dst, literal)
		dst = appendText(dst, name)
		return appendText(dst, value)
	}
	if n := staticPair(i, name, value); n != 0 {
		return append(dst, indexed|byte(n))
	}
	dst = appendInteger(dst, literal, literalBits, i)
	return appendText(dst, value)
}

// AppendStatus appends the field ":status" for a code from 100 to 999.
func AppendStatus(dst []byte, code int) []byte {
	digits := [3]byte{byte('0' + code/100), byte('0' + code/10%10), byte('0' + code%10)}
	if n := staticPair(statusIndex, static[statusIndex].name, digits[:]); n != 0 {
		return append(dst, indexed|byte(n))
	}
	return append(dst, literal|statusIndex, 3, digits[0], digits[1], digits[2])
}

// appendText appends a string literal as it is.
func appendText(dst, s []byte) []byte {
	dst = appendInteger(dst, 0, stringLenBits, len(s))
	return append(dst, s...)
}

// appendInteger appends n, the first of its bits beside those of kind.
func appendInteger(dst []byte, kind, mask byte, n int) []byte {
	if n < int(mask) {
		return append(dst, kind|byte(n))
	}
	dst = append(dst, kind|mask)
	for n -= int(mask); n >= 0x80; n >>= 7 {
		dst = append(dst, 0x80|byte(n))
	}
	return append(dst, byte(n))
}
