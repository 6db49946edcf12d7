package knative

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/fnpod/fnpod/proxy"
)

// Tracer makes spans of requests, as W3C Trace Context and OpenTelemetry have them: that of the server, and one below
// the other the proxy, the wait for a slot and the request to the user container. It may be used by any number of
// goroutines.
type Tracer struct {
	rate   float64 // part of the requests
	follow bool    // except of those that somebody before us has decided about
	waits  bool    // there is a queue
	b3     bool    // it is spoken, too
	tags   *Tags
	export func(traced)
}

// NewTracer returns a tracer that gives spans to e, or nil if no request would have any.
func NewTracer(s *Settings, tags *Tags, e *Exporter) *Tracer {
	o := &s.Observability.Tracing
	if o.SamplingRate <= 0 && !o.Follow {
		return nil
	}
	return &Tracer{rate: o.SamplingRate, follow: o.Follow, waits: s.Concurrency > 0, b3: o.Protocol == ProtocolZipkin, tags: tags, export: e.add}
}

type (
	w3cTrace [16]byte
	w3cSpan  [8]byte
)

// spanContext is where the spans of a request belong.
type spanContext struct {
	id             w3cTrace
	parent, server w3cSpan
	client         w3cSpan // what the user container is told
}

// traced is a request that has ended, as its spans tell of it.
type traced struct {
	spanContext

	method, path, peer, tag string
	measured                Measured // without Method and Host
	waits                   bool
	end                     time.Time
}

const traceparent = "Traceparent"

// Arrived decides whether a request has spans. The user container then gets our own Traceparent instead of the client's.
func (t *Tracer) Arrived(x *proxy.Exchange) {
	if x.Marked()&MarkProbe != 0 {
		return
	}
	var tr spanContext
	fields, n := x.Request().Fields, 0
	sampled, given := false, false
	for i := range fields {
		if f := &fields[i]; len(f.Name) == len(traceparent) && is(f.Name, traceparent) {
			n++
			sampled, given = tr.parse(f.Value)
		}
	}
	if (n != 1 || !given) && t.b3 {
		sampled, given = tr.readB3(x)
		n = 1
	}
	if n != 1 || !given {
		tr.id, tr.parent, given = freshTrace(), w3cSpan{}, false
	}
	if !given || !t.follow {
		sampled = t.rate >= 1 || float64(binary.BigEndian.Uint64(tr.id[8:])>>1) < t.rate*(1<<63)
	}
	if !sampled {
		return
	}
	for i := range fields {
		if f := &fields[i]; len(f.Name) == len(traceparent) && is(f.Name, traceparent) || t.b3 && isB3(f) {
			x.Hide(f)
		}
	}
	tr.server, tr.client = freshSpan(), freshSpan()
	x.Attach(&tr)
}

// Forward is Forward with the field that makes the user container's spans children of ours.
func (t *Tracer) Forward(x *proxy.Exchange, head []byte) []byte {
	head = Forward(x, head)
	tr, ok := x.Attached().(*spanContext)
	if !ok {
		return head
	}
	head = append(head, traceparent+": 00-"...)
	head = hex.AppendEncode(head, tr.id[:])
	head = append(head, '-')
	head = hex.AppendEncode(head, tr.client[:])
	head = append(head, "-01\r\n"...)
	if t.b3 {
		head = tr.appendB3(head)
	}
	return head
}

// Ended makes the spans of a request.
func (t *Tracer) Ended(x *proxy.Exchange, o proxy.Outcome) {
	tr, ok := x.Attached().(*spanContext)
	if !ok {
		return
	}
	m, ok := Measure(x, o)
	if !ok {
		return
	}
	path, _, _ := bytes.Cut(x.Request().Target, []byte{'?'})
	r := traced{
		spanContext: *tr, method: methods[methodOf(m.Method)], path: string(path), peer: x.Peer(), tag: t.tags.name(m.Tag, 0),
		measured: m, waits: t.waits, end: time.Now(),
	}
	r.measured.Method, r.measured.Host = nil, nil // they end with the request
	t.export(r)
}

// parse reads a traceparent: version, trace, span and flags in hexadecimal digits.
func (tr *spanContext) parse(v []byte) (sampled, ok bool) {
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(v) < length || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return false, false
	}
	var version, flags [1]byte
	for _, part := range []struct{ to, from []byte }{{version[:], v[:2]}, {tr.id[:], v[3:35]}, {tr.parent[:], v[36:52]}, {flags[:], v[53:55]}} {
		for _, c := range part.from {
			if c >= 'A' && c <= 'F' {
				return false, false
			}
		}
		if _, err := hex.Decode(part.to, part.from); err != nil {
			return false, false
		}
	}
	switch {
	case version[0] == 0xff, version[0] == 0 && len(v) > length, len(v) > length && v[length] != '-':
		return false, false
	case tr.id == w3cTrace{}, tr.parent == w3cSpan{}:
		return false, false
	}
	return flags[0]&1 != 0, true
}

func freshTrace() (id w3cTrace) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1) // not 0
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

func freshSpan() (id w3cSpan) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}
