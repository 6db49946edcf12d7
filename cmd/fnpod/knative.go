package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// knativeCmd is fnpod in the place of Knative's queue-proxy.
type knativeCmd struct {
	settings *knative.Settings
	proxy    *proxyCmd // what our own variables make of them
}

// waitingPlaces is how many requests may wait for each that may run.
const waitingPlaces = 10

// certificateEvery is how often a certificate is looked at while nobody comes.
const certificateEvery = time.Minute

// Ports of a queue-proxy that the controller relies on and does not name.
const (
	knativeAdminPort      = 8022
	knativeAutoscalerPort = 9090
	knativeMetricsPort    = 9091
	knativeProfilePort    = 8008
)

// newKnative reads the environment, which is all that the controller gives.
func newKnative(inv *invocation, args []string) (runner, error) {
	if len(args) > 0 {
		return nil, &usageError{lines: []string{fmt.Sprintf("unknown argument %q: queue-proxy has none", args[0])}}
	}
	s, err := knative.Read(inv.env.raw)
	if err != nil {
		return nil, err
	}
	if err := inv.knativeOwn(s); err != nil {
		return nil, err
	}
	p, err := inv.variables(proxyCmd{Protocol: proxy.ProtocolSame, Front: *knativeFront(s)})
	if err != nil {
		return nil, err
	}
	return &knativeCmd{settings: s, proxy: p}, nil
}

// knativeOwn reads what the controller does not say.
func (inv *invocation) knativeOwn(s *knative.Settings) (err error) {
	const upstream = "FNPOD_KNATIVE_UPSTREAM"
	if text, ok := inv.env.lookup(upstream); ok {
		socket, isUnix := strings.CutPrefix(text, "unix:")
		if socket = strings.TrimPrefix(socket, "//"); !isUnix || len(socket) < 2 || socket[0] != '/' && socket[0] != '@' {
			return fmt.Errorf("%s %q: must be unix:/PATH or unix:@NAME", upstream, text)
		}
		s.Socket = socket
	}
	s.ErrorField, err = inv.flag("FNPOD_KNATIVE_ERROR_FIELD")
	return err
}

// knativeFront are our settings, as far as the controller's say something about them.
func knativeFront(s *knative.Settings) *front {
	f := defaults().Proxy.Front
	f.Listen = address{network: "tcp", address: ":" + strconv.Itoa(s.Port)}
	f.Admin = address{}
	f.Queue.Limit, f.Queue.Depth, f.Queue.MaxWait, f.Queue.Discipline = s.Concurrency, waitingPlaces*s.Concurrency, 0, queue.FIFO
	p := &f.Proxy
	p.HeadBytes, p.HeadFields = 64<<10-1, 4096
	p.BufferBody = 0 // a request takes its slot when it comes
	p.HTTP2Streams = 250
	p.HeadTimeout = time.Minute
	p.IdleTimeout, p.BodyTimeout, p.WriteTimeout = orNever(0), orNever(0), 24*time.Hour
	p.AnswerTimeout = 0
	p.Timeout = s.Timeout
	p.TunnelIdleTimeout = orNever(s.IdleTimeout)
	p.Forwarded, p.RequestIDs = "off", false
	p.DrainDelay, p.DrainTimeout = 30*time.Second, orNever(0)
	return &f
}

// Run serves until SIGTERM and the drain after it.
func (c *knativeCmd) Run(ctx context.Context, inv *invocation) error {
	s := c.settings
	log := c.logger(inv)
	tuneProcessors(log)
	f := &knativeFunction{prober: knative.NewProber(s, log), HTTPBackend: &proxy.HTTPBackend{
		MaxIdle: s.Concurrency, ConnectTimeout: 20 * time.Second, Starting: func() bool { return false }, Protocol: c.proxy.Protocol,
	}}
	f.Network, f.Address = s.Function()
	if f.MaxIdle == 0 {
		f.MaxIdle = maxIdle
	}
	p := &pod{log: log, stderr: inv.stderr, settings: &c.proxy.Front, function: f, statuses: s.Statuses()}
	inv.hurried.Store(exitFailure)
	drain := &knative.Drain{Quiet: c.proxy.Front.Proxy.DrainDelay}
	figures, err := newKnativeFigures(s, inv, log)
	if err != nil {
		return err
	}
	routes := &knative.Routes{Draining: drain.Draining, Tags: figures.tags, Arrived: func(x *proxy.Exchange) {
		drain.Arrived()
		figures.arrived(x)
	}}
	p.platform = platform{
		hooks: proxy.Hooks{
			Own:      routes.Own,
			Deadline: func(*proxy.Exchange) (time.Duration, bool) { return 0, false }, // clients do not shorten it
			Request:  knative.Forward,
			Ended:    c.ended(figures, inv, log),
			Rules: proxy.Rules{
				StartTimeout: s.StartTimeout, QuietTimeout: s.IdleTimeout, BoundTunnels: true, SlowBodies: true, AnyUpgrade: true,
				SharedConnections: true, Linger: drain.Wait, DrainStreams: time.Minute,
			},
		},
		collectors: figures.collectors,
		keepers:    figures.keepers(),
		ending:     drain.Stop,
	}
	if err := c.trace(p, routes, inv); err != nil {
		return err
	}
	admin, err := inv.knativePort("FNPOD_KNATIVE_ADMIN_PORT", knativeAdminPort)
	if err != nil {
		return err
	}
	if p.platform.servers, err = figures.servers(p, inv); err != nil {
		return err
	}
	if s.Observability.Runtime.Profiling == "enabled" {
		const name = "PROFILING_PORT" // the original's
		at, err := inv.knativePort(name, knativeProfilePort)
		if err != nil {
			return err
		}
		p.platform.servers = append(p.platform.servers, &server{name: name, address: at, serve: serveHTTP(knative.Profiles())})
	}
	p.platform.servers = append(p.platform.servers, &server{name: "FNPOD_KNATIVE_ADMIN_PORT", address: admin, serve: serveHTTP(drain.Handler())})
	if err := c.secure(p, inv); err != nil {
		return err
	}
	return knativeExit(p.run(ctx), log)
}

