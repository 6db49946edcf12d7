package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
	"github.com/fnpod/fnpod/workers/wrapper"
)

// nuclioFunction are the workers of all triggers.
type nuclioFunction struct {
	settings   *nuclio.Settings
	allocators map[string]*nuclioAllocator // by Source.Allocator
	statistics map[string]*nuclio.Statistics
	first      proxy.Backend             // of the pod's own port; nil: there is none
	started    func(ctx context.Context) // called when all workers are ready
	up         chan struct{}             // closed at the same moment
	kicked     chan struct{}             // closed when the events of the start have ended
	events     *nuclioEvents             // of brokers
}

// nuclioAllocator are workers and those who wait for them.
type nuclioAllocator struct {
	queue    *queue.Queue
	function nuclioRunner
	times    nuclio.WorkerTimes
}

// nuclioRunner runs events.
type nuclioRunner interface {
	// run runs one event. It returns like proxy.Backend.Do.
	run(x workers.Exchange) error
	// up returns a channel that is closed when the first event can be run.
	up() <-chan struct{}
	Run(ctx context.Context) error
	Ready() error
	Series(set *metrics.Set)
	Status() any
}

func newNuclioFunction(s *nuclio.Settings, inv *invocation, log *slog.Logger) (*nuclioFunction, error) {
	f := &nuclioFunction{settings: s, allocators: map[string]*nuclioAllocator{}, statistics: map[string]*nuclio.Statistics{}, up: make(chan struct{}), kicked: make(chan struct{})}
	for i := range s.Triggers {
		src := &s.Triggers[i]
		a := f.allocators[src.Allocator]
		if a == nil {
			q := queueSettings{Limit: src.Workers * src.PerWorker, Depth: 1_000_000, MaxWait: s.LongestWait(src), Discipline: queue.FIFO}
			if q.MaxWait == 0 {
				q.Depth = 0
			}
			a = &nuclioAllocator{queue: queue.New(q.config())}
			var err error
			if a.function, err = newNuclioRunner(s, src, &a.times, inv, log); err != nil {
				return nil, err
			}
			f.allocators[src.Allocator] = a
		}
		f.statistics[src.Name] = s.Statistics(src, a.queue, &a.times)
	}
	return f, nil
}

// Do implements proxy.Backend, for the first port.
func (f *nuclioFunction) Do(x *proxy.Exchange) error { return f.first.Do(x) }

// Run implements function.
func (f *nuclioFunction) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, a := range f.allocators {
		g.Go(func() error { return a.function.Run(gctx) })
	}
	g.Go(func() error {
		for _, a := range f.allocators {
			select {
			case <-a.function.up():
			case <-gctx.Done():
				return nil
			}
		}
		close(f.up)
		f.started(gctx)
		<-gctx.Done()
		return nil
	})
	return g.Wait()
}

// Ready implements function: every worker of every trigger is ready, the events of the start have ended, and brokers have
// taken their subscriptions, once.
func (f *nuclioFunction) Ready() error {
	for _, a := range f.allocators {
		if err := a.function.Ready(); err != nil {
			return err
		}
	}
	select {
	case <-f.kicked:
	default:
		return errStarting
	}
	if !f.events.ready() {
		return errStarting
	}
	return nil
}

// Series implements function. The series of workers are those of the first allocator, if there is but one.
func (f *nuclioFunction) Series(set *metrics.Set) {
	f.events.series(set)
	if len(f.allocators) != 1 {
		return
	}
	for _, a := range f.allocators {
		a.function.Series(set)
	}
}

// Status implements function.
func (f *nuclioFunction) Status() any {
	all := map[string]any{}
	for name, a := range f.allocators {
		all[strings.TrimPrefix(name, "\x00")] = a.function.Status()
	}
	return all
}

