package main

import (
	"context"
	"fmt"
	"io"
)

// rateCmd measures at constant rates, which is what most pods see: most of the time they wait.
type rateCmd struct {
	sampling `embed:""`
	peers    `embed:""`

	Connections int       `default:"10" help:"Connections of the load."`
	Rates       []float64 `default:"500,4000,20000" help:"Requests per second, in total."`
}

// Run implements the command.
func (c *rateCmd) Run(ctx context.Context, out io.Writer) error {
	variants, err := c.chosen(&c.recording, append(c.proxies(), variant{name: relayName, start: startRelay}))
	if err != nil {
		return err
	}
	var all samples
	for _, perSecond := range c.Rates {
		c.perSecond = perSecond
		samples, err := c.compare(ctx, variants, []int{c.Connections})
		if err != nil {
			return err
		}
		rows := [][]string{{"variant", "CPU µs/request", "× nginx", "requests/s", "p50 µs", "p99 µs", "p99.9 µs"}}
		for _, v := range variants {
			of := func(f figure) string { return samples.cell(v.name, c.Connections, f) }
			cpu, ratio := samples.cost(v.name, c.Connections)
			rows = append(rows, []string{v.name, cpu, ratio, of(rate), of(p50), of(p99), of(latencyAt(99.9))})
		}
		fmt.Fprintf(out, "**%g requests/s over %d connections**\n\n%s\n", perSecond, c.Connections, table(rows))
		all = append(all, samples...)
	}
	c.describe(ctx, out, all)
	return c.write(ctx, all)
}
