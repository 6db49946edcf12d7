package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// syscallsCmd counts system calls per request. Counting with perf does not stop the process as strace does, so that
// batching and sleeping are those of the real thing.
type syscallsCmd struct {
	sampling `embed:""`

	Connections []int `default:"1,10,100" help:"Connections of the load."`
}

// Events that are counted: all, and those that a proxy lives on.
const allCalls = "raw_syscalls:sys_enter"

// callGroups are the columns of the report.
var callGroups = []struct {
	name  string
	calls []string
}{
	{"read", []string{"read", "readv"}},
	{"recv", []string{"recvfrom", "recvmsg"}},
	{"write", []string{"write", "writev", "sendto", "sendmsg"}},
	{"epoll_wait", []string{"epoll_wait", "epoll_pwait"}},
	{"futex", []string{"futex"}},
	{"nanosleep", []string{"nanosleep"}},
}

// Run implements the command.
func (c *syscallsCmd) Run(ctx context.Context, out io.Writer) error {
	describeMachine(ctx, out)
	rows := [][]string{{"variant", "connections", "all"}}
	for _, g := range callGroups {
		rows[0] = append(rows[0], g.name)
	}
	rows[0] = append(rows[0], "other", "all but waiting")
	for _, v := range []variant{fnpodTCP, fnpodUnix, nginxBare} {
		for _, n := range c.Connections {
			label := fmt.Sprintf("%s, %d connections", v.name, n)
			if c.leftOut(v) {
				continue
			}
			row, err := c.row(ctx, v, n)
			if err != nil {
				if c.without(ctx, v, label, err) {
					continue
				}
				return fmt.Errorf("%s: %w", label, err)
			}
			rows = append(rows, row)
		}
	}
	fmt.Fprintf(out, "\nSystem calls per request\n\n%s\n", table(rows))
	c.describeAbsent(out)
	return c.write(ctx, nil)
}

// What syscalls measures.
const (
	callsAll  = "system calls per request"
	callsBusy = "system calls per request but for waiting"
)

// row measures one row of the table.
func (c *syscallsCmd) row(ctx context.Context, v variant, n int) ([]string, error) {
	counts := map[string][]float64{}
	for range c.Rounds {
		calls, requests, err := c.count(ctx, v, n)
		if err != nil {
			return nil, err
		}
		rest := calls[allCalls]
		for _, g := range callGroups {
			sum := sumOf(calls, g.calls)
			rest -= sum
			counts[g.name] = append(counts[g.name], sum/requests)
		}
		counts["all"] = append(counts["all"], calls[allCalls]/requests)
		counts["other"] = append(counts["other"], rest/requests)
		counts["busy"] = append(counts["busy"], (calls[allCalls]-waitingCalls(calls))/requests)
		at := fmt.Sprintf(", %d connections", n)
		c.note(v.name, callsAll+at, calls[allCalls]/requests)
		c.note(v.name, callsBusy+at, (calls[allCalls]-waitingCalls(calls))/requests)
	}
	row := []string{v.name, strconv.Itoa(n), format(median(counts["all"]))}
	for _, g := range callGroups {
		row = append(row, format(median(counts[g.name])))
	}
	return append(row, format(median(counts["other"])), format(median(counts["busy"]))), nil
}

// sumOf adds up the counts of some system calls.
func sumOf(calls map[string]float64, names []string) (sum float64) {
	for _, name := range names {
		sum += calls["syscalls:sys_enter_"+name]
	}
	return sum
}

// waitingCalls are those in which nothing is done.
func waitingCalls(calls map[string]float64) (sum float64) {
	for _, g := range callGroups {
		if g.name == "epoll_wait" || g.name == "futex" || g.name == "nanosleep" {
			sum += sumOf(calls, g.calls)
		}
	}
	return sum
}

