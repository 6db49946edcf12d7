package watchdog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/watchdog/zygote"
)

// interpreters are found once: python3 may stand for a shell script of a version manager.
var interpreters = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	for name, ask := range map[string][]string{
		"python": {"python3", "-c", "import sys; print(sys.executable)"},
		"ruby":   {"ruby", "-e", "puts RbConfig.ruby"},
		"perl":   {"perl", "-e", "print $^X"},
	} {
		if path := os.Getenv("FNPOD_TEST_" + strings.ToUpper(name)); path != "" {
			found[name] = path
		} else if out, err := exec.Command(ask[0], ask[1:]...).Output(); err == nil {
			found[name] = strings.TrimSpace(string(out))
		}
	}
	return found
})

// script returns what Fork needs to run a script in a folder of its own.
func script(t testing.TB, launcher watchdog.Launcher, language string, files map[string]string, args ...string) watchdog.ForkConfig {
	t.Helper()
	path := interpreters()[language]
	require.NotEmpty(t, path, "%s is needed for this test", language)
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	c := watchdog.DefaultForkConfig()
	c.Mode, c.Launcher, c.Dir = watchdog.Serializing, launcher, dir
	c.Path, c.Args = path, append([]string{path}, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "OWN=own", "LANG=C.UTF-8"}
	c.FailedOutput, c.Grace, c.OutputGrace = true, 10*time.Second, 100*time.Millisecond
	c.ClientGone = errGone
	return c
}

// forksWarm is forks with the zygote ready.
func forksWarm(t testing.TB, c watchdog.ForkConfig) *watchdog.Fork {
	t.Helper()
	f := forks(t, c)
	require.Eventually(t, func() bool { return f.Prepared() && f.Warm() }, 20*time.Second, time.Millisecond)
	return f
}

// outcome is what a request sees of its process.
type outcome struct{ answer, log, failure string }

func (o outcome) String() string {
	return fmt.Sprintf("answer: %s\nlog: %s\nfailure: %s", o.answer, o.log, o.failure)
}

// outcomes runs a request n times.
func outcomes(t *testing.T, c watchdog.ForkConfig, n int) []outcome {
	t.Helper()
	var mu sync.Mutex
	var log bytes.Buffer
	c.Output = func(id string, l watchdog.Line) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(&log, "%s %s\n", id, l.Text)
	}
	var f *watchdog.Fork
	if c.Launcher == watchdog.Zygote {
		f = forksWarm(t, c)
	} else {
		f = forks(t, c)
	}
	var all []outcome
	for range n {
		mu.Lock()
		log.Reset()
		mu.Unlock()
		x := newExchange("POST /path?query", "X-Field: value")
		x.body = []byte("body\nof two lines")
		err := f.Do(x)
		o := outcome{answer: x.answer.String()}
		if err != nil {
			o.failure = err.Error()
			if failed, ok := err.(*watchdog.FailedError); ok { //nolint:errorlint // as it comes
				o.answer = string(failed.Output)
			}
		}
		mu.Lock()
		o.log = strings.ReplaceAll(log.String(), c.Dir, "DIR")
		mu.Unlock()
		o.answer = strings.ReplaceAll(o.answer, c.Dir, "DIR")
		all = append(all, o)
	}
	return all
}

