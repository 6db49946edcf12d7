package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
)

// fig8Cmd measures throughput by connections, and the profile of latency at one number of them: figure 8 of "Analyzing
// Open-Source Serverless Platforms" (SEKE'21), with an answer of 4 bytes.
type fig8Cmd struct {
	sampling `embed:""`
	peers    `embed:""`

	Connections []int  `default:"1,10,100,1000" help:"Connections of the load."`
	Profile     int    `default:"100" help:"Connections of the profile of latency."`
	Browser     bool   `help:"Requests as a browser sends them, with twelve fields."`
	Limit       int    `help:"Only who can limit the requests that run at once, with this limit."`
	Plots       string `placeholder:"FOLDER" help:"Draws the figure into files."`
}

// Percentiles of a profile.
var percentiles = []float64{50, 75, 90, 95, 99, 99.9}

// Run implements the command.
func (c *fig8Cmd) Run(ctx context.Context, out io.Writer) error {
	all := append(c.proxies(), variant{name: relayName, start: startRelay})
	if c.Limit > 0 {
		all = c.limited(c.Limit)
	}
	if c.Browser {
		c.asking = browserRequest
	}
	variants, err := c.chosen(&c.recording, all)
	if err != nil {
		return err
	}
	samples, err := c.compare(ctx, variants, c.Connections)
	if err != nil {
		return err
	}
	c.describe(ctx, out, samples)
	for _, n := range c.Connections {
		rows := [][]string{{"variant", "CPU µs/request", "× nginx", "requests/s", "× direct", "p50 µs", "p99 µs", "RSS MB", "context switches/request"}}
		for _, v := range variants {
			of := func(f figure) string { return samples.cell(v.name, n, f) }
			cpu, ratio := samples.cost(v.name, n)
			rows = append(rows, []string{
				v.name, cpu, ratio, of(rate), formatRatio(samples.ratio(v.name, directName, n, rate)), of(p50), of(p99), of(rssMB), of(switchesPerRequest),
			})
		}
		fmt.Fprintf(out, "**%d connections**\n\n%s\n", n, table(rows))
		if c.Before != "" {
			fmt.Fprintf(out, "CPU per request of fnpod ÷ %s: %s\n\n", beforeName, formatRatio(samples.ratio(fnpodName, beforeName, n, cpuPerRequest)))
		}
	}
	c.profile(out, variants, samples)
	if err := c.draw(variants, samples); err != nil {
		return err
	}
	return c.write(ctx, samples)
}

// chosen are the variants that --only matches, as far as they are here; the report tells of the others.
func (p *peers) chosen(report *recording, all []variant) ([]variant, error) {
	match, err := regexp.Compile(p.Only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	some := slices.DeleteFunc(all, func(v variant) bool {
		if match.MatchString(v.name) && v.lacks != "" {
			report.failed = append(report.failed, fmt.Errorf("%s: %s", v.name, v.lacks))
		}
		return !match.MatchString(v.name) || v.lacks != ""
	})
	if len(some) == 0 {
		return nil, fmt.Errorf("--only=%s: no variant matches", p.Only)
	}
	return some, nil
}

// profile shows the latency of every variant by percentile.
func (c *fig8Cmd) profile(out io.Writer, variants []variant, samples samples) {
	if !slices.Contains(c.Connections, c.Profile) {
		return
	}
	rows := [][]string{{"latency in µs"}}
	for _, p := range percentiles {
		rows[0] = append(rows[0], fmt.Sprintf("p%g", p))
	}
	for _, v := range variants {
		row := []string{v.name}
		for _, p := range percentiles {
			row = append(row, samples.cell(v.name, c.Profile, latencyAt(p)))
		}
		rows = append(rows, row)
	}
	fmt.Fprintf(out, "**Profile of latency, %d connections**\n\n%s\n", c.Profile, table(rows))
}

// draw writes both parts of the figure.
func (c *fig8Cmd) draw(variants []variant, samples samples) error {
	if c.Plots == "" {
		return nil
	}
	// What was not measured has no point: a scale of powers of ten has no place for it.
	throughput := plot{title: "Throughput by connections, answer of 4 bytes", x: "connections", y: "requests/s", logX: true}
	profile := plot{title: fmt.Sprintf("Latency at %d connections", c.Profile), x: "percentile", y: "µs", logY: true}
	for _, v := range variants {
		line := plotLine{name: v.name}
		for _, n := range c.Connections {
			if y := samples.median(v.name, n, rate); y > 0 {
				line.add(float64(n), y)
			}
		}
		throughput.lines = append(throughput.lines, line)
		line = plotLine{name: v.name}
		for _, p := range percentiles[:5] { // the last one needs a scale of its own
			if y := samples.median(v.name, c.Profile, latencyAt(p)); y > 0 {
				line.add(p, y)
			}
		}
		profile.lines = append(profile.lines, line)
	}
	if err := throughput.write(filepath.Join(c.Plots, "fig8-throughput.svg")); err != nil {
		return err
	}
	if !slices.Contains(c.Connections, c.Profile) {
		return nil
	}
	return profile.write(filepath.Join(c.Plots, "fig8-latency.svg"))
}
