package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fnpod/fnpod/e2e/hostile"
)

// robustnessCmd holds fnpod, nginx and HAProxy to the table of hostile conversations.
type robustnessCmd struct {
	Fnpod  string `default:"bin/fnpod" help:"The binary that is tried."`
	Rounds int    `default:"3" help:"Fresh processes each; a case counts as it went worst."`
	Lanes  int    `default:"4" help:"Conversations at once, each with a function of its own."`
	Into   string `placeholder:"FILE" help:"Replaces what is between the markers in this file, instead of printing."`
	Only   string `help:"Cases whose class or name contains this."`
}

// contender is a server that is held to the table.
type contender struct {
	name     string
	patience time.Duration
	start    func(ctx context.Context, dir string, pairs []hostile.Pair) ([]*process, error)
}

// judged is a case with what was said about a contender.
type judged struct {
	hostile.Case
	verdict hostile.Verdict
	why     error // of Failed
	exact   error // fnpod alone
}

// Run implements the command.
func (c *robustnessCmd) Run(ctx context.Context, out io.Writer) error {
	var cases []hostile.Case
	for _, one := range hostile.Cases() {
		if strings.Contains(string(one.Class)+": "+one.Name, c.Only) {
			cases = append(cases, one)
		}
	}
	contenders := []contender{
		{fnpodName, 2 * time.Second, c.startFnpods},
		{nginxName, 500 * time.Millisecond, startHostileNginx},
		{"HAProxy", 500 * time.Millisecond, startHAProxy},
	}
	results := make([][]judged, len(contenders))
	for i, server := range contenders {
		for range c.Rounds {
			all, err := c.try(ctx, server, cases)
			if err != nil {
				return fmt.Errorf("%s: %w", server.name, err)
			}
			results[i] = worst(results[i], all)
		}
	}
	var report strings.Builder
	c.describe(ctx, &report)
	report.WriteString(verdictTable(results))
	for i, server := range contenders {
		writeFailures(&report, server.name, results[i])
	}
	writeChoices(&report, cases)
	if c.Into != "" {
		return replaceBetween(c.Into, report.String())
	}
	_, err := io.WriteString(out, report.String())
	return err
}

// worst keeps of every case how it went worst.
func worst(before, now []judged) []judged {
	for i := range before {
		if b := before[i]; b.verdict > now[i].verdict || b.verdict == now[i].verdict && b.exact != nil {
			now[i] = b
		}
	}
	return now
}

// try plays all cases against one contender.
func (c *robustnessCmd) try(ctx context.Context, server contender, cases []hostile.Case) (all []judged, err error) {
	dir, err := os.MkdirTemp("", "fnpod-bench")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	runners := make([]*hostile.Runner, c.Lanes)
	pairs := make([]hostile.Pair, c.Lanes)
	for i := range runners {
		f, err := hostile.StartFunction(ctx)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if pairs[i].Listen, err = freeAddress(ctx); err != nil {
			return nil, err
		}
		pairs[i].Function = f.Addr()
		runners[i] = &hostile.Runner{Addr: pairs[i].Listen, Function: f, Patience: server.patience}
	}
	processes, err := server.start(ctx, dir, pairs)
	defer func() {
		for _, p := range processes {
			err = errors.Join(err, p.stop())
		}
	}()
	if err != nil {
		return nil, err
	}
	for i, pair := range pairs {
		p := processes[min(i, len(processes)-1)]
		if err := listens(ctx, p, pair.Listen); err != nil {
			return nil, err
		}
	}
	return play(ctx, runners, cases)
}

