package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"strings"

	"github.com/fnpod/fnpod/watchdog"
)

// templateHandlers are where the templates of OpenFaaS keep the handler, below the working directory.
var templateHandlers = []string{"function/handler.py", "function/handler.js", "function/handler.rb", "function/src/Handler.php", "function-1.0/function-1.0.jar"}

// templateThreads is how many requests the server of the Python templates runs at once. That of the Java templates runs one,
// and more workers than processors would cost a virtual machine each.
const templateThreads = 4

// openFaaSWorkers are the warm workers that take the place of the process of http mode when FNPOD_CONTRACT says how the
// handler is called; nil without it. FNPOD_HANDLER says where it is. All other settings of workers apply.
func openFaaSWorkers(inv *invocation) (*serveCmd, error) {
	if _, ok := inv.env.lookup("FNPOD_CONTRACT"); !ok {
		return nil, nil
	}
	file, ok := inv.env.lookup("FNPOD_HANDLER")
	if !ok {
		var err error
		if file, err = templateHandler(); err != nil {
			return nil, err
		}
	}
	p, err := newParser("fnpod", description, defaults(), inv.env, inv.stdout)
	if err != nil {
		return nil, err
	}
	ctx, err := p.parse([]string{"serve", file})
	if err != nil {
		return nil, err
	}
	command, ok := reflect.TypeAssert[*serveCmd](ctx.Selected().Target.Addr())
	if !ok {
		return nil, fmt.Errorf("command %s is not serve", ctx.Selected().Name)
	}
	if command.Workers.Max == 0 {
		least := templateThreads
		if command.Handler.Language() == "java" {
			least = 1
		}
		command.Workers.Max = poolSize(max(least, runtime.GOMAXPROCS(0), command.Workers.Min))
	}
	return command, nil
}

// templateHandler finds the handler where templates have it.
func templateHandler() (string, error) {
	for _, file := range templateHandlers {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return file, nil
		}
	}
	return "", &usageError{lines: []string{"FNPOD_HANDLER: must say where the handler is; there is no " + strings.Join(templateHandlers, ", no ")}}
}

// inHTTPMode is the environment for the rules of http mode without its process: what the image says about that is not
// needed, and may be missing.
func (e environment) inHTTPMode(name string) (string, bool) {
	switch name {
	case "mode":
		return "http", true
	case "function_process", "http_upstream_url":
		return "", false
	case "fprocess":
		return "workers", true
	case "upstream_url":
		return "http://localhost", true
	}
	return e.raw(name)
}

// warm is the pool of warm workers.
func (c *openFaaSCmd) warm(inv *invocation, log *slog.Logger) (function, error) {
	config, err := c.workers.config(inv)
	if err != nil {
		return nil, err
	}
	config.Log = log
	stdout := inv.lines(log)
	config.Output = func(l watchdog.Line) {
		var w io.Writer = stdout
		if l.Stream == watchdog.Stderr {
			w = inv.stderr
		}
		c.settings.LogLine(w, l)
	}
	return newWorkersFunction(config), nil
}
