package knative

import (
	"context"
	"time"
)

// SetAttempt replaces what looks at the function.
func (p *Prober) SetAttempt(try func(ctx context.Context) error) {
	for _, c := range p.checks {
		c.try = try
	}
}

// Number is how Routes asks for the number of a route.
func (t *Tags) Number(tag, untagged string) uint8 { return t.number([]byte(tag), []byte(untagged)) }

// Name is what series call a route, today's first.
func (t *Tags) Name(n uint8, generation int) string { return t.name(n, generation) }

// ParseTraceparent reads the field as Tracer does.
func ParseTraceparent(v []byte) (trace, parent []byte, sampled, ok bool) {
	var tr spanContext
	sampled, ok = tr.parse(v)
	return tr.id[:], tr.parent[:], sampled, ok
}

// Add gives the exporter a request that has ended.
func (e *Exporter) Add(m Measured) {
	e.add(traced{spanContext: spanContext{id: freshTrace(), server: freshSpan(), client: freshSpan()}, method: "GET", measured: m, end: time.Now()})
}
