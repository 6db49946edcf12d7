package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	gofunction "github.com/fnpod/fnpod/workers/function"
)

// tripsCmd measures round trips to warm workers of every language without HTTP: a request through the pool to a function
// that echoes its body. Beside it a loop in the same language that reads and writes on the same kind of pipes and does
// nothing else, with the same way to wait. Everything is on one processor: the scheduler places two processes next to or
// upon each other as it likes, which moves figures more than all that is measured here.
type tripsCmd struct {
	recording `embed:""`

	Rounds   int           `default:"3" help:"Rounds with fresh processes; the report has medians."`
	Duration time.Duration `default:"200ms" help:"Length of a sample, after half as much to warm up."`
	Sizes    []int         `default:"0,1024,102400,1048576" help:"Bytes of the bodies."`
	Only     []string      `help:"Languages; all if empty."`
}

// spoken is a language in this experiment.
type spoken struct {
	variant
	program string   // the interpreter
	nothing []string // arguments with which it does nothing
	bare    []string // arguments with which it echoes
	file    string   // the function
	text    string
}

// What trips measures; the first two are followed by the size.
const (
	tripUS   = "round trip, µs, bytes"
	tripCPU  = "processor time of both ends, µs, bytes"
	endMS    = "exec to end, ms"
	readyMS  = "exec to READY, ms"
	startCPU = "processor time, ms"
	workerMB = "RSS MB"
)

// packagedPython is the interpreter that does nothing, with its packages.
const packagedPython = "Python, with packages"

// bareName is the bare loop of a language.
func bareName(language string) string { return language + ", bare loop" }

const (
	bareLoopPython = `import os
def loop():
    read, write = os.read, os.write
    while True:
        data = read(3, 65536)
        if not data:
            break
        n = write(4, data)
        while n < len(data):
            n += write(4, data[n:])
loop()
`
	bareLoopNode = `const fs = require('fs'), buf = Buffer.alloc(65536);
for (;;) {
  const n = fs.readSync(3, buf, 0, 65536, null);
  if (!n) break;
  for (let done = 0; done < n;) done += fs.writeSync(4, buf, done, n - done);
}
`
	bareLoopRuby = `i, o = IO.for_fd(3, 'rb'), IO.for_fd(4, 'wb')
begin
  loop { o.syswrite(i.sysread(65536)) }
rescue EOFError
end
`
	bareLoopPHP = `$i = fopen('php://fd/3', 'rb'); $o = fopen('php://fd/4', 'wb');
stream_set_read_buffer($i, 0); stream_set_write_buffer($o, 0);
while (($s = fread($i, 65536)) != '') fwrite($o, $s);
`
	bareLoopPerl = `open my $i, '<&=', 3; open my $o, '>&=', 4; my $s;
while (my $n = sysread $i, $s, 65536) { my $at = 0; $at += syswrite $o, $s, $n - $at, $at while $at < $n; }
`
	bareLoopJava = `import java.io.*;
public class Bare {
  public static void main(String[] args) throws IOException {
    if (args.length > 0) return;
    FileInputStream in = new FileInputStream("/proc/self/fd/3");
    FileOutputStream out = new FileOutputStream("/proc/self/fd/4");
    byte[] b = new byte[65536];
    for (int n; (n = in.read(b)) > 0;) out.write(b, 0, n);
  }
}
`
)

// languagesSpoken are all of them. Java's loop is compiled into dir; Go's are this program.
func (c *tripsCmd) languagesSpoken(ctx context.Context, dir string) ([]spoken, error) {
	python, err := interpreter(ctx)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "Bare.java"), []byte(bareLoopJava), 0o600); err != nil {
		return nil, err
	}
	all := []spoken{
		{variant{name: "Python"}, python, []string{"-S", "-c", "pass"}, []string{"-S", "-c", bareLoopPython}, "handler.py", echoPython},
		{variant{name: "Node"}, "node", []string{"-e", "0"}, []string{"-e", bareLoopNode}, "handler.js", "exports.handle = (req) => req.body;\n"},
		{variant{name: "Ruby"}, "ruby", []string{"-e", "0"}, []string{"-e", bareLoopRuby}, "handler.rb", "def handle(req) = req.body\n"},
		{variant{name: "PHP"}, "php", []string{"-r", "0;"}, []string{"-r", bareLoopPHP}, "handler.php", "<?php function handle($req) { return $req->body; }\n"},
		{variant{name: "Perl"}, "perl", []string{"-e", "0"}, []string{"-e", bareLoopPerl}, "handler.pl", "sub handle { my $b = $_[0]->body; \\$b }\n"},
		{variant{name: "Java"}, "java", []string{"-cp", dir, "Bare", "nothing"}, []string{"-cp", dir, "Bare"}, "Handler.java", "class Handler { static byte[] handle(byte[] b) { return b; } }\n"},
		{variant{name: "Go"}, self, []string{"go-worker", "nothing"}, []string{"go-worker", "bare"}, "", ""},
	}
	all = slices.DeleteFunc(all, func(l spoken) bool { return len(c.Only) > 0 && !slices.Contains(c.Only, l.name) })
	for i := range all {
		all[i].needs = all[i].program
		if all[i].name == "Java" {
			all[i].needs = "javac"
			if out, err := exec.CommandContext(ctx, "javac", "-d", dir, filepath.Join(dir, "Bare.java")).CombinedOutput(); err != nil && !all[i].optional() {
				return nil, fmt.Errorf("javac: %w: %s", err, out)
			}
		}
	}
	return all, nil
}

