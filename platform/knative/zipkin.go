package knative

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
)

// zipkinPath is where Zipkin takes spans (https://zipkin.io/zipkin-api/).
const zipkinPath = "/api/v2/spans"

// zipkinSpan is a span as Zipkin has it.
type zipkinSpan struct {
	TraceID  string            `json:"traceId"`
	ID       string            `json:"id"`
	ParentID string            `json:"parentId,omitempty"`
	Name     string            `json:"name"`
	Kind     string            `json:"kind,omitempty"`
	Start    int64             `json:"timestamp"` // microseconds
	Duration int64             `json:"duration"`  // likewise, at least 1
	Local    zipkinEndpoint    `json:"localEndpoint"`
	Tags     map[string]string `json:"tags,omitempty"`
}

type zipkinEndpoint struct {
	Service string `json:"serviceName"`
}

var zipkinKinds = map[int]string{kindServer: "SERVER", kindClient: "CLIENT"}

// zipkinSpans writes spans of a service.
func zipkinSpans(service string, list []span) ([]byte, error) {
	all := make([]zipkinSpan, len(list))
	for i := range list {
		s := &list[i]
		z := zipkinSpan{
			TraceID: hex.EncodeToString(s.trace[:]), ID: hex.EncodeToString(s.id[:]), Name: s.name, Kind: zipkinKinds[s.kind],
			Start: s.start.UnixMicro(), Duration: max(int64(s.end.Sub(s.start)/time.Microsecond), 1), Local: zipkinEndpoint{service}, Tags: map[string]string{},
		}
		if s.parent != (w3cSpan{}) {
			z.ParentID = hex.EncodeToString(s.parent[:])
		}
		for _, a := range s.attrs {
			z.Tags[a.key] = a.value()
		}
		if s.failed {
			z.Tags["error"] = "true"
		}
		all[i] = z
	}
	return json.Marshal(all)
}

// Fields of B3 (https://github.com/openzipkin/b3-propagation), which those who speak to Zipkin understand.
const (
	b3Trace   = "X-B3-Traceid"
	b3Span    = "X-B3-Spanid"
	b3Parent  = "X-B3-Parentspanid"
	b3Sampled = "X-B3-Sampled"
	b3Flags   = "X-B3-Flags"
)

func isB3(f *http1.Field) bool {
	for _, name := range [...]string{b3Trace, b3Span, b3Parent, b3Sampled, b3Flags} {
		if len(f.Name) == len(name) && is(f.Name, name) {
			return true
		}
	}
	return false
}

// readB3 reads what a client says by B3: the trace, its span, and whether it is sampled.
func (tr *spanContext) readB3(x *proxy.Exchange) (sampled, ok bool) {
	id, _ := x.Field(b3Trace)
	if len(id) == hex.EncodedLen(len(tr.id))/2 { // half of one is allowed
		id = append(make([]byte, len(id), 2*len(id)), id...)
		copy(id, "0000000000000000")
	}
	span, _ := x.Field(b3Span)
	if len(id) != hex.EncodedLen(len(tr.id)) || len(span) != hex.EncodedLen(len(tr.parent)) {
		return false, false
	}
	if _, err := hex.Decode(tr.id[:], id); err != nil {
		return false, false
	}
	if _, err := hex.Decode(tr.parent[:], span); err != nil {
		return false, false
	}
	said, _ := x.Field(b3Sampled)
	flags, _ := x.Field(b3Flags)
	return string(said) == "1" || string(said) == "true" || string(flags) == "1", tr.id != w3cTrace{} && tr.parent != w3cSpan{}
}

// appendB3 tells the user container.
func (tr *spanContext) appendB3(head []byte) []byte {
	head = hex.AppendEncode(append(head, b3Trace+": "...), tr.id[:])
	head = hex.AppendEncode(append(head, "\r\n"+b3Span+": "...), tr.client[:])
	return append(head, "\r\n"+b3Sampled+": 1\r\n"...)
}
