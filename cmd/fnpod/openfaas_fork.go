package main

import (
	"cmp"
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
	missing  error // the command was not found; the original, too, starts all the same
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
	fork, err := watchdog.NewFork(config)
	if err != nil {
		return nil, err
	}
	return &perRequest{&forkFunction{Fork: fork, mode: s.Mode, path: path}, s, missing}, nil
}

// Do implements proxy.Backend.
func (f *perRequest) Do(x *proxy.Exchange) error {
	if f.missing != nil {
		return f.settings.Failed(f.missing)
	}
	return f.settings.Failed(f.forkFunction.Do(x))
}
