package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
)

// memoryCmd measures what a proxy needs before it has work, and for connections that have none.
type memoryCmd struct {
	peers `embed:""`

	Fnpod       string `default:"bin/fnpod" help:"The binary that is measured."`
	Rounds      int    `default:"3" help:"Measurements; the report has medians."`
	Connections int    `default:"10000" help:"Idle connections."`
}

// Run implements the command.
func (c *memoryCmd) Run(ctx context.Context, out io.Writer) error {
	if err := raiseDescriptors(c.Connections + 100); err != nil {
		return err
	}
	variants, err := c.chosen(c.proxies()[1:]) // the bare function has no connections but those of the load
	if err != nil {
		return err
	}
	binary, err := os.Stat(c.Fnpod)
	if err != nil {
		return err
	}
	describeMachine(ctx, out)
	fmt.Fprintf(out, "Binary of fnpod: %s MB. Median of %d.\n\n", format(float64(binary.Size())/(1<<20)), c.Rounds)
	figures := make([][4][]float64, len(variants))
	for range c.Rounds {
		for i, v := range variants {
			before, after, err := c.idle(ctx, v)
			switch {
			case err != nil && v.peer && ctx.Err() == nil:
				fmt.Fprintf(out, "Left out: %s: %.300v\n\n", v.name, err)
				continue
			case err != nil:
				return fmt.Errorf("%s: %w", v.name, err)
			}
			for column, bytes := range []int64{before.rss, before.anonymous, after.rss} {
				figures[i][column] = append(figures[i][column], float64(bytes)/(1<<20))
			}
			figures[i][3] = append(figures[i][3], float64(after.rss-before.rss)/float64(c.Connections))
		}
	}
	rows := [][]string{{
		"", "RSS MB after one request", "of it anonymous", fmt.Sprintf("RSS MB, %d idle connections", c.Connections), "bytes for each",
	}}
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
func (c *memoryCmd) idle(ctx context.Context, v variant) (before, after usage, err error) {
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
