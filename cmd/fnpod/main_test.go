package main

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// result is what one call of fnpod did.
type result struct {
	code   int
	stdout string
	stderr string
}

// fnpod runs a command line with the given variables and nothing else in its environment.
func fnpod(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), newInvocation("fnpod", environ, &stdout, &stderr), args)
	return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

// handlerFile returns the name of a handler file that exists.
func handlerFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "handler.py")
	require.NoError(t, os.WriteFile(name, []byte("def handle(req):\n    return 'hello'\n"), 0o600))
	return name
}

func TestCommandLineThatMakesNoSenseIsOneLineAndExitTwo(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown command, near one", []string{"sevre"}, `unknown command "sevre": did you mean serve?`},
		{"unknown command, near none", []string{"frobnicate"}, `unknown command "frobnicate": there are serve, run, proxy, check, probe, version`},
		{"unknown flag", []string{"serve", "--quue-limit", "3"}, `unknown flag --quue-limit, did you mean "--queue-limit"?; see fnpod serve --help`},
		{"unknown flag before the command", []string{"--frob"}, `unknown flag --frob; see fnpod --help`},
		{"unknown flag behind check", []string{"check", "serve", "--frob"}, `unknown flag --frob; see fnpod check serve --help`},
		{"no handler", []string{"serve"}, `missing argument "<handler>"; see fnpod serve --help`},
		{"no such handler", []string{"serve", "/nowhere/h.py"}, `handler "/nowhere/h.py" (argument): no such file`},
		{"no such handler with function", []string{"serve", "/nowhere/h.py:f"}, `handler "/nowhere/h.py:f" (argument): no such file`},
		{"folder as handler", []string{"serve", "/"}, `handler "/" (argument): not a regular file`},
		{"no command to run", []string{"run"}, `missing argument "<command> ..."; see fnpod run --help`},
		{"nothing after the dashes", []string{"run", "--"}, `command "" (argument): must be a program and its arguments`},
		{"no such program", []string{"run", "--", "fnpod-nowhere", "-x"}, `command "fnpod-nowhere -x" (argument): executable file not found in $PATH`},
		{"unknown mode", []string{"run", "--mode", "stream", "--", "/bin/true"}, `mode "stream" (flag --mode): allowed: http, streaming, serializing`},
		{"a process per request without bounds", []string{"run", "--mode", "streaming", "--on-client-gone", "finish", "--", "/bin/true"}, `on-client-gone "finish" (flag --on-client-gone): needs a process-timeout, for nobody else ends the process`},
		{"too many processes", []string{"run", "--mode", "serializing", "--queue-limit", "5000", "--", "/bin/true"}, `queue-limit "5000" (flag --queue-limit): must be at most 4096 with a process per request`},
		{"no URL", []string{"proxy"}, `missing argument "<url>"; see fnpod proxy --help`},
		{"bad URL", []string{"proxy", "ftp://x"}, `url "ftp://x" (argument): must be http://HOST:PORT or unix:///PATH`},
		{"flag without value", []string{"proxy", "http://x", "--timeout"}, `--timeout: needs a value; see fnpod proxy --help`},
		{"flag as value", []string{"proxy", "http://x", "--timeout", "--access-log"}, `--timeout: needs a value; see fnpod proxy --help`},
		{"too many arguments", []string{"version", "1"}, `unexpected argument 1; see fnpod version --help`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := fnpod(t, nil, test.args...)
			require.Equal(t, "fnpod: "+test.want+"\n", got.stderr)
			require.Equal(t, exitUsage, got.code)
		})
	}
}

func TestHandlerOfNoKnownLanguageIsRefusedWithThoseWeKnow(t *testing.T) {
	got := fnpod(t, nil, "serve", "/etc/passwd")
	require.Equal(t, exitUsage, got.code)
	require.Regexp(t, `^fnpod: handler "/etc/passwd" \(argument\): unknown extension "": allowed are \.py.*\n$`, got.stderr)
}

func TestWithoutArgumentsUsageGoesToStandardError(t *testing.T) {
	got := fnpod(t, nil)
	require.Equal(t, exitUsage, got.code)
	require.Empty(t, got.stdout)
	require.Contains(t, got.stderr, "Usage: fnpod <command>")
}

func TestHelpNamesEverySettingAndItsVariable(t *testing.T) {
	for _, command := range []string{"serve", "run", "proxy", "probe"} {
		got := fnpod(t, nil, command, "--help")
		require.Zero(t, got.code)
		require.Empty(t, got.stderr)
		require.Contains(t, got.stdout, "Usage: fnpod "+command)
		p := newTestParser(t)
		for _, c := range p.kong.Model.Children {
			if c.Name != command {
				continue
			}
			for _, flag := range c.Flags {
				require.Contains(t, got.stdout, "--"+flag.Name)
				require.Contains(t, got.stdout, "[$"+variableOf(flag.Name)+"]")
			}
		}
	}
}

func TestVersionIsOneLine(t *testing.T) {
	got := fnpod(t, nil, "version")
	require.Zero(t, got.code)
	require.Regexp(t, `^fnpod \S+, commit \S+, go\S+ linux/\w+\n$`, got.stdout)
	require.Equal(t, got, fnpod(t, nil, "--version"))
}

func TestHelpIsACommandToo(t *testing.T) {
	require.Equal(t, fnpod(t, nil, "--help"), fnpod(t, nil, "help"))
	require.Equal(t, fnpod(t, nil, "serve", "--help"), fnpod(t, nil, "help", "serve"))
}

// D6: the second signal ends the wait.
func TestSecondStopSignalEndsTheProcessAtOnce(t *testing.T) {
	exited := make(chan int)
	ctx, stop := stopSignals(func(code int) { exited <- code }, new(atomic.Int32))
	defer stop()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	<-ctx.Done()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	require.Equal(t, 128+int(syscall.SIGINT), <-exited)
}
