package function

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/fnpod/fnpod/workers/protocol"
)

// answer is the http.ResponseWriter of a call. It holds the body back until the handler returns, there is more than the
// lane has room for, or Flush is called.
type answer struct {
	c      *call
	header http.Header // the handler's
	status int         // 0: WriteHeader was not called
	head   []byte      // the header as pairs, as it was then
	typed  bool        // the content type is there, or not wanted
	held   []byte      // written and not sent
	begun  bool        // the head was sent
	err    error       // why nothing is sent any more
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter. Interim answers are left out.
func (a *answer) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
		a.note()
	}
}

// Write implements http.ResponseWriter. It waits while the client takes nothing, and fails when nobody wants the answer.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.err != nil {
		return 0, a.err
	}
	if !a.begun && a.hold(p) {
		return len(p), nil
	}
	if !a.begun {
		a.Flush()
	}
	a.stream(p)
	if a.err != nil {
		return 0, a.err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (a *answer) WriteString(s string) (int, error) { return a.Write([]byte(s)) }

// hold keeps p if there is room: in memory of ours, and beyond what a frame may carry in the lane, where it lies right then.
func (a *answer) hold(p []byte) bool {
	size := len(a.held) + len(p)
	window := a.c.w.answers()
	switch {
	case size <= protocol.Inline:
		a.held = append(a.held, p...)
	case size > len(window):
		return false
	case len(a.held) <= protocol.Inline: // not in the lane yet
		a.held = append(append(window[:0], a.held...), p...)
	default:
		a.held = append(a.held, p...)
	}
	return true
}

// Flush implements http.Flusher: what there is goes to the client now.
func (a *answer) Flush() {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.err != nil || a.begun {
		return
	}
	a.begun = true
	if a.err = a.c.cancelled(); a.err != nil {
		return
	}
	var meta []byte
	if meta, a.err = a.meta(); a.err != nil {
		return
	}
	a.c.w.send(append(appendHeader(nil, protocol.Response, protocol.FlagMore, uint16(a.status), a.c.id, len(meta), 0), meta...))
	a.stream(a.held)
	a.held = nil
}

// stream sends a piece of the body, as the parent can take it.
func (a *answer) stream(p []byte) {
	for len(p) > 0 && a.err == nil {
		var n int
		if n, a.err = a.c.spend(len(p)); n > 0 {
			f := appendHeader(make([]byte, 0, protocol.HeaderSize+n), protocol.Data, protocol.FlagMore, 0, a.c.id, 0, n)
			a.c.w.send(append(f, p[:n]...))
			p = p[n:]
		}
	}
}

// finish ends the answer; an error tells that there is none.
func (a *answer) finish() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.err == nil {
		a.err = a.c.cancelled()
	}
	if a.err != nil {
		return a.err
	}
	if a.begun {
		a.c.w.send(appendHeader(nil, protocol.Data, 0, 0, a.c.id, 0, 0))
		return nil
	}
	meta, err := a.meta()
	if err != nil {
		return err
	}
	var flags uint8
	body := a.held
	if len(body) > protocol.Inline { // it lies in the lane
		flags, body = protocol.FlagLane, nil
	}
	f := make([]byte, 0, protocol.HeaderSize+len(meta)+len(body))
	f = appendHeader(f, protocol.Response, flags, uint16(a.status), a.c.id, len(meta), len(a.held))
	a.c.w.send(append(append(f, meta...), body...))
	return nil
}

// clean makes of a value one that is legal, as net/http does.
var clean = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

// illegal tells characters that a name of a field must not have.
func illegal(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

var errHead = fmt.Errorf("the handler has set more than %d bytes of headers", protocol.MostMeta)

// note keeps the header as pairs: what the handler does to it later is for nobody. What has no legal name is left out.
func (a *answer) note() {
	_, a.typed = a.header["Content-Type"]
	a.typed = a.typed || a.header.Get("Content-Encoding") != ""
	for name, values := range a.header {
		if name == "" || strings.ContainsFunc(name, illegal) {
			continue
		}
		name = strings.ToLower(name)
		for _, v := range values {
			a.add(name, clean.Replace(v))
		}
	}
}

func (a *answer) add(name, value string) {
	if len(a.head) > 0 {
		a.head = append(a.head, 0)
	}
	a.head = append(append(append(a.head, name...), 0), value...)
}

// meta is the head as it is sent: with a content type as net/http finds it, if the handler has given none.
func (a *answer) meta() ([]byte, error) {
	if !a.typed && len(a.held) > 0 {
		a.add("content-type", http.DetectContentType(a.held))
	}
	if len(a.head) > protocol.MostMeta {
		return nil, errHead
	}
	return a.head, nil
}
