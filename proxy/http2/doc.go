// Package http2 is the codec of HTTP/2: frames (RFC 9113) and field blocks (HPACK, RFC 7541). It does no I/O.
//
// Decoder turns the field blocks of a connection into names and values, the Append functions write blocks. A block has
// one legal reading or is refused with ErrCompression, after which both sides disagree about the table and the
// connection must end. Whether a field may be in a message is for the caller to judge. In steady state nothing allocates.
//
// Files in reading order: frame.go (frames), hpack.go (blocks), hpack_table.go (the static and the dynamic table), huffman.go (strings).
//
// Values of these types are used by one goroutine at a time.
package http2
