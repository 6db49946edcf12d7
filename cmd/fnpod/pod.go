package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"go.uber.org/automaxprocs/maxprocs"
	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// function is what answers the requests: warm workers, a process, or something that runs elsewhere.
type function interface {
	proxy.Backend
	// Run starts the function and looks after it until ctx ends, then stops it. An earlier end is the pod's end.
	Run(ctx context.Context) error
	// Ready returns nil when requests can be answered, else an error whose text is one fixed word. It does not block.
	Ready() error
	// Series adds the function's own series.
	Series(set *metrics.Set)
	// Status is the function's part of the status document, for encoding/json.
	Status() any
}

// pod is one running fnpod: ports, front door, queue, function, and the order in which they start and stop.
type pod struct {
	log      *slog.Logger
	stderr   io.Writer // where log writes
	lines    *logPipe  // where output of the function goes; nil: nowhere of ours
	settings *front
	function function
	statuses []proxy.Status // how errors of the function are answered
	platform platform       // what it adds; the zero value is our own

	metrics  *metrics.Set
	queue    *queue.Queue
	meter    *queue.Meter
	waits    recentWaits
	server   *proxy.Server
	started  time.Time
	draining atomic.Bool
}

// platform is what a platform adds to a pod. All of it is optional.
type platform struct {
	hooks      proxy.Hooks
	collectors func(p *pod) []metrics.Collector
	opened     func() error // called when both ports are open
	ending     func()       // called when the drain begins
}

// What readiness says; the texts are answers.
var (
	errDraining    = errors.New("draining")
	errStarting    = errors.New("starting")
	errUnreachable = errors.New("unreachable") // a function that we do not start
)

// run opens the ports and serves until ctx ends. Requests are accepted at once and wait in the queue until the
// function is up; readiness says no until then.
//
// The end has an order: not ready, requests finish, the function stops, and only then the admin port goes.
func (p *pod) run(ctx context.Context) error {
	p.started = time.Now()
	if err := p.open(); err != nil {
		return err
	}
	listener, admin, err := p.listen(ctx)
	if err != nil {
		return err
	}
	if err := p.opened(); err != nil {
		return errors.Join(err, listener.Close())
	}
	fctx, stopFunction := context.WithCancel(context.WithoutCancel(ctx))
	actx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFunction()
	defer stopAdmin()
	g, gctx := errgroup.WithContext(ctx)
	var keepers errgroup.Group
	p.keep(actx, &keepers, admin)
	g.Go(func() error {
		err := p.function.Run(fctx)
		p.server.Hurry() // without a function there is nothing to wait for
		return err
	})
	g.Go(func() error {
		defer stopFunction()
		return p.server.Run(gctx, listener)
	})
	g.Go(func() error {
		<-gctx.Done()
		p.draining.Store(true)
		if p.platform.ending != nil {
			p.platform.ending()
		}
		p.log.Info("draining", "delay", p.settings.Proxy.DrainDelay.String())
		return nil
	})
	err = g.Wait()
	stopAdmin()
	err = errors.Join(err, keepers.Wait())
	p.log.Info("stopped", "after", time.Since(p.started).Round(time.Millisecond).String())
	return err
}

// opened tells the platform that the ports are open.
func (p *pod) opened() error {
	if p.platform.opened == nil {
		return nil
	}
	return p.platform.opened()
}

// tuneProcessors follows the CPU quota, with at least one processor.
func tuneProcessors(log *slog.Logger) {
	if _, err := maxprocs.Set(maxprocs.Logger(func(string, ...any) {})); err != nil {
		log.Warn("CPU quota not read", "err", err)
	}
}

// open builds queue, metrics and front door.
func (p *pod) open() error {
	p.metrics = metrics.New(runtime.GOMAXPROCS(0))
	p.queue = queue.New(p.settings.Queue.config())
	p.meter = queue.NewMeter(p.queue)
	var nonce [4]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	server, err := proxy.New(proxy.Parts{
		Config: p.settings.Proxy.config(), Queue: p.queue, Backend: p.function, Metrics: p.metrics,
		Log: p.log, Nonce: hex.EncodeToString(nonce[:]), Statuses: p.statuses,
		Hooks: p.platform.hooks, Classes: p.settings.Queue.Classes.rules(), Fairness: proxy.Fairness(p.settings.Queue.FairBy),
	})
	p.server = server
	p.series()
	if p.platform.collectors != nil {
		p.metrics.Register(p.platform.collectors(p)...)
	}
	return err
}

// listen opens both ports, or neither.
func (p *pod) listen(ctx context.Context) (listener, admin net.Listener, err error) {
	secure, err := p.settings.TLS.config(p.log)
	if err != nil {
		return nil, nil, err
	}
	if listener, err = p.settings.Listen.listen(ctx, "listen"); err != nil {
		return nil, nil, err
	}
	if secure != nil {
		listener = proxy.Secure{Listener: listener, Config: secure}
	}
	if p.settings.Admin.network == "" {
		return listener, nil, nil
	}
	if admin, err = p.settings.Admin.listen(ctx, "admin"); err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	p.log.Info("listening", "listen", listener.Addr().String(), "admin", admin.Addr().String())
	return listener, admin, nil
}

// listen opens the address. A socket file that nobody listens on any more is replaced.
func (a *address) listen(ctx context.Context, setting string) (net.Listener, error) {
	if a.network == "unix" {
		removeStale(ctx, a.address)
	}
	config := net.ListenConfig{KeepAlive: -1} // clients have time-outs of ours
	l, err := config.Listen(ctx, a.network, a.address)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return nil, fmt.Errorf("%s %s: cannot listen: %w", setting, a, err)
	}
	return l, nil
}

// removeStale removes what a pod that was killed has left behind.
func removeStale(ctx context.Context, path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return
	}
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = c.Close() // in use: listening will say so
		return
	}
	_ = os.Remove(path) // likewise
}

// ready is what the admin port answers.
func (p *pod) ready() error {
	if p.draining.Load() {
		return errDraining
	}
	return p.function.Ready()
}
