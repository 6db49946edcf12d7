// Command fnpod is the entrypoint or sidecar of a function pod: an HTTP front door and a bounded queue before warm
// workers, a supervised process or an HTTP upstream.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Exit codes of our own. Everything else is the function's code.
const (
	exitFailure = 1
	exitUsage   = 2
)

// exitError ends the process with a code that is not exitFailure, such as the function's.
type exitError struct {
	code int
	err  error // reported when not nil
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() {
	stderr := newLogPipe(os.Stderr)
	exit := func(code int) {
		stderr.close()
		os.Exit(code)
	}
	inv := newInvocation(os.Args[0], os.Environ(), os.Stdout, stderr)
	ctx, stop := stopSignals(exit, &inv.hurried)
	code := run(ctx, inv, os.Args[1:])
	stop()
	exit(code)
}

// run does what the command line asks for and returns the exit code.
func run(ctx context.Context, inv *invocation, args []string) int {
	command, err := inv.command(args)
	if err == nil {
		err = command.Run(ctx, inv)
	}
	if inv.limited != nil {
		inv.limited.tell() //nolint:contextcheck // only log records are written without a context
	}
	if inv.pipe != nil {
		inv.pipe.close()
	}
	return inv.exitCode(err)
}

// exitCode reports an error on standard error, one line for each fact, and returns its exit code.
func (inv *invocation) exitCode(err error) int {
	if err == nil || errors.Is(err, errHelp) {
		return 0
	}
	code := exitFailure
	var exit *exitError
	var usage *usageError
	switch {
	case errors.As(err, &exit):
		code = exit.code
		err = exit.err
	case errors.As(err, &usage):
		code = exitUsage
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(inv.stderr, "fnpod: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	return code
}