// secure adds the port with TLS if there is a certificate. It has the queue and the function of the other one.
func (c *knativeCmd) secure(p *pod, inv *invocation) error {
	folder, ok := inv.env.lookup("FNPOD_KNATIVE_CERTS")
	if !ok {
		folder = knative.CertsFolder
	}
	files := tlsSettings{Cert: filepath.Join(folder, knative.CertFile), Key: filepath.Join(folder, knative.KeyFile)}
	for _, name := range []string{files.Cert, files.Key} {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	config, err := c.settings.TLS.Config()
	if err != nil {
		return err
	}
	pair := &certificate{files: files, log: p.log, loaded: knative.CertLoaded}
	if err := pair.load(); err != nil {
		return err
	}
	config.GetCertificate = pair.get
	p.platform.keepers = append(p.platform.keepers, func(ctx context.Context) error { return pair.watch(ctx, certificateEvery) })
	settings := c.proxy.Front
	settings.Listen = address{network: "tcp", address: ":" + strconv.Itoa(c.settings.TLSPort)}
	p.queue = queue.New(settings.Queue.config())
	p.doors = append(p.doors, &door{settings: &settings, queue: p.queue, backend: p.function, hooks: p.platform.hooks, secure: config})
	return nil
}

// knativeExit makes a drain good whatever it had to cut.
func knativeExit(err error, log *slog.Logger) error {
	if errors.Is(err, proxy.ErrLost) {
		log.Warn("requests were cut", "err", err)
		return nil
	}
	return err
}

// knativePort is a port that the controller does not name.
func (inv *invocation) knativePort(name string, otherwise int) (address, error) {
	port := uint64(otherwise)
	if text, ok := inv.env.lookup(name); ok {
		var err error
		if port, err = strconv.ParseUint(text, 10, 16); err != nil {
			return address{}, fmt.Errorf("%s %q: must be a port", name, text)
		}
	}
	return address{network: "tcp", address: ":" + strconv.FormatUint(port, 10)}, nil
}

// serveHTTP serves one of the control plane's ports.
func serveHTTP(h http.Handler) func(ctx context.Context, l net.Listener) error {
	return func(ctx context.Context, l net.Listener) error {
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		ended := context.AfterFunc(ctx, func() { _ = server.Close() }) // nobody is told why
		defer ended()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// knativeFunction is the user container.
type knativeFunction struct {
	*proxy.HTTPBackend

	prober *knative.Prober
}

// Run implements function.
func (f *knativeFunction) Run(ctx context.Context) error {
	defer f.CloseIdle()
	defer f.prober.Close()
	<-ctx.Done()
	return nil
}

// Ready implements function. Who asks is not the control plane, so nothing is probed for him.
func (f *knativeFunction) Ready() error {
	if !f.prober.Ready() {
		return errUnreachable
	}
	return nil
}

// Series implements function.
func (f *knativeFunction) Series(set *metrics.Set) { connectionSeries(set, f.HTTPBackend) }

// Status implements function.
func (f *knativeFunction) Status() any { return map[string]any{"upstream": f.Address} }

// Do implements proxy.Backend.
func (f *knativeFunction) Do(x *proxy.Exchange) error {
	if x.Bypassed() {
		return f.prober.Answer(x)
	}
	return f.HTTPBackend.Do(x)
}
