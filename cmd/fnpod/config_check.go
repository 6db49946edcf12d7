package main

import (
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
)

// check reports what is wrong with the settings of a command although each has the right form.
func (c *serveCmd) check() error { return errors.Join(c.Front.check(), c.Workers.check()) }
func (c *proxyCmd) check() error { return c.Front.check() }

func (c *runCmd) check() error {
	argv := c.argv()
	var missing error
	if len(argv) == 0 {
		missing = errors.New("command : must be a program and its arguments")
	} else if _, err := exec.LookPath(argv[0]); err != nil {
		missing = fmt.Errorf("command %s: %w", argv[0], reason(err))
	}
	return errors.Join(missing, c.Front.check(), c.Function.check(c.Front.Listen))
}

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
	if s.Upstream.network == listen.network && s.Upstream.address == listen.address {
		same = fmt.Errorf("upstream %s: must not be the address of listen", &s.Upstream)
	}
	return errors.Join(same,
		positive("start-timeout", s.StartTimeout),
		notNegative("stop-grace", s.StopGrace))
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

func (s queueSettings) config() queue.Config { return queue.Config(s) }
func (s proxySettings) config() proxy.Config { return proxy.Config(s) }

// check stands in for workers.Config.Validate where only the command knows the whole, such as auto.
func (s *workerSettings) check() error {
	var errs []error
	if s.Max != 0 && s.Min > int(s.Max) {
		errs = append(errs, fmt.Errorf("workers-min %d: must not be more than workers-max, %d", s.Min, s.Max))
	}
	between := func(name string, v, low, high int64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s %d: allowed are %d to %d", name, v, low, high))
		}
	}
	between("workers-min", int64(s.Min), 0, 10_000)
	between("workers-max", int64(s.Max), 0, 10_000)
	between("worker-max-requests", int64(s.MaxRequests), 0, 1<<31-1)
	between("worker-max-rss", s.MaxRSS, 0, 1<<50)
	between("worker-concurrency", int64(s.Concurrency), 1, 10_000)
	between("worker-lane", s.Lane, 0, 64<<20)
	errs = append(errs,
		positive("worker-idle-timeout", s.IdleTimeout),
		positive("worker-start-timeout", s.StartTimeout),
		notNegative("worker-timeout", s.Timeout),
		notNegative("worker-stop-grace", s.StopGrace))
	return errors.Join(errs...)
}
