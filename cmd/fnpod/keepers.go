package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/watchdog"
)

// keep starts what runs from before the first request until after the last: the admin port and the duties of a
// process that has children.
func (p *pod) keep(ctx context.Context, g *errgroup.Group, admin net.Listener) {
	signals := catchSignals() // before anybody can learn that we are ready
	g.Go(func() error {
		p.meter.Run(ctx)
		return nil
	})
	g.Go(func() error {
		p.waits.keep(ctx, p.metrics)
		return nil
	})
	g.Go(func() error {
		p.followQuota(ctx, p.quota)
		return nil
	})
	g.Go(func() error {
		p.giveBack(ctx)
		return nil
	})
	if admin != nil {
		server := &metrics.Server{
			Set: p.metrics, Ready: p.ready, Status: p.status, Log: p.log,
			Pages: map[string]func() any{"/signals": p.signals, "/queue": p.concurrency},
		}
		g.Go(func() error { return server.Run(ctx, admin) })
	}
	for _, s := range p.platform.servers {
		g.Go(func() error { return s.serve(ctx, s.listener) })
	}
	for _, keeper := range p.platform.keepers {
		g.Go(func() error { return keeper(ctx) })
	}
	g.Go(func() error {
		var forward func(syscall.Signal) error
		if f, ok := p.function.(interface{ Signal(s syscall.Signal) error }); ok {
			forward = f.Signal
		}
		otherSignals(ctx, signals, p.log, p.stderr, forward)
		return nil
	})
	reaper := p.adopt()
	if _, forks := p.function.(interface{ Launcher() watchdog.Launcher }); forks {
		// Each process that ends would bring a signal, which costs two wakes; those that it leaves behind are looked for then.
		reaper.Every = time.Second
		g.Go(func() error { return reaper.Run(ctx) })
		return
	}
	g.Go(func() error {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGCHLD)
		defer signal.Stop(signals)
		reaper.Signals = signals
		return reaper.Run(ctx)
	})
}

// adopt makes us the parent of orphans and keeps our own memory and descriptors from the function.
func (p *pod) adopt() *watchdog.Reaper {
	for what, err := range map[string]error{
		"subreaper":   p.subreaper(),
		"descriptors": watchdog.SealFiles(),
		"undumpable":  watchdog.SetUndumpable(),
	} {
		if err != nil {
			p.log.Warn("cannot protect the pod", "what", what, "err", err)
		}
	}
	reaper := &watchdog.Reaper{Log: p.log}
	p.metrics.Func(metrics.OrphansReaped, func() float64 { return float64(reaper.Reaped()) })
	return reaper
}

func (p *pod) subreaper() error {
	if os.Getpid() == 1 {
		return nil
	}
	return watchdog.SetSubreaper()
}
