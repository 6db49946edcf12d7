package main

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// check reports what is wrong with the settings of a command although each has the right form.
func (c *serveCmd) check(env environment) error {
	return errors.Join(c.Front.check(), c.Workers.check(c.Handler.Handler, env))
}

func (c *proxyCmd) check(environment) error { return c.Front.check() }

func (c *runCmd) check(environment) error {
	argv := c.argv()
	var missing error
	if len(argv) == 0 {
		missing = errors.New("command : must be a program and its arguments")
	} else if _, err := exec.LookPath(argv[0]); err != nil {
		missing = fmt.Errorf("command %s: %w", argv[0], reason(err))
	}
	var tooMany error
	if c.forks() && c.Front.Queue.Limit > mostProcesses {
		tooMany = fmt.Errorf("queue-limit %d: must be at most %d with a process per request", c.Front.Queue.Limit, mostProcesses)
	}
	return errors.Join(missing, tooMany, c.Front.check(), c.Function.check(c.Front.Listen), c.Fork.check())
}

// mostProcesses bounds the processes of a mode that starts one per request: each has a thread of ours, too.
const mostProcesses = 4096

// forks reports a mode that starts a process for each request.
func (c *runCmd) forks() bool { return c.Function.Mode != "http" }

// argv is the command without the -- before it.
func (c *runCmd) argv() []string { return afterDashes(c.Command) }

func afterDashes(words []string) []string {
	if len(words) > 0 && words[0] == "--" {
		return words[1:]
	}
	return words
}

func (f *front) check() error {
	var same error
	if f.Listen == f.Admin {
		same = fmt.Errorf("admin %s: must not be the address of listen", &f.Admin)
	}
	return errors.Join(same, f.Queue.config().Validate(), f.Proxy.config().Validate())
}

func (s *functionSettings) check(listen address) error {
	var same error
	if s.Mode == "http" && s.Upstream.network == listen.network && s.Upstream.address == listen.address {
		same = fmt.Errorf("upstream %s: must not be the address of listen", &s.Upstream)
	}
	return errors.Join(same,
		positive("start-timeout", s.StartTimeout),
		notNegative("stop-grace", s.StopGrace))
}

func newForkSettings(c watchdog.ForkConfig) forkSettings {
	return forkSettings{
		Launcher: c.Launcher.String(), Standby: c.Standby, StandbyIdle: c.StandbyIdle, ZygotePreload: c.Preload,
		ContentType: c.ContentType, MaxOutput: c.MaxOutput, ProcessTimeout: c.Timeout, OutputGrace: c.OutputGrace, OnClientGone: "kill",
	}
}

// config is what the settings ask for; the caller adds the command, its environment and the log.
func (s *forkSettings) config() watchdog.ForkConfig {
	c := watchdog.DefaultForkConfig()
	c.Launcher, _ = watchdog.ParseLauncher(s.Launcher) // one of those that are allowed
	c.Standby, c.StandbyIdle, c.Preload = s.Standby, s.StandbyIdle, s.ZygotePreload
	c.ContentType, c.MaxOutput = s.ContentType, s.MaxOutput
	c.Timeout, c.OutputGrace = s.ProcessTimeout, s.OutputGrace
	c.Finish, c.Credentials = s.OnClientGone == "finish", s.PassCredentials
	return c
}

func (s *forkSettings) check() error {
	var unbounded error
	if s.OnClientGone == "finish" && s.ProcessTimeout == 0 {
		unbounded = errors.New("on-client-gone finish: needs a process-timeout, for nobody else ends the process")
	}
	return errors.Join(unbounded, s.config().Validate())
}

func positive(name string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s %v: must be more than 0", name, d)
	}
	return nil
}

func notNegative(name string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s %v: must not be negative", name, d)
	}
	return nil
}

// lanesOfKeys is how many lines of a class take turns when requests have keys.
const lanesOfKeys = 64

func (s queueSettings) config() queue.Config {
	c := queue.Config{
		Limit: s.Limit, Depth: s.Depth, MaxWait: s.MaxWait, Discipline: s.Discipline, Target: s.Target, Adapt: s.Adapt,
	}
	for _, class := range s.Classes {
		c.Classes = append(c.Classes, class.Class)
	}
	if s.FairBy != (fairness{}) {
		c.Lanes = lanesOfKeys
	}
	return c
}

func newQueueSettings(c queue.Config) queueSettings {
	return queueSettings{Limit: c.Limit, Depth: c.Depth, MaxWait: c.MaxWait, Discipline: c.Discipline, Target: c.Target, Adapt: c.Adapt}
}

func (s proxySettings) config() proxy.Config { return proxy.Config(s) }

// newWorkerSettings takes the defaults of the package. The most workers stay automatic until the CPU quota is known.
func newWorkerSettings(c workers.Config) workerSettings {
	return workerSettings{
		Min: c.Min, IdleTimeout: c.IdleTimeout, StartTimeout: c.StartTimeout, Timeout: c.Timeout, ClientGrace: c.ClientGrace,
		StopGrace: c.Grace, MaxRequests: c.MaxRequests, MaxAge: c.MaxAge, MaxRSS: c.MaxRSS, Concurrency: c.Concurrency, Lane: int64(c.LaneBytes),
		Interpreter: c.Interpreter, Contract: c.Contract,
	}
}

// config is the pool that the settings ask for; the caller adds handler, environment and log. An automatic maximum is
// one worker for each processor we may use, and not less than the minimum.
func (s *workerSettings) config() workers.Config {
	c := workers.DefaultConfig()
	c.Interpreter, c.Contract = s.Interpreter, s.Contract
	c.Min, c.Max = s.Min, int(s.Max)
	if c.Max == 0 {
		c.Max = max(runtime.GOMAXPROCS(0), c.Min)
	}
	c.IdleTimeout, c.StartTimeout, c.Timeout = s.IdleTimeout, s.StartTimeout, s.Timeout
	c.ClientGrace, c.Grace = s.ClientGrace, s.StopGrace
	c.MaxRequests, c.MaxAge, c.MaxRSS = s.MaxRequests, s.MaxAge, s.MaxRSS
	c.Concurrency, c.LaneBytes = s.Concurrency, int(s.Lane)
	c.Warmup, c.Watch = s.Warmup, s.Watch
	return c
}

// check looks for the interpreter too when there is a handler.
func (s *workerSettings) check(h workers.Handler, env environment) error {
	c := s.config()
	c.Handler = h
	if path, ok := env.lookup("PATH"); ok {
		c.Path = path
	}
	if h == (workers.Handler{}) { // none given, or a bad one that has been reported
		c.Command = []string{"/proc/self/exe"}
	}
	return c.Validate()
}