// same are scripts that must not notice how their process came to be.
var same = map[string]map[string]string{
	"python": {
		"echo":        `import sys; print(sys.stdin.read().upper())`,
		"bytes":       `import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())`,
		"main":        "import sys, os\nif __name__ == '__main__': print(sys.argv, __file__, os.getcwd(), sys.path[0], sys.argv[0], __package__, __spec__, __doc__, sorted(globals()))",
		"doc":         "'text'\nprint(__doc__, __import__('__main__').__doc__, __loader__.name)",
		"environment": `import os; print(sorted((k, v) for k, v in os.environ.items() if k not in ('FNPOD_CHILD', 'LC_CTYPE'))); os.system('echo $REQUEST_METHOD $HTTP_X_FIELD $OWN')`,
		"exit":        `import sys; print('out'); sys.exit(3)`,
		"exit large":  `raise SystemExit(300)`,
		"exit none":   `import sys; print('out'); sys.exit()`,
		"exit text":   `import sys; print('out'); sys.exit('why')`,
		"_exit":       `import os; os.write(1, b'x'); os._exit(7)`,
		"_exit well":  `import os; os.write(1, b'x'); os._exit(0)`,
		"raise":       "def f():\n    raise ValueError('text')\nprint('before')\nf()",
		"chain":       "try:\n    1/0\nexcept Exception as e:\n    raise RuntimeError('other') from e",
		"syntax":      "print('a'\nb =",
		"import":      `import no_such_module`,
		"kill":        `import os; os.kill(os.getpid(), 9)`,
		"term":        `import os; print('x', flush=True); os.kill(os.getpid(), 15)`,
		"interrupt":   `raise KeyboardInterrupt`,
		"abort":       `import os; os.abort()`,
		"atexit":      "import atexit, sys\natexit.register(lambda: print('last'))\nprint('first')\nsys.exit(2)",
		"threads":     "import threading, time\ndef f():\n    time.sleep(0.05)\n    print('thread')\nthreading.Thread(target=f).start()\nprint('main')",
		"daemon":      "import threading, time\nthreading.Thread(target=time.sleep, args=(100,), daemon=True).start()\nprint('main')",
		"open file":   "f = open('left', 'w')\nf.write('x' * 100)\nimport atexit, os\nprint(os.path.getsize('left'))",
		"exec":        "import os\nos.execvp('sh', ['sh', '-c', 'cat; echo $HTTP_X_FIELD; exit 5'])",
		"subprocess":  "import subprocess\nprint(subprocess.run(['cat'], stdin=0, capture_output=True).stdout)",
		"fork":        "import os, sys\nif os.fork() == 0:\n    print('child', flush=True)\n    sys.exit(9)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
		"fork end":    "import os\np = os.fork()\nif p: os.waitpid(p, 0)\nprint('both', bool(p))",
		"stdin gone":  `import sys; sys.stdin.close(); print('x')`,
		"stdout gone": `import sys; print('x'); sys.stdout.close()`,
		"stdout shut": `import os; print('x'); os.close(1)`,
		"sigchld":     "import ignore\nprint('x')",
		"stderr":      `import sys; print('log', file=sys.stderr); print('no newline', end='', file=sys.stderr)`,
		"input":       "print(input())\nprint(input())\ntry: input()\nexcept EOFError: print('end')",
		"files":       `import os; print(sorted(os.listdir('/proc/self/fd'))[:3], os.getpgrp() == os.getpid(), os.isatty(0), os.isatty(1))`,
		"module":      "import helper\nfrom package.inner import name\nprint(helper.count(), helper.count(), name)",
		"state":       "import helper\nhelper.values.append(1)\nprint(helper.values)",
		"pickle":      "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))) is C)",
		"random":      "import random, os\nprint(0 <= random.random() < 1)",
		"encoding":    "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))",
		"future":      "from __future__ import annotations\ndef f(x: y): pass\nprint(f.__annotations__)",
		"annotations": "x: int = 1\nprint(__annotations__)",
		"mask":        "import signal\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGPIPE))",
		"many":        "import concurrent.futures as c, logging\nlogging.basicConfig(level=10)\nwith c.ThreadPoolExecutor(3) as e: print(list(e.map(abs, range(-3, 0))))\nlogging.warning('logged')",
		"process":     "import multiprocessing as m\nif __name__ == '__main__':\n    c = m.get_context('fork')\n    p = c.Process(target=print, args=('child',))\n    p.start(); p.join(); print(p.exitcode)",
	},
	"ruby": {
		"echo":        `puts STDIN.read.upcase; puts $0, __FILE__, ARGV.inspect, Dir.pwd`,
		"main":        "if __FILE__ == $0 then puts 'main', self.to_s, $PROGRAM_NAME end",
		"environment": "puts ENV['REQUEST_METHOD'], ENV['HTTP_X_FIELD'], ENV['OWN']\nsystem('echo $HTTP_X_FIELD')",
		"exit":        "puts 'out'\nexit 3",
		"exit!":       "exit! 7",
		"abort":       "puts 'out'\nabort 'why'",
		"kill":        "Process.kill(9, Process.pid)\nsleep",
		"at_exit":     "at_exit { puts 'last' }\nputs 'first'\nexit 2",
		"thread":      "Thread.new { puts 'thread' }.join",
		"stderr":      "warn 'log'",
		"open file":   "$f = File.open('left', 'w'); $f.write('x' * 100); print 'x'",
		"exec":        "exec 'cat; exit 5'",
		"data":        "print DATA.read\n__END__\nwhat\nfollows\n",
		"require":     "require 'json'\nrequire_relative 'helper'\nputs JSON.generate([name_of_helper])",
		"files":       "puts Process.getpgrp == Process.pid",
		"gets":        "while (line = STDIN.gets) do puts line.size end",
	},
	"perl": {
		"echo":        `use strict; local $/; print uc <STDIN>; print "$0 @ARGV\n"`,
		"environment": `print "$ENV{REQUEST_METHOD} $ENV{HTTP_X_FIELD} $ENV{OWN}\n"; $| = 1; system('echo $HTTP_X_FIELD')`,
		"exit":        `print "out\n"; exit 3`,
		"die":         "print 'out';\n$! = 0; die \"why\\n\"",
		"die at":      "use strict;\n$! = 4;\ndie 'why'",
		"warn":        `warn 'log'`,
		"kill":        `kill 9, $$; sleep 10`,
		"END":         "END { print 'last' }\nprint 'first'; exit 2",
		"data":        "print <DATA>;\n__DATA__\nwhat\nfollows\n",
		"end data":    "print <DATA>;\n__END__\nwhat\nfollows\n",
		"use":         "use List::Util qw(sum);\nuse POSIX;\nprint sum(1, 2), floor(2.5), \"\\n\"",
		"sub":         "my $n = 3; sub f { return $n } print f(), \"\\n\"",
		"exec":        `exec 'cat; exit 5'`,
		"files":       `print getpgrp == $$ ? 'own' : 'no'`,
		"package":     `print __PACKAGE__, __LINE__, __FILE__`,
	},
}

