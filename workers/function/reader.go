package function

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/fnpod/fnpod/workers/protocol"
)

// reader is who reads the parent's frames.
//
// At first that is the goroutine of Serve, which runs the handler itself: one blocking read and one write for a small request, and no
// change of goroutines. When a handler wants to know what the parent says meanwhile (the rest of a body, credit, whether anybody still
// waits), a goroutine of its own takes over for good, and every handler gets one, too.
type reader struct {
	buf        []byte // buf[start:end] was read and not yet taken
	start, end int
	file       *os.File      // the pipe on the poller; nil: it is read by blocking
	over       chan struct{} // closed when the goroutine that took over has ended; nil: none has; guarded by worker.mu
	drain      bool          // what it has ended with
	err        error
}

// usePoller makes reads wait without a thread. Only our end of the pipe is changed.
func (w *worker) usePoller() error {
	if err := syscall.SetNonblock(w.in, true); err != nil {
		return fmt.Errorf("request pipe: %w", err)
	}
	w.reader.file = os.NewFile(uintptr(w.in), "requests")
	return nil
}

// listen makes a goroutine read from now on. Any goroutine may call it, as often as it likes; after the call it does nothing.
func (c *call) listen() {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.reader
	if w.calls[c.id] != c || r.file != nil {
		return
	}
	if w.usePoller() != nil {
		return // then what the parent says is heard when the handler has returned
	}
	r.over = make(chan struct{})
	go func() {
		defer close(r.over)
		r.drain, r.err = w.read(false)
	}()
}

// read takes frames until there will be no more; drain tells that the parent wants to hear BYE. inline tells to run handlers here.
func (w *worker) read(inline bool) (drain bool, err error) {
	defer func() {
		if !drain {
			w.each(func(c *call) { c.cancel(errParentGone) })
		}
	}()
	r := &w.reader
	for {
		f, need, err := parseFrame(r.buf[r.start:r.end])
		if err != nil {
			return false, err
		}
		if need <= r.end-r.start {
			r.start += need
			if over, err := w.take(&f, inline); over || err != nil {
				return f.typ == protocol.Drain, err
			}
			if inline && w.takenOver() {
				<-r.over
				return r.drain, r.err
			}
			continue
		}
		if r.start > 0 || need > len(r.buf) {
			into := r.buf
			if need > len(r.buf) {
				into = make([]byte, need)
			}
			r.start, r.end, r.buf = 0, copy(into, r.buf[r.start:r.end]), into
		}
		n, err := w.more(r.buf[r.end:])
		r.end += n
		switch {
		case err != nil:
			return false, fmt.Errorf("request pipe: %w", err)
		case n == 0 && r.end == 0:
			return false, nil
		case n == 0:
			return false, fmt.Errorf("%w: request pipe ended inside a frame", errProtocol)
		}
	}
}

func (w *worker) takenOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reader.over != nil
}

// more reads what there is; nothing at the end.
func (w *worker) more(p []byte) (int, error) {
	if f := w.reader.file; f != nil {
		n, err := f.Read(p)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	for {
		n, err := syscall.Read(w.in, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