// newNuclioRunner returns what runs the events of a trigger.
//
//nolint:ireturn // there are three
func newNuclioRunner(s *nuclio.Settings, src *nuclio.Source, times *nuclio.WorkerTimes, inv *invocation, log *slog.Logger) (nuclioRunner, error) {
	if s.Runtime == "shell" {
		return newNuclioShell(s, times, inv, log)
	}
	if external, err := newNuclioExternal(s, src, times, inv, log); external != nil || err != nil {
		return external, err
	}
	config, err := nuclioPool(s, src, inv, log)
	if err != nil {
		return nil, err
	}
	config.Ran = times.Add
	return &nuclioWorkers{newWorkersFunction(config)}, nil
}

// nuclioPool is the pool of a trigger.
func nuclioPool(s *nuclio.Settings, src *nuclio.Source, inv *invocation, log *slog.Logger) (workers.Config, error) {
	config := workers.DefaultConfig()
	config.Min, config.Max, config.IdleTimeout, config.Turns = src.Workers, src.Workers, 0, true
	config.Concurrency = src.PerWorker
	config.Timeout, config.StartTimeout, config.ClientGrace, config.Grace = s.EventTimeout, orNever(0), orNever(0), max(s.Termination, time.Second)
	config.ClientGone, config.WithoutRequestID = proxy.ErrClientGone, true
	config.Contract = wrapper.Nuclio
	config.Path, _ = inv.env.lookup("PATH")
	config.Log = log
	config.Output = inv.unframed
	env := nuclioEnvironment(s, src, inv)
	var err error
	switch s.Runtime {
	case "python":
		err = nuclioPython(&config, s, inv, env)
	case "nodejs":
		err = nuclioNode(&config, s, inv)
	case "ruby":
		err = nuclioRuby(&config, s, inv)
	case "java":
		err = nuclioJava(&config, s, inv)
	default:
		return config, fmt.Errorf("spec.runtime %q: is not there: a function in Go is a plugin of one processor", s.Runtime)
	}
	for name, value := range env {
		config.Env = append(config.Env, name+"="+value)
	}
	return config, errors.Join(err, config.Validate())
}

// unframed passes a line of a function on as it is, as far as it is there.
func (inv *invocation) unframed(l watchdog.Line) {
	if l.Dropped > 0 && len(l.Text) == 0 {
		return
	}
	end := newline
	if l.Cut {
		end = cutMark
	}
	var w io.Writer = inv.pipe
	if l.Stream == watchdog.Stderr {
		w = inv.stderr
	}
	_, _ = w.Write(append(slices.Clip(l.Text), end...)) // there is nowhere to report it
}

// nuclioEnvironment is what workers of all languages find in their environment.
func nuclioEnvironment(s *nuclio.Settings, src *nuclio.Source, inv *invocation) environment {
	env := newEnvironment(inv.env.forFunction())
	env["NUCLIO_HANDLER"] = s.Spec.Handler
	env["NUCLIO_FUNCTION_HANDLER"] = s.Spec.Handler
	env["NUCLIO_FUNCTION_NAME"] = s.Metadata.Name
	env["NUCLIO_FUNCTION_DESCRIPTION"] = s.Spec.Description
	env["NUCLIO_FUNCTION_VERSION"] = fmt.Sprint(s.Spec.Version)
	kind, name := src.Kind, src.Name
	if src.Shared {
		kind, name = "", src.Allocator
	}
	platform := "local"
	if s.Kube {
		platform = "kube"
	}
	env["FNPOD_WORKER_NUCLIO_TRIGGER_KIND"], env["FNPOD_WORKER_NUCLIO_TRIGGER_NAME"] = kind, name
	env["FNPOD_WORKER_NUCLIO_PLATFORM"], env["FNPOD_WORKER_NUCLIO_NAMESPACE"] = platform, s.Metadata.Namespace
	return env
}

// or is a variable of ours, or another value where it is not set.
func (e environment) or(name, other string) string {
	if v, ok := e.lookup(name); ok {
		return v
	}
	return other
}

