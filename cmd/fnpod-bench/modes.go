package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// modesCmd measures a process for each request: how it comes to be, beside warm workers and other watchdogs.
type modesCmd struct {
	sampling `embed:""`

	Connections []int    `default:"1,8" help:"Connections of the load."`
	Rate        float64  `default:"5" help:"Requests per second of a last table, where there is time to start processes ahead; 0 leaves it out."`
	Only        []string `help:"Functions, of cat, sh, python, handler and node; all if empty."`
	Fwatchdog   string   `placeholder:"PROGRAM" help:"An of-watchdog to measure, too, in its modes serializing and streaming."`
}

// forkedFunction is a program that is started for each request.
type forkedFunction struct {
	name    string
	files   map[string]string
	command []string // DIR stands for the folder with the files
	python  bool     // a zygote can fork it
	worker  string   // the file for warm workers, "" if there is none
}

// forkedFunctions answer a request with a body.
func forkedFunctions(python string) []forkedFunction {
	return []forkedFunction{
		{name: "cat", command: []string{"cat"}},
		{name: "sh", files: map[string]string{"script.sh": "read -r line\necho pong\n"}, command: []string{"sh", "DIR/script.sh"}},
		{
			name: "python", python: true, command: []string{python, "DIR/script.py"},
			files: map[string]string{"script.py": "import json\nimport sys\n\njson.dump({\"size\": len(sys.stdin.read())}, sys.stdout)\n"},
		},
		{
			name: "handler", python: true, command: []string{python, "DIR/index.py"}, worker: "function/handler.py",
			files: map[string]string{
				"index.py":             "import sys\nfrom function import handler\n\nret = handler.handle(sys.stdin.read())\nif ret is not None:\n    print(ret)\n",
				"function/__init__.py": "",
				"function/handler.py":  "import json\n\n\ndef handle(req):\n    return json.dumps({\"size\": len(req)})\n",
			},
		},
		{
			name: "node", command: []string{"node", "DIR/script.js"},
			files: map[string]string{"script.js": "let n = 0;\nprocess.stdin.on('data', (d) => { n += d.length; }).on('end', () => console.log(JSON.stringify({size: n})));\n"},
		},
	}
}

// modesBody is the size of the requests.
const modesBody = 1000

// osExec is what ratios refer to.
const osExec = "os/exec"

// Run implements the command.
func (c *modesCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	c.body = modesBody
	var variants []variant
	functions := slices.DeleteFunc(forkedFunctions(python), func(f forkedFunction) bool {
		return len(c.Only) > 0 && !slices.Contains(c.Only, f.name)
	})
	for _, f := range functions {
		variants = append(variants, c.modes(f, python)...)
	}
	if c.Fwatchdog == "" {
		c.failed = append(c.failed, errors.New("of-watchdog: --fwatchdog is not given"))
	}
	samples, err := c.compare(ctx, variants, c.Connections)
	if err != nil {
		return err
	}
	c.describe(ctx, out, samples)
	for _, n := range c.Connections {
		fmt.Fprintf(out, "**%d connections**\n\n%s\n", n, modesTable(variants, samples, n))
	}
	if c.Rate > 0 {
		c.perSecond = c.Rate
		paced, err := c.compare(ctx, variants, []int{1})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "**%v requests per second**\n\n%s\n", c.Rate, modesTable(variants, paced, 1))
		samples = append(samples, paced...)
	}
	return c.write(ctx, samples)
}

// modesTable has a row for each variant.
func modesTable(variants []variant, all samples, connections int) string {
	rows := [][]string{{"function, launcher", "requests/s", "× os/exec", "p50 ms", "p99 ms", "CPU µs/request: front", "CPU µs/request: all"}}
	for _, v := range variants {
		function, _, _ := strings.Cut(v.name, ", ")
		of := func(f figure) string { return all.cell(v.name, connections, f) }
		millis := func(f figure) string { return of(func(s *sample) float64 { return f(s) / 1000 }) }
		rows = append(rows, []string{
			v.name, of(rate), formatRatio(all.ratio(v.name, function+", "+osExec, connections, rate)),
			millis(p50), millis(p99), of(ownPerRequest), of(cpuPerRequest),
		})
	}
	return table(rows)
}

// modes are the ways to run a function.
func (c *modesCmd) modes(f forkedFunction, python string) []variant {
	launch := func(launcher string, more ...string) variant {
		return f.variant(launcher, func(ctx context.Context, s *site, command []string) (*process, error) {
			args := append([]string{"run", "--mode", "serializing", "--launcher", launcher}, more...)
			return startPod(ctx, s, append(append(args, "--"), command...)...)
		})
	}
	all := []variant{f.variant(osExec, startForking), launch("exec"), launch("standby", "--standby", "2")}
	if f.python {
		all = append(all, launch("zygote", "--standby", "2"))
	}
	if f.worker != "" {
		all = append(all, f.variant("warm workers", func(ctx context.Context, s *site, _ []string) (*process, error) {
			args := append([]string{"serve", filepath.Join(s.dir, f.worker), "--contract", "openfaas-classic", "--workers-interpreter", python}, workersOf(2)...)
			return startPod(ctx, s, args...)
		}))
	}
	if c.Fwatchdog == "" {
		return c.needing(f, all)
	}
	for _, mode := range []string{"serializing", "streaming"} {
		v := f.variant("of-watchdog "+mode, func(ctx context.Context, s *site, command []string) (*process, error) {
			_, port, err := net.SplitHostPort(s.listen)
			if err != nil {
				return nil, err
			}
			_, metrics, err := freePort(ctx)
			if err != nil {
				return nil, err
			}
			return startAbrupt(ctx, []string{"port=" + port, "metrics_port=" + metrics, "mode=" + mode, "fprocess=" + strings.Join(command, " ")}, c.Fwatchdog)
		})
		v.peer = true
		all = append(all, v)
	}
	return c.needing(f, all)
}

// needing lets the variants of a function be left out where its interpreter is not.
func (c *modesCmd) needing(f forkedFunction, all []variant) []variant {
	for i := range all {
		all[i].needs = f.command[0]
	}
	return all
}

// freePort is a port of freeAddress.
func freePort(ctx context.Context) (host, port string, err error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return "", "", err
	}
	return net.SplitHostPort(address)
}

// variant writes the files of the function and starts what runs its command.
func (f *forkedFunction) variant(name string, begin func(ctx context.Context, s *site, command []string) (*process, error)) variant {
	return variant{name: f.name + ", " + name, start: func(ctx context.Context, s *site) (*process, error) {
		for file, text := range f.files {
			path := filepath.Join(s.dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		command := slices.Clone(f.command)
		for i, word := range command {
			command[i] = strings.Replace(word, "DIR", s.dir, 1)
		}
		return begin(ctx, s, command)
	}}
}