// play lets every runner take the next case until none is left.
func play(ctx context.Context, runners []*hostile.Runner, cases []hostile.Case) ([]judged, error) {
	all := make([]judged, len(cases))
	next := make(chan int)
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error // guarded by mu
	for _, r := range runners {
		wait.Go(func() {
			for i := range next {
				o, err := r.Run(ctx, cases[i])
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					continue
				}
				j := judged{Case: cases[i], exact: hostile.Exact(cases[i], o)}
				j.verdict, j.why = hostile.Safe(cases[i], o)
				all[i] = j
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	wait.Wait()
	return all, failed
}

// listens waits until somebody accepts connections at the address.
func listens(ctx context.Context, p *process, address string) error {
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.output.String())
		default:
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startFnpods starts a pod per pair.
func (c *robustnessCmd) startFnpods(ctx context.Context, dir string, pairs []hostile.Pair) (all []*process, err error) {
	for i, pair := range pairs {
		p, err := start(ctx, nil, c.Fnpod, "proxy", "http://"+pair.Function, "--listen", pair.Listen,
			"--admin", "unix:"+filepath.Join(dir, fmt.Sprintf("admin%d.sock", i)), "--log-level", "error", "--drain-delay", "0s", "--drain-timeout", "1s",
			"--max-body", strconv.Itoa(hostile.MaxBody), "--head-timeout", "2s", "--body-timeout", "2s", "--answer-timeout", "2s")
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

func startHostileNginx(ctx context.Context, dir string, pairs []hostile.Pair) ([]*process, error) {
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(hostile.NginxConfig(dir, pairs)), 0o600); err != nil {
		return nil, err
	}
	program, args := hostile.NginxCommand(dir, config)
	return one(start(ctx, nil, program, args...))
}

func startHAProxy(ctx context.Context, dir string, pairs []hostile.Pair) ([]*process, error) {
	config := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(hostile.HAProxyConfig(pairs)), 0o600); err != nil {
		return nil, err
	}
	program, args := hostile.HAProxyCommand(config)
	return one(start(ctx, nil, program, args...))
}

func one(p *process, err error) ([]*process, error) {
	if err != nil {
		return nil, err
	}
	return []*process{p}, nil
}

// describe tells what was compared.
func (c *robustnessCmd) describe(ctx context.Context, out io.Writer) {
	version := func(program string, args ...string) string {
		text := firstLine(exec.CommandContext(ctx, program, args...).CombinedOutput())
		text, _, _ = strings.Cut(text, " - ")
		return text
	}
	fmt.Fprintf(out, "Written by `make robustness` (`bin/fnpod-bench robustness`) on %s: %s, %s, %s. Rounds with fresh processes: %d; a case counts as it went worst.\n\n", time.Now().UTC().Format(time.DateOnly),
		version(c.Fnpod, "version"), version(hostile.Program("nginx"), "-v"), version(hostile.Program("haproxy"), "-v"), c.Rounds)
}

// verdictTable has a row for each class.
func verdictTable(results [][]judged) string {
	rows := [][]string{{"class", "cases", "fnpod, to the letter", "fnpod", "nginx", "HAProxy"}}
	for _, class := range append(slices.Clone(hostile.Classes), "") {
		cases, row := 0, []string{string(class), "", ""}
		if class == "" {
			row[0] = "**all**"
		}
		for i, all := range results {
			held, chosen, exact := 0, 0, 0
			cases = 0
			for _, j := range all {
				if class != "" && j.Class != class {
					continue
				}
				cases++
				switch j.verdict {
				case hostile.Held:
					held++
				case hostile.Chosen:
					chosen++
				default:
				}
				if j.exact == nil {
					exact++
				}
			}
			if i == 0 {
				row[2] = strconv.Itoa(exact)
			}
			text := strconv.Itoa(held)
			if chosen > 0 {
				text += " + " + strconv.Itoa(chosen)
			}
			row = append(row, text)
		}
		row[1] = strconv.Itoa(cases)
		rows = append(rows, row)
	}
	return table(rows)
}

// writeFailures lists what a contender did not hold: a line for each class and kind of failure.
func writeFailures(out io.Writer, name string, all []judged) {
	var order []string
	names := map[string][]string{}
	add := func(class hostile.Class, kind, name string) {
		key := string(class) + ", " + kind
		if names[key] == nil {
			order = append(order, key)
		}
		names[key] = append(names[key], quoteName(name))
	}
	failed := 0
	for _, j := range all {
		if j.verdict == hostile.Failed {
			failed++
			kind, _, _ := strings.Cut(j.why.Error(), ":")
			add(j.Class, kind, j.Name)
		}
		if name == fnpodName && j.exact != nil {
			add(j.Class, "not to the letter", j.Name+": "+j.exact.Error())
		}
	}
	if len(order) == 0 {
		fmt.Fprintf(out, "\n**%s** held all.\n", name)
		return
	}
	fmt.Fprintf(out, "\n**%s** did not hold %d.\n\n", name, failed)
	for _, key := range order {
		fmt.Fprintf(out, "- %s: %s\n", key, strings.Join(names[key], "; "))
	}
}

// quoteName keeps Markdown from reading a name.
func quoteName(name string) string {
	if !strings.ContainsAny(name, "<>[]*_|\\`#&") {
		return name
	}
	return "`` " + strings.ReplaceAll(name, "|", "\\|") + " ``"
}

// writeChoices lists what the standard leaves open in the table.
func writeChoices(out io.Writer, cases []hostile.Case) {
	var order []string
	counts := map[string]int{}
	for _, c := range cases {
		if c.Choice == "" {
			continue
		}
		if counts[c.Choice] == 0 {
			order = append(order, c.Choice)
		}
		counts[c.Choice]++
	}
	fmt.Fprint(out, "\nWhat the number after a plus stands for: the server decided otherwise, without harm, where this leaves a choice.\n\n")
	slices.Sort(order)
	for _, choice := range order {
		fmt.Fprintf(out, "- %s (%s)\n", choice, plural(counts[choice], "case"))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Markers of what is generated in a document.
const (
	generatedBegin = "<!-- generated: begin -->\n"
	generatedEnd   = "<!-- generated: end -->\n"
)

// replaceBetween writes text between the markers in a file.
func replaceBetween(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), generatedBegin)
	_, after, foundEnd := strings.Cut(rest, generatedEnd)
	if !found || !foundEnd {
		return fmt.Errorf("%s: the markers %q and %q are not there", file, generatedBegin, generatedEnd)
	}
	return os.WriteFile(file, []byte(before+generatedBegin+text+generatedEnd+after), 0o644)
}
