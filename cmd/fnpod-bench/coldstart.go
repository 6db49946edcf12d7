package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// coldstartCmd measures the time from exec to the first answer, and as yardsticks what interpreters need that do
// nothing.
type coldstartCmd struct {
	peers `embed:""`

	Fnpod  string `default:"bin/fnpod" help:"The binary that is measured."`
	Starts int    `default:"11" help:"Measurements; the report has medians."`
}

// timing is something whose time is taken.
type timing struct {
	label string
	take  func(context.Context) (time.Duration, error)
}

// Run implements the command.
func (c *coldstartCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	variants, err := c.chosen(append(c.proxies()[1:], c.servers(python)...))
	if err != nil {
		return err
	}
	var kinds []timing
	for _, v := range variants {
		kinds = append(kinds, timing{v.name, func(ctx context.Context) (time.Duration, error) {
			r, err := startVariant(ctx, c.Fnpod, v)
			if err != nil {
				return 0, err
			}
			return r.first, r.stop(nil)
		}})
	}
	for _, argv := range [][]string{{python, "-c", "pass"}, {python, "-I", "-S", "-c", "pass"}, {"node", "-e", "0"}} {
		label := fmt.Sprint(append([]string{"to the end of"}, argv...))
		if argv[0] == python {
			label = fmt.Sprint(append([]string{"to the end of", "python3"}, argv[1:]...))
		}
		kinds = append(kinds, timing{label[1 : len(label)-1], func(ctx context.Context) (time.Duration, error) {
			begin := time.Now()
			err := exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
			return time.Since(begin), err
		}})
	}
	times := make([][]float64, len(kinds))
	for range c.Starts {
		for i, k := range kinds {
			d, err := k.take(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", k.label, err)
			}
			times[i] = append(times[i], float64(d)/float64(time.Millisecond))
		}
	}
	describeMachine(ctx, out)
	rows := [][]string{{"", "exec to first answer, ms", "slowest"}}
	for i, k := range kinds {
		rows = append(rows, []string{k.label, format(median(times[i])), format(slices.Max(times[i]))})
	}
	fmt.Fprintf(out, "Median of %d starts\n\n%s\n", c.Starts, table(rows))
	return nil
}

// servers are those that start an interpreter.
func (c *coldstartCmd) servers(python string) []variant {
	return append([]variant{
		serving("fnpod serve, Python", "handler.py", pongPython, append(workersOf(1), "--workers-interpreter", python)...),
		serving("fnpod serve, Node", "handler.js", pongNode, workersOf(1)...),
	}, pythonServers(1)...)
}
