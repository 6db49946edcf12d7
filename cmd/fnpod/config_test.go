package main

import (
	"errors"
	"flag"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/workers"
)

var update = flag.Bool("update", false, "write the generated documents")

func newTestParser(t *testing.T) *parser {
	t.Helper()
	p, err := newParser("fnpod", description, defaults(), nil, io.Discard)
	require.NoError(t, err)
	return p
}

// settingsOf parses a command line and returns its command.
func settingsOf[T any](t *testing.T, environ []string, args ...string) *T {
	t.Helper()
	inv := &invocation{env: newEnvironment(environ), stdout: io.Discard, stderr: io.Discard}
	command, err := inv.command(args)
	require.NoError(t, err)
	got, ok := command.(any).(*T)
	require.True(t, ok, "%T", command)
	return got
}

func TestDefaultsAreThoseOfThePackages(t *testing.T) {
	require.Equal(t, workers.DefaultConfig(), settingsOf[serveCmd](t, nil, "serve", handlerFile(t)).Workers.config())
	c := settingsOf[proxyCmd](t, nil, "proxy", "http://127.0.0.1:1")
	require.Equal(t, queue.DefaultConfig(), c.Front.Queue.config())
	require.Equal(t, proxy.DefaultConfig(), c.Front.Proxy.config())
	require.Equal(t, defaults().Proxy.Front, c.Front)
}

func TestFlagBeatsVariableBeatsDefault(t *testing.T) {
	url := "http://127.0.0.1:1"
	variable := []string{"FNPOD_QUEUE_DEPTH=7", "FNPOD_ACCESS_LOG=true"}

	c := settingsOf[proxyCmd](t, nil, "proxy", url)
	require.Equal(t, queue.DefaultConfig().Depth, c.Front.Queue.Depth)
	require.False(t, c.Front.Proxy.AccessLog)

	c = settingsOf[proxyCmd](t, variable, "proxy", url)
	require.Equal(t, 7, c.Front.Queue.Depth)
	require.True(t, c.Front.Proxy.AccessLog)

	c = settingsOf[proxyCmd](t, variable, "proxy", url, "--queue-depth=8", "--access-log=false")
	require.Equal(t, 8, c.Front.Queue.Depth)
	require.False(t, c.Front.Proxy.AccessLog)
}

func TestBadVariableBehindAGoodFlagIsNotUsed(t *testing.T) {
	c := settingsOf[proxyCmd](t, []string{"FNPOD_QUEUE_DEPTH=x"}, "proxy", "http://127.0.0.1:1", "--queue-depth", "8")
	require.Equal(t, 8, c.Front.Queue.Depth)
}

func TestBadVariableOfAnotherCommandIsNotUsed(t *testing.T) {
	c := settingsOf[proxyCmd](t, []string{"FNPOD_WORKERS_MAX=x"}, "proxy", "http://127.0.0.1:1")
	require.Equal(t, "http://127.0.0.1:1", c.URL.String())
}

func TestEmptyVariableCountsAsNotSet(t *testing.T) {
	c := settingsOf[proxyCmd](t, []string{"FNPOD_QUEUE_DEPTH="}, "proxy", "http://127.0.0.1:1")
	require.Equal(t, queue.DefaultConfig().Depth, c.Front.Queue.Depth)
}

