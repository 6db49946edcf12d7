package nuclio

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
)

// Fields by which a function lets a file be sent, in place of the body of its answer. No client sees them.
const (
	fileField   = "X-Nuclio-Filestream-Path"
	removeField = "X-Nuclio-Filestream-Delete-After-Send"
)

const plainText = "text/plain; charset=utf-8"

// Exchange is a request of an http trigger as workers see it, and its answer as clients of Nuclio know it. The head of
// the answer is kept until its body begins, because a field may say that the body is a file. It is used like the
// proxy.Exchange that it is made of.
type Exchange struct {
	*proxy.Exchange

	scheme string
	status int
	length int64
	fields []byte // name, NUL, value, NUL and so on
	typed  bool   // there is a Content-Type
	begun  bool   // the head is complete
	file   string // to be sent; empty: the body of the worker
	remove bool   // the file, when it was sent
}

var spare = sync.Pool{New: func() any { return &Exchange{} }}

// Run lets a worker answer a request of this trigger. do must not keep the Exchange.
func (src *Source) Run(x *proxy.Exchange, do func(*Exchange) error) error {
	e := spare.Get().(*Exchange)
	*e = Exchange{Exchange: x, scheme: src.scheme, fields: e.fields[:0]}
	err := do(e)
	e.Exchange = nil
	spare.Put(e)
	return err
}

// Scheme tells the worker which trigger the request comes from.
func (e *Exchange) Scheme() string { return e.scheme }

// Respond keeps the status.
func (e *Exchange) Respond(status int, length int64) {
	e.status, e.length = status, length
	e.fields, e.typed, e.begun, e.file, e.remove = e.fields[:0], false, false, "", false
}

// AddField keeps a field, under its canonical name. Length and date of an answer are ours.
func (e *Exchange) AddField(name, value []byte) error {
	switch kind := http1.KindOf(name); {
	case kind == http1.Date || kind == http1.ContentLength || kind.HopByHop():
		return nil
	case len(name) == len(fileField) && bytes.EqualFold(name, []byte(fileField)):
		e.file = string(value)
		return nil
	case len(name) == len(removeField) && bytes.EqualFold(name, []byte(removeField)):
		e.remove = true
		return nil
	case !http1.ValidName(name) || !http1.ValidValue(value):
		return e.Exchange.AddField(name, value) // which says why
	}
	e.typed = e.typed || len(name) == len("Content-Type") && bytes.EqualFold(name, []byte("Content-Type"))
	e.fields = appendCanonical(e.fields, name)
	e.fields = append(e.fields, 0)
	e.fields = append(e.fields, value...)
	e.fields = append(e.fields, 0)
	return nil
}

// appendCanonical appends a name, which is a token, with a capital where a word begins.
func appendCanonical(dst, name []byte) []byte {
	first := true
	for _, c := range name {
		switch {
		case first && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case !first && 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		first = c == '-'
		dst = append(dst, c)
	}
	return dst
}

// Write takes bytes of the body.
func (e *Exchange) Write(p []byte) (int, error) {
	if e.file != "" {
		return len(p), nil
	}
	if err := e.begin(e.status, e.length); err != nil {
		return 0, err
	}
	return e.Exchange.Write(p)
}

// Finish ends the answer, with the file if there is one.
func (e *Exchange) Finish() error {
	if e.file != "" {
		return e.sendFile()
	}
	if err := e.begin(e.status, e.length); err != nil {
		return err
	}
	return e.Exchange.Finish()
}

// begin hands the head over, once.
func (e *Exchange) begin(status int, length int64) error {
	if e.begun {
		return nil
	}
	e.begun = true
	e.Exchange.Respond(status, length)
	for rest := e.fields; len(rest) > 0; {
		var name, value []byte
		name, rest, _ = bytes.Cut(rest, []byte{0})
		value, rest, _ = bytes.Cut(rest, []byte{0})
		if err := e.Exchange.AddField(name, value); err != nil {
			return err
		}
	}
	if !e.typed && length != 0 {
		return e.Exchange.AddField([]byte("Content-Type"), []byte(plainText))
	}
	return nil
}

// sendFile sends the file that the function has named.
func (e *Exchange) sendFile() error {
	f, err := os.Open(e.file)
	if err == nil {
		defer func() { _ = f.Close() }() // only read
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
			err = fs.ErrInvalid
		}
	}
	if err != nil {
		status := 500
		if errors.Is(err, fs.ErrNotExist) {
			status = 404
		}
		e.fields, e.typed = e.fields[:0], true
		if err := e.begin(status, 0); err != nil {
			return err
		}
		return e.Exchange.Finish()
	}
	if err := e.begin(e.status, -1); err != nil {
		return err
	}
	if _, err := io.Copy(e.Exchange, f); err != nil {
		return err
	}
	if err := e.Exchange.Finish(); err != nil {
		return err
	}
	if e.remove {
		return os.Remove(e.file)
	}
	return nil
}
