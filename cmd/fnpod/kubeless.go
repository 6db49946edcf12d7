package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/kubeless"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/workers/wrapper"
)

// kubelessCmd is fnpod in the place of a server of Kubeless' runtime images.
type kubelessCmd struct {
	settings *kubeless.Settings
	front    *front
	workers  *serveCmd // nil: the function is a server
	server   *runCmd   // nil: it is not
}

// newKubeless reads the environment. Arguments are the command of the original's image, or ours that look and do not serve.
func newKubeless(inv *invocation, args []string) (runner, error) {
	if len(args) > 0 {
		switch args[0] {
		case "check":
			return kubelessCheck{}, nil
		case "probe", "version", "--version", "help", "--help", "-h":
			return nil, nil
		}
	}
	c, _, err := inv.kubeless(args)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// kubeless reads the environment: Kubeless' settings, and what ours make of them. The parser knows where those come from; it is
// nil if nothing could be read.
func (inv *invocation) kubeless(args []string) (*kubelessCmd, *kubelessReading, error) {
	s, err := kubeless.Read(inv.env.raw, args)
	read := &kubelessReading{settings: s.Read}
	if err != nil {
		return nil, read, &usageError{lines: []string{err.Error()}}
	}
	grammar := defaults()
	var command []string
	if s.Language == kubeless.Server {
		grammar.Run.Front, grammar.Run.Function = *kubelessFront(s), kubelessServer(s)
		command = append([]string{"run", "--"}, s.Command...)
	} else {
		grammar.Serve.Front, grammar.Serve.Workers = *kubelessFront(s), kubelessWorkers(s)
		command = []string{"serve", s.File + ":" + s.Function}
	}
	p, err := newParser("fnpod", description, grammar, inv.env, inv.stdout)
	if err != nil {
		return nil, read, err
	}
	ctx, err := p.parse(command)
	read.parser, read.context = p, ctx
	if err != nil {
		return nil, read, err
	}
	inv.warnings = inv.env.unknown(append(p.variables(), platformVariables...))
	if s.Language == kubeless.Server {
		return &kubelessCmd{settings: s, front: &grammar.Run.Front, server: &grammar.Run}, read, nil
	}
	return &kubelessCmd{settings: s, front: &grammar.Serve.Front, workers: &grammar.Serve}, read, nil
}

// kubelessFront are our settings, as far as Kubeless' say something about them.
func kubelessFront(s *kubeless.Settings) *front {
	f := defaults().Serve.Front
	f.Listen = address{network: "tcp", address: ":" + strconv.Itoa(s.Port)}
	if f.Admin.address == f.Listen.address {
		f.Admin = address{}
	}
	f.Queue.Limit, f.Queue.Depth, f.Queue.MaxWait, f.Queue.Discipline = s.Threads, 1_000_000, 0, queue.FIFO
	p := &f.Proxy
	switch { // besides, there are limits by type
	case s.Language == kubeless.Server, s.Isolated:
		p.MaxBody = 0
	case s.Language == kubeless.Python:
		p.MaxBody = max(p.MaxBody, s.MaxJSON)
	}
	p.AnswerTimeout = 0
	if s.Language == kubeless.Server { // all others look at it themselves
		p.Timeout = s.Timeout
	}
	p.Forwarded, p.RequestIDs = "off", false
	p.DrainTimeout = max(s.Timeout, s.Shutdown)
	if s.Language == kubeless.Server {
		p.DrainTimeout = s.Shutdown
	}
	return &f
}

// Node has one process, as the original, which runs any number of calls. One that does not end is seen by its event loop, which
// does not answer: after nodeGrace it gets no more calls, and after as long again it is killed.
const (
	nodeCalls = 1000
	nodeGrace = time.Second
)

// kubelessWorkers are the settings of warm workers.
func kubelessWorkers(s *kubeless.Settings) workerSettings {
	w := defaults().Serve.Workers
	w.Contract = wrapper.Kubeless
	w.Timeout, w.StartTimeout = s.Timeout, kubelessStart
	if s.Language == kubeless.Node {
		w.Max, w.Concurrency = 1, nodeCalls
		w.ClientGrace, w.StopGrace = nodeGrace, nodeGrace
	} else {
		w.Max, w.ClientGrace = poolSize(s.Threads), orNever(0)
	}
	return w
}

// kubelessServer are the settings of a function that is a server.
func kubelessServer(s *kubeless.Settings) functionSettings {
	f := defaults().Run.Function
	f.Upstream = upstream{network: "tcp", address: net.JoinHostPort("127.0.0.1", strconv.Itoa(kubeless.ServerPort))}
	f.StartTimeout, f.StopGrace = kubelessStart, s.Shutdown
	return f
}

// kubelessStart is the longest time until a function is loaded: kubelet's probes of the original give it less.
const kubelessStart = 10 * time.Minute

// Run serves until ctx ends, or the function does.
func (c *kubelessCmd) Run(ctx context.Context, inv *invocation) error {
	s := c.settings
	log := inv.logger(c.front.Log)
	tuneProcessors(log)
	stdout := inv.lines(log)
	f, err := c.function(inv, log)
	if err != nil {
		return err
	}
	p := &pod{log: log, stderr: inv.stderr, lines: stdout, settings: c.front, function: f}
	p.statuses = slices.Concat(s.Statuses(), workerStatuses, forkStatuses)
	series := kubeless.NewMetrics(s)
	var up atomic.Bool
	routes := &kubeless.Routes{
		Settings: s,
		Alive:    func() bool { return c.alive(p, &up) },
		Series:   func() ([]byte, string, error) { return p.metrics.Text() },
	}
	lines := inv.stderr
	if s.Language != kubeless.Server {
		lines = stdout
	}
	p.platform = platform{
		hooks: proxy.Hooks{
			Own:      routes.Own,
			Deadline: func(*proxy.Exchange) (time.Duration, bool) { return 0, false }, // clients do not shorten FUNC_TIMEOUT
			Fields:   routes.Fields,
			Ended: func(x *proxy.Exchange, o proxy.Outcome) {
				series.Count(x, o)
				s.LogRequest(lines, x, o, time.Now())
			},
		},
		collectors: func(*pod) []metrics.Collector { return series.Collectors() },
	}
	err = exitWithFunction(functionStarted(p.run(ctx), log))
	if errors.Is(err, proxy.ErrLost) {
		log.Warn("requests were cut", "err", err)
		return nil
	}
	return err
}

// alive reports whether kubelet can leave the pod as it is: a function that still starts is no reason to begin again, one that
// was up and is not any more may be, and a server that does not answer.
func (c *kubelessCmd) alive(p *pod, up *atomic.Bool) bool {
	if p.function.Ready() == nil {
		up.Store(true)
		server, ok := p.function.(*processFunction)
		return !ok || server.replies()
	}
	return !up.Load() || p.draining.Load()
}