// nuclioPython finds the module of the handler, which the worker imports by its name.
func nuclioPython(config *workers.Config, s *nuclio.Settings, inv *invocation, env environment) error {
	module, function, err := nuclio.PythonHandler(s.Spec.Handler)
	if err != nil {
		return err
	}
	home, err := filepath.Abs(inv.env.or("NUCLIO_PYTHON_PATH", "/opt/nuclio"))
	if err != nil {
		return err
	}
	config.Interpreter = inv.env.or("NUCLIO_PYTHON_EXE_PATH", "")
	if config.Interpreter == "" {
		config.Interpreter = "python3"
		if _, err := exec.LookPath("python3"); err != nil {
			config.Interpreter = "python"
		}
	}
	stem := filepath.Join(home, filepath.Join(strings.Split(module, ".")...))
	file := stem + ".py"
	if _, err := os.Stat(file); err != nil {
		if _, err := os.Stat(filepath.Join(stem, "__init__.py")); err == nil {
			file = filepath.Join(stem, "__init__.py")
		}
	}
	config.Handler = workers.Handler{File: file, Function: function}
	config.Dir = home
	env["PYTHONPATH"] = home + ":" + inv.env["PYTHONPATH"]
	env["FNPOD_WORKER_NUCLIO_HOME"], env["FNPOD_WORKER_NUCLIO_MODULE"] = home, module
	env["FNPOD_WORKER_NUCLIO_DECODE"] = strconv.FormatBool(nuclio.DecodesStrings(inv.env.raw))
	return nil
}

// nuclioNode finds the file of the handler.
func nuclioNode(config *workers.Config, s *nuclio.Settings, inv *invocation) error {
	file, function, err := nuclio.SplitHandler(s.Spec.Handler)
	if err != nil {
		return err
	}
	if function == "" {
		file, function = "handler.js", file
	}
	home, err := filepath.Abs(inv.env.or("NUCLIO_HANDLER_DIR", "/opt/nuclio"))
	if err != nil {
		return err
	}
	file = filepath.Join(home, file)
	for _, extension := range []string{"", ".js", ".cjs", ".mjs"} {
		if info, err := os.Stat(file + extension); err == nil && info.Mode().IsRegular() {
			file += extension
			break
		}
	}
	config.Interpreter = inv.env.or("NUCLIO_NODEJS_EXE", "node")
	config.Handler, config.Dir = workers.Handler{File: file, Function: function}, home
	return nil
}

// nuclioRuby finds the file of the handler, which lies where Nuclio's wrapper does.
func nuclioRuby(config *workers.Config, s *nuclio.Settings, inv *invocation) error {
	file, function, err := nuclio.SplitHandler(s.Spec.Handler)
	if err != nil {
		return err
	}
	if function == "" {
		return fmt.Errorf("spec.handler %q: must be file:method for Ruby", s.Spec.Handler)
	}
	home, err := filepath.Abs(inv.env.or("NUCLIO_HANDLER_DIR", "/opt/nuclio"))
	if err != nil {
		return err
	}
	config.Handler = workers.Handler{File: filepath.Join(home, strings.TrimSuffix(file, ".rb")+".rb"), Function: function}
	config.Dir = home
	return nil
}

// nuclioJava finds the jar of the handler: Nuclio's builder puts it into one with its wrapper. A jar that is there alone will do.
func nuclioJava(config *workers.Config, s *nuclio.Settings, inv *invocation) error {
	home, err := filepath.Abs(inv.env.or("NUCLIO_HANDLER_DIR", "/opt/nuclio"))
	if err != nil {
		return err
	}
	file := filepath.Join(home, "nuclio-java-wrapper.jar")
	if _, err := os.Stat(file); err != nil {
		if jars, _ := filepath.Glob(filepath.Join(home, "*.jar")); len(jars) == 1 {
			file = jars[0]
		}
	}
	config.Options, err = s.Spec.RuntimeAttributes.List("jvmOptions")
	config.Handler, config.Dir = workers.Handler{File: file, Function: javaClass(s)}, home
	return err
}