// A script behaves as if its interpreter had been started for the request: answer, log, exit code, signals.
func TestZygoteRunsScriptsAsExecDoes(t *testing.T) {
	subreaper(t)
	for language, scripts := range same {
		name := map[string]string{"python": "index.py", "ruby": "index.rb", "perl": "index.pl"}[language]
		files := map[string]string{
			"helper.py": "values = []\nn = 0\ndef count():\n    global n\n    n += 1\n    return n\n", "ignore.py": "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n", "package/__init__.py": "", "package/inner.py": "name = __name__\n",
			"helper.rb": "def name_of_helper = 'helper'\n",
		}
		for what, text := range scripts {
			t.Run(language+" "+what, func(t *testing.T) {
				if what == "encoding" {
					text = strings.ReplaceAll(text, "é", "\xe9")
				}
				files[name] = text
				want := outcomes(t, script(t, watchdog.Exec, language, files, name, "first", "-second"), 1)[0]
				c := script(t, watchdog.Zygote, language, files, name, "first", "-second")
				if what == "syntax" && language == "python" { // there is nothing to fork from
					require.Equal(t, want.String(), outcomesCold(t, c).String())
					return
				}
				for i, got := range outcomes(t, c, 3) {
					require.Equal(t, want.String(), got.String(), "request %d", i+1)
				}
			})
		}
	}
}

// outcomesCold runs a request where the zygote does not start.
func outcomesCold(t *testing.T, c watchdog.ForkConfig) outcome {
	t.Helper()
	said := &records{}
	c.Log = said.log()
	f := forks(t, c)
	require.Eventually(t, func() bool { return said.count("zygote not started") > 0 }, 10*time.Second, time.Millisecond)
	require.False(t, f.Warm())
	c.Launcher = watchdog.Exec
	return outcomes(t, c, 1)[0]
}

const echoScript = "import sys, shutil\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n"

// pythonZygote returns what Fork needs to run a Python script by a zygote.
func pythonZygote(t testing.TB, text string) watchdog.ForkConfig {
	t.Helper()
	return script(t, watchdog.Zygote, "python", map[string]string{"index.py": text}, "index.py")
}

