package workers_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var sizes = []int{0, 1 << 10, 100 << 10, 1 << 20}

// bareLoop reads and writes and does nothing else: the floor for a Python worker.
const bareLoop = `
import os
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

// BenchmarkBarePython has the pool's way to wait, and a program that only echoes.
func BenchmarkBarePython(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) { bare(b, "python3", "-c", bareLoop, size) })
	}
}

// BenchmarkPython is a request through the pool to a Python function that echoes.
func BenchmarkPython(b *testing.B) {
	function := "def handle(req):\n    return req.body\n"
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) { roundTrip(b, "echo.py", function, size) })
	}
}

// BenchmarkNode is a request through the pool to a Node function that echoes.
func BenchmarkNode(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) { roundTrip(b, "echo.js", "exports.handle = (req) => req.body;", size) })
	}
}

// BenchmarkAsync has a hundred requests in flight on one worker whose handler waits 10 ms; of-ideal compares with as many
// waits that cost nothing.
func BenchmarkAsync(b *testing.B) {
	for name, source := range map[string]string{
		"wait.py": "import asyncio\nasync def handle(req):\n    await asyncio.sleep(0.01)\n    return 'hello'\n",
		"wait.js": "exports.handle = async () => { await new Promise((go) => setTimeout(go, 10)); return 'hello'; };",
	} {
		b.Run(name, func(b *testing.B) {
			c := function(b, name, source)
			if err := c.Validate(); err != nil {
				b.Skip(err)
			}
			const clients = 100
			c.Concurrency = clients
			p := running(b, c)
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ResetTimer()
			cpu := cpuTime()
			for range clients {
				all.Go(func() {
					x := newExchange("/")
					x.keep = false
					for left.Add(-1) >= 0 {
						x.again()
						if err := p.Do(x); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			ideal := 10 * time.Millisecond * time.Duration(b.N) / clients
			b.ReportMetric(float64(ideal)/float64(b.Elapsed()), "of-ideal")
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/1000, "cpu-us/op")
		})
	}
}

func roundTrip(b *testing.B, name, source string, size int) {
	c := function(b, name, source)
	if err := c.Validate(); err != nil {
		b.Skip(err)
	}
	p := running(b, c)
	x := post("/", make([]byte, size))
	x.keep = false
	measure(b, func() {
		x.again()
		if err := p.Do(x); err != nil {
			b.Fatal(err)
		}
	})
}

func bare(b *testing.B, program, flag, source string, size int) {
	path, err := exec.LookPath(program)
	if err != nil {
		b.Skip(err)
	}
	toR, toW, fromR, fromW := pipe(b), 0, pipe(b), 0
	toW, fromW = toR[1], fromR[1]
	require.NoError(b, unix.SetNonblock(toW, true))
	require.NoError(b, unix.SetNonblock(fromR[0], true))
	reads, writes := os.NewFile(uintptr(toR[0]), "r"), os.NewFile(uintptr(fromW), "w")
	in, out := os.NewFile(uintptr(toW), "in"), os.NewFile(uintptr(fromR[0]), "out")
	cmd := exec.Command(path, flag, source)
	cmd.ExtraFiles = []*os.File{reads, writes}
	require.NoError(b, cmd.Start())
	require.NoError(b, reads.Close())
	require.NoError(b, writes.Close())
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		_ = out.Close()
	})
	data := make([]byte, 400+size) // as much as a small head
	if len(data) <= 64<<10 {
		raw, err := out.SyscallConn()
		require.NoError(b, err)
		buf := make([]byte, 64<<10)
		wrote := false
		step := func(fd uintptr) bool {
			if !wrote {
				wrote = true
				_, _ = syscall.Write(toW, data)
				return false
			}
			n, err := syscall.Read(int(fd), buf)
			return err == nil && n > 0
		}
		measure(b, func() {
			wrote = false
			_ = raw.Read(step)
		})
		return
	}
	buf := make([]byte, len(data))
	done := make(chan error)
	go func() {
		for range done {
			_, err := io.ReadFull(out, buf)
			done <- err
		}
	}()
	defer close(done)
	measure(b, func() {
		done <- nil
		_, _ = in.Write(data)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	})
}

func pipe(b *testing.B) [2]int {
	b.Helper()
	var p [2]int
	require.NoError(b, unix.Pipe2(p[:], unix.O_CLOEXEC))
	return p
}

// measure reports percentiles and our own processor time beside the mean.
func measure(b *testing.B, do func()) {
	for range 100 {
		do()
	}
	times := make([]time.Duration, 0, b.N)
	cpu := cpuTime()
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		do()
		times = append(times, time.Since(start))
	}
	b.StopTimer()
	cpu = cpuTime() - cpu
	slices.Sort(times)
	us := func(d time.Duration) float64 { return float64(d) / 1000 }
	b.ReportMetric(us(times[len(times)/2]), "p50-us")
	b.ReportMetric(us(times[len(times)*99/100]), "p99-us")
	b.ReportMetric(us(cpu)/float64(b.N), "cpu-us/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for ourselves
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
