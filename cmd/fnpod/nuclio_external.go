package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/platform/nuclio"
	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/workers"
)

// nuclioExternal are wrappers of Nuclio's own.
type nuclioExternal struct {
	*nuclio.External

	wrapper string
}

// newNuclioExternal returns the wrappers of a runtime that has none of ours, or whose variable says where Nuclio's is;
// else nil.
func newNuclioExternal(s *nuclio.Settings, src *nuclio.Source, times *nuclio.WorkerTimes, inv *invocation, log *slog.Logger) (*nuclioExternal, error) {
	env := nuclioEnvironment(s, src, inv)
	for name := range env {
		if len(name) > len(variablePrefix) && name[:len(variablePrefix)] == variablePrefix {
			delete(env, name)
		}
	}
	c := nuclio.Command{Output: inv.unframed, Name: s.Runtime + ".logger"}
	var wrapper string
	var err error
	switch s.Runtime {
	case "python":
		if wrapper = inv.env.or("NUCLIO_PYTHON_WRAPPER_PATH", ""); wrapper != "" {
			err = externalPython(&c, s, src, wrapper, env)
		}
	case "nodejs":
		if wrapper = inv.env.or("NUCLIO_NODEJS_WRAPPER_PATH", ""); wrapper != "" {
			err = externalNode(&c, s, wrapper, env)
		}
	case "ruby":
		if wrapper = inv.env.or("NUCLIO_WRAPPER_PATH", ""); wrapper != "" {
			c.Lines = true
			err = started(&c, "ruby", func(_ int, event, _ string) []string {
				return []string{"ruby", wrapper, "--handler", s.Spec.Handler, "--socket-path", event}
			})
		}
	case "java":
		if wrapper = inv.env.or("NUCLIO_WRAPPER_JAR", ""); wrapper != "" {
			err = externalJava(&c, s, wrapper)
		}
	case "dotnetcore":
		wrapper = inv.env.or("NUCLIO_DOTNETCORE_WRAPPER_PATH", "/opt/nuclio/wrapper/wrapper.dll")
		c.Lines = true
		err = started(&c, "dotnet", func(_ int, event, _ string) []string { return []string{"dotnet", wrapper, event, s.Spec.Handler} })
	}
	if wrapper == "" || err != nil {
		return nil, err
	}
	if src.Batches() {
		return nil, fmt.Errorf("trigger %s: batch: is not there for wrappers of Nuclio's own", src.Name)
	}
	if src.PerWorker > 1 {
		return nil, fmt.Errorf("trigger %s: mode async: is not there for wrappers of Nuclio's own", src.Name)
	}
	if _, err := os.Stat(wrapper); err != nil {
		return nil, fmt.Errorf("the wrapper %s of runtime %s: %w", wrapper, s.Runtime, reason(err))
	}
	for name, value := range env {
		c.Env = append(c.Env, name+"="+value)
	}
	return &nuclioExternal{s.NewExternal(src, c, times, proxy.ErrClientGone, log), wrapper}, nil
}

// started finds the program of a wrapper.
func started(c *nuclio.Command, program string, args func(worker int, event, control string) []string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, reason(err))
	}
	c.Path, c.Args = path, args
	return nil
}

func externalPython(c *nuclio.Command, s *nuclio.Settings, src *nuclio.Source, wrapper string, env environment) error {
	if _, _, err := nuclio.PythonHandler(s.Spec.Handler); err != nil {
		return err
	}
	kind, name, platform := src.Kind, src.Name, "local"
	if src.Shared {
		kind, name = "", src.Allocator
	}
	if s.Kube {
		platform = "kube"
	}
	program := env.or("NUCLIO_PYTHON_EXE_PATH", "python3")
	if _, err := exec.LookPath(program); err != nil && program == "python3" {
		program = "python"
	}
	env["PYTHONPATH"] = env.or("NUCLIO_PYTHON_PATH", "/opt/nuclio") + ":" + env["PYTHONPATH"]
	decodes := nuclio.DecodesStrings(env.raw)
	c.Control, c.Waits, c.Signals = true, true, true
	return started(c, program, func(worker int, event, control string) []string {
		args := []string{
			program, "-u", wrapper, "--handler", s.Spec.Handler, "--event-socket-path", event, "--control-socket-path", control,
			"--platform-kind", platform, "--namespace", s.Metadata.Namespace, "--worker-id", strconv.Itoa(worker),
			"--trigger-kind", kind, "--trigger-name", name,
		}
		if decodes {
			args = append(args, "--decode-event-strings")
		}
		return args
	})
}

func externalNode(c *nuclio.Command, s *nuclio.Settings, wrapper string, env environment) error {
	file, function, err := nuclio.SplitHandler(s.Spec.Handler)
	if err != nil {
		return err
	}
	if function == "" {
		file, function = "handler.js", file
	}
	file = filepath.Join(env.or("NUCLIO_HANDLER_DIR", "/opt/nuclio"), file)
	c.Lines, c.Waits = true, true
	return started(c, env.or("NUCLIO_NODEJS_EXE", "node"), func(_ int, event, _ string) []string {
		return []string{"node", wrapper, event, file, function}
	})
}

// javaClass is the class of a handler, which a name of a package or file may precede.
func javaClass(s *nuclio.Settings) string {
	if _, class, ok := strings.Cut(s.Spec.Handler, ":"); ok {
		return class
	}
	return s.Spec.Handler
}

func externalJava(c *nuclio.Command, s *nuclio.Settings, wrapper string) error {
	class := javaClass(s)
	options, err := s.Spec.RuntimeAttributes.List("jvmOptions")
	c.Lines, c.TCP = true, true
	if err != nil {
		return err
	}
	return started(c, "java", func(worker int, event, _ string) []string {
		args := append([]string{"java"}, options...)
		return append(args, "-jar", wrapper, "-handler", class, "-port", event, "-workerid", strconv.Itoa(worker))
	})
}

func (f *nuclioExternal) run(x workers.Exchange) error { return f.Do(x) }

func (f *nuclioExternal) up() <-chan struct{} { return f.Up() }

// Ready implements nuclioRunner.
func (f *nuclioExternal) Ready() error {
	if !f.AllReady() {
		return errStarting
	}
	return nil
}

// Series implements nuclioRunner.
func (*nuclioExternal) Series(*metrics.Set) {}

// Status implements nuclioRunner.
func (f *nuclioExternal) Status() any {
	return map[string]any{"wrapper": f.wrapper, "ready": f.AllReady()}
}