// What goes to both streams comes in the order of writing, where they are one.
func TestZygoteCombinesOutputAsExecDoes(t *testing.T) {
	subreaper(t)
	for language, text := range map[string]string{
		"python": "import sys\nprint('out')\nprint('log', file=sys.stderr)\nsys.stdout.flush()\nprint('end', file=sys.stderr)",
		"ruby":   "puts 'out'\nwarn 'log'\n$stdout.flush\nwarn 'end'",
		"perl":   "print \"out\\n\"; print STDERR \"log\\n\"; $| = 1; print STDERR \"end\\n\"",
	} {
		for _, launcher := range []watchdog.Launcher{watchdog.Exec, watchdog.Zygote} {
			c := script(t, launcher, language, map[string]string{"script": text}, "script")
			c.Combined = true
			require.Equal(t, "log\nout\nend\n", outcomes(t, c, 1)[0].answer, "%s, %v", language, launcher)
		}
	}
}

// Every byte comes back (rule W13), whether a process waits or is forked then, and nothing is left.
func TestW13BodiesThroughAZygote(t *testing.T) {
	subreaper(t)
	for _, mode := range []watchdog.ForkMode{watchdog.Streaming, watchdog.Serializing} {
		for _, ahead := range []int{0, 1, 3} {
			c := pythonZygote(t, echoScript)
			c.Mode, c.Standby = mode, ahead
			f := forksWarm(t, c)
			waits(t, f, ahead)
			for _, size := range []int{0, 1, 4097, 65537, 3 << 20} {
				body := bytes.Repeat([]byte("\x00\xff\n"), size/3+1)[:size]
				for name, x := range map[string]*exchange{"whole": post(body), "streamed": streamed(bytes.NewReader(body))} {
					require.NoError(t, f.Do(x), name)
					require.True(t, bytes.Equal(body, x.answer.Bytes()), "%s, %d bytes", name, size)
					require.True(t, x.finished)
				}
			}
			require.Equal(t, ahead > 0, f.Stats().Ahead > 0)
		}
	}
}

// With preload, modules that the script imports are imported once, and each process has them fresh.
func TestZygotePreloadsOnce(t *testing.T) {
	subreaper(t)
	for preload, most := range map[bool]int{true: 1, false: 4} {
		c := script(t, watchdog.Zygote, "python", map[string]string{
			"index.py": "import once\nonce.seen += 1\nprint(once.seen)", "once.py": "seen = 0\nopen('imports', 'a').write('x')\n",
		}, "index.py")
		c.Preload = preload
		f := forksWarm(t, c)
		for range 4 {
			x := newExchange("GET /")
			require.NoError(t, f.Do(x))
			require.Equal(t, "1\n", x.answer.String())
		}
		imports, err := os.ReadFile(filepath.Join(c.Dir, "imports"))
		require.NoError(t, err)
		require.Len(t, imports, most)
	}
}

// A command line of code works like a file.
func TestZygoteRunsCode(t *testing.T) {
	subreaper(t)
	for _, launcher := range []watchdog.Launcher{watchdog.Exec, watchdog.Zygote} {
		c := script(t, launcher, "python", map[string]string{"function/handler.py": "def handle(text): return text.upper()"},
			"-u", "-c", "import sys\nfrom function.handler import handle\nprint(handle(sys.stdin.read()), sys.argv, sys.path[0])", "more")
		got := outcomes(t, c, 2)
		require.Equal(t, "BODY\nOF TWO LINES ['-c', 'more'] \n", got[1].answer)
		require.Equal(t, got[0], got[1])
	}
}