func TestAllBadValuesAreReportedTogether(t *testing.T) {
	environ := []string{"FNPOD_QUEUE_DEPTH=many", "FNPOD_HEAD_BYTES=5", "FNPOD_ADMIN=8081", "FNPOD_ACCESS_LOG=perhaps"}
	got := fnpod(t, environ, "serve", "/nowhere.py", "--timeout=5", "--max-body", "10 apples", "--queue-limit", "-5",
		"--log-level=loud", "--workers-max", "0", "--workers-grace=-1s", "--forwarded", "maybe", "--listen=unix:")
	want := []string{
		`admin "8081" (variable FNPOD_ADMIN): must be [HOST]:PORT, unix:/PATH or off`,
		`access-log "perhaps" (variable FNPOD_ACCESS_LOG): must be true or false`,
		`forwarded "maybe" (flag --forwarded): allowed: append, replace, off`,
		`handler "/nowhere.py" (argument): no such file`,
		`head-bytes "5" (variable FNPOD_HEAD_BYTES): allowed are 1024 to 65535`,
		`listen "unix:" (flag --listen): must be [HOST]:PORT or unix:/PATH`,
		`log-level "loud" (flag --log-level): allowed: debug, info, warn, error`,
		`max-body "10 apples" (flag --max-body): must be a size in bytes, such as 4096, 64KiB or 10MB`,
		`queue-depth "many" (variable FNPOD_QUEUE_DEPTH): must be a whole number`,
		`queue-limit "-5" (flag --queue-limit): allowed are 0 (no limit) to 1000000`,
		`timeout "5" (flag --timeout): must be a duration with its unit, such as 250ms, 30s or 5m`,
		`workers-max "0" (flag --workers-max): must be auto or a whole number from 1`,
		`workers-grace "-1s" (flag --workers-grace): must be at least 0s`,
	}
	for i := range want {
		want[i] = "fnpod: " + want[i]
	}
	require.ElementsMatch(t, want, strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n"))
	require.Equal(t, exitUsage, got.code)
}

func TestSettingsThatContradictEachOtherAreReported(t *testing.T) {
	file := handlerFile(t)
	got := fnpod(t, nil, "check", "serve", file, "--listen=:8081", "--workers-min=5", "--workers-max=3")
	require.Contains(t, got.stderr, `admin ":8081" (default): must not be the address of listen`)
	require.Contains(t, got.stderr, `workers-min "5" (flag --workers-min): allowed are 0 to 3`)
	got = fnpod(t, nil, "check", "run", "--listen=127.0.0.1:3000", "--", "/bin/true")
	require.Contains(t, got.stderr, `upstream "http://127.0.0.1:3000" (default): must not be the address of listen`)
}

// Every check of a package must name a setting of ours; parser.check relies on it.
func TestErrorsOfPackagesNameSettings(t *testing.T) {
	known := newTestParser(t).variables()
	negative := proxy.Config{
		HeadBytes: -1, HeadFields: -1, MaxBody: -1, BufferBody: -1, Connections: -1, HeadTimeout: -1, IdleTimeout: -1,
		BodyTimeout: -1, WriteTimeout: -1, AnswerTimeout: -1, Timeout: -1, Forwarded: "?", DrainDelay: -1, DrainTimeout: -1,
	}
	pool := &workerSettings{
		Min: -1, Max: -1, IdleTimeout: -1, StartTimeout: -1, Timeout: -1, ClientGrace: -1, StopGrace: -1, MaxRequests: -1,
		MaxRSS: -1, Concurrency: -1, Lane: -1,
	}
	errs := leaves(errors.Join(negative.Validate(), queue.Config{Limit: -1, Depth: -1, MaxWait: -1}.Validate(), pool.check(workers.Handler{}, nil)))
	require.GreaterOrEqual(t, len(errs), 14+3+11)
	for _, err := range errs {
		name, allowed, found := strings.Cut(err.Error(), ": ")
		name, _, _ = strings.Cut(name, " ")
		require.Contains(t, known, variableOf(name))
		require.True(t, found && allowed != "", err.Error())
	}
}

func TestMissingInterpreterIsReported(t *testing.T) {
	file := handlerFile(t)
	got := fnpod(t, []string{"PATH=/nowhere"}, "check", "serve", file)
	require.Equal(t, exitUsage, got.code)
	require.Regexp(t, `^fnpod: workers-interpreter "" \(default\): .*not found.*\n$`, got.stderr)
	got = fnpod(t, nil, "check", "serve", file, "--workers-interpreter=fnpod-nowhere")
	require.Regexp(t, `^fnpod: workers-interpreter "fnpod-nowhere" \(flag --workers-interpreter\): .*not found.*\n$`, got.stderr)
}

func TestEveryDefaultCanBeWrittenAsText(t *testing.T) {
	p := newTestParser(t)
	for _, c := range p.kong.Model.Children {
		for _, flag := range c.Flags {
			got := reflect.New(flag.Target.Type()).Elem()
			require.NoError(t, decode(got, flag.Default, flag.Tag), flag.Name)
			require.Equal(t, p.defaults[flag.Value].Interface(), got.Interface(), flag.Name)
		}
	}
}

// A setting that two commands have must be the same in both: there is one variable and one line in the manual.
func TestSettingsOfSeveralCommandsAreTheSame(t *testing.T) {
	first := map[string]*kong.Flag{}
	differ := []string{"max-body"} // a worker holds the body in memory, an upstream gets it streamed
	for _, c := range newTestParser(t).kong.Model.Children {
		for _, flag := range c.Flags {
			if seen, ok := first[flag.Name]; ok {
				if !slices.Contains(differ, flag.Name) {
					require.Equal(t, seen.Default, flag.Default, flag.Name)
				}
				require.Equal(t, seen.Help, flag.Help, flag.Name)
				require.Equal(t, seen.Group.Title, flag.Group.Title, flag.Name)
			}
			first[flag.Name] = flag
			require.NotEqual(t, "port", flag.Name)
			require.False(t, strings.HasPrefix(flag.Name, "service-"), flag.Name)
			require.NotEmpty(t, flag.Help, flag.Name)
		}
	}
}

func TestOnlyServeLimitsBodiesByDefault(t *testing.T) {
	d := defaults()
	require.EqualValues(t, 64<<20, d.Serve.Front.Proxy.MaxBody)
	require.Zero(t, d.Run.Front.Proxy.MaxBody)
	require.Zero(t, d.Proxy.Front.Proxy.MaxBody)
}

func TestRunPassesTheCommandOnUntouched(t *testing.T) {
	want := []string{"/bin/echo", "--queue-limit", "x", "--", "-h"}
	require.Equal(t, want, settingsOf[runCmd](t, nil, append([]string{"run", "--"}, want...)...).argv())
	require.Equal(t, want, settingsOf[runCmd](t, nil, append([]string{"run"}, want...)...).argv())
	require.Equal(t, want, settingsOf[runCmd](t, nil, append([]string{"run", "--mode=http", "--"}, want...)...).argv())
}

func TestUnknownVariablesAreWarnings(t *testing.T) {
	environ := []string{
		"FNPOD_QUEU_LIMIT=3", "FNPOD_FROBNICATE=1", "OTHER=1", "FNPOD_QUEUE_LIMIT=4",
		"FNPOD_PORT=tcp://10.0.0.1:80", "FNPOD_PORT_80_TCP=tcp://10.0.0.1:80", "FNPOD_PORT_80_TCP_ADDR=10.0.0.1",
		"FNPOD_SERVICE_HOST=10.0.0.1", "FNPOD_SERVICE_PORT=80", "FNPOD_SERVICE_PORT_HTTP=80",
		"FNPOD_HELLO_SERVICE_HOST=10.0.0.1", "FNPOD_HELLO_PORT_80_TCP_PROTO=tcp",
		"FNPOD_WORKER_PROTOCOL=1-1", "FNPOD_WORKER_FDS=3,4,5", "FNPOD_WORKER_LANE=1048576", "FNPOD_WORKER_HANDLER=h.py",
	}
	got := fnpod(t, environ, "check")
	require.Zero(t, got.code)
	require.Equal(t, "fnpod: warning: unknown variable FNPOD_FROBNICATE has no effect\n"+
		"fnpod: warning: unknown variable FNPOD_QUEU_LIMIT has no effect; did you mean FNPOD_QUEUE_LIMIT?\n", got.stderr)
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1b": 1, "64KiB": 64 << 10, "64Ki": 64 << 10, "1MiB": 1 << 20, "10MB": 10e6, "10M": 10e6,
		"2 GiB": 2 << 30, "1tib": 1 << 40, "-1": -1,
	} {
		got, err := parseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "KiB", "1.5MiB", "1 apple", "1kik", "9223372036854775807KiB", "99999999999999999999", "0x10", "1_000"} {
		_, err := parseSize(text)
		require.Error(t, err, text)
	}
}

