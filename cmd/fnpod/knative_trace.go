package main

import (
	"context"
	"io"

	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/proxy"
)

// trace adds spans to what is done with requests, if the controller wants them.
func (c *knativeCmd) trace(p *pod, routes *knative.Routes, inv *invocation) error {
	var lines io.Writer
	if c.settings.Observability.Tracing.Protocol == knative.ProtocolStdout {
		lines = inv.lines(p.log)
	}
	e, err := knative.NewExporter(c.settings, inv.collector("TRACES"), lines, p.log)
	if err != nil || e == nil {
		return err
	}
	tracer := knative.NewTracer(c.settings, routes.Tags, e)
	if tracer == nil {
		return nil
	}
	hooks, arrived := &p.platform.hooks, routes.Arrived
	ended := hooks.Ended
	routes.Arrived = func(x *proxy.Exchange) {
		arrived(x)
		tracer.Arrived(x)
	}
	hooks.Request = tracer.Forward
	hooks.Ended = func(x *proxy.Exchange, o proxy.Outcome) {
		tracer.Ended(x, o)
		ended(x, o)
	}
	p.platform.keepers = append(p.platform.keepers, func(ctx context.Context) error {
		e.Run(ctx)
		return nil
	})
	return nil
}

// collector is where OpenTelemetry's own variables send a signal.
func (inv *invocation) collector(signal string) string {
	if address, ok := inv.env.lookup("OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"); ok {
		return address
	}
	address, _ := inv.env.lookup("OTEL_EXPORTER_OTLP_ENDPOINT")
	return address
}