// Run implements the command.
func (c *tripsCmd) Run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "fnpod-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all, err := c.languagesSpoken(ctx, dir)
	if err != nil {
		return err
	}
	restore, err := onOneProcessor()
	if err != nil {
		return err
	}
	defer restore()
	for range c.Rounds {
		for _, l := range all {
			if c.leftOut(l.variant) {
				continue
			}
			if err := c.round(ctx, dir, l); err != nil && !c.without(ctx, l.variant, l.name, err) {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	describeMachine(ctx, out)
	fmt.Fprintf(out, "Median of %d rounds of %v, all on one processor. Body by body: the bare loop, the worker, and their ratio; µs.\n\n", c.Rounds, c.Duration)
	c.tripTables(out, all)
	c.describeAbsent(out)
	return c.write(ctx, nil, false)
}

// tripTables are the round trips, and the starts.
func (c *tripsCmd) tripTables(out io.Writer, all []spoken) {
	head := []string{"language"}
	for _, size := range c.Sizes {
		head = append(head, sizeName(size)+": bare", "worker", "÷", "CPU ÷")
	}
	trips := [][]string{head}
	starts := [][]string{{
		"language", "interpreter that does nothing, " + endMS, startCPU, "worker, " + readyMS, startCPU, "÷, " + startCPU,
		"bare loop, " + workerMB, "worker, " + workerMB,
	}}
	for _, l := range all {
		bare := bareName(l.name)
		row := []string{l.name}
		for _, size := range c.Sizes {
			us, cpu := fmt.Sprint(tripUS, " ", size), fmt.Sprint(tripCPU, " ", size)
			row = append(row, c.cell(bare, us), c.cell(l.name, us), c.over(l.name, us, bare, us), c.over(l.name, cpu, bare, cpu))
		}
		trips = append(trips, row)
		starts = append(starts, []string{
			l.name, c.cell(bare, endMS), c.cell(bare, startCPU), c.cell(l.name, readyMS), c.cell(l.name, startCPU), c.over(l.name, startCPU, bare, startCPU),
			c.cell(bare, workerMB), c.cell(l.name, workerMB),
		})
	}
	fmt.Fprintf(out, "%s\n%s\n", table(trips), table(starts))
	if len(c.values(packagedPython, startCPU)) > 0 {
		fmt.Fprintf(out, "`python3 -c pass`, which finds installed packages as functions need them, takes %s ms of processor time: %s × `python3 -S -c pass`, which does not.\n\n",
			c.cell(packagedPython, startCPU), c.over(packagedPython, startCPU, bareName("Python"), startCPU))
	}
}

// sizeName is a number of bytes for a table.
func sizeName(size int) string {
	switch {
	case size >= 1<<20 && size%(1<<20) == 0:
		return strconv.Itoa(size>>20) + " MB"
	case size >= 1<<10 && size%(1<<10) == 0:
		return strconv.Itoa(size>>10) + " KB"
	default:
		return strconv.Itoa(size) + " B"
	}
}

// over is the median of the ratios by round of two figures, for a table.
func (c *recording) over(variant, what, reference, referenceWhat string) string {
	return formatRatio(ratioOf(c.values(variant, what), c.values(reference, referenceWhat)))
}

// ratioOf is the median of the ratios by round, 0 if there is none.
func ratioOf(values, references []float64) float64 {
	var ratios []float64
	for i := range min(len(values), len(references)) {
		ratios = append(ratios, values[i]/references[i])
	}
	return median(ratios)
}

// round measures one language once.
func (c *tripsCmd) round(ctx context.Context, dir string, l spoken) (err error) {
	if _, err := exec.LookPath(l.needs); err != nil {
		return &startError{err}
	}
	took, cpu, err := runToEnd(ctx, append([]string{l.program}, l.nothing...))
	if err != nil {
		return err
	}
	c.note(bareName(l.name), endMS, float64(took)/float64(time.Millisecond))
	c.note(bareName(l.name), startCPU, float64(cpu)/float64(time.Millisecond))
	if l.name == "Python" {
		if _, cpu, err = runToEnd(ctx, []string{l.program, "-c", "pass"}); err != nil {
			return err
		}
		c.note(packagedPython, startCPU, float64(cpu)/float64(time.Millisecond))
	}
	bare, err := startBare(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	worker, err := startWorker(ctx, dir, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, worker.close()) }()
	c.note(l.name, readyMS, float64(worker.ready)/float64(time.Millisecond))
	if cpu, err = cpuOf(worker.pid()); err != nil {
		return err
	}
	c.note(l.name, startCPU, float64(cpu)/float64(time.Millisecond))
	for i, size := range c.Sizes {
		for _, e := range []struct {
			name string
			end  traveller
		}{{bareName(l.name), bare}, {l.name, worker}} {
			us, cpu, err := c.travel(ctx, e.end, size)
			if err != nil {
				return fmt.Errorf("%s, %d bytes: %w", e.name, size, err)
			}
			c.note(e.name, fmt.Sprint(tripUS, " ", size), us)
			c.note(e.name, fmt.Sprint(tripCPU, " ", size), cpu)
			if i > 0 {
				continue
			}
			rss, _, err := memoryOf(e.end.pid())
			if err != nil {
				return err
			}
			c.note(e.name, workerMB, float64(rss)/(1<<20))
		}
	}
	return ctx.Err()
}

// traveller is something that bytes go to and come back from.
type traveller interface {
	pid() int
	pack(size int) (trip func() error)
}

// travel returns the median of the round trips, and the processor time of one at both ends, in µs.
func (c *tripsCmd) travel(ctx context.Context, to traveller, size int) (us, cpu float64, err error) {
	trip := to.pack(size)
	for begin := time.Now(); time.Since(begin) < c.Duration/2; {
		if err := trip(); err != nil {
			return 0, 0, err
		}
	}
	before, err := bothEnds(to.pid())
	if err != nil {
		return 0, 0, err
	}
	var times []float64
	for begin := time.Now(); time.Since(begin) < c.Duration; {
		start := time.Now()
		if err := trip(); err != nil {
			return 0, 0, err
		}
		times = append(times, micros(time.Since(start)))
	}
	after, err := bothEnds(to.pid())
	if err != nil {
		return 0, 0, err
	}
	return median(times), micros(after-before) / float64(len(times)), ctx.Err()
}

// bothEnds is the processor time of this process and another one.
func bothEnds(pid int) (time.Duration, error) {
	ours, err := cpuOf(os.Getpid())
	if err != nil {
		return 0, err
	}
	theirs, err := cpuOf(pid)
	return ours + theirs, err
}

// onOneProcessor lets all threads of this process, and what they start, run on one processor until restore is called.
func onOneProcessor() (restore func(), err error) {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("affinity: %w", err)
	}
	for cpu := range runtime.NumCPU() + 1024 { // the last that we may use: the first ones have the interrupts
		if before.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
		}
	}
	procs := runtime.GOMAXPROCS(1)
	restore = func() {
		_ = allThreads(&before) // as it was
		runtime.GOMAXPROCS(procs)
	}
	if err := allThreads(&one); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}

// allThreads sets where the threads of this process run.
func allThreads(set *unix.CPUSet) error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("affinity: %w", err)
		}
	}
	return nil
}

// goWorkerCmd is the language Go: a function that echoes, the bare loop, or nothing.
type goWorkerCmd struct {
	What string `arg:"" optional:""`
}

// Run serves until the pool is done with it.
func (c *goWorkerCmd) Run() error {
	switch c.What {
	case "nothing":
		return nil
	case "bare":
		buf := make([]byte, 64<<10)
		for {
			n, err := syscall.Read(3, buf)
			if n <= 0 || err != nil {
				return err
			}
			for done := 0; done < n; {
				wrote, err := syscall.Write(4, buf[done:n])
				if err != nil {
					return err
				}
				done += wrote
			}
		}
	}
	return gofunction.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		_, _ = io.Copy(w, r.Body) // an error means that nobody listens
	}))
}