func TestTextValues(t *testing.T) {
	file := handlerFile(t)
	tests := []struct {
		name string
		make func() textValue
		good map[string]string // text, and how it is written back
		bad  []string
	}{
		{
			"address", func() textValue { return new(address) },
			map[string]string{
				":8080": ":8080", "127.0.0.1:0": "127.0.0.1:0", "[::1]:80": "[::1]:80", "localhost:65535": "localhost:65535",
				"unix:/run/f.sock": "unix:/run/f.sock", "unix:///run/f.sock": "unix:/run/f.sock", "unix:f.sock": "unix:f.sock",
			},
			[]string{"", "8080", "off", ":http", ":65536", ":-1", "unix:", "unix://", "::1:80", "http://x:80"},
		},
		{
			"upstream", func() textValue { return new(upstream) },
			map[string]string{
				"http://localhost:3000": "http://localhost:3000", "http://h/": "http://h:80", "http://[::1]:80": "http://[::1]:80",
				"unix:///run/f.sock": "unix:///run/f.sock", "unix:/run/f.sock": "unix:///run/f.sock",
			},
			[]string{"", "h:80", "https://h", "http://", "http://:80", "http://h:0", "http://h/x", "http://u@h", "http://h?q", "unix://h/x", "unix:x", "http://h:99999"},
		},
		{
			"probe URL", func() textValue { return new(probeURL) },
			map[string]string{"http://h/readyz": "http://h:80", "unix:///run/a.sock": "unix:///run/a.sock"},
			[]string{"", "https://h", "h:80"},
		},
		{
			"ready probe", func() textValue { return new(readyProbe) },
			map[string]string{
				"tcp": "tcp", "none": "none", "file:/tmp/up": "file:/tmp/up", "http://h:1/up": "http://h:1/up", "tcp:h:80": "tcp:h:80",
			},
			[]string{"", "udp", "file:", "http:", "https://h", "tcp:80"},
		},
		{
			"pool size", func() textValue { return new(poolSize) },
			map[string]string{"auto": "auto", "1": "1", "64": "64"},
			[]string{"", "0", "-1", "two", "99999999999"},
		},
		{
			"classes", func() textValue { return new(queueClasses) },
			map[string]string{
				"":                            "",
				"gold=50%:header:X-Plan=gold": "gold=50%:header:X-Plan=gold;rest=0%:*",
				"a=12.5%/50%:path:/api/; b=0%:header:X; c=10%:*": "a=12.5%/50%:path:/api/;b=0%:header:X;c=10%:*",
			},
			[]string{"a", "a=5", "a=5%", "=5%:*", "a=5:*", "a=101%:*", "a=-1%:*", "a=NaN%:*", "a=5%/x:*", "a=5%:path:x", "a=5%:header:", "a=5%:header:a b", "a=5%:x:y", "a=60%:path:/a;b=60%:*", "a=5%:*;"},
		},
		{
			"fairness", func() textValue { return new(fairness) },
			map[string]string{"off": "off", "client": "client", "header:X-User": "header:X-User"},
			[]string{"", "on", "header:", "header:a b", "Client"},
		},
		{
			"handler", func() textValue { return new(handler) },
			map[string]string{file: file, file + ":main": file + ":main"},
			[]string{"", ":f", file + ":", file + "x", "/", "/:f", "/etc/passwd"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for text, want := range test.good {
				v := test.make()
				require.NoError(t, v.parse(text, &kong.Tag{}), text)
				require.Equal(t, want, v.String(), text)
			}
			for _, text := range test.bad {
				v := test.make()
				require.Error(t, v.parse(text, &kong.Tag{}), text)
				require.Equal(t, test.make(), v, text)
			}
		})
	}
}

