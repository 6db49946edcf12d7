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
