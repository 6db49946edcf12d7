package http1

import "strconv"

const (
	maxChunkLine = 512      // size and extensions, without CR LF
	freeOverhead = 16 << 10 // extensions and leading zeros allowed without any body
)

// Chunked decodes a chunked body piece by piece. The zero value is ready for one body, Reset
// makes it ready for the next.
type Chunked struct {
	state    chunkState
	digits   int   // of the size read so far
	line     int   // bytes of the chunk line read so far
	left     int64 // bytes of the chunk to come
	body     int64 // bytes decoded so far
	overhead int64 // bytes of chunk lines so far that carry nothing
	failed   *Error
	trailer  trailer
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	afterLine // CR was read
	inData
	afterData
	afterDataCR
	inTrailer
	atEnd
)

// Reset makes the decoder ready for another body. Trailers of the last one become invalid.
func (d *Chunked) Reset() {
	kept := trailer{buffer: d.trailer.buffer[:0], fields: d.trailer.fields[:0]}
	*d = Chunked{trailer: kept}
}

// Done reports whether the whole body was decoded, trailers included.
func (d *Chunked) Done() bool { return d.state == atEnd }

// Trailers returns the trailers that may be forwarded. They are complete when Done is true, in
// memory of the decoder, and valid until Reset.
func (d *Chunked) Trailers() []Field {
	if !d.Done() {
		return nil
	}
	return d.trailer.fields
}

// Left returns how many bytes of the chunk that has begun are still to come; 0 between chunks.
func (d *Chunked) Left() int64 {
	if d.state != inData {
		return 0
	}
	return d.left
}

// Decode takes the next bytes of the body and moves the payload in them to the front: it is
// b[:payload] afterwards. Everything is consumed unless the body ends in b; the bytes from
// b[consumed:] are what follows the body, and they are untouched.
//
// With an error, a *Error that every later call repeats, payload and consumed are 0: nothing of
// such a piece may be used. How the body is cut into calls makes no difference to its outcome.
func (d *Chunked) Decode(b []byte) (payload, consumed int, err error) {
	if d.failed != nil {
		return 0, 0, d.failed
	}
	i := 0
	for i < len(b) && d.state != atEnd {
		var e *Error
		switch d.state {
		case inData:
			n := int(min(d.left, int64(len(b)-i)))
			if payload != i {
				copy(b[payload:], b[i:i+n])
			}
			payload += n
			i += n
			d.data(n)
		case inTrailer:
			var n int
			n, e = d.trailer.take(b[i:])
			i += n
			if e == nil && d.trailer.done {
				d.state = atEnd
			}
		default:
			e = d.step(b[i])
			i++
		}
		if e != nil {
			d.failed = e
			return 0, 0, e
		}
	}
	return payload, i, nil
}

// data counts n bytes of payload.
func (d *Chunked) data(n int) {
	d.body += int64(n)
	d.left -= int64(n)
	if d.left == 0 {
		d.state = afterData
	}
}

// step takes one byte of what is between the payload.
func (d *Chunked) step(c byte) *Error {
	switch d.state {
	case inSize:
		return d.size(c)
	case inExtension:
		return d.extension(c)
	case afterLine:
		return d.lineEnd(c)
	case afterData:
		return d.expect(c, '\r', afterDataCR)
	default:
		return d.expect(c, '\n', inSize)
	}
}

func (d *Chunked) expect(c, want byte, next chunkState) *Error {
	if c != want {
		return ErrChunk
	}
	d.state = next
	return nil
}

// size takes a byte of the chunk size.
func (d *Chunked) size(c byte) *Error {
	if class[c]&hex == 0 {
		return d.sizeEnd(c)
	}
	if d.line++; d.line > maxChunkLine || d.left > maxLength>>4 {
		return ErrChunk
	}
	if d.left == 0 && d.digits > 0 {
		d.overhead++ // a zero came before this digit
	}
	d.left = d.left<<4 | int64(unhex(c))
	d.digits++
	if d.left > maxLength {
		return ErrChunk
	}
	return nil
}

func (d *Chunked) sizeEnd(c byte) *Error {
	switch {
	case d.digits == 0:
		return ErrChunk
	case c == '\r':
		d.state = afterLine
		return nil
	case c == ';':
		d.state = inExtension
		return d.extension(c)
	default:
		return ErrChunk
	}
}

// extension takes a byte of the extensions, which mean nothing to us and are not passed on.
func (d *Chunked) extension(c byte) *Error {
	if c == '\r' {
		d.state = afterLine
		return nil
	}
	d.line++
	d.overhead++
	if c == '\t' || class[c]&text == 0 || d.line > maxChunkLine {
		return ErrChunk
	}
	return nil
}

// lineEnd ends a chunk line. Overhead is what a sender adds without need: the smallest possible
// line around a chunk is free, so that many small chunks are legal.
func (d *Chunked) lineEnd(c byte) *Error {
	if c != '\n' || d.overhead-freeOverhead > 2*d.body {
		return ErrChunk
	}
	d.state = inData
	if d.left == 0 {
		d.state = inTrailer
	}
	d.digits, d.line = 0, 0
	return nil
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&0x0f + 9
}

// AppendChunkHeader appends the line before a chunk of n bytes, "1f4\r\n". A chunk of 0 bytes
// ends the body: after its line come trailers and an empty line.
func AppendChunkHeader(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, '\r', '\n')
}
