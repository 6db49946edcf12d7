package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are all samples of a run, for programs.
type results struct {
	Date     time.Time `json:"date"`
	Machine  machine   `json:"machine"`
	Command  []string  `json:"command"`
	Fnpod    string    `json:"fnpod"` // what fnpod version prints
	TooNoisy bool      `json:"too_noisy"`
	Samples  []record  `json:"samples,omitempty"`
	Figures  []figures `json:"figures,omitempty"`
}

// machine is what figures depend on.
type machine struct {
	Processors int    `json:"processors"`
	Model      string `json:"model"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
}

// figures are what was measured without a load, by round.
type figures struct {
	Variant string    `json:"variant"`
	What    string    `json:"what"` // with its unit
	Values  []float64 `json:"values"`
}

// record is a sample. Times are in microseconds, memory in bytes.
type record struct {
	Variant     string  `json:"variant"`
	Connections int     `json:"connections"`
	Round       int     `json:"round"`
	Protocol    string  `json:"protocol,omitempty"`
	Streams     int     `json:"streams,omitempty"`
	Body        int     `json:"body_bytes,omitempty"`
	Rate        float64 `json:"constant_rate,omitempty"`
	Requests    int64   `json:"requests"`
	Seconds     float64 `json:"seconds"`
	P50         float64 `json:"p50_us"`
	P90         float64 `json:"p90_us"`
	P99         float64 `json:"p99_us"`
	P999        float64 `json:"p999_us"`
	CPU         float64 `json:"cpu_us_per_request"`
	ChildCPU    float64 `json:"children_cpu_us_per_request"`
	RSS         int64   `json:"rss_bytes"`
	Anonymous   int64   `json:"anonymous_bytes"`
	Switches    float64 `json:"context_switches_per_request"`
	Noise       float64 `json:"processors_used_by_others"`
}

// recording is what all experiments have: the binary, a file for what was measured, and who could not be.
type recording struct {
	Fnpod string `default:"bin/fnpod" help:"The binary that is measured."`
	JSON  string `placeholder:"FILE" help:"Also writes what was measured into a file."`

	figures []figures
	failed  []error
	told    map[string]bool // what failed
	absent  map[string]bool // names of variants that did not start
}

// note keeps a figure of one round.
func (c *recording) note(variant, what string, value float64) {
	for i := range c.figures {
		if f := &c.figures[i]; f.Variant == variant && f.What == what {
			f.Values = append(f.Values, value)
			return
		}
	}
	c.figures = append(c.figures, figures{variant, what, []float64{value}})
}

// values are those of a figure, by round.
func (c *recording) values(variant, what string) []float64 {
	for _, f := range c.figures {
		if f.Variant == variant && f.What == what {
			return f.Values
		}
	}
	return nil
}

// cell is the median of a figure for a table, with a dash for what was not measured.
func (c *recording) cell(variant, what string) string { return c.shown(variant, what, median) }

// worst is the largest value of a figure, for a table.
func (c *recording) worst(variant, what string) string {
	return c.shown(variant, what, slices.Max[[]float64])
}

func (c *recording) shown(variant, what string, f func([]float64) float64) string {
	values := c.values(variant, what)
	if len(values) == 0 {
		return "–"
	}
	return format(f(values))
}

// without tells whether the run goes on though a variant failed: it does for what is not ours. label says what of it was
// left out; one that did not even start is not tried again.
func (c *recording) without(ctx context.Context, v variant, label string, err error) bool {
	if ctx.Err() != nil || !v.optional() {
		return false
	}
	if c.told == nil {
		c.told, c.absent = map[string]bool{}, map[string]bool{}
	}
	if _, ok := errors.AsType[*startError](err); ok {
		label = v.name
		c.absent[label] = true
	}
	if !c.told[label] {
		c.failed = append(c.failed, fmt.Errorf("%s: %w", label, err))
	}
	c.told[label] = true
	return true
}

// leftOut tells that a variant did not start.
func (c *recording) leftOut(v variant) bool { return c.absent[v.name] }

// describeAbsent tells who was left out, and why.
func (c *recording) describeAbsent(out io.Writer) {
	for _, err := range c.failed {
		fmt.Fprintf(out, "Left out: %.300s\n\n", strings.Join(strings.Fields(err.Error()), " "))
	}
}

// write writes all samples and figures into the file of --json.
func (c *sampling) write(ctx context.Context, all samples) error {
	return c.recording.write(ctx, all, c.tooNoisy(all))
}

func (c *recording) write(ctx context.Context, all samples, tooNoisy bool) error {
	if c.JSON == "" {
		return nil
	}
	r := results{
		Date: time.Now().UTC().Truncate(time.Second), Command: withoutPaths(os.Args),
		Machine: machine{runtime.NumCPU(), processor(), firstLine(os.ReadFile("/proc/sys/kernel/osrelease")), runtime.Version()},
		Fnpod:   firstLine(exec.CommandContext(ctx, c.Fnpod, "version").Output()), TooNoisy: tooNoisy, Figures: c.figures,
	}
	for _, s := range all {
		at := func(p float64) float64 { return latencyAt(p)(&s) }
		r.Samples = append(r.Samples, record{
			Variant: s.variant, Connections: s.connections, Round: s.round, Protocol: s.protocol, Streams: s.streams, Body: s.body, Rate: s.perSecond,
			Requests: s.load.requests, Seconds: s.load.elapsed.Seconds(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
			CPU: ownPerRequest(&s), ChildCPU: childPerRequest(&s), RSS: s.used.rss, Anonymous: s.used.anonymous,
			Switches: switchesPerRequest(&s), Noise: s.noise,
		})
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.JSON, append(text, '\n'), 0o644)
}

// withoutPaths leaves out where the programs are on this machine, and where the results went.
func withoutPaths(args []string) []string {
	short := []string{filepath.Base(args[0])}
	for i := 1; i < len(args); i++ {
		flag, _, whole := strings.Cut(args[i], "=")
		switch flag {
		case "--json", "--plots", "--plot":
			if !whole {
				i++
			}
		case "--queue-proxy", "--fwatchdog", "--processor", "--processor-wrapper", "--before":
			short = append(short, flag, "PATH")
			if !whole {
				i++
			}
		default:
			short = append(short, args[i])
		}
	}
	return short
}
