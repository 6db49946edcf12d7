package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
)

// sample is one measurement.
type sample struct {
	variant     string
	connections int
	protocol    string  // "" for HTTP/1.1
	streams     int     // at once on each connection, 0 for HTTP/1.1
	body        int     // bytes there and back, 0 for a request without body
	perSecond   float64 // constant rate, 0 for a closed loop
	round       int
	load        *loadResult
	used        usage   // of the target while the load ran; memory at its end
	noise       float64 // processors that others used
}

// samples are all measurements of a run.
type samples []sample

// compare measures every variant with every number of connections, Rounds times. Variants follow each other, so that
// a slow minute of the machine meets all of them; each round begins with another one. A peer that fails is left out.
func (c *sampling) compare(ctx context.Context, variants []variant, connections []int) (samples, error) {
	var all samples
	c.again = (c.Rounds*len(connections)*len(variants) + 3) / 4
	progress := progressbar.NewOptions(c.Rounds*len(connections)*len(variants), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(c.visible()))
	defer progress.Close()
	for round := range c.Rounds {
		for _, n := range connections {
			for i := range variants {
				_ = progress.Add(1) // a bar that cannot be drawn is no reason to stop
				v := variants[(i+round)%len(variants)]
				if c.leftOut(v) {
					continue
				}
				label := fmt.Sprintf("%s, %d connections", v.name, n)
				if c.body > 0 {
					label += fmt.Sprintf(", %d bytes", c.body)
				}
				s, err := c.quietSample(ctx, v, n)
				if err != nil {
					if c.without(ctx, v, label, err) {
						continue
					}
					return nil, fmt.Errorf("%s: %w", label, err)
				}
				s.round = round
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// visible tells whether somebody sees a progress bar.
func (c *sampling) visible() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// quietSample takes a sample again when others used the machine meanwhile, and returns the quietest. Once a quarter of all
// would have been taken again, it does so no more: the verdict is clear, and the time of the run has a bound.
func (c *sampling) quietSample(ctx context.Context, v variant, n int) (best sample, err error) {
	for try := range 3 {
		if try > 0 {
			if c.again <= 0 {
				break
			}
			c.again--
		}
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
	s = sample{variant: v.name, connections: n, body: c.body, perSecond: c.perSecond}
	if c.call != nil {
		s.protocol, s.streams = c.call.name, c.streams
	}
	err = c.observe(ctx, r, &s)
	return s, err
}

// observe puts the load on r and fills in s.
func (c *sampling) observe(ctx context.Context, r *running, s *sample) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := c.dial(r.address, s)
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
	if s.perSecond > 0 {
		s.load, err = l.pace(ctx, s.perSecond, c.Duration)
	} else {
		s.load, err = l.run(ctx, c.Duration)
	}
	if err != nil {
		return err
	}
	after, err := look(r)
	if err != nil {
		return err
	}
	s.used = after.target
	s.used.own -= before.target.own
	s.used.children -= before.target.children
	s.used.switches -= before.target.switches
	elapsed := after.at.Sub(before.at)
	others := elapsed*time.Duration(runtime.NumCPU()) - (after.idle - before.idle) - (after.ours - before.ours)
	s.noise = float64(others) / float64(elapsed)
	return nil
}

// generator is a load.
type generator interface {
	run(ctx context.Context, d time.Duration) (*loadResult, error)
	pace(ctx context.Context, perSecond float64, d time.Duration) (*loadResult, error)
	close()
}

// dial opens the connections of a sample.
func (c *sampling) dial(address string, s *sample) (generator, error) {
	if c.call != nil {
		return dialHTTP2(address, s.connections, c.streams, c.call)
	}
	l, err := dial(address, s.connections)
	switch {
	case err != nil:
		return nil, err
	case s.body > 0:
		l.request = post(s.body)
	case c.asking != nil:
		l.request = c.asking
	}
	return l, nil
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
func p50(s *sample) float64             { return latencyAt(50)(s) }
func p99(s *sample) float64             { return latencyAt(99)(s) }
func rssMB(s *sample) float64           { return float64(s.used.rss) / (1 << 20) }

func switchesPerRequest(s *sample) float64 {
	return float64(s.used.switches) / float64(s.load.requests)
}

// latencyAt is a percentile of the latency in µs.
func latencyAt(percent float64) figure {
	return func(s *sample) float64 { return micros(s.load.latency.quantile(percent / 100)) }
}

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

// cell is the median for a table, with a dash for what was not measured.
func (all samples) cell(variant string, connections int, f figure) string {
	if len(all.of(variant, connections)) == 0 {
		return "–"
	}
	return format(all.median(variant, connections, f))
}

// cost is the processor time of a request, and its ratio to nginx. Nothing stands before the bare function.
func (all samples) cost(variant string, connections int) (cpu, ratio string) {
	if variant == directName {
		return "–", "–"
	}
	return all.cell(variant, connections, cpuPerRequest), formatRatio(all.ratio(variant, nginxName, connections, cpuPerRequest))
}

// ratio is the median of the ratios within each round, 0 when one of the two was not measured.
func (all samples) ratio(variant, reference string, connections int, f figure) float64 {
	refs := all.of(reference, connections)
	var ratios []float64
	for _, s := range all.of(variant, connections) {
		if i := slices.IndexFunc(refs, func(r sample) bool { return r.round == s.round }); i >= 0 {
			ratios = append(ratios, f(&s)/f(&refs[i]))
		}
	}
	return median(ratios)
}
