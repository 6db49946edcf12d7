package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// proxyCmd compares fnpod with nginx and with no proxy at all.
type proxyCmd struct {
	sampling `embed:""`

	Connections []int  `default:"1,10,100,1000" help:"Connections of the load."`
	FnpodOnly   bool   `help:"Leave nginx out."`
	Before      string `placeholder:"BINARY" help:"Another build of fnpod, measured beside; its ratios to fnpod follow the tables."`
}

// Run implements the command.
func (c *proxyCmd) Run(ctx context.Context, out io.Writer) error {
	variants := []variant{direct, fnpodTCP, fnpodUnix, nginxBare, nginxSame}
	if c.FnpodOnly {
		variants = variants[:3]
	}
	if c.Before != "" {
		variants = append(variants, another(c.Before))
	}
	samples, err := c.compare(ctx, variants, c.Connections)
	if err != nil {
		return err
	}
	c.describe(ctx, out, samples)
	for _, n := range c.Connections {
		rows := [][]string{{"variant", "CPU µs/request", "× nginx", "requests/s", "× direct", "p50 µs", "p99 µs", "RSS MB"}}
		for _, v := range variants {
			of := func(f figure) string { return format(samples.median(v.name, n, f)) }
			cpu, ratio := "–", "–"
			if v.name != directName {
				cpu, ratio = of(cpuPerRequest), formatRatio(samples.ratio(v.name, nginxName, n, cpuPerRequest))
			}
			rows = append(rows, []string{
				v.name, cpu, ratio, of(rate), formatRatio(samples.ratio(v.name, directName, n, rate)), of(p50), of(p99), of(rssMB),
			})
		}
		fmt.Fprintf(out, "**%d connections**\n\n%s\n", n, table(rows))
		if c.Before != "" {
			fmt.Fprintf(out, "CPU per request of fnpod ÷ %s: %s\n\n", beforeName, formatRatio(samples.ratio(fnpodName, beforeName, n, cpuPerRequest)))
		}
	}
	return nil
}

// sample is one measurement.
type sample struct {
	variant     string
	connections int
	round       int
	load        *loadResult
	used        usage   // of the target while the load ran; memory at its end
	noise       float64 // processors that others used
}

// samples are all measurements of a run.
type samples []sample

// compare measures every variant with every number of connections, Rounds times. Variants follow each other, so that
// a slow minute of the machine meets all of them; each round begins with another one.
func (c *sampling) compare(ctx context.Context, variants []variant, connections []int) (samples, error) {
	var all samples
	for round := range c.Rounds {
		for _, n := range connections {
			for i := range variants {
				v := variants[(i+round)%len(variants)]
				s, err := c.quietSample(ctx, v, n)
				if err != nil {
					return nil, fmt.Errorf("%s, %d connections: %w", v.name, n, err)
				}
				s.round = round
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// quietSample takes a sample again when others used the machine meanwhile, and returns the quietest.
func (c *sampling) quietSample(ctx context.Context, v variant, n int) (best sample, err error) {
	for try := range 3 {
		s, err := c.sample(ctx, v, n)
		if err != nil {
			return s, err
		}
		if try == 0 || s.noise < best.noise {
			best = s
		}
		if best.noise <= c.NoiseLimit {
			break
		}
	}
	return best, nil
}

// sample starts fresh processes and measures once.
func (c *sampling) sample(ctx context.Context, v variant, n int) (s sample, err error) {
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return s, err
	}
	defer func() { err = r.stop(err) }()
	s = sample{variant: v.name, connections: n}
	err = c.observe(ctx, r, &s)
	return s, err
}

// observe puts the load on r and fills in s.
func (c *sampling) observe(ctx context.Context, r *running, s *sample) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := dial(r.address, s.connections)
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.run(ctx, c.Warmup); err != nil {
		return err
	}
	before, err := look(r)
	if err != nil {
		return err
	}
	if s.load, err = l.run(ctx, c.Duration); err != nil {
		return err
	}
	after, err := look(r)
	if err != nil {
		return err
	}
	s.used = after.target
	s.used.own -= before.target.own
	s.used.children -= before.target.children
	elapsed := after.at.Sub(before.at)
	others := elapsed*time.Duration(runtime.NumCPU()) - (after.idle - before.idle) - (after.ours - before.ours)
	s.noise = float64(others) / float64(elapsed)
	return nil
}

// view is what can be seen at one moment.
type view struct {
	at     time.Time
	target usage
	ours   time.Duration // processor time of load, function and target
	idle   time.Duration // processor time that nobody used
}

func look(r *running) (v view, err error) {
	v.at = time.Now()
	if v.target, err = r.target.usage(); err != nil {
		return v, err
	}
	v.ours = v.target.cpu()
	pids := []int{os.Getpid()}
	if r.function != nil && r.function.process != r.target {
		pids = append(pids, r.function.pid())
	}
	for _, pid := range pids {
		cpu, err := cpuOf(pid)
		if err != nil {
			return v, err
		}
		v.ours += cpu
	}
	v.idle, err = idle()
	return v, err
}

// figure is something that a sample says.
type figure func(s *sample) float64

func cpuPerRequest(s *sample) float64   { return perRequest(s, s.used.cpu()) }
func ownPerRequest(s *sample) float64   { return perRequest(s, s.used.own) }
func childPerRequest(s *sample) float64 { return perRequest(s, s.used.children) }
func rate(s *sample) float64            { return s.load.rate() }
func p50(s *sample) float64             { return micros(s.load.latency.quantile(0.5)) }
func p99(s *sample) float64             { return micros(s.load.latency.quantile(0.99)) }
func rssMB(s *sample) float64           { return float64(s.used.rss) / (1 << 20) }

func perRequest(s *sample, d time.Duration) float64 { return micros(d) / float64(s.load.requests) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// of returns the samples of a variant in the order of rounds.
func (all samples) of(variant string, connections int) samples {
	var some samples
	for _, s := range all {
		if s.variant == variant && s.connections == connections {
			some = append(some, s)
		}
	}
	return some
}

// median is the median over the rounds, 0 if there is none.
func (all samples) median(variant string, connections int, f figure) float64 {
	var values []float64
	for _, s := range all.of(variant, connections) {
		values = append(values, f(&s))
	}
	return median(values)
}

// ratio is the median of the ratios within each round, 0 when one of the two was not measured.
func (all samples) ratio(variant, reference string, connections int, f figure) float64 {
	refs := all.of(reference, connections)
	var ratios []float64
	for i, s := range all.of(variant, connections) {
		if i < len(refs) {
			ratios = append(ratios, f(&s)/f(&refs[i]))
		}
	}
	return median(ratios)
}
