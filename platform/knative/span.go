package knative

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// Kinds of spans, as numbered on the wire.
const (
	kindInternal = 1
	kindServer   = 2
	kindClient   = 3
)

// span is one of OpenTelemetry's.
type span struct {
	trace      w3cTrace
	id, parent w3cSpan
	name       string
	kind       int
	start, end time.Time
	attrs      []attr
	failed     bool
}

// spans returns what is told of a request, the oldest first.
func (r *traced) spans() []span {
	m := &r.measured
	start := r.end.Add(-m.Took)
	common := []attr{{key: "http.request.method", text: r.method}, {key: "network.protocol.version", text: m.Version}}
	code := attr{key: "http.response.status_code", number: int64(m.Code)}
	server := span{
		trace: r.id, id: r.server, parent: r.parent, name: spanName("", r.method), kind: kindServer, start: start, end: r.end, failed: m.Code >= 500,
		attrs: append([]attr{
			code,
			{key: "url.path", text: r.path},
			{key: "url.scheme", text: m.Scheme},
			{key: "client.address", text: r.peer},
			{key: "kn.route.tag", text: r.tag},
		}, common...),
	}
	list := []span{server, {trace: r.id, id: freshSpan(), parent: r.server, name: "kn.queueproxy.proxy", kind: kindInternal, start: start, end: r.end}}
	last := func() w3cSpan { return list[len(list)-1].id }
	granted := r.end.Add(-m.Ran) // or refused
	if r.waits {
		list = append(list, span{trace: r.id, id: freshSpan(), parent: last(), name: "kn.queueproxy.wait", kind: kindInternal, start: start, end: granted})
	}
	if m.Fate == FateRefused {
		return list
	}
	client := span{
		trace: r.id, id: r.client, parent: last(), name: spanName("HTTP ", r.method), kind: kindClient, start: granted, end: r.end,
		failed: m.Code >= 400, attrs: common,
	}
	if m.Fate == FateAnswered {
		client.attrs = append([]attr{code}, common...)
	} else {
		client.attrs = append([]attr{{key: "error.type", text: m.Fate.reason()}}, common...)
	}
	return append(list, client)
}

// spanName names a span by its method; clients make up others than those of HTTP.
func spanName(prefix, method string) string {
	if method == methods[0] {
		return "HTTP"
	}
	return prefix + method
}

// appendSpans appends an ExportTraceServiceRequest of OTLP: the same message over HTTP and gRPC.
func appendSpans(b []byte, resource []attr, list []span) []byte {
	return appendResource(b, resource, func(b []byte) []byte {
		b = appendScope(b, scopeQueue)
		for i := range list {
			b = appendMessage(b, 2, list[i].append)
		}
		return b
	})
}

// append appends a Span.
func (s *span) append(b []byte) []byte {
	b = appendText(b, 1, string(s.trace[:]))
	b = appendText(b, 2, string(s.id[:]))
	if s.parent != (w3cSpan{}) {
		b = appendText(b, 4, string(s.parent[:]))
	}
	b = appendText(b, 5, s.name)
	b = appendVarint(b, 6, uint64(s.kind))
	b = appendTime(b, 7, s.start)
	b = appendTime(b, 8, s.end)
	b = appendAttrs(b, 9, s.attrs)
	if s.failed {
		b = appendMessage(b, 15, func(b []byte) []byte { return appendVarint(b, 3, 2) })
	}
	return b
}

// appendLine appends a span as a line of JSON, with the names that the original's standard output has.
func (s *span) appendLine(b []byte) []byte {
	id := func(b []byte, name string, span w3cSpan) []byte {
		b = append(b, `,"`+name+`":{"TraceID":"`...)
		b = hex.AppendEncode(b, s.trace[:])
		b = append(b, `","SpanID":"`...)
		b = hex.AppendEncode(b, span[:])
		return append(b, `"}`...)
	}
	b = append(b, `{"Name":`...)
	b = strconv.AppendQuoteToASCII(b, s.name)
	b = id(b, "SpanContext", s.id)
	b = id(b, "Parent", s.parent)
	b = append(b, `,"SpanKind":`...)
	b = strconv.AppendInt(b, int64(s.kind), 10)
	b = s.start.AppendFormat(append(b, `,"StartTime":"`...), time.RFC3339Nano)
	b = s.end.AppendFormat(append(b, `","EndTime":"`...), time.RFC3339Nano)
	b = append(b, `","Attributes":[`...)
	for i, a := range s.attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"Key":"`+a.key+`","Value":{"Type":`...)
		if a.text != "" || a.number == 0 {
			b = appendJSON(append(b, `"STRING","Value":`...), a.text)
		} else {
			b = strconv.AppendInt(append(b, `"INT64","Value":`...), a.number, 10)
		}
		b = append(b, `}}`...)
	}
	return append(b, "]}\n"...)
}

// appendJSON appends a text in quotes.
func appendJSON(b []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // of a string there is no error
	return append(b, quoted...)
}
