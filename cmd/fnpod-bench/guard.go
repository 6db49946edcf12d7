package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// guardCmd compares what a request costs with recorded budgets. It counts instead of timing, so that it tells the same
// on a busy machine: instructions that fnpod executes itself, and system calls.
type guardCmd struct {
	sampling `embed:""`

	Budgets  string `default:"bench/budgets.json" help:"Recorded budgets."`
	Update   bool   `help:"Record what is measured, and 10 % more, as the new budgets."`
	Requests int    `default:"10000" help:"Requests whose instructions are counted."`
}

// budgets are limits by case and by what is counted.
type budgets map[string]map[string]float64

// What is counted.
const (
	instructionsName = "instructions"
	callsName        = "system calls"
)

// guarded are the cases of the guard.
func guarded(python string) []variant {
	return []variant{fnpodTCP, fnpodUnix, serveVariant(python, "--workers-min", "1", "--workers-max", "1")}
}

// Run implements the command.
func (c *guardCmd) Run(ctx context.Context, out io.Writer) error {
	python, err := interpreter(ctx)
	if err != nil {
		return err
	}
	measured := budgets{}
	for _, v := range guarded(python) {
		measured[v.name] = map[string]float64{}
		for what, count := range map[string]counting{instructionsName: c.instructions, callsName: c.calls} {
			value, err := c.median(ctx, v, count)
			if errors.Is(err, exec.ErrNotFound) {
				fmt.Fprintf(out, "%s of %s: not counted here: %v\n", what, v.name, err)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s of %s: %w", what, v.name, err)
			}
			measured[v.name][what] = value
		}
	}
	if c.Update {
		return measured.record(c.Budgets)
	}
	limits, err := readBudgets(c.Budgets)
	if err != nil {
		return err
	}
	text, err := limits.judge(measured)
	fmt.Fprint(out, text)
	return err
}

// counting counts something for one request to a variant.
type counting func(context.Context, variant) (float64, error)

// median counts Rounds times.
func (c *guardCmd) median(ctx context.Context, v variant, count counting) (float64, error) {
	var values []float64
	for range c.Rounds {
		value, err := count(ctx, v)
		if err != nil {
			return 0, err
		}
		values = append(values, value)
	}
	return median(values), nil
}

// judge shows what was measured beside the limits. What is above one is an error.
func (limits budgets) judge(measured budgets) (string, error) {
	rows := [][]string{{"per request", "measured", "budget", ""}}
	var exceeded []string
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		for _, what := range slices.Sorted(maps.Keys(measured[name])) {
			value, limit := measured[name][what], limits[name][what]
			verdict := "kept"
			switch {
			case limit == 0:
				verdict = "no budget"
				exceeded = append(exceeded, fmt.Sprintf("%s of %s: no budget is recorded", what, name))
			case value > limit:
				verdict = "**exceeded**"
				exceeded = append(exceeded, fmt.Sprintf("%s of %s: %s, budget %s", what, name, format(value), format(limit)))
			}
			rows = append(rows, []string{name + ": " + what, format(value), format(limit), verdict})
		}
	}
	if len(rows) == 1 {
		exceeded = append(exceeded, "nothing could be counted")
	}
	if exceeded == nil {
		return table(rows), nil
	}
	return table(rows), errors.New(strings.Join(exceeded, "; "))
}

// record writes b with a margin of 10 %. Runs of one build differ by up to 6 %: whether an answer is there before its
// goroutine parks depends on what else the machine does.
func (b budgets) record(file string) error {
	limits := budgets{}
	for name, values := range b {
		limits[name] = map[string]float64{}
		for what, value := range values {
			limits[name][what] = math.Ceil(value*1.1*100) / 100
		}
	}
	text, err := json.MarshalIndent(limits, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func readBudgets(file string) (b budgets, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// calls are the system calls of a request, without waiting: how many of those there are depends on the machine.
func (c *guardCmd) calls(ctx context.Context, v variant) (float64, error) {
	if _, err := exec.LookPath("perf"); err != nil {
		return 0, err
	}
	calls, requests, err := c.count(ctx, v, 100)
	if err != nil {
		return 0, err
	}
	return (calls[allCalls] - waitingCalls(calls)) / requests, nil
}

// instructions are those that fnpod executes for a request, with its scheduler, on one processor and one connection:
// what two runs of different length differ by.
func (c *guardCmd) instructions(ctx context.Context, v variant) (float64, error) {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return 0, err
	}
	const first = 1000
	less, err := c.executed(ctx, v, first)
	if err != nil {
		return 0, err
	}
	more, err := c.executed(ctx, v, first+c.Requests)
	if err != nil {
		return 0, err
	}
	return float64(more-less) / float64(c.Requests), nil
}

// executed are the instructions of a whole run with some requests. Valgrind counts them; it follows no child.
func (c *guardCmd) executed(ctx context.Context, v variant, requests int) (int64, error) {
	dir, err := os.MkdirTemp("", "fnpod-bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "log")
	v.under = []string{"valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--log-file=" + log}
	v.env = []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"} // a signal in the wrong place stops valgrind
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return 0, err
	}
	if err := r.stop(askInTurn(ctx, r.address, requests)); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	return parseInstructions(string(text))
}

// askInTurn sends requests over one connection, one after the other.
func askInTurn(ctx context.Context, address string, requests int) error {
	l, err := dial(address, 1)
	if err != nil {
		return err
	}
	defer l.close()
	for range requests {
		if err := l.once(ctx); err != nil {
			return err
		}
	}
	return nil
}

var instructionsLine = regexp.MustCompile(`I\s+refs:\s+([0-9,]+)`)

// parseInstructions reads the summary of cachegrind.
func parseInstructions(log string) (int64, error) {
	found := instructionsLine.FindStringSubmatch(log)
	if found == nil {
		return 0, fmt.Errorf("valgrind counted nothing: %s", log)
	}
	return strconv.ParseInt(strings.ReplaceAll(found[1], ",", ""), 10, 64)
}
