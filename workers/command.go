package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/protocol"
	"github.com/fnpod/fnpod/workers/wrapper"
)

// command is what is started for each worker.
type command struct {
	path string
	args []string
	env  []string
	dir  string

	source   func() string // of the wrapper
	compiler []string      // arguments that compile it; none: nothing does
	starts   atomic.Int64

	using    sync.RWMutex
	wrapper  *os.File // guarded by using; nil: the program needs none
	compiled bool     // guarded by using: wrapper is what the compiler made
	unfit    bool     // guarded by using: a start went wrong with that
}

// prepare finds the program and puts the wrapper where workers can read it.
func (c *command) prepare(ctx context.Context, cfg *Config, log *slog.Logger) error {
	path, err := cfg.Program()
	if err != nil {
		return err
	}
	c.path, c.dir = path, cfg.Dir
	if c.dir == "" && cfg.Handler.File != "" {
		c.dir = filepath.Dir(cfg.Handler.File)
		if strings.HasPrefix(cfg.Contract, wrapper.OpenFaaS) {
			c.dir = filepath.Dir(c.dir) // templates keep the handler in a folder below that of their program
			if cfg.Handler.language() == &php && filepath.Base(filepath.Dir(cfg.Handler.File)) == "src" {
				c.dir = filepath.Dir(c.dir) // of which Composer has the sources in another
			}
		}
	}
	c.env = append(c.env, cfg.Env...)
	c.env = append(c.env,
		fmt.Sprintf("FNPOD_WORKER_PROTOCOL=%d-%d", protocol.Version, protocol.Version),
		"FNPOD_WORKER_FDS=3,4",
		"FNPOD_WORKER_HANDLER="+cfg.Handler.String(),
		fmt.Sprintf("FNPOD_WORKER_CONCURRENCY=%d", cfg.Concurrency),
	)
	if cfg.LaneBytes > 0 {
		c.env = append(c.env, fmt.Sprintf("FNPOD_WORKER_LANE=5,%d,%d", cfg.LaneBytes, cfg.LaneBytes))
	}
	if cfg.Watch { // a file that changes twice in a second looks the same to Python's cache
		c.env = append(c.env, "PYTHONDONTWRITEBYTECODE=1")
	}
	if cfg.Contract != wrapper.Native {
		c.env = append(c.env, "FNPOD_WORKER_CONTRACT="+cfg.Contract)
	}
	if len(cfg.Command) > 0 {
		c.args = append([]string{c.path}, cfg.Command[1:]...)
		return nil
	}
	l := cfg.Handler.language()
	if l == &program {
		c.args = []string{c.path}
		return nil
	}
	if len(l.own) > 0 && isScript(c.path) {
		c.path = interpreterBehind(ctx, c.path, l, c.env, log)
	}
	c.args = slices.Concat([]string{c.path}, cfg.Options, l.args, []string{wrapperPath})
	c.source, c.compiler = func() string { return l.wrapper(cfg.Contract) }, l.compiler
	c.wrapper, err = wrapperFile(c.source())
	return err
}

func (c *command) close() error {
	if c.wrapper == nil {
		return nil
	}
	return c.wrapper.Close()
}

// Program returns the path of what is to be started for a worker: Command, or the interpreter.
func (c Config) Program() (string, error) {
	if len(c.Command) > 0 {
		path, err := lookPath(c.Command[0], c.Path)
		if err != nil {
			return "", fmt.Errorf("workers-command: %w", err)
		}
		return path, nil
	}
	l := c.Handler.language()
	if l == nil {
		return "", fmt.Errorf("handler %q: unknown extension: allowed are %s", c.Handler.File, extensions())
	}
	if l == &program {
		if c.Interpreter != "" {
			return "", fmt.Errorf("workers-interpreter %q: the handler is a program itself", c.Interpreter)
		}
		return c.Handler.File, nil
	}
	name := c.Interpreter
	if name == "" {
		name = l.program
	}
	path, err := lookPath(name, c.Path)
	if err != nil {
		return "", fmt.Errorf("workers-interpreter: %w", err)
	}
	return path, nil
}

// interpreterBehind asks an interpreter that is a script, as version managers
// install them, for the program it runs: each start through the script would cost
// several times the interpreter's own start. Without an answer the script is used.
func interpreterBehind(ctx context.Context, script string, l *language, env []string, log *slog.Logger) string {
	path, err := askInterpreter(ctx, script, l, env)
	if err == nil {
		path, err = lookPath(path, "")
	}
	if err != nil {
		log.Warn("interpreter behind script not found", "script", script, "err", err)
		return script
	}
	return path
}

func askInterpreter(ctx context.Context, script string, l *language, env []string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }() // only read
	p, err := watchdog.Start(watchdog.Config{
		Path:   script,
		Args:   append([]string{script}, l.own...),
		Env:    env,
		Extra:  []*os.File{w},
		Output: func(watchdog.Line) {},
	})
	err = errors.Join(err, w.Close())
	if err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, p.Kill)()
	<-p.Done()
	// What it wrote is in the pipe. A grandchild that holds the other end must not keep us waiting for an end of it.
	if err := r.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if e := p.Exit(); e.Status() != 0 {
		return "", fmt.Errorf("%s: %v", script, e)
	}
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return "", err
	}
	path := strings.TrimSpace(string(b))
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s: no path but %q", script, path)
	}
	return path, nil
}
