// Package http1 is a strict HTTP/1.1 codec on byte slices. It does no input or output.
//
// A message either has exactly one legal reading or is refused: Request.Parse and Response.Parse
// read a head in one pass, Chunked decodes a chunked body in place, the Append functions write
// what goes on. Every byte of a field line is checked before the line may be forwarded as it
// stands; request line, status line and framing are always written anew.
//
// Refusals are predeclared *Error values. They depend on the bytes alone, never on how the bytes
// were cut into reads: a malformed byte is refused as soon as it is seen, and a longer input that
// starts the same way is refused with the same error. In steady state nothing allocates.
//
// Values of these types are used by one goroutine at a time.
package http1
