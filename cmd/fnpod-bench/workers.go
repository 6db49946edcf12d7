package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
)

// workersCmd measures HTTP requests to warm workers, beside the same front door before the small server and the usual
// servers of Python.
type workersCmd struct {
	sampling `embed:""`

	Connections []int `default:"1,8,64" help:"Connections of the load."`
	Workers     []int `default:"1,2,4" help:"Workers, or processes of a server."`
}

// Run implements the command.
func (c *workersCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	variants := []variant{fnpodTCP}
	for _, n := range c.Workers {
		group := append([]variant{
			serving("Python", "handler.py", pongPython, append(workersOf(n), "--workers-interpreter", python)...),
			servingNode("Node", pongNode, workersOf(n)...),
		}, append(languages(n), pythonServers(n)...)...)
		for _, v := range group {
			if v.name == "waitress" && n != c.Workers[0] {
				continue // it has one process
			}
			v.name = fmt.Sprintf("%s, %d", v.name, n)
			variants = append(variants, v)
		}
	}
	samples, err := c.compare(ctx, variants, c.Connections)
	if err != nil {
		return err
	}
	c.describe(ctx, out, samples)
	for _, n := range c.Connections {
		rows := [][]string{{
			"workers", "requests/s", "× fnpod before the small server", "CPU µs/request: front", "CPU µs/request: workers", "p50 µs", "p99 µs", "RSS MB, all",
		}}
		for _, v := range variants {
			of := func(f figure) string { return samples.cell(v.name, n, f) }
			rows = append(rows, []string{
				v.name, of(rate), formatRatio(samples.ratio(v.name, fnpodName, n, rate)), of(ownPerRequest), of(childPerRequest), of(p50), of(p99), of(rssMB),
			})
		}
		fmt.Fprintf(out, "**%s connections**\n\n%s\n", strconv.Itoa(n), table(rows))
	}
	return c.write(ctx, samples)
}
