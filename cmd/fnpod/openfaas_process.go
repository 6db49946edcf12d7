package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/fnpod/fnpod/platform/openfaas"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// openFaaSProcess is the long-lived process of http mode.
func openFaaSProcess(s *openfaas.Settings, inv *invocation, log *slog.Logger) (*httpProcess, error) {
	path, err := exec.LookPath(s.Process[0])
	if err != nil {
		return nil, fmt.Errorf("fprocess %s: %w", s.Process[0], reason(err))
	}
	port := s.Upstream.Port()
	if port == "" {
		port = "80"
	}
	address := net.JoinHostPort(s.Upstream.Hostname(), port)
	probe, err := watchdog.ParseProbe("tcp:" + address)
	if err != nil {
		return nil, fmt.Errorf("upstream_url %s: %w", s.Upstream, err)
	}
	limit := s.ExecTimeout
	if limit == 0 {
		limit = s.WriteTimeout
	}
	stdin, silent, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("standard input of the function: %w", err)
	}
	f := &processFunction{
		HTTPBackend: &proxy.HTTPBackend{
			Network: "tcp", Address: address, Prefix: s.Prefix(), MaxIdle: maxIdle, ConnectTimeout: limit,
		},
		supervisor: &watchdog.Supervisor{
			Process:       watchdog.Config{Path: path, Args: s.Process, Env: inv.env.all(), Stdin: stdin, OutputRate: -1, Lines: s.Lines(), Grace: 2 * time.Second, Log: log},
			Probe:         probe,
			StartTimeout:  365 * 24 * time.Hour, // nothing of the original waits for the port
			ExitWithChild: true, Log: log,
		},
	}
	f.supervisor.Process.Output = func(l watchdog.Line) {
		var w io.Writer = inv.lines(log)
		if l.Stream == watchdog.Stderr {
			w = inv.stderr
		}
		s.LogLine(w, l)
	}
	held := int64(-1)
	if s.BufferBody {
		held = s.MaxBuffer
	}
	return &httpProcess{f, held, []*os.File{stdin, silent}}, nil
}

// httpProcess is the process of http mode.
type httpProcess struct {
	*processFunction

	held  int64      // every body of up to that many bytes is held, so that it has a length; -1: none is
	stdin []*os.File // both ends of a pipe: programs may end with their input, so it neither ends nor says anything
}

// Run implements function.
func (p *httpProcess) Run(ctx context.Context) error {
	defer func() {
		for _, end := range p.stdin {
			_ = end.Close() // nothing was written
		}
	}()
	return p.processFunction.Run(ctx)
}

// Do implements proxy.Backend.
func (p *httpProcess) Do(x *proxy.Exchange) error {
	if p.held >= 0 {
		if err := x.HoldBody(p.held); err != nil {
			return err
		}
	}
	return p.processFunction.Do(x)
}
