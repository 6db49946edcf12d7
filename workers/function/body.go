package function

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"sync"

	"github.com/fnpod/fnpod/workers/protocol"
)

// lent is a body that came whole; in the lane it is the parent's again after the answer.
type lent struct {
	mu sync.Mutex
	r  *bytes.Reader // guarded by mu; nil after Close
}

func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return l.r.Read(p)
}

func (l *lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r = nil
	return nil
}

// body is one that comes in pieces. What was not read yet is bounded by the credit that the parent has.
type body struct {
	c *call

	mu     sync.Mutex
	more   sync.Cond
	unread bytes.Buffer // guarded by mu
	taken  int          // guarded by mu; bytes read and not yet granted again
	end    error        // guarded by mu; what comes after unread
}

func newBody(c *call, first []byte) *body {
	b := &body{c: c}
	b.more.L = &b.mu
	b.unread.Write(first)
	return b
}

// add takes a piece from the parent.
func (b *body) add(data []byte, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != nil {
		return
	}
	b.unread.Write(data)
	if last {
		b.end = io.EOF
	}
	b.more.Broadcast()
}

// fail makes every read return err.
func (b *body) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = err
	b.unread.Reset()
	b.more.Broadcast()
}

// Read implements io.Reader. The parent may send on as pieces are read.
func (b *body) Read(p []byte) (int, error) {
	b.c.listen()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.unread.Len() == 0 && b.end == nil && len(p) > 0 {
		b.more.Wait()
	}
	if b.unread.Len() == 0 && len(p) > 0 {
		return 0, b.end
	}
	n, _ := b.unread.Read(p) // there is something
	b.taken += n
	if b.taken >= protocol.GrantAfter && b.end == nil {
		f := appendHeader(nil, protocol.Window, 0, 0, b.c.id, 0, 4)
		b.c.w.send(binary.LittleEndian.AppendUint32(f, uint32(b.taken)))
		b.taken = 0
	}
	return n, nil
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.fail(http.ErrBodyReadAfterClose)
	return nil
}
