package function

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fnpod/fnpod/workers/protocol"
)

// positional is how many strings of a request come before its fields.
const positional = 6

// call is one request on its way through the worker.
type call struct {
	w    *worker
	id   uint32
	body *body // nil: it came whole
	end  context.CancelCauseFunc

	mu     sync.Mutex
	more   sync.Cond // signals credit and cause
	credit int       // guarded by mu; bytes of DATA that may be sent
	cause  error     // guarded by mu; why nobody wants the answer
}

// waiting is the context of a request: who waits for its end makes somebody listen for it.
type waiting struct {
	context.Context

	c *call
}

func (w waiting) Done() <-chan struct{} {
	w.c.listen()
	return w.Context.Done()
}

func (w waiting) Err() error {
	w.c.listen()
	return w.Context.Err()
}

// begin starts the handler of a request; with inline it runs here.
func (w *worker) begin(f *frame, inline bool) error {
	c := &call{w: w, id: f.id, credit: protocol.Credit}
	c.more.L = &c.mu
	var whole io.ReadCloser
	length := int64(f.size)
	switch {
	case f.flags&protocol.FlagLane != 0:
		if f.size > w.laneIn || w.memory == nil {
			return fmt.Errorf("%w: body of %d bytes in a lane of %d", errProtocol, f.size, w.laneIn)
		}
		whole = &lent{r: bytes.NewReader(w.memory[:f.size])}
	case f.flags&protocol.FlagMore != 0:
		c.body = newBody(c, f.body)
		whole, length = c.body, -1
	case f.size == 0:
		whole = http.NoBody
	default:
		whole = &lent{r: bytes.NewReader(bytes.Clone(f.body))}
	}
	r, err := c.request(string(f.meta), whole, length)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.calls[c.id] = c
	w.mu.Unlock()
	if inline {
		c.serve(r)
		return nil
	}
	w.running.Go(func() { c.serve(r) })
	return nil
}

// request is what the handler gets.
func (c *call) request(meta string, body io.ReadCloser, length int64) (*http.Request, error) {
	fields := strings.Split(meta, "\x00")
	if len(fields) < positional || (len(fields)-positional)%2 != 0 {
		return nil, fmt.Errorf("%w: request of %d strings", errProtocol, len(fields))
	}
	target := fields[1]
	if fields[2] != "" {
		target += "?" + fields[2]
	}
	_, host, _ := strings.Cut(fields[3], " ")
	r := &http.Request{
		Method: fields[0], RequestURI: target, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, (len(fields)-positional)/2), Body: body, ContentLength: length,
		RemoteAddr: fields[4] + ":0",
	}
	if strings.Contains(fields[4], ":") {
		r.RemoteAddr = "[" + fields[4] + "]:0"
	}
	for i := positional; i < len(fields); i += 2 {
		name := http.CanonicalHeaderKey(fields[i])
		if before := r.Header[name]; before != nil {
			r.Header[name] = append(before, fields[i+1])
			continue
		}
		r.Header[name] = fields[i+1 : i+2 : i+2] // no allocation for the one value that most have
	}
	if length < 0 {
		if n, err := strconv.ParseInt(r.Header.Get("Content-Length"), 10, 64); err == nil {
			r.ContentLength = n
		}
	}
	var err error
	if r.URL, err = url.ParseRequestURI(target); err != nil { // a path that net/http would not take either
		r.URL = &url.URL{Path: fields[1], RawQuery: fields[2]}
	}
	ctx, end := context.WithCancelCause(context.Background())
	c.end = end
	if fields[5] != "" {
		left, err := strconv.Atoi(fields[5])
		if err != nil {
			return nil, fmt.Errorf("%w: deadline %q", errProtocol, fields[5])
		}
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(left)*time.Millisecond)
		c.end = func(cause error) { end(cause); stop() }
	}
	return r.WithContext(waiting{ctx, c}), nil
}

// serve runs the handler and ends the answer.
func (c *call) serve(r *http.Request) {
	a := &answer{c: c, header: http.Header{}}
	defer func() {
		p := recover()
		_ = r.Body.Close() // what it reads is not ours any more after the answer
		c.end(nil)
		c.w.mu.Lock()
		delete(c.w.calls, c.id)
		c.w.mu.Unlock()
		if p != nil {
			c.panicked(p, debug.Stack())
			return
		}
		switch err := a.finish(); {
		case errors.Is(err, errHead):
			c.fail("UnusableResult", err.Error(), nil)
		case err != nil:
			c.fail("cancelled", err.Error(), nil)
		}
	}()
	c.w.handler.ServeHTTP(a, r)
}

// cancel tells everybody who waits for the call that nobody waits for it.
func (c *call) cancel(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.more.Broadcast()
	c.mu.Unlock()
	c.end(cause)
	if c.body != nil {
		c.body.fail(cause)
	}
}

// cancelled returns why nobody wants the answer, or nil.
func (c *call) cancelled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// grant adds what the parent allows us to send.
func (c *call) grant(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credit += n
	c.more.Broadcast()
}

// spend waits until at least one byte may be sent and returns how many of n are paid for.
func (c *call) spend(n int) (int, error) {
	c.listen()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.credit <= 0 && c.cause == nil {
		c.more.Wait()
	}
	if c.cause != nil {
		return 0, c.cause
	}
	n = min(n, protocol.Piece, c.credit)
	c.credit -= n
	return n, nil
}

// panicked answers for a handler that has panicked.
func (c *call) panicked(p any, stack []byte) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		stack = nil
	}
	const most = 8000
	if len(stack) > most {
		stack = stack[:most]
	}
	c.fail("panic", fmt.Sprint(p), stack)
}

// fail ends the request with an error; after the beginning of an answer that cuts it.
func (c *call) fail(kind, message string, trace []byte) {
	const most = 1000
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	meta := strings.Join([]string{"type", kind, "message", strings.ReplaceAll(message, "\x00", `\0`)}, "\x00")
	f := appendHeader(nil, protocol.Error, 0, http.StatusInternalServerError, c.id, len(meta), len(trace))
	c.w.send(append(append(f, meta...), trace...))
}
