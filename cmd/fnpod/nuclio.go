package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// nuclioCmd is fnpod in the place of Nuclio's processor.
type nuclioCmd struct {
	settings *nuclio.Settings
}

// Where the controller puts the files of settings.
const (
	processorFile = "/etc/nuclio/config/processor/processor.yaml"
	platformFile  = "/etc/nuclio/config/platform/platform.yaml"
)

// exitPanic is the code with which the processor ends when a worker does not start: Go's after a panic.
const exitPanic = 2

// newNuclio reads the files. Arguments are those of the original.
func newNuclio(inv *invocation, args []string) (runner, error) {
	flags := flag.NewFlagSet("processor", flag.ContinueOnError)
	flags.SetOutput(inv.stderr)
	config := flags.String("config", processorFile, "the function's configuration")
	platform := flags.String("platform-config", platformFile, "the platform's configuration")
	list := flags.Bool("list-runtimes", false, "print the names of all runtimes")
	version := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, errHelp
		}
		return nil, &exitError{code: exitUsage} // flags has told
	}
	switch {
	case *list:
		return printed(strings.Join(nuclio.Runtimes(), "\n") + "\n"), nil
	case *version:
		return printed(versionLine() + "\n"), nil
	}
	text, err := os.ReadFile(*config)
	if err != nil {
		return nil, fmt.Errorf("read the function's configuration: %w", err)
	}
	c, err := nuclio.ParseConfig(text)
	if restores, _ := strconv.ParseBool(inv.env[nuclio.RestoreVariable]); err == nil && restores && !c.Spec.NoMasking {
		masked := c.Spec.Triggers
		c, err = inv.restored(text)
		c.Masked = masked
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", *config, err)
	}
	var p nuclio.Platform
	if text, err = os.ReadFile(*platform); err == nil {
		p, err = nuclio.ParsePlatform(text)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", *platform, err)
	}
	s, err := nuclio.Read(c, p, inv.env.raw)
	if err != nil {
		return nil, err
	}
	return &nuclioCmd{s}, nil
}

// restored is the function's configuration with the values of its secret.
func (inv *invocation) restored(text []byte) (nuclio.Config, error) {
	secret, err := os.ReadFile(filepath.Join(inv.env.or(nuclio.SecretFolderVariable, nuclio.SecretFolder), "content"))
	if err != nil {
		return nuclio.Config{}, fmt.Errorf("%s: read the function's secret: %w", nuclio.RestoreVariable, err)
	}
	values, err := nuclio.ParseSecret(secret)
	if err != nil {
		return nuclio.Config{}, err
	}
	if text, err = nuclio.Restore(text, values); err != nil {
		return nuclio.Config{}, err
	}
	return nuclio.ParseConfig(text)
}

// printed is a text for standard output.
type printed string

// Run implements runner.
func (p printed) Run(_ context.Context, inv *invocation) error {
	_, err := fmt.Fprint(inv.stdout, string(p))
	return err
}

// Run serves all triggers until ctx ends.
func (c *nuclioCmd) Run(ctx context.Context, inv *invocation) error {
	s := c.settings
	inv.pipe = newLogPipe(inv.stdout)
	log := inv.loggerOf(nuclio.NewHandler(inv.pipe, s.Sinks))
	inv.pipe.tell(func(lost uint64) {
		log.Warn("lines of the log were dropped: standard output was not read", "count", lost)
	})
	for _, w := range s.Warnings {
		log.Warn("setting is not as it should be", "what", w)
	}
	tuneProcessors(log)
	f, err := newNuclioFunction(s, inv, log)
	if err != nil {
		return err
	}
	p := &pod{log: log, stderr: inv.stderr, lines: inv.pipe, settings: nuclioFront(s, nil, inv), function: f, statuses: slices.Concat(s.Statuses(), workerStatuses, forkStatuses)}
	if s.Series != "" {
		p.settings.Admin = address{network: "tcp", address: s.Series}
	}
	c.doors(p, f, inv)
	clocks := newNuclioClocks(f, log)
	f.started = clocks.run
	f.events = newNuclioEvents(f, p.settings.Proxy.DrainTimeout, log)
	p.platform.serving = append(p.platform.serving, f.events.run)
	var ports nuclioPorts
	p.platform.collectors = func(*pod) (all []metrics.Collector) {
		for _, st := range f.statistics {
			all = append(all, st)
		}
		return all
	}
	p.platform.opened = func() error { return ports.open(ctx, p, s) }
	p.platform.ending = clocks.stop
	p.platform.keepers = append(p.platform.keepers, ports.run, f.events.end)
	for _, push := range s.Pushes {
		p.platform.keepers = append(p.platform.keepers, func(ctx context.Context) error { return push.Run(ctx, p.metrics.Text, log) })
	}
	err = functionStarted(p.run(ctx), log)
	if exit, ok := errors.AsType[*exitError](err); ok && exit.code == exitFailure {
		exit.code = exitPanic
	}
	if errors.Is(err, proxy.ErrLost) {
		log.Warn("requests were cut", "err", err)
		return nil
	}
	return err
}

