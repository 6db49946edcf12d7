package kubeless

import (
	"cmp"
	"io"
	"strconv"
	"time"

	"github.com/fnpod/fnpod/proxy"
)

// clientGone is the status of a request whose client left before it was answered.
const clientGone = 499

const (
	apacheTime = "02/Jan/2006:15:04:05 -0700"
	goTime     = "2006/01/02 15:04:05 "
)

// LogRequest writes the line of a request that has ended at now: Apache's combined format on w, where Python's server adds the
// seconds and microseconds that it took; of a Server what its proxy wrote.
func (s *Settings) LogRequest(w io.Writer, x *proxy.Exchange, o proxy.Outcome, now time.Time) {
	r := x.Request()
	var b []byte
	if s.Language == Server {
		b = now.AppendFormat(b, goTime)
		b = append(append(b, x.Remote()...), ' ')
	} else {
		b = append(append(b, x.Peer()...), " - - ["...)
		b = now.AppendFormat(b, apacheTime)
		b = append(b, "] "...)
	}
	b = append(b, '"')
	b = proxy.AppendText(b, r.Method)
	b = append(b, ' ')
	b = proxy.AppendText(b, r.Target)
	if x.HTTP2() {
		b = append(b, " HTTP/2.0\" "...)
	} else {
		b = append(b, " HTTP/1."...)
		b = strconv.AppendInt(b, int64(r.Minor), 10)
		b = append(b, "\" "...)
	}
	b = strconv.AppendInt(b, int64(cmp.Or(o.Status, clientGone)), 10)
	b = append(b, ' ')
	if s.Language == Server {
		agent, _ := x.Field("User-Agent")
		b = proxy.AppendText(b, agent)
	} else {
		b = strconv.AppendInt(b, o.Bytes, 10)
		b = appendField(b, x, "Referer")
		b = appendField(b, x, "User-Agent")
	}
	if s.Language == Python {
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(o.Took/time.Second), 10)
		b = append(b, '/')
		b = strconv.AppendInt(b, o.Took.Microseconds(), 10)
	}
	_, _ = w.Write(append(b, '\n')) // there is nowhere to report it
}

// appendField appends a field of the request in quotes, "-" if there is none.
func appendField(b []byte, x *proxy.Exchange, name string) []byte {
	value, _ := x.Field(name)
	if len(value) == 0 {
		value = []byte{'-'}
	}
	b = append(b, ` "`...)
	return append(proxy.AppendText(b, value), '"')
}
