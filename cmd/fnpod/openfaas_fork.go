package main

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"strings"

	"github.com/fnpod/fnpod/platform/openfaas"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// perRequest is a command of OpenFaaS that is started for each request.
type perRequest struct {
	*forkFunction

	settings *openfaas.Settings
	missing  error     // the command was not found; the originals, too, start all the same
	stdout   io.Writer // of ours, for what the classic watchdog prints
	log      *slog.Logger
}

// openFaaSFork finds the command. A name with a slash is looked for when a request needs it.
func openFaaSFork(s *openfaas.Settings, inv *invocation, log *slog.Logger) (*perRequest, error) {
	path := s.Process[0]
	var missing error
	if !strings.Contains(path, "/") {
		found, err := exec.LookPath(path)
		if err == nil {
			path = found
		} else {
			missing = &openfaas.MissingError{Err: err}
			log.Warn("the function cannot be started: every request will be a 500", "fprocess", strings.Join(s.Process, " "), "err", err)
		}
	}
	config := s.Fork()
	config.Path, config.Env, config.Log = cmp.Or(path, "/"), inv.env.all(), log
	config.Output = func(_ string, l watchdog.Line) { s.LogLine(inv.stderr, l) }
	if err := inv.env.setLauncher(&config, inv); err != nil {
		return nil, err
	}
	fork, err := watchdog.NewFork(config)
	if err != nil {
		return nil, err
	}
	return &perRequest{&forkFunction{Fork: fork, mode: s.Mode, path: path}, s, missing, inv.lines(log), log}, nil
}

// Do implements proxy.Backend.
func (f *perRequest) Do(x *proxy.Exchange) error {
	err := f.missing
	switch c := f.settings.Classic; {
	case c != nil:
		err = f.classic(c, x)
	case err == nil:
		err = f.Fork.Do(x)
	}
	return f.settings.Failed(err)
}

// classic runs a request as the classic watchdog does.
func (f *perRequest) classic(c *openfaas.Classic, x *proxy.Exchange) error {
	if c.DebugHeaders {
		openfaas.PrintRequest(f.stdout, x)
	}
	f.log.Info("Forking fprocess.")
	if f.missing != nil {
		return f.missing
	}
	var exchange watchdog.Exchange = x
	if c.Marshal {
		if err := x.HoldBody(f.settings.MaxBuffer); err != nil {
			return err
		}
		marshalled, err := openfaas.Marshal(x)
		if err != nil {
			return err
		}
		exchange = marshalled
	}
	if !c.WriteDebug {
		return f.Fork.Do(exchange)
	}
	err := f.Fork.Do(&openfaas.Printed{Exchange: exchange, To: f.stdout})
	if failed, ok := errors.AsType[*watchdog.FailedError](err); ok {
		f.log.Info("the function failed", "err", failed, "output", string(failed.Output[:min(len(failed.Output), watchdog.MaxLine)]))
	}
	return err
}
