package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// nuclioCmd measures fnpod in the place of Nuclio's processor beside that: the same handler of Python, the same files of
// settings.
type nuclioCmd struct {
	sampling `embed:""`

	Processor   string `placeholder:"BINARY" help:"Nuclio's processor, measured beside."`
	Wrapper     string `name:"processor-wrapper" placeholder:"FILE" help:"Its wrapper for Python, which finds what it imports beside itself; without it, _nuclio_wrapper.py beside the processor, if it is there."`
	Connections []int  `default:"1,8" help:"Connections of the load."`
	Workers     []int  `default:"1,2,4" help:"Workers."`
	Body        int    `default:"1048576" help:"Bytes there and back in the second table."`
}

// Names of the variants of nuclioCmd, followed by the number of workers.
const (
	nuclioName      = "Nuclio"
	asProcessorName = "fnpod as processor"
)

const (
	nuclioHandlers = `def hello(context, event):
    return "pong"


def echo(context, event):
    return context.Response(body=event.body, content_type="application/octet-stream")
`
	processorText = `metadata: {name: function, namespace: bench}
spec:
  runtime: python
  handler: HANDLER
  triggers:
    web: {kind: http, url: "LISTEN", numWorkers: WORKERS}
`
	platformText = `webAdmin: {listenAddress: "ADMIN"}
healthCheck: {listenAddress: "HEALTH"}
logger:
  sinks: {stdout: {kind: stdout}}
  functions: [{level: warn, sink: stdout}]
`
)

// Run implements the command.
func (c *nuclioCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	if c.Processor == "" {
		c.failed = append(c.failed, fmt.Errorf("%s: --processor is not given", nuclioName))
	}
	var all samples
	for _, f := range []struct {
		handler, name string
		body          int
	}{
		{"main:hello", "hello", 0},
		{"main:echo", fmt.Sprintf("%d bytes there and back", c.Body), c.Body},
	} {
		c.body = f.body
		var variants []variant
		for _, n := range c.Workers {
			variants = append(variants, c.variants(python, f.handler, n)...)
		}
		samples, err := c.compare(ctx, variants, c.Connections)
		if err != nil {
			return err
		}
		for _, n := range c.Connections {
			fmt.Fprintf(out, "**%s, %d connections**\n\n%s\n", f.name, n, c.table(samples, n))
		}
		all = append(all, samples...)
	}
	c.describe(ctx, out, all)
	return c.write(ctx, all)
}

// variants are both, with n workers.
func (c *nuclioCmd) variants(python, handler string, n int) []variant {
	ours := variant{name: fmt.Sprintf("%s, %d workers", asProcessorName, n), start: func(ctx context.Context, s *site) (*process, error) {
		return startProcessor(ctx, s, s.fnpod, python, handler, n, "FNPOD_PLATFORM=nuclio", "FNPOD_CONNECTIONS=12000")
	}}
	if c.Processor == "" {
		return []variant{ours}
	}
	var env []string
	wrapper := c.Wrapper
	if beside := filepath.Join(filepath.Dir(c.Processor), "_nuclio_wrapper.py"); wrapper == "" && exists(beside) {
		wrapper = beside
	}
	if wrapper != "" {
		env = append(env, "NUCLIO_PYTHON_WRAPPER_PATH="+wrapper)
	}
	return []variant{ours, {name: fmt.Sprintf("%s, %d workers", nuclioName, n), peer: true, start: func(ctx context.Context, s *site) (*process, error) {
		return startProcessor(ctx, s, c.Processor, python, handler, n, env...)
	}}}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// startProcessor starts one that ends at once: the drain of a real one takes a quarter of a minute.
func startProcessor(ctx context.Context, s *site, binary, python, handler string, workers int, env ...string) (*process, error) {
	admin, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	health, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("HANDLER", handler, "LISTEN", s.listen, "WORKERS", strconv.Itoa(workers), "ADMIN", admin, "HEALTH", health)
	for name, text := range map[string]string{"main.py": nuclioHandlers, "processor.yaml": processorText, "platform.yaml": platformText} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(fill.Replace(text)), 0o644); err != nil {
			return nil, err
		}
	}
	env = append(env, "NUCLIO_PYTHON_EXE_PATH="+python, "NUCLIO_PYTHON_PATH="+s.dir)
	return startAbrupt(ctx, env, binary, "-config", filepath.Join(s.dir, "processor.yaml"), "-platform-config", filepath.Join(s.dir, "platform.yaml"))
}

// table has a row for each number of workers and both variants.
func (c *nuclioCmd) table(all samples, connections int) string {
	rows := [][]string{{"workers", "variant", "requests/s", "× Nuclio", "p50 µs", "p99 µs", "p50 × Nuclio", "CPU µs/request: front", "workers", "all × Nuclio", "RSS MB, all"}}
	for _, n := range c.Workers {
		reference := fmt.Sprintf("%s, %d workers", nuclioName, n)
		for _, kind := range []string{asProcessorName, nuclioName} {
			name := fmt.Sprintf("%s, %d workers", kind, n)
			if kind == nuclioName && c.Processor == "" {
				continue
			}
			of := func(f figure) string { return all.cell(name, connections, f) }
			to := func(f figure) string { return formatRatio(all.ratio(name, reference, connections, f)) }
			rows = append(rows, []string{
				strconv.Itoa(n), kind, of(rate), to(rate), of(p50), of(p99), to(p50), of(ownPerRequest), of(childPerRequest), to(cpuPerRequest), of(rssMB),
			})
		}
	}
	return table(rows)
}
