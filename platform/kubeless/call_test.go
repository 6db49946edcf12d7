package kubeless_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/kubeless"
	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// exchange is an Exchange without a client.
type exchange struct {
	request  http1.Request
	body     []byte
	stream   io.Reader // instead of body
	status   int
	length   int64
	fields   []string
	answer   bytes.Buffer
	finished bool
}

func newExchange(t *testing.T, body string) *exchange {
	t.Helper()
	x := &exchange{body: []byte(body)}
	head := "POST /path?q=1 HTTP/1.1\r\nHost: pod\r\nEvent-Id: i\r\nContent-Length: 4\r\n\r\n"
	n, err := x.request.Parse([]byte(head), http1.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, len(head), n)
	return x
}

func (x *exchange) Request() *http1.Request                  { return &x.request }
func (*exchange) AppendID(b []byte) []byte                   { return append(b, "id"...) }
func (*exchange) Peer() string                               { return "192.0.2.1" }
func (*exchange) Scheme() string                             { return "http" }
func (*exchange) Remaining() time.Duration                   { return 0 }
func (x *exchange) Body() ([]byte, bool)                     { return x.body, x.stream == nil }
func (*exchange) Continue() error                            { return nil }
func (*exchange) StopBody(wait func())                       { wait() }
func (*exchange) OnInterrupt(interface{ Interrupt() }) error { return nil }
func (*exchange) AddTrailer(_, _ []byte) error               { return nil }
func (x *exchange) ReadBody(p []byte) (int, error)           { return x.stream.Read(p) }
func (x *exchange) Respond(status int, length int64)         { x.status, x.length = status, length }
func (x *exchange) Write(p []byte) (int, error)              { return x.answer.Write(p) }
func (x *exchange) AddField(name, value []byte) error {
	x.fields = append(x.fields, string(name)+": "+string(value))
	return nil
}

func (x *exchange) Finish() error {
	x.finished = true
	return nil
}

// frame is what a process prints.
func frame(kind, flags byte, code uint16, meta string, size int, body string) string {
	b := make([]byte, 16)
	binary.LittleEndian.PutUint32(b, uint32(len(meta)))
	binary.LittleEndian.PutUint32(b[4:], uint32(size))
	b[8], b[9] = kind, flags
	binary.LittleEndian.PutUint16(b[10:], code)
	return string(b) + meta + body
}

const (
	response, raised = 0x21, 0x22
	more             = 2
)

// run lets a process that prints something in pieces of a size answer, which then ends with err.
func run(t *testing.T, printed string, size int, end error) (*exchange, error) {
	t.Helper()
	x := newExchange(t, "body")
	s := &kubeless.Settings{Language: kubeless.Python}
	err := s.Call(x, func(c watchdog.Exchange) error {
		c.Respond(200, -1)
		for len(printed) > 0 {
			n := min(size, len(printed))
			if _, err := c.Write([]byte(printed[:n])); err != nil {
				return err
			}
			printed = printed[n:]
		}
		if end != nil {
			return end
		}
		return c.Finish()
	})
	return x, err
}

// Kubeless PY16, PY19: an answer of a call's process is the client's, however it is cut.
func TestPY16AnswerOfAProcess(t *testing.T) {
	for _, c := range []struct {
		name, printed string
		length        int64
	}{
		{"of a known length", frame(response, 0, 201, "x-a\x00b\x00content-type\x00", 4, "four"), 4},
		{"to the end", frame(response, more, 201, "x-a\x00b", 0, "four"), -1},
	} {
		for _, size := range []int{1, 7, 1000} {
			for _, end := range []error{nil, &watchdog.FailedError{Exit: watchdog.Exit{Code: 1}}} {
				x, err := run(t, c.printed, size, end)
				if c.length < 0 && end != nil {
					require.ErrorIs(t, err, watchdog.ErrFailed, "nobody knows whether it is whole")
					continue
				}
				require.NoError(t, err, "its exit code does not matter after its answer")
				require.Equal(t, 201, x.status)
				require.Equal(t, c.length, x.length)
				require.Equal(t, []string{"x-a: b"}, x.fields)
				require.Equal(t, "four", x.answer.String())
				require.True(t, x.finished)
			}
		}
	}
}

// Kubeless PY17, PY25: what is no answer.
func TestPY17NoAnswerOfAProcess(t *testing.T) {
	exit := &watchdog.FailedError{Exit: watchdog.Exit{Code: 3}}
	late := errors.New("late")
	for _, c := range []struct {
		name, printed string
		end           error
		want          error
	}{
		{"nothing", "", nil, workers.ErrDied},
		{"nothing, and a bad end", "", exit, watchdog.ErrFailed},
		{"half a head", frame(response, 0, 200, "x-a\x00b", 0, "")[:18], nil, workers.ErrDied},
		{"half a body", frame(response, 0, 200, "", 4, "fo"), nil, workers.ErrDied},
		{"half a body, and a bad end", frame(response, 0, 200, "", 4, "fo"), exit, watchdog.ErrFailed},
		{"too much", frame(response, 0, 200, "", 4, "fourfive"), nil, workers.ErrProtocol},
		{"something else", strings.Repeat("a library that prints\n", 4), nil, workers.ErrProtocol},
		{"a bad status", frame(response, 0, 99, "", 0, ""), nil, workers.ErrBadAnswer},
		{"raised", frame(raised, 0, 500, "type\x00ValueError\x00message\x00m", 0, ""), nil, kubeless.ErrRaised},
		{"raised, and a bad end", frame(raised, 0, 500, "type\x00ValueError\x00message\x00m", 0, ""), exit, kubeless.ErrRaised},
		{"no answer", frame(raised, 0, 500, "type\x00UnusableResult\x00message\x00m", 0, ""), nil, kubeless.ErrNoAnswer},
		{"not called", frame(raised, 0, 500, "type\x00UnusableBody\x00message\x00m", 0, ""), nil, kubeless.ErrBody},
		{"given up", frame(response, 0, 200, "", 4, "four"), late, late},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, 1000} {
				x, err := run(t, c.printed, size, c.end)
				require.ErrorIs(t, err, c.want)
				require.False(t, x.finished)
			}
		})
	}
}

// A request goes to the process as a frame that its body follows, whether that is here or comes piece by piece.
func TestPY14RequestOfAProcess(t *testing.T) {
	whole := func(c watchdog.Exchange) string {
		b, ok := c.Body()
		require.True(t, ok)
		return string(b)
	}
	pieces := func(c watchdog.Exchange) string {
		_, ok := c.Body()
		require.False(t, ok)
		var all []byte
		for b := make([]byte, 5); ; {
			n, err := c.ReadBody(b)
			all = append(all, b[:n]...)
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				return string(all)
			}
		}
	}
	for _, streamed := range []bool{false, true} {
		x, read := newExchange(t, "body"), whole
		if streamed {
			x.stream, read = strings.NewReader("body"), pieces
		}
		s := &kubeless.Settings{Language: kubeless.Python}
		_ = s.Call(x, func(c watchdog.Exchange) error {
			got := read(c)
			meta := "POST\x00/path\x00q=1\x00http pod\x00192.0.2.1\x00\x00host\x00pod\x00event-id\x00i\x00content-length\x004"
			require.Equal(t, frame(1, more, 0, meta, 0, "body")[16:], got[16:])
			return nil
		})
	}
}