// count returns the system calls of a variant by event, and the requests meanwhile.
func (c *sampling) count(ctx context.Context, v variant, n int) (calls map[string]float64, requests float64, err error) {
	r, err := startVariant(ctx, c.Fnpod, v)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = r.stop(err) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := dial(r.address, n)
	if err != nil {
		return nil, 0, err
	}
	defer l.close()
	if _, err := l.run(ctx, c.Warmup); err != nil {
		return nil, 0, err
	}
	u, err := r.target.usage()
	if err != nil {
		return nil, 0, err
	}
	counter, err := startCounter(ctx, u.pids)
	if err != nil {
		return nil, 0, err
	}
	result, err := l.run(ctx, c.Duration)
	calls, stopped := counter.stop()
	if err := errors.Join(err, stopped); err != nil {
		return nil, 0, err
	}
	return calls, float64(result.requests), nil
}

// counter is perf at work.
type counter struct {
	cmd     *exec.Cmd
	control *os.File      // perf reads commands here
	answers *bufio.Reader // and acknowledges them here
	files   []io.Closer
	output  strings.Builder
}

// startCounter returns when perf counts the system calls of all threads of pids.
func startCounter(ctx context.Context, pids []int) (*counter, error) {
	events := []string{allCalls}
	for _, g := range callGroups {
		for _, call := range g.calls {
			events = append(events, "syscalls:sys_enter_"+call)
		}
	}
	list := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(pids)), ","), "[]")
	controlR, controlW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answerR, answerW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, controlR.Close(), controlW.Close())
	}
	p := &counter{
		cmd: exec.CommandContext(ctx, "perf", "stat", "-x", ";", "-D", "-1", "--control", "fd:3,4",
			"-e", strings.Join(events, ","), "-p", list),
		control: controlW, answers: bufio.NewReader(answerR), files: []io.Closer{controlW, answerR},
	}
	p.cmd.ExtraFiles = []*os.File{controlR, answerW}
	p.cmd.Stderr = &p.output
	err = p.cmd.Start()
	if closed := errors.Join(controlR.Close(), answerW.Close()); err == nil {
		err = closed
	}
	if err != nil {
		return nil, errors.Join(err, controlW.Close(), answerR.Close())
	}
	if err := p.tell("enable"); err != nil {
		return nil, fmt.Errorf("%w; it wrote: %s", err, p.end())
	}
	return p, nil
}

// tell makes perf do something and waits until it is done.
func (p *counter) tell(command string) error {
	if _, err := io.WriteString(p.control, command+"\n"); err != nil {
		return fmt.Errorf("perf %s: %w", command, err)
	}
	if _, err := p.answers.ReadString('\n'); err != nil {
		return fmt.Errorf("perf %s: %w", command, err)
	}
	return nil
}

// end ends perf and returns what it wrote.
func (p *counter) end() string {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended already
	_ = p.cmd.Wait()                       // it always ends by the signal
	for _, f := range p.files {
		_ = f.Close() // nothing is buffered in it
	}
	return p.output.String()
}

// stop ends counting and returns the counts by event.
func (p *counter) stop() (map[string]float64, error) {
	err := p.tell("disable")
	text := p.end()
	if err != nil {
		return nil, fmt.Errorf("%w; it wrote: %s", err, text)
	}
	return parsePerf(text)
}

// parsePerf reads the output of perf stat -x ";": value, unit, event and more that does not matter.
func parsePerf(text string) (map[string]float64, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comma, reader.FieldsPerRecord, reader.LazyQuotes = ';', -1, true
	records, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("output of perf: %w", err)
	}
	counts := map[string]float64{}
	for _, record := range records {
		if len(record) < 3 {
			continue
		}
		if counts[record[2]], err = strconv.ParseFloat(record[0], 64); err != nil {
			return nil, fmt.Errorf("output of perf: %q: %w", strings.Join(record, ";"), err)
		}
	}
	if counts[allCalls] == 0 {
		return nil, fmt.Errorf("perf counted nothing: %s", text)
	}
	return counts, nil
}
