package http1

import "strings"

// Field is one checked header or trailer field. Its slices belong to the buffer that was parsed
// and are valid as long as its bytes are; nothing may be appended to them.
type Field struct {
	Name  []byte // as it was spelled
	Value []byte // without surrounding spaces and tabs; may be empty
	Line  []byte // the whole line as it may be forwarded, "Name: value\r\n"
	Kind  Kind
	Hop   bool // not to be forwarded
}

// Find returns the value of the first field of kind k and how many there are. Fields that are not
// to be forwarded count too.
func Find(fields []Field, k Kind) (value []byte, n int) {
	for i := range fields {
		if fields[i].Kind != k {
			continue
		}
		if n == 0 {
			value = fields[i].Value
		}
		n++
	}
	return value, n
}

// FindName returns the value of the first field with a name, in any case, for names that are no
// Kind. Fields that are not to be forwarded count too.
func FindName(fields []Field, name string) (value []byte, ok bool) {
	for i := range fields {
		if strings.EqualFold(string(fields[i].Name), name) {
			return fields[i].Value, true
		}
	}
	return nil, false
}

// AppendFields appends the lines of all fields that may be forwarded. Lines that are neighbours in
// the parsed buffer are copied together.
func AppendFields(dst []byte, fields []Field) []byte {
	var run []byte
	for i := range fields {
		if fields[i].Hop {
			continue
		}
		line := fields[i].Line
		if follows(run, line) {
			run = run[:len(run)+len(line)]
			continue
		}
		dst = append(dst, run...)
		run = line
	}
	return append(dst, run...)
}

// follows reports whether next starts in memory where run ends.
func follows(run, next []byte) bool {
	if len(next) == 0 || cap(run)-len(run) < len(next) {
		return false
	}
	return &run[:len(run)+1][len(run)] == &next[0]
}

// AppendField appends "name: value\r\n". Foreign names and values have to pass ValidName and
// ValidValue first.
func AppendField[T ~string | ~[]byte](dst []byte, name string, value T) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// ValidName reports whether name is a token and so may be a field name or a method.
func ValidName[T ~string | ~[]byte](name T) bool {
	for i := range len(name) {
		if class[name[i]]&token == 0 {
			return false
		}
	}
	return len(name) > 0
}

// ValidValue reports whether value may be a field value: visible bytes, spaces, tabs and bytes
// from 0x80 up. The empty value is valid.
func ValidValue[T ~string | ~[]byte](value T) bool {
	for i := range len(value) {
		if class[value[i]]&text == 0 {
			return false
		}
	}
	return true
}
