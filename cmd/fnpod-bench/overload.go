package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// overloadCmd sends more than the function can do, at random times whether or not answers come (open loop), by clients
// that leave when they have waited for five service times.
type overloadCmd struct {
	recording `embed:""`

	Workers  int           `default:"8" help:"Python workers; each sleeps for the service time."`
	Service  time.Duration `default:"200ms" help:"Mean service time."`
	Duration time.Duration `default:"20s" help:"Length of a sample."`
	Loads    []float64     `default:"0.9,1.2,2,5" help:"Arrivals as multiples of what the workers can do."`
	Plot     string        `placeholder:"FILE.svg" help:"Draws the answers in time into a file."`

	perSecond float64 // requests that the workers can do, measured
}

const (
	patienceOf   = 5  // service times until a client leaves
	placesOf     = 10 // waiting places for each worker
	sleepHandler = "import time\n\ndef handle(req):\n    time.sleep(float(req.query or 0))\n    return \"pong\"\n"
)

// inTime is what overload measures, followed by the load.
const inTime = "answered in time of what the workers can do at load"

// trial is one cell of the report.
type trial struct {
	discipline string
	random     bool // service times are exponential, else fixed
	load       float64
	tenants    bool // two of them, told apart by a header; one sends ten shares
}

// toll counts what became of the requests.
type toll struct {
	mu                       sync.Mutex
	came, good, refused, bad int                     // guarded by mu
	modest, modestGood       int                     // guarded by mu: of the modest tenant
	latency                  *hdrhistogram.Histogram // guarded by mu: of good answers, in µs
}

// Run implements the command.
func (c *overloadCmd) Run(ctx context.Context, out io.Writer) error {
	if err := c.calibrate(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d workers, service time %v, clients leave after %v, %d waiting places, %v each; the workers can do %.1f requests/s\n\n",
		c.Workers, c.Service, patienceOf*c.Service, placesOf*c.Workers, c.Duration, c.perSecond)
	rows := [][]string{{"service time", "load", "discipline", "in time, % of capacity", "p50 ms", "p99 ms", "refused, % of requests", "left, %"}}
	var lines []plotLine
	for _, random := range []bool{false, true} {
		for _, d := range []string{"fifo", "adaptive"} {
			line := plotLine{name: d + ", " + kindOf(random)}
			for _, load := range c.Loads {
				t, err := c.try(ctx, trial{discipline: d, random: random, load: load})
				if err != nil {
					return err
				}
				share := 100 * float64(t.good) / c.capacity()
				line.add(load, share)
				c.note(d+", "+kindOf(random), fmt.Sprintf("%s %g, %%", inTime, load), share)
				rows = append(rows, []string{
					kindOf(random), format(load), d, format(share), format(float64(t.latency.ValueAtQuantile(50)) / 1000),
					format(float64(t.latency.ValueAtQuantile(99)) / 1000), format(percent(t.refused, t.came)), format(percent(t.bad, t.came)),
				})
			}
			lines = append(lines, line)
		}
	}
	fmt.Fprintln(out, table(rows))
	if err := c.fairness(ctx, out); err != nil {
		return err
	}
	if err := c.write(ctx, nil, false); err != nil || c.Plot == "" {
		return err
	}
	return plot{title: "Answers in time under overload", x: "load ÷ capacity", y: "% of capacity", lines: lines}.write(c.Plot)
}

