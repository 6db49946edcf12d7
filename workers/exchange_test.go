package workers_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

var (
	errGone     = errors.New("client gone")
	errDeadline = errors.New("deadline")
	errStopped  = errors.New("reading stopped")
)

// exchange is an Exchange without a client.
type exchange struct {
	request  http1.Request
	id       string
	deadline time.Duration
	body     []byte
	stream   io.Reader // instead of body

	mu    sync.Mutex
	stop  interface{ Interrupt() } // guarded by mu
	cause error                    // guarded by mu

	status   int
	length   int64
	fields   []string
	answer   bytes.Buffer
	keep     bool // the answer's bytes
	trailers []string
	finished bool
	writes   int
	onWrite  func(x *exchange, p []byte) (int, error)
}

func newExchange(target string) *exchange {
	x := &exchange{id: "id-1", keep: true}
	x.set("GET", target)
	return x
}

func post(target string, body []byte) *exchange {
	x := newExchange(target)
	x.set("POST", target)
	x.body = body
	x.request.Length, x.request.HasLength = int64(len(body)), true
	return x
}

// streamed is a request whose body is read piece by piece; length -1 is unknown.
func streamed(target string, r io.Reader, length int64) *exchange {
	x := post(target, nil)
	x.stream = r
	x.request.Length, x.request.HasLength = length, length >= 0
	return x
}

func (x *exchange) set(method, target string) {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: pod.example:8080\r\nX-Request-Id: spoofed\r\nUser-Agent: test\r\nX-One: 1\r\nX-One: 2\r\nConnection: keep-alive\r\n\r\n", method, target)
	if n, err := x.request.Parse([]byte(head), http1.DefaultLimits()); n != len(head) || err != nil {
		panic(fmt.Sprint("head not parsed: ", n, " ", err))
	}
}

// addRequestField adds a field to the request's head.
func (x *exchange) addRequestField(name, value string) {
	x.request.Fields = append(x.request.Fields, http1.Field{Name: []byte(name), Value: []byte(value)})
}

func (x *exchange) Request() *http1.Request  { return &x.request }
func (x *exchange) AppendID(b []byte) []byte { return append(b, x.id...) }
func (x *exchange) Peer() string             { return "192.0.2.1" }
func (x *exchange) Scheme() string           { return "http" }
func (x *exchange) Remaining() time.Duration { return x.deadline }
func (x *exchange) Body() ([]byte, bool)     { return x.body, x.stream == nil }

func (x *exchange) ReadBody(p []byte) (int, error) {
	n, err := x.stream.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (x *exchange) Continue() error { return nil }

// StopBody ends the body of a client that stalls; other readers do not wait.
func (x *exchange) StopBody(wait func()) {
	if client, ok := x.stream.(*io.PipeReader); ok {
		_ = client.CloseWithError(errStopped) // never fails
	}
	wait()
}

func (x *exchange) OnInterrupt(i interface{ Interrupt() }) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stop = i
	return x.cause
}

// interrupt is what the front door does.
func (x *exchange) interrupt(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return
	}
	x.cause = cause
	if x.stop != nil {
		x.stop.Interrupt()
	}
}

func (x *exchange) Respond(status int, length int64) {
	if x.status != 0 {
		panic("second answer")
	}
	x.status, x.length = status, length
}

func (x *exchange) AddField(name, value []byte) error {
	if !http1.ValidName(name) || !http1.ValidValue(value) {
		return http1.ErrAnswer
	}
	if x.keep {
		x.fields = append(x.fields, string(name)+": "+string(value))
	}
	return nil
}

func (x *exchange) Write(p []byte) (int, error) {
	x.writes++
	if x.onWrite != nil {
		return x.onWrite(x, p)
	}
	if x.keep {
		return x.answer.Write(p)
	}
	return len(p), nil
}

func (x *exchange) AddTrailer(name, value []byte) error {
	x.trailers = append(x.trailers, string(name)+": "+string(value))
	return nil
}

func (x *exchange) Finish() error {
	if x.finished {
		panic("finished twice")
	}
	x.finished = true
	return nil
}

// again makes x ready for the same request.
func (x *exchange) again() {
	x.status, x.length, x.finished, x.writes = 0, 0, false, 0
	x.fields = x.fields[:0]
	x.answer.Reset()
}

// text returns the answer's body.
func (x *exchange) text() string { return strings.TrimSpace(x.answer.String()) }
