package http1

const (
	maxMethod     = 32
	maxBlankLines = 4 // empty lines ignored before a request
)

// line reads the request line and returns where the fields start.
func (r *Request) line(b []byte) (int, *Error) {
	i, e := blankLines(b)
	if e != nil {
		return 0, e
	}
	if i, e = r.method(b, i); e != nil {
		return 0, e
	}
	if i, e = r.target(b, i); e != nil {
		return 0, e
	}
	const usual = "HTTP/1.1\r\n"
	if len(b)-i >= len(usual) && string(b[i:i+len(usual)]) == usual {
		r.Minor = 1
		return i + len(usual), nil
	}
	return r.version(b, i)
}

// blankLines skips what some clients send after a body (RFC 9112 §2.2).
func blankLines(b []byte) (i int, e *Error) {
	for i < len(b) && b[i] == '\r' {
		if i >= 2*maxBlankLines {
			return 0, ErrRequestLine
		}
		if i, e = lineEnd(b, i, ErrRequestLine); e != nil {
			return 0, e
		}
	}
	return i, nil
}

// method reads up to and over the first space.
func (r *Request) method(b []byte, start int) (int, *Error) {
	n, _ := tokenEnd(b[start:min(len(b), start+maxMethod+1)])
	i := start + n
	switch {
	case n > maxMethod:
		return 0, ErrMethod
	case i == len(b):
		return 0, errMore
	case b[i] != ' ' && i > start && 0x20 < b[i] && b[i] < 0x7f:
		return 0, ErrMethod
	case b[i] != ' ' || i == start:
		return 0, ErrRequestLine
	}
	r.Method = b[start:i:i]
	switch string(r.Method) {
	case "CONNECT", "TRACE":
		return 0, ErrNotAllowed
	}
	return i + 1, nil
}

// target reads up to and over the second space.
func (r *Request) target(b []byte, start int) (int, *Error) {
	i := len(b)
	for n, c := range b[start:] {
		if class[c]&target == 0 {
			i = start + n
			break
		}
	}
	if i > start && !r.mayStart(b[start]) {
		return 0, ErrTarget
	}
	switch {
	case i == len(b):
		return 0, errMore
	case b[i] == '#' || b[i] == 0x7f || b[i] < 0x20 && !layout(b[i]):
		return 0, ErrTarget
	case b[i] != ' ' || i == start:
		return 0, ErrRequestLine
	}
	t := b[start:i:i]
	r.absolute = nil
	if t[0] == '/' {
		r.Target = t
		return i + 1, nil
	}
	return i + 1, r.otherForm(t)
}

// mayStart lets garbage be refused at its first byte.
func (r *Request) mayStart(c byte) bool {
	return c == '/' || c|0x20 == 'h' || c == '*' && string(r.Method) == "OPTIONS"
}

// layout reports whether c is one of the bytes that break a line into parts: its mistake is in
// the line, not in the target.
func layout(c byte) bool { return '\t' <= c && c <= '\r' }

// otherForm takes "*" and absolute targets apart (RFC 9112 §3.2).
func (r *Request) otherForm(t []byte) *Error {
	if string(t) == "*" {
		r.Target = t
		return nil
	}
	authority, rest, ok := splitAbsolute(t)
	if !ok || !validHost(authority) {
		return ErrTarget
	}
	r.absolute = authority
	switch {
	case len(rest) == 0:
		r.Target = r.noPath()
	case rest[0] == '/':
		r.Target = rest
	default:
		r.path = append(append(r.path[:0], '/'), rest...)
		r.Target = r.path
	}
	return nil
}

var root, asterisk = []byte("/"), []byte("*")

// noPath is the target for an absolute one that ends with its authority (RFC 9112 §3.2.4).
func (r *Request) noPath() []byte {
	if string(r.Method) == "OPTIONS" {
		return asterisk
	}
	return root
}

// splitAbsolute cuts "http://authority" off a target.
func splitAbsolute(t []byte) (authority, rest []byte, ok bool) {
	const plain, secure = "http://", "https://"
	switch {
	case len(t) >= len(plain) && equalFold(t[:len(plain)], plain):
		t = t[len(plain):]
	case len(t) >= len(secure) && equalFold(t[:len(secure)], secure):
		t = t[len(secure):]
	default:
		return nil, nil, false
	}
	i := 0
	for i < len(t) && t[i] != '/' && t[i] != '?' {
		i++
	}
	return t[:i:i], t[i:], true
}

// version reads the rest of the line byte by byte: the usual case did not match.
func (r *Request) version(b []byte, start int) (int, *Error) {
	const pattern = "HTTP/0.0\r\n" // 0 is any digit
	for i := range len(pattern) {
		if start+i == len(b) {
			return 0, errMore
		}
		c := b[start+i]
		if c != pattern[i] && (pattern[i] != '0' || class[c]&digit == 0) {
			return 0, ErrRequestLine
		}
	}
	if b[start+5] != '1' {
		return 0, ErrVersion
	}
	r.Minor = min(b[start+7]-'0', 1)
	return start + len(pattern), nil
}
