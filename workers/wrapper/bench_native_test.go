package wrapper_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// measured is a language in the benchmarks: what it starts with nothing to do, a loop that reads and writes on the same pipes and does
// nothing else, and a function that answers "hello".
type measured struct {
	language
	nothing []string // arguments of the interpreter
	bare    []string
	hello   string
}

func measuredLanguages(b *testing.B) []measured {
	b.Helper()
	jars, err := javaJars()
	require.NoError(b, err)
	dir := b.TempDir()
	require.NoError(b, os.WriteFile(filepath.Join(dir, "Bare.java"), []byte(bareJava), 0o600))
	all, err := classes(nil, filepath.Join(dir, "Bare.java"))
	require.NoError(b, err)
	bare, err := jar("Main-Class: Bare\n", all)
	require.NoError(b, err)
	bareJar := filepath.Join(dir, "bare.jar")
	require.NoError(b, os.WriteFile(bareJar, bare, 0o600))
	return []measured{
		{python, []string{"-c", "pass"}, []string{"-c", bareLoop}, hello},
		{node, []string{"-e", "0"}, []string{"-e", bareNode}, "exports.handle = () => 'hello';"},
		{ruby.language, []string{"-e", "0"}, []string{"-e", bareRuby}, ruby.hello},
		{php.language, []string{"-r", "0;"}, []string{"-r", barePHP}, php.hello},
		{perl.language, []string{"-e", "0"}, []string{"-e", barePerl}, perl.hello},
		{javaLanguage, []string{"-jar", bareJar, "nothing"}, []string{"-jar", bareJar}, jars["Hello"]},
		{goLanguage, []string{"nothing"}, []string{"bare"}, "none"},
	}
}

const bareRuby = `
i, o = IO.for_fd(3, 'rb'), IO.for_fd(4, 'wb')
begin
  loop { o.syswrite(i.sysread(65536)) }
rescue EOFError
end
`

const barePHP = `
$i = fopen('php://fd/3', 'rb'); $o = fopen('php://fd/4', 'wb');
stream_set_read_buffer($i, 0); stream_set_write_buffer($o, 0);
while (($s = fread($i, 65536)) != '') fwrite($o, $s);
`

const barePerl = `
open my $i, '<&=', 3; open my $o, '>&=', 4; my $s;
syswrite $o, $s while sysread $i, $s, 65536;
`

const bareJava = `
import java.io.*;
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

// goLanguage is a program that is its own interpreter.
var goLanguage = language{
	name: "go", file: "none", source: func(string) string { return "none" },
	interpreter: sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "fnpod-go")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "function")
		return path, exec.Command("go", "build", "-o", path, "./testdata/hello").Run()
	}),
}

// BenchmarkRoundTrip has for each language the bare loop and the worker on the same pipes.
func BenchmarkRoundTrip(b *testing.B) {
	for _, l := range measuredLanguages(b) {
		b.Run(l.name+"/bare", func(b *testing.B) { bare(b, l.language, l.bare...) })
		b.Run(l.name+"/worker", func(b *testing.B) {
			w := start(b, l.language, l.hello, options{})
			roundTrips(b, w.cmd.Process.Pid, w.in, w.out, helloRequest())
		})
	}
}

// BenchmarkStart has for each language the interpreter that does nothing, from start to end, and the worker, from start to READY; and
// the memory of the worker then.
func BenchmarkStart(b *testing.B) {
	for _, l := range measuredLanguages(b) {
		path, err := l.interpreter()
		require.NoError(b, err)
		b.Run(l.name+"/bare", func(b *testing.B) {
			var cpu time.Duration
			for b.Loop() {
				cmd := exec.Command(path, l.nothing...)
				require.NoError(b, cmd.Run())
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
		b.Run(l.name+"/worker", func(b *testing.B) {
			var cpu time.Duration
			var rss, pss float64
			for b.Loop() {
				w := start(b, l.language, l.hello, options{})
				rss, pss = memoryOf(b, w.cmd.Process.Pid)
				_ = w.cmd.Process.Kill() // READY is what is measured
				<-w.exited
				cpu += w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(cpu.Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(rss, "MiB-RSS")
			b.ReportMetric(pss, "MiB-PSS")
		})
	}
}

// memoryOf returns the resident and the proportional memory of a process in MiB.
func memoryOf(b *testing.B, pid int) (rss, pss float64) {
	b.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	require.NoError(b, err)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "Rss:":
			rss = kib / 1024
		case "Pss:":
			pss = kib / 1024
		}
	}
	return rss, pss
}
