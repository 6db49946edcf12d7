package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// Run serves the upstream until ctx ends.
func (c *proxyCmd) Run(ctx context.Context, inv *invocation) error {
	log := inv.logger(c.Front.Log)
	tuneProcessors(log)
	probe, err := watchdog.ParseProbe(c.URL.probe())
	if err != nil {
		return err
	}
	f := &upstreamFunction{
		HTTPBackend: &proxy.HTTPBackend{
			Network: c.URL.network, Address: c.URL.address, MaxIdle: maxIdle, ConnectTimeout: 2 * time.Second,
			Protocol: c.Protocol,
		},
		probe: probe,
	}
	f.Starting = func() bool { return !f.seen.Load() }
	p := &pod{log: log, stderr: inv.stderr, settings: &c.Front, function: f}
	return p.run(ctx)
}

// probe is how we learn that the upstream is up.
func (u *upstream) probe() string {
	if u.network == "unix" {
		return "unix:" + u.address
	}
	return "tcp:" + u.address
}

// upstreamFunction runs elsewhere in the pod; somebody else starts and stops it.
type upstreamFunction struct {
	*proxy.HTTPBackend
	probe watchdog.Probe
	up    atomic.Bool
	seen  atomic.Bool // it was up once: from then on requests do not wait for it to listen
}

// How often an upstream is looked at while it is down, at first and at most, and while it is up.
const (
	lookFirst = 5 * time.Millisecond
	lookDown  = 250 * time.Millisecond
	lookUp    = 2 * time.Second
)

// Run implements function: it finds out whether the upstream is up, quickly at first.
func (f *upstreamFunction) Run(ctx context.Context) error {
	defer f.CloseIdle()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := lookFirst; ; pause = min(2*pause, lookDown) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		up := f.probe.Check(ctx) == nil
		f.up.Store(up)
		if up {
			f.seen.Store(true)
			pause = lookUp
		}
		timer.Reset(pause)
	}
}

// Ready implements function.
func (f *upstreamFunction) Ready() error {
	if !f.up.Load() {
		return errUnreachable
	}
	return nil
}

// Series implements function.
func (f *upstreamFunction) Series(set *metrics.Set) {
	set.Func(metrics.FunctionUp, func() float64 { return oneIf(f.up.Load()) })
	connectionSeries(set, f.HTTPBackend)
}

// connectionSeries publishes what b has open.
func connectionSeries(set *metrics.Set, b *proxy.HTTPBackend) {
	set.Func(metrics.UpstreamConnections, func() float64 { idle, _ := b.Connections(); return float64(idle) }, "idle")
	set.Func(metrics.UpstreamConnections, func() float64 { _, busy := b.Connections(); return float64(busy) }, "busy")
}

// Status implements function.
func (f *upstreamFunction) Status() any {
	return map[string]any{"upstream": f.Network + ":" + f.Address, "up": f.up.Load()}
}
