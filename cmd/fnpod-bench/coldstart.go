package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// coldstartCmd measures the time from exec to the first answer, and as yardsticks what interpreters need that do
// nothing.
type coldstartCmd struct {
	recording `embed:""`
	peers     `embed:""`

	Starts int `default:"11" help:"Measurements; the report has medians."`
}

// firstAnswerMS is what coldstart measures.
const firstAnswerMS = "exec to first answer, ms"

// Run implements the command.
func (c *coldstartCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	variants, err := c.chosen(&c.recording, append(c.proxies()[1:], c.servers(python)...))
	if err != nil {
		return err
	}
	interpreters := []variant{
		interpreterAlone("python3 -c pass", python, "-c", "pass"),
		interpreterAlone("python3 -S -c pass", python, "-S", "-c", "pass"),
		interpreterAlone("python3 -I -S -c pass", python, "-I", "-S", "-c", "pass"),
		interpreterAlone("node -e 0", "node", "-e", "0"),
	}
	for range c.Starts {
		for _, v := range variants {
			if err := c.take(ctx, v, c.firstAnswer); err != nil {
				return err
			}
		}
		for _, v := range interpreters {
			if err := c.take(ctx, v, toTheEnd); err != nil {
				return err
			}
		}
	}
	describeMachine(ctx, out)
	rows := [][]string{{"", firstAnswerMS, "slowest"}}
	for _, v := range append(variants, interpreters...) {
		rows = append(rows, []string{v.name, c.cell(v.name, firstAnswerMS), c.worst(v.name, firstAnswerMS)})
	}
	fmt.Fprintf(out, "Median of %d starts\n\n%s\n", c.Starts, table(rows))
	c.describeAbsent(out)
	return c.write(ctx, nil, false)
}

// take notes one start of a variant.
func (c *recording) take(ctx context.Context, v variant, once func(context.Context, variant) (time.Duration, error)) error {
	if c.leftOut(v) {
		return nil
	}
	d, err := once(ctx, v)
	if err != nil {
		if c.without(ctx, v, v.name, err) {
			return nil
		}
		return fmt.Errorf("%s: %w", v.name, err)
	}
	c.note(v.name, firstAnswerMS, float64(d)/float64(time.Millisecond))
	return nil
}

// firstAnswer starts a variant and takes the time to its first answer.
func (c *recording) firstAnswer(ctx context.Context, v variant) (time.Duration, error) {
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return 0, err
	}
	return r.first, r.stop(nil)
}

// interpreterAlone is a program that does nothing.
func interpreterAlone(name, program string, args ...string) variant {
	return variant{name: "to the end of " + name, peer: true, under: append([]string{program}, args...)}
}

// toTheEnd takes the time until the program of a variant has ended.
func toTheEnd(ctx context.Context, v variant) (time.Duration, error) {
	took, _, err := runToEnd(ctx, v.under)
	return took, err
}

// runToEnd runs a program and returns how long it ran, and the processor time that it used.
func runToEnd(ctx context.Context, argv []string) (took, cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// servers are those that start an interpreter.
func (c *coldstartCmd) servers(python string) []variant {
	return append([]variant{
		serving("fnpod serve, Python", "handler.py", pongPython, append(workersOf(1), "--workers-interpreter", python)...),
		servingNode("fnpod serve, Node", pongNode, workersOf(1)...),
	}, pythonServers(1)...)
}
