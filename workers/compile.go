package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/fnpod/fnpod/watchdog"
)

// Bounds of a compilation.
const (
	compileAt   = 3                // the start with which one begins: it costs what two starts lose without it
	compileTime = 30 * time.Second // that it may take
	compileSize = 4 << 20          // of what comes out
	compileRoom = 64 << 20         // that has to be left: it takes 12 MB, and the worker that starts beside it as much or more
)

// The wrapper is compiled by a process of its own, which runs none of the function's code, and once: workers that start later run what
// it has made. It is kept in memory and given to nobody else.

// due counts the starts and reports whether it is time to compile.
func (c *command) due() bool { return len(c.compiler) > 0 && c.starts.Add(1) == compileAt }

// compile has the wrapper compiled, unless memory is short.
func (p *Pool) compile(ctx context.Context) {
	if left, limited := p.memory.Left(); limited && left < compileRoom {
		p.log.Debug("wrapper is not compiled: memory is short", "left", left)
		return
	}
	p.command.compile(ctx, p.log)
}

// compile has the wrapper compiled. Without success workers go on with its source.
func (c *command) compile(ctx context.Context, log *slog.Logger) {
	begin := time.Now()
	file, err := c.runCompiler(ctx, log)
	if err == nil {
		err = c.put(file, true)
	}
	if err != nil {
		log.Debug("wrapper cannot be compiled", "err", err)
		return
	}
	log.Debug("wrapper compiled", "duration", time.Since(begin).Round(time.Microsecond).String())
}

// distrust goes back to the source for good after a start that failed, whatever the reason: an interpreter may have been replaced.
func (c *command) distrust(log *slog.Logger) {
	c.using.Lock()
	was := c.compiled
	c.unfit = true
	c.using.Unlock()
	if !was {
		return
	}
	file, err := wrapperFile(c.source())
	if err == nil {
		err = c.put(file, false)
	}
	if err != nil {
		log.Warn("source of the wrapper cannot be used again", "err", err)
	}
}

// put puts a file in the place of the wrapper. What is compiled is not wanted any more after a start that failed.
func (c *command) put(file *os.File, compiled bool) error {
	c.using.Lock()
	defer c.using.Unlock()
	if compiled && c.unfit {
		return errors.Join(errors.New("a worker did not start"), file.Close())
	}
	old := c.wrapper
	c.wrapper, c.compiled = file, compiled
	return old.Close()
}

func (c *command) runCompiler(ctx context.Context, log *slog.Logger) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read
	c.using.RLock()
	p, err := watchdog.Start(watchdog.Config{
		Path:   c.path,
		Args:   append([]string{c.path}, c.compiler...),
		Env:    c.env,
		Extra:  []*os.File{w, nil, nil, c.wrapper},
		Output: func(l watchdog.Line) { log.Debug("compiler of the wrapper", "line", string(l.Text)) },
	})
	c.using.RUnlock()
	err = errors.Join(err, w.Close())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, p.Kill)
	text, err := io.ReadAll(io.LimitReader(r, compileSize))
	<-p.Done()
	stop()
	switch {
	case err != nil:
		return nil, err
	case p.Exit().Status() != 0:
		return nil, fmt.Errorf("compiler ended: %v", p.Exit())
	case len(text) == 0 || len(text) == compileSize:
		return nil, fmt.Errorf("compiler wrote %d bytes", len(text))
	}
	return wrapperFile(string(text))
}