// fates are what may happen to a process, whoever started it.
func TestZygoteChildrenAreEndedLikeOthers(t *testing.T) {
	subreaper(t)
	t.Run("W3 time-out", func(t *testing.T) {
		c := pythonZygote(t, "import subprocess, signal, time\nsignal.signal(15, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '1000'])\ntime.sleep(1000)")
		c.Timeout, c.Grace = 300*time.Millisecond, 50*time.Millisecond
		f := forksWarm(t, c)
		err := f.Do(newExchange("GET /"))
		require.ErrorIs(t, err, watchdog.ErrRunTimeout)
		linger(t, err)
		require.Zero(t, f.Stats().Running)
	})
	t.Run("E10 client gone", func(t *testing.T) {
		f := forksWarm(t, pythonZygote(t, "print('begun', flush=True)\nimport time\ntime.sleep(1000)"))
		x := newExchange("GET /")
		done := make(chan error, 1)
		go func() { done <- f.Do(x) }()
		require.Eventually(t, x.running, 10*time.Second, time.Millisecond)
		x.interrupt(errGone)
		err := <-done
		require.ErrorIs(t, err, errGone)
		linger(t, err)
	})
	t.Run("W3 who left the group", func(t *testing.T) { // one that is only forked shows the zygote's memory
		c := pythonZygote(t, "import os, time\nfor i in 1, 2:\n  if os.fork() == 0:\n    os.setsid()\n    if i == 1: os.execvp('sleep', ['sleep', '1000'])\n    os.close(1); os.close(2); time.sleep(1000)\nprint('left')")
		c.OutputGrace = 10 * time.Millisecond
		c.Standby = 0
		f := forksWarm(t, c)
		for range 3 {
			x := newExchange("GET /")
			require.NoError(t, f.Do(x))
			require.Equal(t, "left\n", x.answer.String())
			require.Len(t, descendants(t), 1, "the zygote alone is left")
		}
	})
	t.Run("W17 core dumps and memory", func(t *testing.T) {
		f := forksWarm(t, pythonZygote(t, "print(open('/proc/self/limits').read(), open('/proc/self/oom_score_adj').read())"))
		x := newExchange("GET /")
		require.NoError(t, f.Do(x))
		require.Regexp(t, `Max core file size +0 +0`, x.answer.String())
	})
}

// zygoteOf is the process that forks: the only child of ours.
func zygoteOf(t *testing.T) int {
	t.Helper()
	pids := descendants(t)
	require.Len(t, pids, 1)
	return pids[0]
}

// A zygote that dies takes no request with it, and comes again.
func TestZygoteThatDiesTakesNobodyWithIt(t *testing.T) {
	subreaper(t)
	path, release := fifo(t)
	said, log := &records{}, &forkLog{}
	c := script(t, watchdog.Zygote, "python", map[string]string{
		"index.py": "import sys\nfor path in sys.argv[1:]:\n  print('here', file=sys.stderr, flush=True)\n  open(path).read()\nprint('done')",
	}, "index.py", path)
	c.Log, c.Output, c.Standby = said.log(), log.add, 0
	f := forksWarm(t, c)
	x := newExchange("GET /")
	done := make(chan error, 1)
	go func() { done <- f.Do(x) }()
	require.Eventually(t, func() bool { return log.has("here") }, 10*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(zygoteOf(t), syscall.SIGKILL))
	require.Eventually(t, func() bool { return said.count("zygote ended") == 1 }, 10*time.Second, time.Millisecond)
	release()
	require.NoError(t, <-done)
	require.Equal(t, "done\n", x.answer.String())
	require.Eventually(t, f.Warm, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, said.count("exit=\"killed by SIGKILL\""))
}

// Those that wait outlive their zygote, and end with Run.
func TestZygoteThatDiesLeavesThoseWhoWait(t *testing.T) {
	subreaper(t)
	said := &records{}
	c := pythonZygote(t, "import sys\nprint(sys.stdin.read())")
	c.Log, c.Standby = said.log(), 2
	f := forksWarm(t, c)
	waits(t, f, 2)
	require.NoError(t, syscall.Kill(zygoteOf(t), syscall.SIGKILL))
	require.Eventually(t, func() bool { return said.count("zygote ended") == 1 }, 10*time.Second, time.Millisecond)
	for range 3 {
		x := post([]byte("body"))
		require.NoError(t, f.Do(x))
		require.Equal(t, "body\n", x.answer.String())
	}
	require.GreaterOrEqual(t, f.Stats().Ahead, uint64(2))
}

// What cannot be forked from is said once, and requests get processes as with Exec.
func TestZygoteThatIsNotFit(t *testing.T) {
	subreaper(t)
	for text, reason := range map[string]string{
		"import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()": "started threads: 1",
		"import socket\nleft = socket.socket()":                                                          "opened connections, which all its children would share: 1",
		"large = bytearray(250 << 20)":                                                                   "MiB of memory",
	} {
		said := &records{}
		c := script(t, watchdog.Zygote, "python", map[string]string{"index.py": "import unfit\nprint('answer')", "unfit.py": text}, "index.py")
		c.Log = said.log()
		f := forks(t, c)
		require.Eventually(t, f.Prepared, 20*time.Second, time.Millisecond)
		for range 2 {
			x := newExchange("GET /")
			require.NoError(t, f.Do(x))
			require.Equal(t, "answer\n", x.answer.String())
		}
		require.Equal(t, 1, said.count(reason))
		require.Equal(t, watchdog.Exec, f.Launcher())
	}
}

