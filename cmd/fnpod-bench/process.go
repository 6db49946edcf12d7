package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a program that we started.
type process struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	output  strings.Builder                                 // what it wrote; read it after ended was closed
	started time.Time                                       // just before it was
	ended   chan struct{}                                   // closed when it was collected
	err     error                                           // how it ended; read it after ended was closed
	address string                                          // where it answers, "" if nowhere
	ask     func(ctx context.Context, address string) error // what firstAnswer asks; nil: the usual request
	abrupt  bool                                            // it is killed at the end: it would drain for longer than a benchmark waits
}

// start starts a program. Our own settings in the environment do not reach it.
func start(ctx context.Context, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(ctx), name, args...), ended: make(chan struct{})}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "FNPOD_") && !strings.HasPrefix(variable, "GO") {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// startAbrupt starts a program that is killed at its end.
func startAbrupt(ctx context.Context, env []string, name string, args ...string) (*process, error) {
	p, err := start(ctx, env, name, args...)
	if err == nil {
		p.abrupt = true
	}
	return p, err
}

// pid is the process id.
func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process and waits until it and its port are gone. The first process gets the signal, never a child: the
// master of nginx would replace a worker that ends, and the next variant would find the port taken.
func (p *process) stop() error {
	_ = p.stdin.Close() // a second close changes nothing
	if p.abrupt {
		_ = p.cmd.Process.Kill() // it may have ended already
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	grace := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	<-p.ended
	if !grace.Stop() {
		return fmt.Errorf("%s did not end in time: %s", p.cmd.Path, p.output.String())
	}
	if p.address == "" {
		return nil
	}
	if conn, err := net.DialTimeout("tcp", p.address, time.Second); err == nil { //nolint:noctx // stop has no context: it runs when that has ended
		_ = conn.Close()
		return fmt.Errorf("%s: somebody still listens after %s ended", p.address, p.cmd.Path)
	}
	return nil
}

// written ends the process and returns what it wrote.
func (p *process) written() string {
	_ = p.stop() // the caller has an error of its own
	return p.output.String()
}

// usage is what a process and its children used.
type usage struct {
	own, children time.Duration
	rss           int64 // of all of them
	anonymous     int64 // what of it is no page of a file
	switches      int64 // of context
	pids          []int // the process and its children
}

// cpu is the processor time of all.
func (u usage) cpu() time.Duration { return u.own + u.children }

// usage looks at the process and its children.
func (p *process) usage() (u usage, err error) {
	children, err := childrenOf(p.pid())
	if err != nil {
		return u, err
	}
	u.pids = append([]int{p.pid()}, children...)
	for i, pid := range u.pids {
		collected, err := collectedBy(pid)
		if err == nil {
			u.children += collected
		}
		cpu, err := cpuOf(pid)
		if i > 0 && gone(err) {
			continue // a process for one request
		}
		if err != nil {
			return u, err
		}
		rss, anonymous, err := memoryOf(pid)
		if i > 0 && err != nil {
			continue // likewise, or a zombie
		}
		if err != nil {
			return u, err
		}
		switches, err := switchesOf(pid)
		if i > 0 && gone(err) {
			continue
		}
		if err != nil {
			return u, err
		}
		u.switches += switches
		u.rss += rss
		u.anonymous += anonymous
		if i == 0 {
			u.own = cpu
		} else {
			u.children += cpu
		}
	}
	return u, nil
}

// gone tells that a process has ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// freeAddress is an address of the loopback interface where nobody listens.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// firstAnswer asks p at address until it answers, and returns the time since it was started. It asks again after pause.
func firstAnswer(ctx context.Context, p *process, address string, pause time.Duration) (time.Duration, error) {
	p.address = address
	question := p.ask
	if question == nil {
		question = ask
	}
	for {
		err := question(ctx, address)
		if err == nil {
			return time.Since(p.started), nil
		}
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case time.Since(p.started) > 20*time.Second:
			return 0, fmt.Errorf("no answer: %w", err)
		}
		select {
		case <-p.ended:
			return 0, fmt.Errorf("ended before its first answer: %w", p.err)
		default:
		}
		time.Sleep(pause)
	}
}

// ask sends one request and wants a good answer.
func ask(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	answer := make([]byte, 0, 4096)
	for {
		n, err := conn.Read(answer[len(answer):cap(answer)])
		answer = answer[:len(answer)+n]
		if size, bad := answerSize(answer); bad != nil || size > 0 {
			return bad
		}
		if err != nil {
			return err
		}
	}
}
