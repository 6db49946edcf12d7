package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// fig9Cmd measures where the time of a request goes: from the client's write to the start of the function, in it, and from
// its end to the client's read. Figure 9 of "Analyzing Open-Source Serverless Platforms" (SEKE'21). The function answers
// with the times at which it began and ended; all processes read the same clock.
type fig9Cmd struct {
	recording `embed:""`
	peers     `embed:""`

	Rounds   int `default:"5" help:"Rounds with fresh processes; the report has medians of their medians."`
	Requests int `default:"2000" help:"Requests of a round, over one connection, one after the other; a hundredth with a process per request."`
}

const (
	timesPath   = "/times"
	timesFormat = "%d %d"
	timesPython = "import time\n\ndef handle(req):\n    t = time.time_ns()\n    return \"%d %d\" % (t, time.time_ns())\n"
	timesScript = "import time\nt = time.time_ns()\nprint(t, time.time_ns(), end=\"\")\n"
	timesNode   = `const now = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6))
module.exports.handle = () => { const t = now(); return t + ' ' + now() }
`
)

// fromThePaper are its figures in milliseconds, before and after the function, on its machines and through its clusters'
// networks.
var fromThePaper = []struct {
	name          string
	before, after float64
}{
	{"Nuclio", 0.63, 0.54},
	{"OpenFaaS", 1.32, 0.93},
	{"Knative", 1.30, 0.62},
	{"Kubeless", 4.96, 2.63},
}

// What fig9 measures.
const (
	beforeMS = "before the function, ms"
	inMS     = "in it, ms"
	afterMS  = "after it, ms"
)

// intervals of one request.
type intervals struct{ before, in, after time.Duration }

// Run implements the command.
func (c *fig9Cmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	variants, err := c.chosen(&c.recording, append(c.proxies(),
		serving("fnpod serve, Python", "handler.py", timesPython, append(workersOf(1), "--workers-interpreter", python)...),
		servingNode("fnpod serve, Node", timesNode, workersOf(1)...),
		perRequestVariant(python),
	))
	if err != nil {
		return err
	}
	for range c.Rounds {
		for _, v := range variants {
			if c.leftOut(v) {
				continue
			}
			i, err := c.round(ctx, v)
			if err != nil {
				if c.without(ctx, v, v.name, err) {
					continue
				}
				return fmt.Errorf("%s: %w", v.name, err)
			}
			for what, d := range map[string]time.Duration{beforeMS: i.before, inMS: i.in, afterMS: i.after} {
				c.note(v.name, what, float64(d)/float64(time.Millisecond))
			}
		}
	}
	describeMachine(ctx, out)
	fmt.Fprintf(out, "Median of %d rounds of %d requests over one connection.\n\n", c.Rounds, c.Requests)
	rows := [][]string{{"", beforeMS, inMS, afterMS}}
	for _, v := range variants {
		rows = append(rows, []string{v.name, c.cell3(v.name, beforeMS), c.cell3(v.name, inMS), c.cell3(v.name, afterMS)})
	}
	for _, p := range fromThePaper {
		rows = append(rows, []string{p.name + ", from the paper", fmt.Sprintf("%.2f", p.before), "", fmt.Sprintf("%.2f", p.after)})
	}
	fmt.Fprintf(out, "%s\n", table(rows))
	c.describeAbsent(out)
	return c.write(ctx, nil, false)
}

// cell3 shows microseconds of a figure in milliseconds.
func (c *fig9Cmd) cell3(variant, what string) string {
	if len(c.values(variant, what)) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f", median(c.values(variant, what)))
}

// perRequestVariant is fnpod with a process for each request.
func perRequestVariant(python string) variant {
	return variant{name: perRequestName, start: func(ctx context.Context, s *site) (*process, error) {
		script := filepath.Join(s.dir, "script.py")
		if err := os.WriteFile(script, []byte(timesScript), 0o644); err != nil {
			return nil, err
		}
		return startPod(ctx, s, "run", "--mode", "serializing", "--", python, "-I", "-S", script)
	}}
}

const perRequestName = "fnpod run, a Python process for each request"

// round starts fresh processes and returns the medians.
func (c *fig9Cmd) round(ctx context.Context, v variant) (i intervals, err error) {
	requests := c.Requests
	if v.name == perRequestName {
		requests = max(requests/100, 1)
	}
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return i, err
	}
	defer func() { err = r.stop(err) }()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", r.address)
	if err != nil {
		return i, err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	var before, in, after []float64
	for n := range requests + requests/10 { // the first tenth is there to warm up
		one, err := timeOne(conn, answers)
		if err != nil {
			return i, err
		}
		if n >= requests/10 {
			before, in, after = append(before, float64(one.before)), append(in, float64(one.in)), append(after, float64(one.after))
		}
	}
	return intervals{time.Duration(median(before)), time.Duration(median(in)), time.Duration(median(after))}, ctx.Err()
}

// timeOne sends one request and reads from its answer what became of it when.
func timeOne(conn net.Conn, answers *bufio.Reader) (i intervals, err error) {
	if err := conn.SetDeadline(time.Now().Add(stall)); err != nil {
		return i, err
	}
	sent := time.Now().UnixNano()
	if _, err := io.WriteString(conn, "GET "+timesPath+" HTTP/1.1\r\nHost: function.example\r\nUser-Agent: fnpod-bench\r\nAccept: */*\r\n\r\n"); err != nil {
		return i, err
	}
	if _, err := answers.Peek(1); err != nil {
		return i, err
	}
	received := time.Now().UnixNano()
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return i, err
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return i, err
	}
	var began, ended int64
	if _, err := fmt.Sscanf(string(body), timesFormat, &began, &ended); err != nil {
		return i, fmt.Errorf("answer %.100q with status %d: %w", body, answer.StatusCode, err)
	}
	return intervals{time.Duration(began - sent), time.Duration(ended - began), time.Duration(received - ended)}, nil
}
