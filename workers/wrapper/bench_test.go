package wrapper_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// bareLoop is the floor a Python worker is measured against: it reads and writes on the same pipes and does nothing else.
const bareLoop = `
import os
def loop():
    read, write = os.read, os.write
    while True:
        data = read(3, 65536)
        if not data:
            break
        write(4, data)
loop()
`

const hello = "def handle(req):\n    return 'hello'\n"

// helloRequest is a request as a browser sends it.
func helloRequest() []byte {
	return request(7, "GET", "/hello", "a=b", nil,
		"user-agent", "Mozilla/5.0 (X11; Linux x86_64)", "accept", "text/html,application/xhtml+xml", "accept-language", "en",
		"x-request-id", "7f3b1c9e", "x-forwarded-for", "192.0.2.7").bytes()
}

func BenchmarkPythonHello(b *testing.B) {
	for _, c := range []struct{ name, handler string }{
		{"hello", hello},
		{"header", "def handle(req):\n    return req.method + req.headers['user-agent']\n"},
		{"json", "def handle(req):\n    return {'hello': req.path}\n"},
		{"async", "async def handle(req):\n    return 'hello'\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := start(b, python, c.handler, options{})
			roundTrips(b, w.cmd.Process.Pid, w.in, w.out, helloRequest())
		})
	}
}

// bareNode is the same floor for Node: synchronous reads and writes, the event loop never turns.
const bareNode = `
const fs = require('fs'), buf = Buffer.alloc(65536);
for (;;) {
  const n = fs.readSync(3, buf, 0, 65536, null);
  if (!n) break;
  fs.writeSync(4, buf, 0, n);
}
`

func BenchmarkNodeHello(b *testing.B) {
	for _, c := range []struct{ name, handler string }{
		{"hello", "exports.handle = () => 'hello';"},
		{"header", "exports.handle = (req) => req.method + req.headers['user-agent'];"},
		{"json", "exports.handle = (req) => ({hello: req.path});"},
		{"async", "exports.handle = async () => 'hello';"},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := start(b, node, c.handler, options{})
			roundTrips(b, w.cmd.Process.Pid, w.in, w.out, helloRequest())
		})
	}
}

// BenchmarkOpenFaaSHello is the price of the templates' way to be called and to answer.
func BenchmarkOpenFaaSHello(b *testing.B) {
	for _, c := range []struct {
		name, handler, contract string
		l                       language
	}{
		{"python/http", "def handle(event, context):\n    return {'statusCode': 200, 'body': 'hello'}\n", wrapper.OpenFaaSHTTP, python},
		{"python/http/query", "def handle(event, context):\n    return event.query['a'] + event.headers['User-Agent'], 200\n", wrapper.OpenFaaSHTTP, python},
		{"python/flask", "def handle(req):\n    return 'hello'\n", wrapper.OpenFaaSFlask, python},
		{"python/classic", "def handle(req):\n    return 'hello'\n", wrapper.OpenFaaSClassic, python},
		{"node/http", "module.exports = async (event, context) => context.succeed('hello');", wrapper.OpenFaaSHTTP, node},
		{"node/classic", "module.exports = (text, callback) => callback(null, 'hello');", wrapper.OpenFaaSClassic, node},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := start(b, c.l, c.handler, options{contract: c.contract})
			roundTrips(b, w.cmd.Process.Pid, w.in, w.out, helloRequest())
		})
	}
}

// bare runs a bare loop on two pipes.
func bare(b *testing.B, l language, args ...string) {
	b.Helper()
	path, err := l.interpreter()
	require.NoError(b, err)
	requestR, requestW := pipe(b)
	answerR, answerW := pipe(b)
	cmd := exec.Command(path, args...)
	cmd.ExtraFiles = []*os.File{requestR, answerW}
	require.NoError(b, cmd.Start())
	requestR.Close()
	answerW.Close()
	defer func() { requestW.Close(); answerR.Close(); _ = cmd.Wait() }() // the loop ends with its pipe
	roundTrips(b, cmd.Process.Pid, requestW, answerR, helloRequest())
}

// tripsAtOnce is how many round trips are timed together: a millisecond, so that most times are without the turns that other programs have
// on the same core, which a mean of all is not.
const tripsAtOnce = 200

