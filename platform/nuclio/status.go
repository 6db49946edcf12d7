package nuclio

import (
	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// Fields of answers that are not the function's.
const (
	serverField = "Server: nuclio\r\n"
	textFields  = serverField + "Content-Type: " + plainText + "\r\n"
)

const unparsable = "Error when parsing request"

// Statuses says how failures are answered.
func (s *Settings) Statuses() []proxy.Status {
	tooLarge := 413
	if s.Compatible {
		tooLarge = 400
	}
	all := []proxy.Status{
		{Err: queue.ErrFull, Code: 503, Label: "queue_full", Reject: metrics.RejectQueueFull, Fields: serverField},
		{Err: queue.ErrLate, Code: 503, Label: "queue_late", Reject: metrics.RejectQueueTimeout, Fields: serverField},
		{Err: queue.ErrTimeout, Code: 503, Label: "queue_timeout", Reject: metrics.RejectQueueTimeout, Fields: serverField},
		{Err: queue.ErrClosed, Code: 503, Label: "draining", Reject: metrics.RejectDraining, Fields: serverField},
		{Err: proxy.ErrDraining, Code: 503, Label: "draining", Reject: metrics.RejectDraining, Fields: serverField},
		{Err: workers.ErrClosed, Code: 503, Label: "draining", Reject: metrics.RejectDraining, Fields: serverField},
		{Err: workers.ErrNotReady, Code: 503, Label: "not_ready", Upstream: metrics.UpstreamConnect, Text: `{"error":"Server not ready","status":"error"}`, Fields: serverField + "Content-Type: application/json\r\n"},
		{Err: workers.ErrTimeout, Code: 408, Label: "timeout", Upstream: metrics.UpstreamTimeout, Text: `{"error": "handler timed out"}`, Fields: textFields},
		{Err: watchdog.ErrRunTimeout, Code: 408, Label: "timeout", Upstream: metrics.UpstreamTimeout, Text: `{"error": "handler timed out"}`, Fields: textFields},
		{Err: workers.ErrMemory, Code: 500, Label: "worker_oom", Upstream: metrics.UpstreamWorkerOOM, Text: "EOF", Fields: textFields},
		{Err: workers.ErrDied, Code: 500, Label: "worker_exit", Upstream: metrics.UpstreamWorkerExit, Text: "EOF", Fields: textFields},
		{Err: workers.ErrProtocol, Code: 500, Label: "worker_protocol", Upstream: metrics.UpstreamWorkerProtocol, Text: "EOF", Fields: textFields},
		{Err: workers.ErrBadAnswer, Code: 500, Label: "malformed", Upstream: metrics.UpstreamMalformed, Fields: serverField},
		{Code: 500, Label: "malformed", Fields: serverField},
		{Code: 500, Label: "panic", Fields: serverField},
		{Code: tooLarge, Label: "body_size", Text: unparsable, Fields: textFields},
		{Code: 431, Label: "header_size", Text: "Too big request header", Fields: textFields},
		{Code: 431, Label: "line_size", Text: "Too big request header", Fields: textFields},
	}
	for _, label := range []string{"request_line", "version", "method", "target", "host", "header", "framing", "chunk", "trailer"} {
		all = append(all, proxy.Status{Label: label, Text: unparsable, Fields: textFields})
	}
	return all
}
