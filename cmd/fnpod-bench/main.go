// Command fnpod-bench measures what fnpod costs: processor time, latency, system calls and memory, beside the function
// without a proxy and beside nginx. It prints Markdown; bench/README.md has the results and the method.
//
//	main.go       the command line
//	fig8.go       fig8: throughput and latency by connections, before a small server
//	fig9.go       fig9: time before, in and after the function
//	rate.go       rate: constant rates
//	sizes.go      sizes: bodies there and back
//	workers.go    workers: warm workers, beside the usual servers of Python
//	waiting.go    waiting: handlers that wait, in one async worker or in many
//	trips.go      trips: round trips to workers of every language, beside a bare loop
//	modes.go      modes: a process for each request, by every launcher
//	forking.go    the same by os/exec, which they are compared with
//	http2.go      http2: clients that speak HTTP/2, and gRPC
//	knative.go    knative: in the place of queue-proxy
//	nuclio.go     nuclio: in the place of Nuclio's processor
//	memory.go     memory: idle, and with idle connections
//	coldstart.go  coldstart: from exec to the first answer
//	syscalls.go   syscalls: system calls per request, counted by perf
//	targets.go    targets: what should be reached, and what was
//	goals.go      the list of them
//	publish.go    publish: results into bench/README.md
//	evidence.go   results of experiments, read again
//	guard.go      guard: instructions and system calls per request against recorded budgets
//	robustness.go robustness: who holds what of the table in e2e/hostile
//	compare.go    samples: variants and connections, interleaved, fresh processes for every sample
//	variant.go    what is measured: the bare function, fnpod, nginx
//	peer.go       other proxies
//	relay.go      the floor for a proxy
//	python.go     servers of Python, and fnpod with workers
//	languages.go  fnpod with workers of other languages
//	bareloop.go   a process that echoes on two pipes
//	tripworker.go a worker without a front door
//	load.go       the load: a closed loop over connections that stay open, in one thread
//	pace.go       the load in an open loop, at a constant rate
//	http2load.go  the load over HTTP/2
//	latency.go    latencies as percentiles
//	process.go    start, stop and observe a process and its children
//	proc.go       what the kernel tells of a process
//	function.go   the function behind the proxies: this program, started again
//	http2function.go the same for HTTP/2 and gRPC
//	report.go     tables, medians and the machine
//	results.go    samples as JSON
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
	Fig8         fig8Cmd          `cmd:"" name:"fig8" help:"Throughput by connections and latency before a small server, beside other proxies."`
	Fig9         fig9Cmd          `cmd:"" name:"fig9" help:"Time before, in and after the function."`
	Rate         rateCmd          `cmd:"" help:"Latency and processor time at constant rates."`
	Sizes        sizesCmd         `cmd:"" help:"Bodies of 1 byte to 10 MB, there and back."`
	Workers      workersCmd       `cmd:"" help:"HTTP requests to warm workers, beside the usual servers of Python."`
	Waiting      waitingCmd       `cmd:"" help:"Handlers that wait: one async worker, beside a worker for each request."`
	Trips        tripsCmd         `cmd:"" help:"Round trips to warm workers of every language, without HTTP, beside a bare loop."`
	Modes        modesCmd         `cmd:"" help:"A process for each request, by every launcher, beside warm workers and of-watchdog."`
	HTTP2        http2Cmd         `cmd:"" name:"http2" help:"Clients that speak HTTP/2 without TLS: requests, and calls of gRPC."`
	Knative      knativeCmd       `cmd:"" help:"In the place of Knative's queue-proxy, beside it."`
	Nuclio       nuclioCmd        `cmd:"" help:"In the place of Nuclio's processor, beside it."`
	Memory       memoryCmd        `cmd:"" help:"Memory with one and with many idle connections."`
	Coldstart    coldstartCmd     `cmd:"" help:"Time from exec to the first answer."`
	Overload     overloadCmd      `cmd:"" help:"More requests than the function can do: who is answered in time."`
	Syscalls     syscallsCmd      `cmd:"" help:"System calls per request; needs perf and the right to trace."`
	Targets      targetsCmd       `cmd:"" help:"What the experiments measured, beside what it should be."`
	Publish      publishCmd       `cmd:"" help:"Writes what the experiments measured into a document."`
	Guard        guardCmd         `cmd:"" help:"Instructions and system calls per request against recorded budgets."`
	Robustness   robustnessCmd    `cmd:"" help:"Hostile conversations with fnpod, nginx and HAProxy: who holds what."`
	Function     functionCmd      `cmd:"" hidden:"" help:"The server behind the proxies."`
	HTTP2Func    http2FunctionCmd `cmd:"" name:"http2-function" hidden:"" help:"A server of HTTP/2 and gRPC behind the proxies."`
	Relay        relayCmd         `cmd:"" hidden:"" help:"The floor for a proxy: bytes that nobody looks at."`
	GoWorker     goWorkerCmd      `cmd:"" hidden:"" help:"A function in Go."`
	Forking      forkingCmd       `cmd:"" hidden:"" help:"A process for each request by os/exec."`
	ReverseProxy reverseProxyCmd  `cmd:"" hidden:"" help:"Go's ReverseProxy."`
}

// sampling is how often and how long to look.
type sampling struct {
	recording  `embed:""`
	Rounds     int           `default:"3" help:"Samples of everything; the report has medians."`
	Duration   time.Duration `default:"2s" help:"Length of a sample."`
	Warmup     time.Duration `default:"300ms" help:"Load before a sample."`
	NoiseLimit float64       `default:"0.3" help:"A sample is taken again, twice at most, when other processes use more processors."`

	body      int     // bytes there and back, 0 for requests without body
	perSecond float64 // constant rate, 0 for a closed loop
	again     int     // samples that may still be taken again
	asking    []byte  // the request, if it is not the usual one
	call      *call   // HTTP/2, nil for HTTP/1.1
	streams   int     // at once on each connection of HTTP/2
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