// An interpreter that says it is too old, as that of Python 2 does, gets no second try.
func TestZygoteOfAnOldInterpreter(t *testing.T) {
	subreaper(t)
	said := &records{}
	c := pythonZygote(t, "print('answer')")
	old := filepath.Join(t.TempDir(), "python2")
	text := "#!/bin/sh\ncase $* in *proc*) exit " + fmt.Sprint(zygote.TooOld) + ";; esac\nexec " + c.Path + ` "$@"` + "\n"
	require.NoError(t, os.WriteFile(old, []byte(text), 0o700)) //nolint:gosec // it is a program
	c.Path, c.Args[0], c.Log = old, old, said.log()
	f := forks(t, c)
	require.Eventually(t, f.Prepared, 20*time.Second, time.Millisecond)
	x := newExchange("GET /")
	require.NoError(t, f.Do(x))
	require.Equal(t, "answer\n", x.answer.String())
	require.Equal(t, 1, said.count("the interpreter is too old"))
}

// A zygote that names somebody else as its child is not believed (rule W3).
func TestW3ZygotesAreNotBelieved(t *testing.T) {
	subreaper(t)
	for _, pid := range []string{"1", "-1", "os.getppid()", "os.getpid()", "4194304"} {
		c := script(t, watchdog.Zygote, "python", map[string]string{
			"index.py": "import liar\nprint('answer')",
			"liar.py":  "import os\nif os.path.exists('/proc/self/fd/4'): os.fork = lambda: " + pid + "\n",
		}, "index.py")
		c.Standby = 0
		f := forksWarm(t, c)
		for range 2 {
			x := newExchange("GET /")
			require.NoError(t, f.Do(x), pid)
			require.Equal(t, "answer\n", x.answer.String())
		}
	}
}

func TestZygoteNeedsAKnownCommand(t *testing.T) {
	said := &records{}
	c := function(t, watchdog.Streaming, "cat")
	c.Launcher, c.Log = watchdog.Zygote, said.log()
	f := forks(t, c)
	require.Equal(t, 1, said.count("no zygote for this command"))
	require.True(t, f.Prepared())
	require.NoError(t, f.Do(post([]byte("x"))))
}

func TestManyRequestsThroughAZygoteLeaveNothingBehind(t *testing.T) {
	subreaper(t)
	c := pythonZygote(t, "import sys\ndata = sys.stdin.read()\nprint(len(data), file=sys.stderr)\nprint(len(data))\nsys.exit(len(data) % 2)")
	c.Standby, c.Output = 2, (&forkLog{}).add
	f := forksWarm(t, c)
	var wg sync.WaitGroup
	failures := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for i := range 20 {
				x := post(make([]byte, i))
				err := f.Do(x)
				if i%2 == 1 {
					if !errors.Is(err, watchdog.ErrFailed) || err.Error() != "function failed: exit status 1" {
						failures <- err
					}
				} else if err != nil || x.answer.String() != fmt.Sprintln(i) {
					failures <- fmt.Errorf("%d bytes: %w, %q", i, err, x.answer.String())
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	require.NoError(t, <-failures)
	require.Zero(t, f.Stats().Running)
	require.EqualValues(t, 80, f.Stats().Failures["exited"])
}

// The zygote has collected its children before it ends: nobody is left to who looks after orphans (rule W1).
func TestW1ZygotesLeaveNoOrphans(t *testing.T) {
	subreaper(t)
	t.Run("run", func(t *testing.T) {
		c := pythonZygote(t, "print('answer')")
		c.Standby = 5
		f := forksWarm(t, c)
		waits(t, f, 5)
		for range 5 {
			require.NoError(t, f.Do(newExchange("GET /")))
		}
	})
	_, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
	require.ErrorIs(t, err, syscall.ECHILD)
}
