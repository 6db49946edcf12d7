package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/proxy"
)

// knativeFigures is what Knative's autoscaler and people read about requests.
type knativeFigures struct {
	settings *knative.Settings
	stat     *knative.Stat
	tags     *knative.Tags
	user     *knative.UserMetrics // nil: nobody reads them
	names    string               // of the series of user; "" without any
	hosts    bool                 // they have the hosts that clients ask for
	pusher   *knative.Pusher      // nil: they are read on a port
}

// newKnativeFigures returns figures without requests.
func newKnativeFigures(s *knative.Settings, inv *invocation, log *slog.Logger) (*knativeFigures, error) {
	f := &knativeFigures{settings: s, stat: knative.NewStat(s.Pod), tags: &knative.Tags{}}
	if s.Observability.RequestMetrics.Protocol == knative.ProtocolNone {
		return f, nil
	}
	var err error
	if f.pusher, err = knative.NewPusher(s, inv.collector("METRICS"), log); err != nil {
		return nil, err
	}
	if f.hosts, err = inv.flag("FNPOD_KNATIVE_METRICS_HOSTS"); err != nil {
		return nil, err
	}
	f.names = knative.NamesToday
	if s.Observability.Legacy {
		f.names = knative.NamesOlder
	}
	if names, ok := inv.env.lookup("FNPOD_KNATIVE_METRICS"); ok && f.pusher == nil {
		if all := []string{knative.NamesToday, knative.NamesOlder, knative.NamesBoth}; !slices.Contains(all, names) {
			return nil, fmt.Errorf("FNPOD_KNATIVE_METRICS %q: must be one of %q", names, all)
		}
		f.names = names
	}
	return f, nil
}

// collectors are the series that people read.
func (f *knativeFigures) collectors(p *pod) []metrics.Collector {
	if f.names == "" {
		return nil
	}
	f.user = knative.NewUserMetrics(f.settings, f.tags, f.names, f.hosts, func() float64 {
		st := p.queue.Stats()
		return float64(st.Executing + st.Queued)
	})
	if f.pusher != nil {
		f.pusher.Register(f.user)
		return nil
	}
	return f.user.Collectors()
}

// flag is a switch that is no setting of a command.
func (inv *invocation) flag(name string) (bool, error) {
	text, ok := inv.env.lookup(name)
	if !ok {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s %q: must be true or false", name, text)
	}
	return on, nil
}

// arrived is told of each request, not of probes, before it queues.
func (f *knativeFigures) arrived(x *proxy.Exchange) {
	f.stat.Begin(x.Marked()&knative.MarkProxied != 0)
}

// ended implements proxy.Hooks.Ended.
func (f *knativeFigures) ended(x *proxy.Exchange, o proxy.Outcome) {
	if mark := x.Marked(); mark&knative.MarkRequest != 0 {
		f.stat.End(mark&knative.MarkProxied != 0)
	}
	if f.user == nil {
		return
	}
	if m, ok := knative.Measure(x, o); ok {
		f.user.Observe(m)
	}
}

// servers are the ports where the figures are read.
func (f *knativeFigures) servers(p *pod, inv *invocation) ([]*server, error) {
	const autoscaler, user = "FNPOD_KNATIVE_AUTOSCALER_PORT", "FNPOD_KNATIVE_METRICS_PORT"
	at, err := inv.knativePort(autoscaler, knativeAutoscalerPort)
	if err != nil {
		return nil, err
	}
	list := []*server{{name: autoscaler, address: at, serve: f.serveStat}}
	if f.names == "" || f.pusher != nil {
		return list, nil
	}
	if at, err = inv.knativePort(user, knativeMetricsPort); err != nil {
		return nil, err
	}
	if _, ok := inv.env.lookup(user); !ok {
		if at.address, err = inv.prometheus(cmp.Or(f.settings.Observability.RequestMetrics.Endpoint, at.address)); err != nil {
			return nil, err
		}
	}
	return append(list, &server{name: user, address: at, serve: func(ctx context.Context, l net.Listener) error {
		return (&metrics.Server{Set: p.metrics, Log: p.log}).Run(ctx, l)
	}}), nil
}

// prometheus is where Prometheus finds metrics: where the controller says, unless the variables of Knative's own library do.
func (inv *invocation) prometheus(controllers string) (string, error) {
	host, port, err := net.SplitHostPort(controllers)
	if err != nil {
		return "", fmt.Errorf("OBSERVABILITY_CONFIG: requestMetrics.endpoint %q: must be HOST:PORT", controllers)
	}
	if text, ok := inv.env.lookup("METRICS_PROMETHEUS_HOST"); ok {
		host = text
	}
	const name = "METRICS_PROMETHEUS_PORT"
	if text, ok := inv.env.lookup(name); ok {
		if n, err := strconv.ParseUint(text, 10, 16); err != nil || n < 1024 {
			return "", fmt.Errorf("%s %q: must be a port, 1024 to 65535", name, text)
		}
		port = text
	}
	return net.JoinHostPort(host, port), nil
}

// keepers run as long as the pod.
func (f *knativeFigures) keepers() []func(ctx context.Context) error {
	if f.pusher == nil {
		return nil
	}
	return []func(ctx context.Context) error{func(ctx context.Context) error {
		f.pusher.Run(ctx)
		return nil
	}}
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
