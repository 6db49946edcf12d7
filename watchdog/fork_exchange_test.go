package watchdog_test

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/fnpod/fnpod/proxy/http1"
)

var (
	errGone    = errors.New("client gone")
	errLate    = errors.New("deadline")
	errStopped = errors.New("reading stopped")
)

// exchange is an Exchange without a client.
type exchange struct {
	request http1.Request
	body    []byte
	stream  io.Reader // instead of body

	mu    sync.Mutex
	stop  interface{ Interrupt() } // guarded by mu
	cause error                    // guarded by mu

	status   int
	length   int64
	fields   []string
	answer   bytes.Buffer
	size     int64 // of the answer
	discard  bool  // the answer
	finished bool
	writes   int
	onWrite  func(p []byte) error
	onBody   func() // before each read of the body
}

// newExchange is a request with fields, each "Name: value".
func newExchange(line string, fields ...string) *exchange {
	x := &exchange{}
	head := line + " HTTP/1.1\r\nHost: pod.example:8080\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	limits := http1.DefaultLimits()
	limits.HeadBytes = 128 << 10
	if n, err := x.request.Parse([]byte(head+"\r\n"), limits); n != len(head)+2 || err != nil {
		panic("head not parsed")
	}
	return x
}

func post(body []byte) *exchange {
	x := newExchange("POST /")
	x.body = body
	x.request.Length, x.request.HasLength = int64(len(body)), true
	return x
}

// streamed is a request whose body is read piece by piece.
func streamed(r io.Reader) *exchange {
	x := newExchange("POST /")
	x.stream = r
	x.request.Length = -1
	return x
}

func (x *exchange) Request() *http1.Request  { return &x.request }
func (x *exchange) AppendID(b []byte) []byte { return append(b, "id-1"...) }
func (x *exchange) Peer() string             { return "192.0.2.1" }
func (x *exchange) Scheme() string           { return "http" }
func (x *exchange) Body() ([]byte, bool)     { return x.body, x.stream == nil }
func (x *exchange) Continue() error          { return nil }

func (x *exchange) ReadBody(p []byte) (int, error) {
	if x.onBody != nil {
		x.onBody()
	}
	n, err := x.stream.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

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

// running reports that there is something to interrupt.
func (x *exchange) running() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stop != nil
}

func (x *exchange) Respond(status int, length int64) {
	if x.status != 0 {
		panic("second answer")
	}
	x.status, x.length = status, length
}

func (x *exchange) AddField(name, value []byte) error {
	x.fields = append(x.fields, string(name)+": "+string(value))
	return nil
}

func (x *exchange) Write(p []byte) (int, error) {
	x.writes++
	x.size += int64(len(p))
	if x.onWrite != nil {
		if err := x.onWrite(p); err != nil {
			return 0, err
		}
	}
	if !x.discard {
		x.answer.Write(p)
	}
	return len(p), nil
}

func (x *exchange) Finish() error {
	if x.finished {
		panic("finished twice")
	}
	x.finished = true
	return nil
}
