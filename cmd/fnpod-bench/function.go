package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"
)

// functionCmd serves the function: the body of a request, or four bytes if it has none, on TCP and on a unix socket. It ends with its parent's
// pipe, so that nothing is left behind when the parent dies.
type functionCmd struct {
	TCP  string `help:"Address to listen on."`
	Unix string `help:"Socket to listen on."`
}

// Run serves until standard input ends.
func (c *functionCmd) Run() error {
	server := &fasthttp.Server{
		Handler: func(r *fasthttp.RequestCtx) {
			switch {
			case string(r.Path()) == timesPath:
				began := time.Now()
				r.SetBody(fmt.Appendf(nil, timesFormat, began.UnixNano(), time.Now().UnixNano()))
			case len(r.PostBody()) > 0:
				r.SetBody(r.PostBody())
			default:
				r.SetBodyString("pong")
			}
		},
		MaxRequestBodySize:    64 << 20,
		NoDefaultServerHeader: true,
		Concurrency:           1 << 16,
	}
	failed := make(chan error, 2) // one for each listener
	for _, a := range []struct{ network, address string }{{"tcp4", c.TCP}, {"unix", c.Unix}} {
		listener, err := new(net.ListenConfig).Listen(context.Background(), a.network, a.address)
		if err != nil {
			return err
		}
		go func() { failed <- server.Serve(listener) }()
	}
	return untilParentEnds(failed)
}

// untilParentEnds waits for the first error, or for the end of standard input.
func untilParentEnds(failed chan error) error {
	go func() {
		_, err := os.Stdin.Read(make([]byte, 1))
		failed <- fmt.Errorf("standard input: %w", err)
	}()
	return <-failed
}

// function is the running function.
type function struct {
	*process
	tcp, unix string
}

// startFunction starts this program again as the function, with one processor; what is the call that it answers, nil for
// HTTP/1.1.
func startFunction(ctx context.Context, dir string, what *call) (*function, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tcp, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	f := &function{tcp: tcp, unix: dir + "/function.sock"}
	if err := os.RemoveAll(f.unix); err != nil {
		return nil, err
	}
	args := []string{"function", "--tcp", f.tcp, "--unix", f.unix}
	if what != nil {
		args = []string{"http2-function", "--tcp", f.tcp}
		if what.trailer {
			args = append(args, "--grpc")
		}
	}
	f.process, err = start(ctx, []string{"GOMAXPROCS=1", childVariable + "=1"}, self, args...)
	if err != nil {
		return nil, err
	}
	if what != nil {
		f.ask = askHTTP2(what)
	}
	if _, err := firstAnswer(ctx, f.process, f.tcp, time.Millisecond); err != nil {
		return nil, fmt.Errorf("function: %w; it wrote: %s", err, f.written())
	}
	return f, nil
}

// childVariable tells the test binary that it was started as the function.
const childVariable = "FNPOD_BENCH_CHILD"
