// Command fnpod-bench measures what fnpod costs: processor time, latency, system calls and memory, beside the function
// without a proxy and beside nginx. It prints Markdown; bench/README.md has the results and the method.
//
//	main.go       the command line
//	compare.go    proxy: variants and connections, interleaved, fresh processes for every sample
//	workers.go    workers: an HTTP request to a warm Python worker and back
//	syscalls.go   syscalls: system calls per request, counted by perf
//	footprint.go  footprint: binary, memory, start
//	guard.go      guard: instructions and system calls per request against recorded budgets
//	robustness.go robustness: who holds what of the table in e2e/hostile
//	variant.go    what is measured: the bare function, fnpod, nginx
//	load.go       the load: a closed loop over connections that stay open, in one thread
//	histogram.go  latencies as percentiles
//	process.go    start, stop and observe a process and its children
//	proc.go       what the kernel tells of a process
//	function.go   the function behind the proxies: this program, started again
//	report.go     tables, medians and the machine
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// grammar is the command line.
type grammar struct {
	Proxy      proxyCmd      `cmd:"" help:"Processor time, throughput and latency of fnpod and nginx before a small server."`
	Workers    workersCmd    `cmd:"" help:"HTTP requests to warm Python workers."`
	Overload   overloadCmd   `cmd:"" help:"More requests than the function can do: who is answered in time."`
	Syscalls   syscallsCmd   `cmd:"" help:"System calls per request; needs perf and the right to trace."`
	Footprint  footprintCmd  `cmd:"" help:"Size of the binary, memory, time from exec to the first answer."`
	Guard      guardCmd      `cmd:"" help:"Instructions and system calls per request against recorded budgets."`
	Robustness robustnessCmd `cmd:"" help:"Hostile conversations with fnpod, nginx and HAProxy: who holds what."`
	Function   functionCmd   `cmd:"" hidden:"" help:"The server behind the proxies."`
}

// sampling is how often and how long to look.
type sampling struct {
	Fnpod      string        `default:"bin/fnpod" help:"The binary that is measured."`
	Rounds     int           `default:"3" help:"Samples of everything; the report has medians."`
	Duration   time.Duration `default:"2s" help:"Length of a sample."`
	Warmup     time.Duration `default:"300ms" help:"Load before a sample."`
	NoiseLimit float64       `default:"0.3" help:"A sample is taken again, twice at most, when other processes use more processors."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "fnpod-bench: %v\n", err)
		os.Exit(1)
	}
}

// run does what args ask for and writes its report to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	var g grammar
	parser, err := kong.New(&g, kong.Name("fnpod-bench"), kong.Description("Measures what fnpod costs."))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		return err
	}
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(out, (*io.Writer)(nil))
	return command.Run()
}
