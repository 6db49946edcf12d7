package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// Protocols by which a function is spoken to (HTTPBackend.Protocol).
const (
	ProtocolAuto  = "auto"  // HTTP/1.1, but HTTP/2 for requests of gRPC
	ProtocolHTTP1 = "http1" // HTTP/1.1
	ProtocolH2C   = "h2c"   // HTTP/2 without TLS, by prior knowledge
	ProtocolSame  = "same"  // the one that the client speaks
)

// overHTTP2 reports whether the request goes to the function by HTTP/2.
func (b *HTTPBackend) overHTTP2(x *Exchange) bool {
	switch st := x.c.stream; b.Protocol {
	case ProtocolH2C:
		return true
	case ProtocolSame:
		return st != nil && (!st.conn.upgraded || isGRPC(st.r.Header))
	case ProtocolHTTP1:
		return false
	default:
		return st != nil && isGRPC(st.r.Header)
	}
}

// transport speaks HTTP/2 to the function. It is made when it is first needed.
func (b *HTTPBackend) transport() *http.Transport {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.http2 != nil {
		return b.http2
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	b.http2 = &http.Transport{
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: headSlack << 14,
		IdleConnTimeout:        90 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, b.ConnectTimeout)
			defer cancel()
			nc, err := b.connect(ctx)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errConnect, err)
			}
			return nc, nil
		},
	}
	return b.http2
}

// doHTTP2 runs the request on a stream to the function. It is sent a second time
// only if the function has said that it did not look at the first (RFC 9113 §8.7).
func (b *HTTPBackend) doHTTP2(x *Exchange) error {
	err := b.tryHTTP2(x)
	if err == nil || !x.body.inMemory || x.answer.begun || !unprocessed(err) || x.c.guard.interrupted() != nil {
		return err
	}
	x.c.shard.Retries.Add(1)
	return b.tryHTTP2(x)
}

// unprocessed recognises the two refusals that net/http does not repeat by itself
// for a request with a body. It has no types for them.
func unprocessed(err error) bool {
	text := err.Error()
	return strings.Contains(text, "REFUSED_STREAM") || strings.Contains(text, "graceful shutdown GOAWAY")
}

func (b *HTTPBackend) tryHTTP2(x *Exchange) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if cause := x.OnInterrupt(cancelFunc(cancel)); cause != nil {
		return cause
	}
	body := &streamedBody{x: x}
	if x.body.inMemory {
		body.whole = bytes.NewReader(x.body.whole)
	} else {
		x.extendAnswerTime(never / 2)
	}
	if err := x.send100(); err != nil { // before another goroutine reads the body
		return err
	}
	err := b.roundTrip(ctx, cancel, x, body)
	cause := x.OnInterrupt(nil)
	switch {
	case x.answer.finished:
		return nil
	case x.body.err != nil:
		return x.body.err
	case cause != nil:
		return cause
	}
	return err
}

// roundTrip runs the request. Nothing uses x any more when it has ended.
func (b *HTTPBackend) roundTrip(ctx context.Context, cancel context.CancelFunc, x *Exchange, body *streamedBody) error {
	defer body.detach()
	defer cancel()
	resp, err := b.transport().RoundTrip(b.http2Request(ctx, x, body))
	if err != nil {
		return x.http2Failed(err)
	}
	defer resp.Body.Close() // resets the stream if it is not at its end
	return x.relayHTTP2(resp)
}

// http2Request is the request as net/http takes it: the head that a function gets by
// HTTP/1.1, taken apart.
func (b *HTTPBackend) http2Request(ctx context.Context, x *Exchange, body *streamedBody) *http.Request {
	head := x.appendRequest(x.answer.out[:0], b)
	x.answer.out = head[:0]
	h := http.Header{"User-Agent": nil} // none of net/http's own
	takeApart(head, h, false)
	if x.req.TETrailers {
		h["Te"] = []string{"trailers"}
	}
	x.setGRPCTimeout(h)
	host := string(x.req.Host)
	if host == "" {
		host = b.Address
	}
	target := b.Prefix + string(x.req.Target)
	if strings.HasPrefix(target, "//") { // which would be read as an authority
		target = "//" + host + target
	}
	r := &http.Request{
		Method: string(x.req.Method), Host: host, Header: h, Body: body, ContentLength: x.req.Length,
		URL: &url.URL{Scheme: "http", Host: "function", Opaque: target}, Proto: "HTTP/2.0", ProtoMajor: 2,
	}
	if x.body.inMemory {
		r.ContentLength = int64(len(x.body.whole))
	}
	r.Trailer = x.announced()
	body.trailer = r.Trailer
	if x.body.inMemory {
		body.fillTrailer()
	}
	return r.WithContext(ctx)
}

// announced are the names of trailers that the request says are to come. Others cannot go on: net/http wants to know them first. Those
// of a body in memory are there.
func (x *Exchange) announced() http.Header {
	var names [][]byte
	switch st := x.c.stream; {
	case x.body.inMemory:
		for _, f := range x.Trailers() {
			names = append(names, f.Name)
		}
	case st != nil:
		for name := range st.r.Trailer {
			names = append(names, []byte(name))
		}
	default:
		if list, n := http1.Find(x.req.Fields, http1.Trailer); n == 1 {
			names = bytes.Split(list, []byte{','})
		}
	}
	var h http.Header
	for _, name := range names {
		if name := string(textproto.TrimBytes(name)); http1.ValidName(name) && http1.ValidTrailer(name) {
			if h == nil {
				h = http.Header{}
			}
			h[textproto.CanonicalMIMEHeaderKey(name)] = nil
		}
	}
	return h
}

