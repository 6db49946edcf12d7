package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
)

// waitingCmd measures handlers that wait, as for a database: one worker that runs many requests at once, beside a worker
// for each.
type waitingCmd struct {
	sampling `embed:""`

	Requests int           `default:"64" help:"Requests at once."`
	Wait     time.Duration `default:"10ms" help:"How long a handler waits."`
}

// Names of the variants of waitingCmd.
const (
	oneAsyncName = "one async worker"
	manyName     = "a worker for each"
)

// Run implements the command.
func (c *waitingCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	async := fmt.Sprintf("import asyncio\n\n\nasync def handle(req):\n    await asyncio.sleep(%g)\n    return \"pong\"\n", c.Wait.Seconds())
	blocking := fmt.Sprintf("import time\n\n\ndef handle(req):\n    time.sleep(%g)\n    return \"pong\"\n", c.Wait.Seconds())
	flags := []string{"--workers-interpreter", python}
	variants := []variant{
		serving(oneAsyncName, "handler.py", async, append(flags, append(workersOf(1), "--workers-concurrency", strconv.Itoa(c.Requests))...)...),
		serving(manyName, "handler.py", blocking, append(flags, workersOf(c.Requests)...)...),
	}
	for i := range variants {
		variants[i].peer = true // a build may not have one of them
	}
	all, err := c.compare(ctx, variants, []int{c.Requests})
	if err != nil {
		return err
	}
	c.describe(ctx, out, all)
	rows := [][]string{{"", "requests/s", "× " + manyName, "p50 µs", "p99 µs", "CPU µs/request: front", "workers", "RSS MB, all", "× " + manyName}}
	for _, v := range variants {
		of := func(f figure) string { return all.cell(v.name, c.Requests, f) }
		to := func(f figure) string { return formatRatio(all.ratio(v.name, manyName, c.Requests, f)) }
		rows = append(rows, []string{v.name, of(rate), to(rate), of(p50), of(p99), of(ownPerRequest), of(childPerRequest), of(rssMB), to(rssMB)})
	}
	fmt.Fprintf(out, "**%d requests at once, each waits %v**\n\n%s\n", c.Requests, c.Wait, table(rows))
	return c.write(ctx, all)
}