func kindOf(random bool) string {
	if random {
		return "exponential"
	}
	return "fixed"
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

// capacity is how many requests the workers can do in a sample.
func (c *overloadCmd) capacity() float64 {
	return c.perSecond * c.Duration.Seconds()
}

// calibrate measures what the workers can do: as many clients as workers, each of which sends its next request when it
// has its answer.
func (c *overloadCmd) calibrate(ctx context.Context) error {
	r, err := c.start(ctx, "fifo")
	if err != nil {
		return err
	}
	c.perSecond = c.closedLoop(ctx, r.address, c.Service, max(c.Duration/4, 10*c.Service))
	return r.stop(nil)
}

// closedLoop keeps all workers busy for d and returns the requests per second.
func (c *overloadCmd) closedLoop(ctx context.Context, address string, service, d time.Duration) float64 {
	var clients sync.WaitGroup
	var done atomic.Int64
	start := time.Now()
	for range c.Workers {
		clients.Go(func() {
			for time.Since(start) < d {
				if code, _ := c.ask(ctx, address, service, false, time.Now()); code == http.StatusOK {
					done.Add(1)
				}
			}
		})
	}
	clients.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// fairness lets one of two tenants send ten times its share.
func (c *overloadCmd) fairness(ctx context.Context, out io.Writer) error {
	rows := [][]string{{"two tenants, one sends 10 × its share, the other 0.9 ×", "modest tenant's requests in time, %"}}
	for _, d := range []string{"fifo", "adaptive"} {
		for _, apart := range []bool{false, true} {
			t, err := c.try(ctx, trial{discipline: d, load: 0.5*10 + 0.5*0.9, tenants: apart})
			if err != nil {
				return err
			}
			name := d
			if apart {
				name += ", --queue-fair-by header:X-Tenant"
			}
			rows = append(rows, []string{name, format(percent(t.modestGood, t.modest))})
			c.note(name, "modest tenant's requests in time, %", percent(t.modestGood, t.modest))
		}
	}
	fmt.Fprintln(out, table(rows))
	return nil
}

// try runs one trial against a fresh fnpod.
func (c *overloadCmd) try(ctx context.Context, t trial) (*toll, error) {
	var flags []string
	if t.tenants {
		flags = append(flags, "--queue-fair-by", "header:X-Tenant")
	}
	r, err := c.start(ctx, t.discipline, flags...)
	if err != nil {
		return nil, err
	}
	result, err := c.flood(ctx, r.address, t)
	return result, r.stop(err)
}

// start starts a fresh fnpod.
func (c *overloadCmd) start(ctx context.Context, discipline string, flags ...string) (*running, error) {
	python, err := interpreter(ctx)
	if err != nil {
		return nil, err
	}
	workers := strconv.Itoa(c.Workers)
	flags = append(flags,
		"--workers-interpreter", python, "--workers-min", workers, "--workers-max", workers,
		"--queue-depth", strconv.Itoa(placesOf*c.Workers), "--queue-discipline", discipline)
	r, err := startVariant(ctx, c.Fnpod, variant{name: "fnpod serve", start: func(ctx context.Context, s *site) (*process, error) {
		file := filepath.Join(s.dir, "handler.py")
		if err := os.WriteFile(file, []byte(sleepHandler), 0o644); err != nil {
			return nil, err
		}
		return startPod(ctx, s, append([]string{"serve", file}, flags...)...)
	}})
	if err == nil {
		c.closedLoop(ctx, r.address, 10*time.Millisecond, time.Second) // until all workers are there
	}
	return r, err
}

// flood sends the requests of a trial and waits for what becomes of them.
func (c *overloadCmd) flood(ctx context.Context, address string, t trial) (*toll, error) {
	random := rand.New(rand.NewPCG(1, 2))
	all := &toll{latency: hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)}
	gap := float64(time.Second) / c.perSecond / t.load
	var sent sync.WaitGroup
	next := time.Now()
	end := next.Add(c.Duration)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; next.Before(end); n++ {
		next = next.Add(time.Duration(random.ExpFloat64() * gap))
		timer.Reset(time.Until(next)) // late arrivals are not left out: they come together
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		service := c.Service
		if t.random {
			service = time.Duration(random.ExpFloat64() * float64(c.Service))
		}
		modest := n%12 == 0
		due := next
		sent.Go(func() {
			code, took := c.ask(ctx, address, service, modest, due)
			all.count(code, took, modest)
		})
	}
	sent.Wait()
	return all, nil
}

// ask sends one request and leaves when it has waited long enough. code is 0 if there was no answer in time.
func (c *overloadCmd) ask(ctx context.Context, address string, service time.Duration, modest bool, due time.Time) (code int, took time.Duration) {
	d := net.Dialer{Deadline: due.Add(patienceOf * c.Service)}
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, 0
	}
	defer nc.Close()
	if nc.SetDeadline(d.Deadline) != nil {
		return 0, 0
	}
	fmt.Fprintf(nc, "GET /?%f HTTP/1.1\r\nHost: h\r\nX-Tenant: %v\r\nConnection: close\r\n\r\n", service.Seconds(), modest)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return 0, 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, 0
	}
	return resp.StatusCode, time.Since(due)
}

func (t *toll) count(code int, took time.Duration, modest bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.came++
	if modest {
		t.modest++
	}
	switch code {
	case http.StatusOK:
		t.good++
		if modest {
			t.modestGood++
		}
		_ = t.latency.RecordValue(took.Microseconds()) // within the range: clients leave earlier
	case http.StatusServiceUnavailable:
		t.refused++
	default:
		t.bad++
	}
}
