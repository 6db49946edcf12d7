package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// footprintCmd measures what fnpod needs before it has work.
type footprintCmd struct {
	Fnpod       string `default:"bin/fnpod" help:"The binary that is measured."`
	Rounds      int    `default:"3" help:"Measurements of memory; the report has medians."`
	Starts      int    `default:"11" help:"Measurements of the start; the report has medians."`
	Connections int    `default:"10000" help:"Idle connections."`
}

// Run implements the command.
func (c *footprintCmd) Run(ctx context.Context, out io.Writer) error {
	if err := raiseDescriptors(c.Connections + 100); err != nil {
		return err
	}
	binary, err := os.Stat(c.Fnpod)
	if err != nil {
		return err
	}
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	describeMachine(ctx, out)
	fmt.Fprintf(out, "Binary: %s MB.\n\nMemory, median of %d\n\n", format(float64(binary.Size())/(1<<20)), c.Rounds)
	if err := c.memory(ctx, out); err != nil {
		return err
	}
	return c.starts(ctx, out, python)
}

// memory shows what connections cost that do nothing after one request each.
func (c *footprintCmd) memory(ctx context.Context, out io.Writer) error {
	rows := [][]string{{
		"", "RSS MB after one request", "of it anonymous", fmt.Sprintf("RSS MB, %d idle connections", c.Connections), "bytes for each",
	}}
	variants := []variant{fnpodTCP, nginxBare}
	figures := make([][4][]float64, len(variants))
	for range c.Rounds {
		for i, v := range variants {
			before, after, err := c.idle(ctx, v)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			for column, bytes := range []int64{before.rss, before.anonymous, after.rss} {
				figures[i][column] = append(figures[i][column], float64(bytes)/(1<<20))
			}
			figures[i][3] = append(figures[i][3], float64(after.rss-before.rss)/float64(c.Connections))
		}
	}
	for i, v := range variants {
		row := []string{v.name}
		for _, values := range figures[i] {
			row = append(row, format(median(values)))
		}
		rows = append(rows, row)
	}
	fmt.Fprintf(out, "%s\n", table(rows))
	return nil
}

// idle looks at a variant that had one request, and again when it has all connections and each had one.
func (c *footprintCmd) idle(ctx context.Context, v variant) (before, after usage, err error) {
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return before, after, err
	}
	defer func() { err = r.stop(err) }()
	if before, err = r.target.usage(); err != nil {
		return before, after, err
	}
	l, err := dial(r.address, c.Connections)
	if err != nil {
		return before, after, err
	}
	defer l.close()
	if err = l.once(ctx); err != nil {
		return before, after, err
	}
	after, err = r.target.usage()
	return before, after, err
}

// starts shows the time from exec to the first answer, and as yardsticks what an interpreter needs that does nothing:
// with the site-packages of the machine, as fnpod starts it, and without.
func (c *footprintCmd) starts(ctx context.Context, out io.Writer, python string) error {
	answer := func(v variant) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			r, err := startVariant(ctx, c.Fnpod, v)
			if err != nil {
				return 0, err
			}
			return r.first, r.stop(nil)
		}
	}
	end := func(args ...string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			begin := time.Now()
			err := exec.CommandContext(ctx, python, args...).Run()
			return time.Since(begin), err
		}
	}
	kinds := []struct {
		label string
		time  func() (time.Duration, error)
	}{
		{"fnpod proxy", answer(fnpodTCP)},
		{"fnpod serve handler.py", answer(serveVariant(python, "--workers-min", "1", "--workers-max", "1"))},
		{"nginx", answer(nginxBare)},
		{"python3 -c pass, to its end", end("-c", "pass")},
		{"python3 -I -S -c pass, to its end", end("-I", "-S", "-c", "pass")},
	}
	times := make([][]float64, len(kinds))
	for range c.Starts {
		for i, k := range kinds {
			d, err := k.time()
			if err != nil {
				return fmt.Errorf("%s: %w", k.label, err)
			}
			times[i] = append(times[i], float64(d)/float64(time.Millisecond))
		}
	}
	rows := [][]string{{"", "exec to first answer, ms", "slowest"}}
	for i, k := range kinds {
		rows = append(rows, []string{k.label, format(median(times[i])), format(slices.Max(times[i]))})
	}
	fmt.Fprintf(out, "Start, %d times\n\n%s\n", c.Starts, table(rows))
	return nil
}

// raiseDescriptors makes sure that this process and those that it starts may have n descriptors. The Go runtime has
// raised the soft limit to the hard one already, but gives its children what it found.
func raiseDescriptors(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("descriptor limit: %w", err)
	}
	if limit.Max < uint64(n) {
		return fmt.Errorf("descriptor limit %d: %d are needed", limit.Max, n)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("descriptor limit: %w", err)
	}
	return nil
}
