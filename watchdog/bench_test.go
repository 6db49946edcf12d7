package watchdog_test

import (
	"bytes"
	"os"
	"os/exec"
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

// BenchmarkLauncher compares Fork with os/exec used as simple watchdogs use it: buffers for input, output and log, each
// with a goroutine. All variants take turns, so that a change of the machine's speed meets all of them.
func BenchmarkLauncher(b *testing.B) {
	body := make([]byte, 1024)
	env := os.Environ()
	c := watchdog.DefaultForkConfig()
	c.Path, c.Args, c.Env = "/bin/cat", []string{"cat"}, env
	c.Output = func(string, watchdog.Line) {}
	fork := func(mode watchdog.ForkMode) func() {
		c := c
		c.Mode = mode
		f := forks(b, c)
		return func() {
			x := post(body)
			if err := f.Do(x); err != nil || x.answer.Len() != len(body) {
				b.Fatal(err)
			}
		}
	}
	osexec := func() {
		x := post(body)
		cmd := exec.Command("/bin/cat")
		cmd.Env = append(os.Environ(), "Http_Method=POST", "Http_Path=/")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(x.body), &x.answer, new(bytes.Buffer)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Run(); err != nil || x.answer.Len() != len(body) {
			b.Fatal(err)
		}
	}
	variants := []struct {
		name string
		run  func()
		wall time.Duration
		cpu  time.Duration
	}{{name: "streaming", run: fork(watchdog.Streaming)}, {name: "serializing", run: fork(watchdog.Serializing)}, {name: "os-exec", run: osexec}}
	b.ResetTimer()
	for b.Loop() {
		for i := range variants {
			v := &variants[i]
			cpu, began := selfCPU(b), time.Now()
			for range 10 {
				v.run()
			}
			v.wall += time.Since(began)
			v.cpu += selfCPU(b) - cpu
		}
	}
	for _, v := range variants {
		n := float64(b.N) * 10
		b.ReportMetric(float64(v.wall.Microseconds())/n, v.name+"-µs")
		b.ReportMetric(float64(v.cpu.Microseconds())/n, v.name+"-cpu-µs")
	}
	b.ReportMetric(0, "ns/op") // it is the sum of all variants
}
