package hostile

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Field is a field or a trailer as it came.
type Field struct{ Name, Value string }

// String is the field as a line.
func (f Field) String() string { return f.Name + ": " + f.Value }

// message is what a strict reader found in bytes.
type message struct {
	start    string
	fields   []Field
	body     string
	trailers []Field
	size     int  // bytes of the whole message; 0 while it is not whole
	headSize int  // bytes of the head; 0 while that is not whole
	toClose  bool // the body ends with the connection
	chunked  bool
}

func (m *message) values(name string) (all []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

// violation is what no correct sender sends.
type violation string

func (v violation) Error() string { return string(v) }

func wrong(format string, args ...any) error { return violation(fmt.Sprintf(format, args...)) }

// readHead reads start line and fields. The error is a violation; without a whole head, size stays 0.
func (m *message) readHead(b []byte) error {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	m.start = lines[0]
	fields, err := readFields(lines[1:])
	m.fields, m.headSize = fields, end+4
	return err
}

func readFields(lines []string) (fields []Field, err error) {
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !isToken(name) {
			return fields, wrong("field line %q", l)
		}
		for i := range len(value) {
			if c := value[i]; c == 0 || c == '\r' || c == '\n' {
				return fields, wrong("byte %#x in the value of %s", c, name)
			}
		}
		fields = append(fields, Field{name, strings.Trim(value, " \t")})
	}
	return fields, nil
}

// hasControl reports whether a value has a byte that is legal nowhere in it, if harmless.
func (f Field) hasControl() bool {
	for i := range len(f.Value) {
		if c := f.Value[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// readBody reads a body framed by the fields of the head. Without framing there is none, unless untilClose.
func (m *message) readBody(b []byte, untilClose bool) error {
	lengths, codings := m.values("Content-Length"), m.values("Transfer-Encoding")
	rest := b[m.headSize:]
	switch {
	case len(lengths) > 1 || len(codings) > 1 || len(lengths)+len(codings) > 1:
		return wrong("several framing fields")
	case len(codings) == 1:
		if !strings.EqualFold(codings[0], "chunked") {
			return wrong("coding %q", codings[0])
		}
		m.chunked = true
		return m.readChunks(rest)
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || strings.HasPrefix(lengths[0], "+") {
			return wrong("length %q", lengths[0])
		}
		if uint64(len(rest)) >= n {
			m.body, m.size = string(rest[:n]), m.headSize+int(n)
		} else {
			m.body = string(rest)
		}
		return nil
	case untilClose:
		m.toClose, m.body = true, string(rest)
		return nil
	default:
		m.size = m.headSize
		return nil
	}
}

func (m *message) readChunks(b []byte) error {
	at := 0
	var body []byte
	for {
		end := bytes.Index(b[at:], []byte("\r\n"))
		if end < 0 {
			m.body = string(body)
			return nil
		}
		size, _, _ := strings.Cut(string(b[at:at+end]), ";")
		n, err := strconv.ParseUint(size, 16, 62)
		if err != nil {
			return wrong("chunk size %q", size)
		}
		at += end + 2
		if n == 0 {
			break
		}
		if uint64(len(b)-at) < n+2 {
			m.body = string(append(body, b[at:min(len(b), at+int(n))]...))
			return nil
		}
		body = append(body, b[at:at+int(n)]...)
		at += int(n)
		if string(b[at:at+2]) != "\r\n" {
			return wrong("%q after a chunk", b[at:at+2])
		}
		at += 2
	}
	m.body = string(body)
	return m.readTrailers(b, at)
}

func (m *message) readTrailers(b []byte, at int) (err error) {
	section := b[at:]
	if bytes.HasPrefix(section, []byte("\r\n")) {
		m.size = m.headSize + at + 2
		return nil
	}
	end := bytes.Index(section, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	m.trailers, err = readFields(strings.Split(string(section[:end]), "\r\n"))
	m.size = m.headSize + at + end + 4
	return err
}

// Seen is a request as it reached the function.
type Seen struct {
	Method, Target, Host string
	Body                 string
	Fields, Trailers     []Field
	Whole                bool   // with its end
	Bad                  string // what in it no correct server sends
}

// readRequest reads a request from the start of b. size is 0 while it is not whole; head tells that its head is.
func readRequest(b []byte) (seen Seen, size int, head bool) {
	var m message
	err := m.readHead(b)
	if m.headSize == 0 && err == nil {
		if len(b) > 64<<10 {
			seen.Bad = "head without an end"
		}
		return seen, 0, false
	}
	parts := strings.Split(m.start, " ")
	switch {
	case err != nil:
	case len(parts) != 3 || !isToken(parts[0]) || parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0":
		err = wrong("request line %q", m.start)
	case len(m.values("Host")) != 1 && parts[2] == "HTTP/1.1":
		err = wrong("hosts: %q", m.values("Host"))
	}
	if len(parts) == 3 {
		seen.Method, seen.Target = parts[0], parts[1]
	}
	if hosts := m.values("Host"); len(hosts) > 0 {
		seen.Host = hosts[0]
	}
	if err == nil {
		err = m.readBody(b, false)
	}
	seen.Fields, seen.Body, seen.Trailers = m.fields, m.body, m.trailers
	if err != nil {
		seen.Bad = err.Error()
		return seen, 0, true
	}
	seen.Whole = m.size > 0
	return seen, m.size, true
}

// Answer is an answer as the client saw it.
type Answer struct {
	Status   int
	Fields   []Field
	Body     string
	Trailers []Field
	Whole    bool
}

// Value returns the value of the first field of that name.
func (a Answer) Value(name string) string {
	for _, f := range a.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// readAnswer reads an answer from the start of b. size is 0 while it is not whole; ended tells that the connection
// ended well, which may be the end of a body.
func readAnswer(b []byte, toHEAD, ended bool) (a Answer, size int, err error) {
	var m message
	err = m.readHead(b)
	if err != nil || m.headSize == 0 {
		return a, 0, err
	}
	if len(m.start) < 12 || !strings.HasPrefix(m.start, "HTTP/1.") {
		return a, 0, wrong("status line %q", m.start)
	}
	a.Status, err = strconv.Atoi(m.start[9:12])
	if err != nil || a.Status < 100 || a.Status > 999 {
		return a, 0, wrong("status line %q", m.start)
	}
	a.Fields = m.fields
	if toHEAD || a.Status < 200 || a.Status == 204 || a.Status == 304 {
		a.Whole = true
		return a, m.headSize, nil
	}
	err = m.readBody(b, true)
	if m.toClose && ended {
		m.size = len(b)
	}
	a.Body, a.Trailers, a.Whole = m.body, m.trailers, m.size > 0
	return a, m.size, err
}