// roundTrips writes a request and reads an answer, both blocking, with both ends on one core: a wake across cores costs more
// than all that is measured here, and comes and goes with the scheduler. It closes in and out. It reports the medians of the time and of
// the worker's CPU time.
func roundTrips(b *testing.B, pid int, in, out *os.File, req []byte) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	require.NoError(b, unix.SchedGetaffinity(0, &before))
	defer func() { _ = unix.SchedSetaffinity(0, &before) }() // as it was
	one.Set(runtime.NumCPU() - 1)
	require.NoError(b, unix.SchedSetaffinity(0, &one))
	for _, tid := range threads(b, pid) { // those that they start later stay with them
		require.NoError(b, unix.SchedSetaffinity(tid, &one))
	}
	inFd, outFd := unpolled(b, in, unix.O_WRONLY), unpolled(b, out, unix.O_RDONLY)
	defer func() { _, _ = unix.Close(inFd), unix.Close(outFd) }() // nothing waits to be written
	buf := make([]byte, 64<<10)
	trip := func() {
		if _, err := unix.Write(inFd, req); err != nil {
			b.Fatal(err)
		}
		if n, err := unix.Read(outFd, buf); err != nil || n == 0 {
			b.Fatal(n, err)
		}
	}
	for range 5000 {
		trip()
	}
	var times, cpus []float64 // of a trip, in ns
	for b.Loop() {
		cpu, began := cpuTime(b, pid), time.Now()
		for range tripsAtOnce {
			trip()
		}
		times = append(times, float64(time.Since(began))/tripsAtOnce)
		cpus = append(cpus, float64(cpuTime(b, pid)-cpu)/tripsAtOnce)
	}
	slices.Sort(times)
	slices.Sort(cpus)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[len(times)/2], "ns/trip")
	b.ReportMetric(cpus[len(cpus)/2], "worker-ns/trip")
}

// unpolled opens the file behind f again and closes f, which the poller of the Go runtime watches: else a thread of ours that waits there
// for something else would wake in every trip.
func unpolled(b *testing.B, f *os.File, mode int) (fd int) {
	b.Helper()
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode|unix.O_CLOEXEC, 0)
	require.NoError(b, err)
	require.NoError(b, f.Close())
	return fd
}

// threads returns the ids of a process' threads.
func threads(b *testing.B, pid int) (ids []int) {
	b.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(b, err)
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		require.NoError(b, err)
		ids = append(ids, id)
	}
	return ids
}

// cpuTime returns the nanoseconds that the threads of a process have run.
func cpuTime(b *testing.B, pid int) (ns int64) {
	b.Helper()
	for _, id := range threads(b, pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, id))
		if err != nil {
			continue // it has ended
		}
		n, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		require.NoError(b, err)
		ns += n
	}
	return ns
}

// BenchmarkPythonStart measures exec to READY (and, for the bare interpreter, exec to exit minus nothing: it has no READY).
func BenchmarkPythonStart(b *testing.B) {
	path, err := python.interpreter()
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		args []string
	}{{"bare/site", []string{"-c", "pass"}}, {"bare/nosite", []string{"-S", "-c", "pass"}}} {
		b.Run(c.name, func(b *testing.B) {
			cpu := time.Duration(0)
			for b.Loop() {
				cmd := exec.Command(path, c.args...)
				require.NoError(b, cmd.Run())
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
	for _, c := range []struct {
		name string
		o    options
	}{
		{"worker/site", options{}},
		{"worker/nosite", options{args: []string{"-S"}}},
		{"worker/isolated", options{args: []string{"-I", "-S"}}},
		{"worker/nosite/code", options{args: []string{"-S"}, asCode: "-c"}},
		{"worker/nosite/openfaas-flask", options{args: []string{"-S"}, contract: wrapper.OpenFaaSFlask}},
	} {
		b.Run(c.name, func(b *testing.B) {
			cpu := time.Duration(0)
			for b.Loop() {
				w := start(b, python, hello, c.o)
				_ = w.cmd.Process.Kill() // READY is what is measured
				<-w.exited
				cpu += w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}
