package main

import (
	"context"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/proxy"
)

// knativeFigures is what Knative's autoscaler and people read about requests.
type knativeFigures struct {
	stat *knative.Stat
}

// newKnativeFigures returns figures without requests.
func newKnativeFigures(s *knative.Settings) *knativeFigures {
	return &knativeFigures{stat: knative.NewStat(s.Pod)}
}

// arrived is told of each request, not of probes, before it queues.
func (f *knativeFigures) arrived(x *proxy.Exchange) {
	f.stat.Begin(x.Marked()&knative.MarkProxied != 0)
}

// ended implements proxy.Hooks.Ended.
func (f *knativeFigures) ended(x *proxy.Exchange, _ proxy.Outcome) {
	if mark := x.Marked(); mark&knative.MarkRequest != 0 {
		f.stat.End(mark&knative.MarkProxied != 0)
	}
}

// servers are the ports where the figures are read.
func (f *knativeFigures) servers(inv *invocation) ([]*server, error) {
	autoscaler, err := inv.knativePort("FNPOD_KNATIVE_AUTOSCALER_PORT", knativeAutoscalerPort)
	if err != nil {
		return nil, err
	}
	return []*server{{name: "FNPOD_KNATIVE_AUTOSCALER_PORT", address: autoscaler, serve: f.serveStat}}, nil
}

// serveStat sums up and answers until ctx ends.
func (f *knativeFigures) serveStat(ctx context.Context, l net.Listener) error {
	var g errgroup.Group
	g.Go(func() error {
		f.stat.Run(ctx)
		return nil
	})
	g.Go(func() error { return serveHTTP(f.stat)(ctx, l) })
	return g.Wait()
}