// doors gives each http trigger its port. The first has that of the pod.
func (c *nuclioCmd) doors(p *pod, f *nuclioFunction, inv *invocation) {
	s := c.settings
	for i, src := range s.HTTP() {
		a := f.allocators[src.Allocator]
		st := f.statistics[src.Name]
		routes := &nuclio.Routes{Source: src, Statistics: st, Compatible: s.Compatible, Ready: func() bool { return p.ready() == nil }}
		d := &door{
			settings: nuclioFront(s, src, inv), queue: a.queue,
			hooks: proxy.Hooks{Own: routes.Own, Fields: routes.Fields, Ended: st.Ended, Rules: proxy.Rules{HoldBodies: true}},
			backend: proxy.BackendFunc(func(x *proxy.Exchange) error {
				return src.Run(x, func(e *nuclio.Exchange) error { return a.function.run(e) })
			}),
		}
		if src.Batches() { // events wait for their batch, and batches for a worker
			b := nuclio.NewBatcher(src, a.queue, a.function.run)
			d.queue = queue.New(queueSettings{Discipline: queue.FIFO}.config())
			d.backend = proxy.BackendFunc(func(x *proxy.Exchange) error {
				return src.Run(x, func(e *nuclio.Exchange) error { return b.Do(e) })
			})
		}
		if i == 0 {
			d.settings.Admin = p.settings.Admin
			p.settings, p.queue, p.platform.hooks, f.first = d.settings, d.queue, d.hooks, d.backend
			continue
		}
		p.doors = append(p.doors, d)
	}
	if p.queue == nil && s.Spec.NoDefaultTrigger { // only the health of the function can be asked
		p.settings.Listen = address{network: "tcp", address: ":8080"}
		p.platform.hooks.Own = nuclio.HealthOnly
	}
}

// bufferedBody is the largest body that is read before a worker is asked for: what Nuclio allows unless it is told.
const bufferedBody = 4 << 20

// nuclioFront are our settings, as far as Nuclio's say something about them. A pod without an http trigger has no port.
func nuclioFront(s *nuclio.Settings, src *nuclio.Source, inv *invocation) *front {
	f := defaults().Serve.Front
	f.Listen, f.Admin = address{}, address{}
	f.Queue.Depth, f.Queue.MaxWait, f.Queue.Discipline = 0, 0, queue.FIFO
	p := &f.Proxy
	p.AnswerTimeout, p.Timeout, p.IdleTimeout = 0, 0, orNever(0)
	p.Forwarded, p.RequestIDs = "off", false
	p.DrainDelay, p.DrainTimeout = 3*time.Second, max(s.Termination+5*time.Second, 0)
	if text, ok := inv.env.lookup("FNPOD_DRAIN_DELAY"); ok {
		if d, err := time.ParseDuration(text); err == nil && d >= 0 {
			p.DrainDelay = d
		}
	}
	if src != nil {
		f.Listen = address{network: "tcp", address: src.Address}
		p.HeadBytes, p.MaxBody = src.HeadBytes, src.MaxBody
		p.BufferBody = min(src.MaxBody, bufferedBody) // a worker is not asked for before that is here
	}
	return &f
}

// nuclioPorts are those of health check and web admin.
type nuclioPorts struct {
	servers   []*metrics.Server
	listeners []net.Listener
}

func (n *nuclioPorts) open(ctx context.Context, p *pod, s *nuclio.Settings) error {
	ready := func() bool { return p.ready() == nil }
	for _, port := range []struct {
		address, setting string
		answer           func(method, path, query string) metrics.Answer
	}{
		{s.HealthCheck, "healthCheck.listenAddress", nuclio.Health(ready)},
		{s.WebAdmin, "webAdmin.listenAddress", s.Admin},
	} {
		if port.address == "" {
			continue
		}
		l, err := (&address{network: "tcp", address: port.address}).listen(ctx, port.setting)
		if err != nil {
			for _, l := range n.listeners {
				err = errors.Join(err, l.Close())
			}
			return err
		}
		n.listeners = append(n.listeners, l)
		n.servers = append(n.servers, &metrics.Server{Set: p.metrics, Log: p.log, Answer: port.answer})
	}
	return nil
}

// run answers until ctx ends.
func (n *nuclioPorts) run(ctx context.Context) error {
	var g errgroup.Group
	for i, server := range n.servers {
		g.Go(func() error { return server.Run(ctx, n.listeners[i]) })
	}
	return g.Wait()
}
