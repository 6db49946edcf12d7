package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// workersCmd measures HTTP requests to warm Python workers, and the same front door before the small server.
type workersCmd struct {
	sampling `embed:""`

	Connections []int `default:"1,8,64" help:"Connections of the load."`
	Workers     int   `default:"2" help:"Python workers."`
}

// handlerText is the function: as many bytes as the small server's.
const handlerText = "def handle(req):\n    return \"pong\"\n"

// Run implements the command.
func (c *workersCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	count := strconv.Itoa(c.Workers)
	serve := serveVariant(python, "--workers-min", count, "--workers-max", count)
	samples, err := c.compare(ctx, []variant{serve, fnpodTCP}, c.Connections)
	if err != nil {
		return err
	}
	c.describe(ctx, out, samples)
	rows := [][]string{{
		"connections", "requests/s", "× fnpod before the small server", "CPU µs/request: fnpod", "CPU µs/request: workers", "p50 µs", "p99 µs", "RSS MB, all",
	}}
	for _, n := range c.Connections {
		of := func(f figure) string { return format(samples.median(serve.name, n, f)) }
		rows = append(rows, []string{
			strconv.Itoa(n), of(rate), formatRatio(samples.ratio(serve.name, fnpodName, n, rate)), of(ownPerRequest), of(childPerRequest), of(p50), of(p99), of(rssMB),
		})
	}
	fmt.Fprintf(out, "%d Python workers\n\n%s\n", c.Workers, table(rows))
	return nil
}

// serveVariant is fnpod with Python workers.
func serveVariant(python string, flags ...string) variant {
	return variant{name: "fnpod serve", start: func(ctx context.Context, s *site) (*process, error) {
		file := filepath.Join(s.dir, "handler.py")
		if err := os.WriteFile(file, []byte(handlerText), 0o644); err != nil {
			return nil, err
		}
		return startPod(ctx, s, append([]string{"serve", file, "--workers-interpreter", python}, flags...)...)
	}}
}

// interpreter finds the Python that python3 stands for: version managers put a shell script in its place, whose start
// would be measured as ours.
func interpreter(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return "", fmt.Errorf("python3: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