func TestPortOfAnUpstream(t *testing.T) {
	require.Equal(t, "3000", (&upstream{network: "tcp", address: "127.0.0.1:3000"}).port())
	require.Empty(t, (&upstream{network: "unix", address: "/run/f.sock"}).port())
}

func TestDurationsAreShownShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", time.Hour: "1h", 75 * time.Second: "1m15s", 10 * time.Second: "10s",
		90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 250 * time.Millisecond: "250ms", -time.Minute: "-1m",
	} {
		require.Equal(t, want, formatDuration(d))
	}
}

// The grammar of a command is built without that of the others, whose variables are known all the same.
func TestVariablesOfOtherCommandsAreNoMistake(t *testing.T) {
	environ := []string{"FNPOD_WORKERS_MAX=2", "FNPOD_QUEUE_LIMIT=7"}
	inv := newInvocation("fnpod", environ, io.Discard, io.Discard)
	command, err := inv.command([]string{"proxy", "http://localhost:1", "--queue-depth", "3"})
	require.NoError(t, err)
	require.Empty(t, inv.warnings)
	queue := command.(*proxyCmd).Front.Queue
	require.Equal(t, []int{7, 3}, []int{queue.Limit, queue.Depth})

	inv = newInvocation("fnpod", append(environ, "FNPOD_WORKER_MAX=2"), io.Discard, io.Discard)
	_, err = inv.command([]string{"proxy", "http://localhost:1"})
	require.NoError(t, err)
	require.Equal(t, []warning{{Variable: "FNPOD_WORKER_MAX", Suggestion: "FNPOD_WORKERS_MAX"}}, inv.warnings)
}
