package knative

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	exportRoom  = 2048            // requests whose spans wait; more are dropped
	exportBatch = 128             // requests in a message
	exportEvery = 5 * time.Second // longest wait of spans
)

// Exporter brings spans to a collector of OpenTelemetry or to Zipkin, or writes them as lines. What the collector does not take is
// dropped: it is not worth memory of a pod.
type Exporter struct {
	log       *slog.Logger
	stdout    io.Writer  // not nil: lines go there
	collector *collector // else
	zipkin    string     // not empty: collector is Zipkin, and this the name of the service
	resource  []attr

	waiting chan traced
	dropped atomic.Int64
}

// NewExporter returns an exporter, and nil if settings want no traces. Lines go to stdout if they do. The address of
// the collector is that of the settings, unless another is given. Run must be called.
func NewExporter(s *Settings, address string, stdout io.Writer, log *slog.Logger) (*Exporter, error) {
	e := &Exporter{log: log, resource: resource(s), waiting: make(chan traced, exportRoom)}
	o := &s.Observability.Tracing
	switch o.Protocol {
	case ProtocolNone, "":
		return nil, nil //nolint:nilnil // there is no exporter, and that is right
	case ProtocolStdout:
		e.stdout = stdout
		return e, nil
	}
	var err error
	if o.Protocol == ProtocolZipkin {
		e.zipkin = about(s)["service_name"]
		if e.collector, err = newCollector(ProtocolHTTP, o.Endpoint, zipkinPath, ""); err != nil {
			return nil, fmt.Errorf("TRACING_CONFIG_ZIPKIN_ENDPOINT %w", err)
		}
		e.collector.kind = "application/json"
		return e, nil
	}
	if e.collector, err = newCollector(o.Protocol, cmp.Or(address, o.Endpoint), tracesHTTP, tracesGRPC); err != nil {
		return nil, fmt.Errorf("tracing.endpoint %w", err)
	}
	return e, nil
}

// add takes the spans of a request, or drops them.
func (e *Exporter) add(r traced) {
	select {
	case e.waiting <- r:
	default:
		e.dropped.Add(1)
	}
}

// Run exports until ctx ends, and then what is left.
func (e *Exporter) Run(ctx context.Context) {
	t := time.NewTicker(exportEvery)
	defer t.Stop()
	if e.collector != nil {
		defer e.collector.close()
	}
	var batch []span
	requests := 0
	flush := func(ctx context.Context) {
		if requests == 0 {
			return
		}
		if err := e.send(ctx, batch); err != nil {
			e.log.Warn("traces were not taken", "requests", requests, "err", err)
		}
		batch, requests = batch[:0], 0
	}
	take := func(r traced) {
		batch = append(batch, r.spans()...)
		requests++
	}
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case r := <-e.waiting:
			take(r)
			if requests == exportBatch || e.stdout != nil {
				flush(whole)
			}
		case <-t.C:
			flush(whole)
			if n := e.dropped.Swap(0); n > 0 {
				e.log.Warn("traces were dropped: the collector is too slow", "requests", n)
			}
		}
	}
	end, cancel := context.WithTimeout(whole, exportTimeout)
	defer cancel()
	for {
		select {
		case r := <-e.waiting:
			take(r)
			if requests == exportBatch {
				flush(end)
			}
		default:
			flush(end)
			return
		}
	}
}

// send hands over spans.
func (e *Exporter) send(ctx context.Context, list []span) error {
	switch {
	case e.zipkin != "":
		message, err := zipkinSpans(e.zipkin, list)
		if err != nil {
			return err
		}
		return e.collector.send(ctx, message)
	case e.stdout == nil:
		return e.collector.send(ctx, appendSpans(nil, e.resource, list))
	}
	for i := range list {
		if _, err := e.stdout.Write(list[i].appendLine(nil)); err != nil {
			return err
		}
	}
	return nil
}
