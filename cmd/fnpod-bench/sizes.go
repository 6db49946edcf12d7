package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
)

// sizesCmd measures bodies that go to the function and come back.
type sizesCmd struct {
	sampling `embed:""`
	peers    `embed:""`

	Connections int    `default:"8" help:"Connections of the load."`
	Sizes       []int  `default:"1,1024,16384,131072,1048576,10485760" help:"Bytes of the bodies."`
	Plots       string `placeholder:"FOLDER" help:"Draws a figure into a file."`
}

// Run implements the command.
func (c *sizesCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	flags := append(workersOf(2), "--workers-interpreter", python, "--max-body", "0")
	variants, err := c.chosen(&c.recording, append(c.proxies(), serving("fnpod serve, Python echo", "handler.py", echoPython, flags...)))
	if err != nil {
		return err
	}
	var all samples
	lines := make([]plotLine, len(variants))
	for _, size := range c.Sizes {
		c.body = size
		samples, err := c.compare(ctx, variants, []int{c.Connections})
		if err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		rows := [][]string{{"variant", "CPU µs/request", "× nginx", "requests/s", "× direct", "MB/s each way", "p50 µs", "p99 µs", "RSS MB"}}
		for i, v := range variants {
			of := func(f figure) string { return samples.cell(v.name, c.Connections, f) }
			cpu, ratio := samples.cost(v.name, c.Connections)
			perSecond := samples.median(v.name, c.Connections, rate)
			rows = append(rows, []string{
				v.name, cpu, ratio, format(perSecond), formatRatio(samples.ratio(v.name, directName, c.Connections, rate)),
				format(perSecond * float64(size) / (1 << 20)), of(p50), of(p99), of(rssMB),
			})
			lines[i].name = v.name
			lines[i].add(float64(size), perSecond*float64(size)/(1<<20))
		}
		fmt.Fprintf(out, "**%s bytes there and back, %d connections**\n\n%s\n", strconv.Itoa(size), c.Connections, table(rows))
		all = append(all, samples...)
	}
	c.describe(ctx, out, all)
	if c.Plots != "" {
		p := plot{title: "Bodies there and back", x: "bytes", y: "MB/s each way", logX: true, lines: lines}
		if err := p.write(filepath.Join(c.Plots, "sizes.svg")); err != nil {
			return err
		}
	}
	return c.write(ctx, all)
}
