package knative

import (
	"errors"
	"net/http"
	"time"

	"github.com/fnpod/fnpod/proxy"
)

// Fate says what the function did about a request.
type Fate uint8

// What can become of a request.
const (
	FateRefused  Fate = iota // it never had a slot
	FateAnswered             // the answer is the function's
	FateGone                 // the client left first
	FateTimeout              // no answer in time
	FateFailed               // no answer
)

// reason is the label error_type: why there is no answer of the function, "" if there is one.
func (f Fate) reason() string {
	switch f {
	case FateGone:
		return "canceled"
	case FateTimeout:
		return "timeout"
	case FateFailed:
		return "_OTHER"
	case FateRefused, FateAnswered:
	}
	return ""
}

// Measured is what is known of a request that has ended.
type Measured struct {
	Method         []byte
	Host           []byte // with its port, if it has one
	Version        string // of HTTP: "1.0", "1.1" or "2.0"
	Scheme         string // "http" or "https"
	Tag            uint8  // of Tags
	Code           int    // of the answer, or what it would have been: see codeOf
	Fate           Fate
	Took           time.Duration // from the end of the head to the end of the answer
	Ran            time.Duration // the same from the moment when it had its slot; 0 if it never had
	Received, Sent int64         // bytes of the bodies
}

// Measure returns what is known of a request that has ended. It is false for what is not measured: probes.
func Measure(x *proxy.Exchange, o proxy.Outcome) (m Measured, ok bool) {
	mark := x.Marked()
	if mark&MarkRequest == 0 || mark&MarkProbe != 0 {
		return m, false
	}
	m = Measured{
		Method: x.Request().Method, Host: x.Request().Host, Version: version(x, o), Scheme: x.Scheme(), Tag: mark >> tagShift, Code: codeOf(o),
		Took: o.Took, Received: x.Received(), Sent: o.Bytes,
	}
	if x.Ran() == 0 {
		return m, true
	}
	m.Ran = o.Took - x.Waited()
	switch {
	case x.Answered() && o.Whole || o.Status == http.StatusSwitchingProtocols:
		m.Fate = FateAnswered
	case m.Code == clientGone:
		m.Fate = FateGone
	case m.Code == http.StatusGatewayTimeout:
		m.Fate = FateTimeout
	default:
		m.Fate = FateFailed
	}
	return m, true
}

// version returns the version of HTTP. Of a tunnel that has ended the head is gone; it was asked for with HTTP/1.1.
func version(x *proxy.Exchange, o proxy.Outcome) string {
	switch {
	case x.HTTP2():
		return "2.0"
	case x.Request().Minor == 0 && o.Status != http.StatusSwitchingProtocols:
		return "1.0"
	default:
		return "1.1"
	}
}

// clientGone is the code of a request whose client left before it was answered.
const clientGone = 499

// codeOf returns the status that the client was sent. An answer that was cut has no status that would be true: it counts
// by why it was cut.
func codeOf(o proxy.Outcome) int {
	switch {
	case o.Status == http.StatusSwitchingProtocols || o.Whole && o.Status >= 100 && o.Status <= 599:
		return o.Status
	case errors.Is(o.Err, proxy.ErrTimeout) || errors.Is(o.Err, proxy.ErrAnswerTimeout):
		return http.StatusGatewayTimeout
	case o.Status == 0 || errors.Is(o.Err, proxy.ErrClientGone):
		return clientGone
	default:
		return http.StatusInternalServerError
	}
}