// relayHTTP2 passes the function's answer on.
func (x *Exchange) relayHTTP2(resp *http.Response) error {
	if resp.StatusCode < 200 || resp.StatusCode > 599 || !strings.HasPrefix(resp.Status, strconv.Itoa(resp.StatusCode)+" ") {
		return http1.ErrAnswerStatus
	}
	x.Respond(resp.StatusCode, resp.ContentLength)
	x.answer.dated = true
	size, fields := 0, 0
	for name, values := range resp.Header {
		for _, v := range values {
			size, fields = size+len(name)+len(v)+len(": \r\n"), fields+1
			if size > x.c.srv.limits.HeadBytes || fields > x.c.srv.limits.Fields {
				return http1.ErrAnswerSize
			}
			if err := x.AddField([]byte(name), []byte(v)); err != nil {
				return err
			}
		}
	}
	if resp.ContentLength < 0 { // nobody knows when a body will come
		if _, err := x.Write(nil); err != nil {
			return err
		}
	}
	for {
		n, err := resp.Body.Read(x.up)
		if n > 0 {
			if _, err := x.Write(x.up[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errCutAnswer, err)
		}
	}
	for name, values := range resp.Trailer {
		for _, v := range values {
			if err := x.AddTrailer([]byte(name), []byte(v)); err != nil {
				return err
			}
		}
	}
	return x.Finish()
}

// http2Failed names why there is no answer.
func (x *Exchange) http2Failed(err error) error {
	var reset streamReset
	var netErr net.Error
	switch {
	case errors.Is(err, errConnect):
		return err
	case errors.As(err, &reset) && x.c.srv.now() >= x.deadline-int64(time.Millisecond):
		return ErrTimeout // the function knows the deadline, too, and was faster
	case errors.As(err, &reset), strings.Contains(err.Error(), "stream error"):
		return fmt.Errorf("%w: %w", errReset, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &netErr),
		strings.Contains(err.Error(), "connection lost"):
		return fmt.Errorf("%w: %w", errEarlyClose, err)
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "HTTP/1"), strings.Contains(err.Error(), "frame"):
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	default:
		return fmt.Errorf("%w: %w", errEarlyClose, err)
	}
}

// streamReset has the fields of the error by which net/http tells of a stream that was
// reset; it fills any struct that has them.
type streamReset struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

// Error implements error.
func (streamReset) Error() string { return "stream reset" }

// streamedBody lets net/http read the request's body from a goroutine of its own,
// until detach takes the Exchange away from it.
type streamedBody struct {
	x       *Exchange
	whole   *bytes.Reader // the body when it is in memory
	trailer http.Header   // of the request: names, which get values at the end of the body

	mu       sync.Mutex // held while x is used by Read
	detached bool       // guarded by mu
	ended    atomic.Bool

	closing sync.Mutex // held while x is used by Close
	gone    bool       // guarded by closing: x may not be used
}

var errDetached = errors.New("the request has ended")

// Read implements io.Reader. An error makes net/http reset the stream: nothing cut
// looks whole.
func (r *streamedBody) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.detached:
		return 0, errDetached
	case r.whole != nil:
		return r.whole.Read(p)
	}
	defer func() {
		if bug := recover(); bug != nil {
			r.x.c.srv.log.Error("upload panicked", "request_id", r.x.ID(), "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
			r.x.c.shard.Panics.Add(1)
			n, err = 0, errPanic
		}
	}()
	n, err = r.x.ReadBody(p)
	if errors.Is(err, io.EOF) {
		r.fillTrailer()
		r.ended.Store(true)
		r.x.extendAnswerTime(r.x.c.srv.now())
	}
	return n, err
}

// fillTrailer gives the trailers that were announced their values.
func (r *streamedBody) fillTrailer() {
	for _, f := range r.x.Trailers() {
		key := textproto.CanonicalMIMEHeaderKey(string(f.Name))
		if _, ok := r.trailer[key]; ok {
			r.trailer[key] = append(r.trailer[key], string(f.Value))
		}
	}
}

// Close implements io.Closer. net/http calls it, maybe late, when it wants no more, and
// waits for a Read in progress, which may wait for a client that is silent.
func (r *streamedBody) Close() error {
	r.closing.Lock()
	defer r.closing.Unlock()
	if r.whole == nil && !r.gone && !r.ended.Load() {
		r.x.body.stopping.Store(true)
		r.x.c.client.stopReading()
	}
	return nil
}

// detach waits until the Exchange is not used any more. What is left of the body can
// still be read by its owner.
func (r *streamedBody) detach() {
	r.closing.Lock()
	r.gone = true
	r.closing.Unlock()
	wait := func() {
		r.mu.Lock()
		r.detached = true
		r.mu.Unlock()
	}
	if r.whole != nil {
		wait()
		return
	}
	r.x.StopBody(wait)
}
