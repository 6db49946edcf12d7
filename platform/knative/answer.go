package knative

import (
	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

const (
	plainText = "Content-Type: text/plain; charset=utf-8\r\n"
	errorText = plainText + "X-Content-Type-Options: nosniff\r\n"
)

// Statuses says how requests are refused, and those answered that the function does not answer. What has no words here
// has fnpod's own.
func (s *Settings) Statuses() []proxy.Status {
	network, address := s.Function()
	function := network + " " + address
	list := []proxy.Status{
		{Err: queue.ErrFull, Code: 503, Label: "queue_full", Reject: metrics.RejectQueueFull, Text: "pending request queue full\n", Fields: errorText},
		{Code: 504, Label: "timeout", Text: "request timeout", Fields: plainText},
		{Err: queue.ErrTimeout, Code: 504, Label: "timeout", Reject: metrics.RejectQueueTimeout, Text: "request timeout", Fields: plainText},
		{Code: 502, Label: "connect", Text: "dial " + function + ": connect: connection refused\n", Fields: errorText},
		{Code: 502, Label: "early_close", Text: "EOF\n", Fields: errorText},
		{Code: 502, Label: "reset", Text: "read " + function + ": connection reset by peer\n", Fields: errorText},
		{Code: 502, Label: "malformed", Text: "malformed HTTP response\n", Fields: errorText},
		{Code: 502, Label: "cut", Text: "unexpected EOF\n", Fields: errorText},
		{Code: 431, Label: "header_size", Text: "431 Request Header Fields Too Large", Fields: plainText},
		{Code: 431, Label: "header_count", Text: "431 Request Header Fields Too Large", Fields: plainText},
	}
	if s.ErrorField {
		for i := range list {
			list[i].Fields += "Fnpod-Error: " + list[i].Label + "\r\n"
		}
	}
	return list
}
