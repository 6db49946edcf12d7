package watchdog_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

const truePath = "/bin/true"

// parentCPU reports our own CPU time per operation, which is what a spawn
// costs besides the program itself.
func parentCPU(b *testing.B) {
	b.Helper()
	before := selfCPU(b)
	b.Cleanup(func() {
		b.ReportMetric(float64((selfCPU(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	})
}

func selfCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkStart(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(b, err)
	defer null.Close()
	env := []string{"A=1", "B=2"}
	run := func(c watchdog.Config) func(*testing.B) {
		return func(b *testing.B) {
			parentCPU(b)
			b.ReportAllocs()
			for b.Loop() {
				p, err := watchdog.Start(c)
				if err != nil || p.Exit().Code != 0 {
					b.Fatal(err)
				}
			}
		}
	}
	c := watchdog.Config{Path: truePath, Args: []string{"true"}, Env: env, Stdin: null}
	b.Run("inherited", run(c))
	c.Output = func(watchdog.Line) {}
	b.Run("lines", run(c))
}

func BenchmarkOSExec(b *testing.B) {
	env := []string{"A=1", "B=2"}
	run := func(b *testing.B, output bool) {
		b.Helper()
		parentCPU(b)
		b.ReportAllocs()
		for b.Loop() {
			cmd := exec.Command(truePath)
			cmd.Env = env
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if output {
				cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
			}
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("inherited", func(b *testing.B) { run(b, false) })
	b.Run("lines", func(b *testing.B) { run(b, true) })
}

// launchers run one request with a body of a kilobyte by a process: by Fork, and by os/exec used as simple watchdogs use
// it, with buffers for input, output and log that have a goroutine each.
func launchers(b *testing.B, path string) []*launcher {
	b.Helper()
	body := make([]byte, 1024)
	c := watchdog.DefaultForkConfig()
	c.Path, c.Env = path, os.Environ()
	c.Output = func(string, watchdog.Line) {}
	fork := func(mode watchdog.ForkMode) func() error {
		c := c
		c.Mode = mode
		f := forks(b, c)
		return func() error { return f.Do(post(body)) }
	}
	osexec := func() error {
		x := post(body)
		cmd := exec.Command(path)
		cmd.Env = append(os.Environ(), "Http_Method=POST", "Http_Path=/")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(x.body), &x.answer, new(bytes.Buffer)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd.Run()
	}
	return []*launcher{{name: "streaming", run: fork(watchdog.Streaming)}, {name: "serializing", run: fork(watchdog.Serializing)}, {name: "os-exec", run: osexec}}
}

type launcher struct {
	name      string
	run       func() error
	wall, cpu time.Duration
}

// measure lets clients run ten requests each.
func (l *launcher) measure(b *testing.B, clients int) {
	b.Helper()
	cpu, began := selfCPU(b), time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range 10 {
				if err := l.run(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l.wall += time.Since(began)
	l.cpu += selfCPU(b) - cpu
}

// BenchmarkLauncher compares what it takes to run cat for each request. The launchers take turns, so that a change of
// the machine's speed meets all of them.
func BenchmarkLauncher(b *testing.B) {
	for _, clients := range []int{1, 2, 8} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			all := launchers(b, "/bin/cat")
			for b.Loop() {
				for _, l := range all {
					l.measure(b, clients)
				}
			}
			for _, l := range all {
				n := b.N * 10 * clients
				b.ReportMetric(float64(n)/l.wall.Seconds(), l.name+"/s")
				b.ReportMetric(float64(l.cpu.Microseconds())/float64(n), l.name+"-cpu-µs")
			}
			b.ReportMetric(0, "ns/op") // it is the sum of all
		})
	}
}

// BenchmarkLargeAnswers is the output of a program that writes as fast as it can.
func BenchmarkLargeAnswers(b *testing.B) {
	for name, mode := range map[string]watchdog.ForkMode{"streaming": watchdog.Streaming, "serializing": watchdog.Serializing} {
		b.Run(name, func(b *testing.B) {
			const size = 20 << 20
			c := watchdog.DefaultForkConfig()
			c.Mode, c.Path, c.Args = mode, "/usr/bin/head", []string{"head", "-c", "20971520", "/dev/zero"}
			f := forks(b, c)
			parentCPU(b)
			b.SetBytes(size)
			for b.Loop() {
				x := newExchange("GET /")
				x.discard = true
				if err := f.Do(x); err != nil || x.size != size {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLargeRequests is a body that streams in as fast as it is read.
func BenchmarkLargeRequests(b *testing.B) {
	const size = 20 << 20
	c := watchdog.DefaultForkConfig()
	c.Path, c.Args = "/usr/bin/wc", []string{"wc", "-c"}
	f := forks(b, c)
	parentCPU(b)
	b.SetBytes(size)
	for b.Loop() {
		if err := f.Do(streamed(io.LimitReader(repeat(0), size))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkZygote is a request by a script of Python that is forked, ahead of it or then.
func BenchmarkZygote(b *testing.B) {
	require.NoError(b, watchdog.SetSubreaper())
	for _, ahead := range []int{0, 1, 2} {
		b.Run("standby="+strconv.Itoa(ahead), func(b *testing.B) {
			c := script(b, watchdog.Zygote, "python", map[string]string{
				"index.py": "import json\nimport sys\njson.dump({'size': len(sys.stdin.read())}, sys.stdout)\n",
			}, "index.py")
			c.Standby, c.Output = ahead, func(string, watchdog.Line) {}
			f := forksWarm(b, c)
			body := make([]byte, 1024)
			stat, err := os.ReadFile("/proc/" + strconv.Itoa(f.ZygotePid()) + "/stat")
			require.NoError(b, err)
			before := ticks(b, stat)
			parentCPU(b)
			for b.Loop() {
				if err := f.Do(post(body)); err != nil {
					b.Fatal(err)
				}
			}
			stat, err = os.ReadFile("/proc/" + strconv.Itoa(f.ZygotePid()) + "/stat")
			require.NoError(b, err)
			b.ReportMetric(float64((ticks(b, stat)-before).Microseconds())/float64(b.N), "zygote-cpu-µs/op")
		})
	}
}

// ticks is the processor time of a process and the children it has collected.
func ticks(b *testing.B, stat []byte) (sum time.Duration) {
	b.Helper()
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, f := range fields[11:15] {
		n, err := strconv.Atoi(string(f))
		require.NoError(b, err)
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}
