package http1

const (
	maxTrailerBytes  = 8 << 10 // whole section, with the empty line that ends it
	maxTrailerFields = 256
)

// trailer collects the section after the last chunk.
type trailer struct {
	buffer []byte
	fields []Field
	done   bool
}

// take reads the section on and returns how many bytes of b belong to it.
func (t *trailer) take(b []byte) (int, *Error) {
	if len(t.buffer) == 0 && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		t.done = true
		return 2, nil
	}
	before := len(t.buffer)
	n := min(len(b), maxTrailerBytes-before)
	t.buffer = append(t.buffer, b[:n]...)
	var h head
	fields, end, e := h.scan(t.buffer, 0, t.fields[:0], maxTrailerFields, 0)
	t.fields = fields
	switch {
	case e == nil:
		t.done = true
		t.keepAllowed()
		return end - before, nil
	case e == errMore && len(t.buffer) < maxTrailerBytes:
		return n, nil
	default:
		return 0, ErrTrailer
	}
}

// keepAllowed drops the fields that no trailer may be.
func (t *trailer) keepAllowed() {
	kept := t.fields[:0]
	for _, f := range t.fields {
		if ValidTrailer(f.Name) {
			kept = append(kept, f)
		}
	}
	t.fields = kept
}

// ValidTrailer reports whether a field of this name may be a trailer: a token that has no say in
// framing, routing, credentials, cookies or the handling of the content (RFC 9110 §6.5.1).
func ValidTrailer[T ~string | ~[]byte](name T) bool {
	if !ValidName(name) || KindOf(name) != Other || forwardedName(name) {
		return false
	}
	for _, forbidden := range neverTrailers {
		if equalFold(name, forbidden) {
			return false
		}
	}
	return true
}

// neverTrailers are forbidden besides all known kinds and X-Forwarded-*.
var neverTrailers = [...]string{
	"accept-encoding",
	"age",
	"authentication-info",
	"authorization",
	"cache-control",
	"content-encoding",
	"content-location",
	"content-range",
	"content-type",
	"cookie",
	"cookie2",
	"expires",
	"if-match",
	"if-modified-since",
	"if-none-match",
	"if-range",
	"if-unmodified-since",
	"location",
	"max-forwards",
	"pragma",
	"proxy-authentication-info",
	"range",
	"set-cookie",
	"set-cookie2",
	"vary",
	"via",
	"warning",
	"www-authenticate",
	"x-forwarded",
	"x-real-ip",
}
