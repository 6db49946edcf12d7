package openfaas

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// Who made an answer that is not the function's.
const (
	byWatchdog   = "X-Openfaas-Internal: of-watchdog\r\n"
	byMiddleware = plainText + "X-Openfaas-Internal: faas-middleware\r\n"
	plainText    = "Content-Type: text/plain\r\n"
)

// Statuses says how requests are refused, and those answered that the function does not answer. The queue-worker of
// OpenFaaS comes again after a 429.
func (s *Settings) Statuses() []proxy.Status {
	var list []proxy.Status
	if s.Forks() { // the first of a label counts
		list = s.forkStatuses()
	}
	list = append(list, []proxy.Status{
		{Code: 504, Label: "timeout", Fields: byWatchdog},
		{Code: 500, Label: "connect", Fields: byWatchdog},
		{Code: 500, Label: "early_close", Fields: byWatchdog},
		{Code: 500, Label: "reset", Fields: byWatchdog},
		{Code: 500, Label: "worker_exit", Fields: byWatchdog},
		{Code: 500, Label: "worker_oom", Fields: byWatchdog},
		{Code: 500, Label: "worker_protocol", Fields: byWatchdog},
	}...)
	if s.MaxInflight > 0 {
		full := fmt.Sprintf("Concurrent request limit exceeded. Max concurrent requests: %d\n", s.MaxInflight)
		list = append(list, proxy.Status{
			Err: queue.ErrFull, Code: 429, Label: "queue_full", Reject: metrics.RejectQueueFull, Text: full, Fields: byMiddleware,
		})
	}
	return list
}

// Deadline is exec_timeout, in http mode, or what X-Timeout says: a Go duration, which can only shorten it. Streams have
// to begin in that time and not to end. It implements proxy.Hooks.Deadline.
func (s *Settings) Deadline(x *proxy.Exchange) (time.Duration, bool) {
	if s.Mode != ModeHTTP || s.ExecTimeout == 0 || streams(x) {
		return 0, false
	}
	if v, ok := x.Field("X-Timeout"); ok {
		if d, err := time.ParseDuration(string(v)); err == nil && 0 < d && d < s.ExecTimeout {
			return d, true
		}
	}
	return s.ExecTimeout, true
}

// Fields adds how long the function took, except where it streams. It implements proxy.Hooks.Fields.
func (s *Settings) Fields(x *proxy.Exchange, head []byte, body []byte) []byte {
	if len(body) > 0 && x.Answered() {
		head = typed(head, body)
	}
	if x.Ran() == 0 || !s.timed(x) {
		return head
	}
	head = without(head, "X-Duration-Seconds")
	head = append(head, "X-Duration-Seconds: "...)
	head = strconv.AppendFloat(head, x.Ran().Seconds(), 'f', 6, 64)
	return append(head, '\r', '\n')
}

// timed reports an answer that tells its duration.
func (s *Settings) timed(x *proxy.Exchange) bool {
	switch s.Mode {
	case ModeHTTP:
		return !streams(x)
	case ModeClassic:
		return x.Answered()
	default:
		return s.Mode == ModeSerializing
	}
}

// typed gives an answer without a type the one that its body looks like.
func typed(head, body []byte) []byte {
	const name = "Content-Type"
	for line := range bytes.Lines(head) {
		if isField(line, name) {
			return head
		}
	}
	head = append(head, name+": "...)
	head = append(head, http.DetectContentType(body)...)
	return append(head, "\r\n"...)
}

// streams reports what of-watchdog takes for a stream: by what the client asks for.
func streams(x *proxy.Exchange) bool {
	if x.Request().Upgrade != nil {
		return true
	}
	accept, _ := x.Field("Accept")
	accept = bytes.ToLower(accept)
	return bytes.Contains(accept, []byte("text/event-stream")) || bytes.Contains(accept, []byte("application/x-ndjson"))
}

// isField reports whether a line of a head is a field with a name.
func isField(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name))
}

// without removes all fields with a name from a head.
func without(head []byte, name string) []byte {
	out := head[:0]
	for line := range bytes.Lines(head) {
		if isField(line, name) {
			continue
		}
		out = append(out, line...)
	}
	return out
}
