package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
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
	doors    []*door // besides the first
	started  time.Time
	draining atomic.Bool
}

// platform is what a platform adds to a pod. All of it is optional.
type platform struct {
	hooks      proxy.Hooks
	collectors func(p *pod) []metrics.Collector
	opened     func() error                      // called when both ports are open
	ending     func()                            // called when the drain begins
	serving    []func(ctx context.Context) error // run beside the doors until ctx ends, and drain like them
	keepers    []func(ctx context.Context) error // run as long as the admin port
	servers    []*server                         // ports for others than clients, served as long as the admin port
}

// server is a port for others than clients.
type server struct {
	name     string // of the setting that has the address
	address  address
	serve    func(ctx context.Context, l net.Listener) error // until ctx ends; closes l
	listener net.Listener
}

// door is one more port for requests, with a queue and a backend of its own, or those of another door.
type door struct {
	settings *front
	queue    *queue.Queue
	backend  proxy.Backend
	hooks    proxy.Hooks
	secure   *tls.Config // nil: without TLS
	server   *proxy.Server
	listener net.Listener
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
		for _, l := range []net.Listener{listener, admin} {
			if l != nil {
				err = errors.Join(err, l.Close())
			}
		}
		return err
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
		for _, d := range p.doors {
			d.server.Hurry()
		}
		return err
	})
	g.Go(func() error {
		defer stopFunction()
		return p.serve(gctx, listener)
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

// serve runs all doors until ctx ends and they have drained. Without a port there is nothing to drain.
func (p *pod) serve(ctx context.Context, listener net.Listener) error {
	g, gctx := errgroup.WithContext(ctx)
	if listener != nil {
		g.Go(func() error { return p.server.Run(gctx, listener) })
	} else {
		g.Go(func() error {
			<-gctx.Done()
			return nil
		})
	}
	for _, d := range p.doors {
		g.Go(func() error { return d.server.Run(gctx, d.listener) })
	}
	for _, serve := range p.platform.serving {
		g.Go(func() error { return serve(gctx) })
	}
	return g.Wait()
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
	if p.queue == nil {
		p.queue = queue.New(p.settings.Queue.config())
	}
	p.meter = queue.NewMeter(p.queue)
	var nonce [4]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("read random bytes: %w", err)
	}
	first := &door{settings: p.settings, queue: p.queue, backend: p.function, hooks: p.platform.hooks}
	err := p.build(first, hex.EncodeToString(nonce[:]))
	p.server = first.server
	for i, d := range p.doors {
		err = errors.Join(err, p.build(d, hex.EncodeToString(nonce[:])+strconv.Itoa(i)))
	}
	p.series()
	if p.platform.collectors != nil {
		p.metrics.Register(p.platform.collectors(p)...)
	}
	return err
}

// build makes the server of a door.
func (p *pod) build(d *door, nonce string) (err error) {
	d.server, err = proxy.New(proxy.Parts{
		Config: d.settings.Proxy.config(), Queue: d.queue, Backend: d.backend, Metrics: p.metrics,
		Log: p.log, Nonce: nonce, Statuses: p.statuses,
		Hooks: d.hooks, Classes: d.settings.Queue.Classes.rules(), Fairness: proxy.Fairness(d.settings.Queue.FairBy),
	})
	return err
}

// listen opens all ports, or none. There may be no port for requests, and none for the admin server.
func (p *pod) listen(ctx context.Context) (listener, admin net.Listener, err error) {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			if err != nil {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	for _, d := range p.doors {
		if d.listener, err = d.settings.Listen.listen(ctx, "listen"); err != nil {
			return nil, nil, err
		}
		open = append(open, d.listener)
		if d.secure != nil {
			d.listener = proxy.Secure{Listener: d.listener, Config: d.secure}
		}
	}
	for _, s := range p.platform.servers {
		if s.listener, err = s.address.listen(ctx, s.name); err != nil {
			return nil, nil, err
		}
		open = append(open, s.listener)
	}
	if p.settings.Listen.network != "" {
		if listener, err = p.listenFirst(ctx); err != nil {
			return nil, nil, err
		}
		open = append(open, listener)
	}
	if p.settings.Admin.network != "" {
		if admin, err = p.settings.Admin.listen(ctx, "admin"); err != nil {
			return nil, nil, err
		}
	}
	p.log.Info("listening", "listen", addressOf(listener), "admin", addressOf(admin))
	return listener, admin, nil
}

// addressOf is where a listener listens; "off" without one.
func addressOf(l net.Listener) string {
	if l == nil {
		return "off"
	}
	return l.Addr().String()
}

// listenFirst opens the port for requests.
func (p *pod) listenFirst(ctx context.Context) (net.Listener, error) {
	secure, err := p.settings.TLS.config(p.log)
	if err != nil {
		return nil, err
	}
	listener, err := p.settings.Listen.listen(ctx, "listen")
	if err == nil && secure != nil {
		listener = proxy.Secure{Listener: listener, Config: secure}
	}
	return listener, err
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
