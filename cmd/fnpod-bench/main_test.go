package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the function, as the program is its own function.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}
	code := m.Run()
	if builtFile != "" {
		_ = os.Remove(builtFile)
	}
	os.Exit(code)
}

var (
	building  sync.Mutex
	builtFile string // guarded by building
)

// built is a fnpod for all tests.
func built(t *testing.T) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if builtFile == "" {
		file := filepath.Join(os.TempDir(), fmt.Sprintf("fnpod-%d", os.Getpid()))
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../fnpod").CombinedOutput()
		require.NoError(t, err, string(out))
		builtFile = file
	}
	return builtFile
}

// A program that is missing, or that fails, is told in one line, and the others are measured.
func TestPeersThatFailEndNoRun(t *testing.T) {
	t.Parallel()
	fnpod, file := built(t), filepath.Join(t.TempDir(), "figures.json")
	for _, command := range [][]string{
		{"coldstart", "--starts", "2"},
		{"memory", "--rounds", "2", "--connections", "3"},
		{"fig9", "--rounds", "2", "--requests", "100"},
		{"fig8", "--rounds", "2", "--duration", "10ms", "--warmup", "1ms", "--connections", "1,2", "--noise-limit", "100"},
	} {
		t.Run(command[0], func(t *testing.T) {
			var report bytes.Buffer
			err := run(t.Context(), append(command, "--fnpod", fnpod, "--json", file, "--only", "^(fnpod|of-watchdog|queue-proxy)$", "--fwatchdog", "/bin/false"), &report)
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(report.String(), "Left out: of-watchdog: ended before its first answer"), report.String())
			require.Equal(t, 1, strings.Count(report.String(), "Left out: queue-proxy: not on PATH, and --queue-proxy is not given"), report.String())
			require.Contains(t, report.String(), "| of-watchdog | –")
			require.NotContains(t, report.String(), "| fnpod | – | –")

			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var written results
			require.NoError(t, json.Unmarshal(text, &written))
			require.NotEmpty(t, len(written.Samples)+len(written.Figures))
			for _, f := range written.Figures {
				if f.Variant == fnpodName && f.What != binaryMB {
					require.Len(t, f.Values, 2, f.What)
				}
			}
		})
	}
}

func TestProxyComparesFnpodWithTheBareFunction(t *testing.T) {
	t.Parallel()
	fnpod, file := built(t), filepath.Join(t.TempDir(), "samples.json")

	var report bytes.Buffer
	err := run(t.Context(), []string{
		"fig8", "--fnpod", fnpod, "--only", "^(direct|fnpod|fnpod, unix.*)$", "--json", file, "--rounds", "1", "--duration", "100ms", "--warmup", "10ms", "--connections", "4", "--noise-limit", "100",
	}, &report)
	require.NoError(t, err)
	for _, name := range []string{"**4 connections**", "| direct | – | – |", "| fnpod | ", "| fnpod, unix socket to the function | "} {
		require.Contains(t, report.String(), name)
	}
	require.NotContains(t, report.String(), "| 0.00 | – |", "a request without processor time")
	require.Equal(t, 5, strings.Count(report.String(), "\n| ")+1, report.String())

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var written results
	require.NoError(t, json.Unmarshal(text, &written))
	require.Len(t, written.Samples, 3)
	for _, s := range written.Samples {
		require.Positive(t, s.Requests)
		require.Positive(t, s.P50)
		require.GreaterOrEqual(t, s.P999, s.P50)
		require.Positive(t, s.RSS)
		require.Positive(t, s.Switches)
	}
}

// The floor, requests of a browser, and those that let one request run at once.
func TestFig8HasItsSpecialCases(t *testing.T) {
	t.Parallel()
	args := []string{"fig8", "--fnpod", built(t), "--rounds", "1", "--duration", "20ms", "--warmup", "5ms", "--connections", "3", "--noise-limit", "100"}
	var report bytes.Buffer
	require.NoError(t, run(t.Context(), append(args, "--browser", "--only", "^(fnpod|raw relay)$"), &report))
	require.Contains(t, report.String(), "| raw relay | ")
	require.NotContains(t, report.String(), "| raw relay | –")
	report.Reset()
	require.NoError(t, run(t.Context(), append(args, "--limit", "1", "--only", "^fnpod"), &report))
	require.Contains(t, report.String(), "| fnpod as queue-proxy | ")
	require.NotContains(t, report.String(), "| fnpod | –")
	require.NotContains(t, report.String(), "unix")
}

func TestModesCompareLaunchersWithOSExec(t *testing.T) {
	t.Parallel()
	fnpod := built(t)
	var report bytes.Buffer
	err := run(t.Context(), []string{
		"modes", "--fnpod", fnpod, "--only", "cat,handler", "--fwatchdog", filepath.Join(t.TempDir(), "missing"), "--rounds", "1", "--duration", "100ms", "--warmup", "10ms", "--connections", "2", "--rate", "50", "--noise-limit", "100",
	}, &report)
	require.NoError(t, err)
	for _, name := range []string{
		"**2 connections**", "**50 requests per second**", "| cat, os/exec |", "| cat, exec |", "| cat, standby |", "| handler, zygote |", "| handler, warm workers |", "| cat, of-watchdog streaming | – |", "Left out: cat, of-watchdog serializing",
	} {
		require.Contains(t, report.String(), name)
	}
	require.NotContains(t, report.String(), "| handler, zygote | 0.00 |")
}

func TestWhatDoesNotStartIsReported(t *testing.T) {
	err := run(t.Context(), []string{"fig8", "--fnpod", filepath.Join(t.TempDir(), "missing"), "--only", "^fnpod$", "--connections", "1", "--duration", "1ms"}, &bytes.Buffer{})
	require.ErrorContains(t, err, "fnpod, 1 connections: ")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRobustnessIsWrittenBetweenTheMarkers(t *testing.T) {
	t.Parallel()
	fnpod, file := built(t), filepath.Join(t.TempDir(), "robustness.md")
	args := []string{"robustness", "--fnpod", fnpod, "--only", "host: ", "--lanes", "2", "--rounds", "2", "--into", file}

	require.NoError(t, os.WriteFile(file, []byte("nothing\n"), 0o600))
	require.ErrorContains(t, run(t.Context(), args, &bytes.Buffer{}), "markers")

	require.NoError(t, os.WriteFile(file, []byte("before\n"+generatedBegin+"old\n"+generatedEnd+"after\n"), 0o600))
	require.NoError(t, run(t.Context(), args, &bytes.Buffer{}))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "before\n"+generatedBegin) && strings.HasSuffix(string(text), generatedEnd+"after\n"))
	require.Contains(t, string(text), "**fnpod** held all.")
	require.NotContains(t, string(text), "not to the letter")
	require.NotContains(t, string(text), "old\n")
}

// The ratio's column tells whether the reference was measured.
func TestKnativeComparesWithAQueueProxy(t *testing.T) {
	t.Parallel()
	fnpod, file := built(t), filepath.Join(t.TempDir(), "knative.json")
	for _, row := range []struct {
		name, flag string
		wanted     []string
	}{
		{"given", fnpod, []string{"| 2 | queue-proxy, limit 1 | ", "| 1.00 |", "| 2 | fnpod as queue-proxy | ", "calls of gRPC", "| queue-proxy | "}},
		{"missing", "/missing/queue-proxy", []string{"Left out: queue-proxy: ", "| 2 | fnpod as queue-proxy | ", "| queue-proxy | –"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var report bytes.Buffer
			err := run(t.Context(), []string{
				"knative", "--fnpod", fnpod, "--queue-proxy", row.flag, "--json", file, "--rounds", "1", "--duration", "20ms", "--warmup", "5ms",
				"--connections", "2", "--concurrency", "0,1", "--idle", "3", "--starts", "1", "--grpc", "1", "--noise-limit", "100",
			}, &report)
			require.NoError(t, err)
			for _, text := range row.wanted {
				require.Contains(t, report.String(), text)
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(text), `"protocol": "gRPC"`)
			require.Contains(t, string(text), idleMB)
			require.Contains(t, string(text), firstAnswerMS)
			require.NotContains(t, string(text), row.flag, "where programs are is nobody's business")
		})
	}
}

func TestNuclioComparesWithAProcessor(t *testing.T) {
	t.Parallel()
	fnpod, processor := built(t), filepath.Join(t.TempDir(), "processor") // fnpod is one by its name
	require.NoError(t, os.Symlink(fnpod, processor))
	args := []string{
		"nuclio", "--fnpod", fnpod, "--rounds", "1", "--duration", "20ms", "--warmup", "5ms", "--connections", "2", "--workers", "1", "--body", "100000", "--noise-limit", "100",
	}
	var report bytes.Buffer
	require.NoError(t, run(t.Context(), append(args, "--processor", processor), &report))
	require.Equal(t, 2, strings.Count(report.String(), "| 1 | Nuclio | "), report.String())
	require.NotContains(t, report.String(), "–")

	report.Reset()
	require.NoError(t, run(t.Context(), args, &report))
	require.Contains(t, report.String(), "Left out: Nuclio: --processor is not given")
}

func TestHTTP2ComparesRequestsAndCalls(t *testing.T) {
	t.Parallel()
	var report bytes.Buffer
	err := run(t.Context(), []string{
		"http2", "--fnpod", built(t), "--only", "^(direct|fnpod)$", "--rounds", "1", "--duration", "20ms", "--warmup", "5ms", "--connections", "2", "--noise-limit", "100",
	}, &report)
	require.NoError(t, err)
	for _, text := range []string{"**h2c, 2 connections, 1 streams on each**", "**gRPC, 2 connections, 10 streams on each**", "| direct | – | – | "} {
		require.Contains(t, report.String(), text)
	}
	require.NotContains(t, report.String(), "| fnpod | – |")
}

func TestWaitingComparesOneWorkerWithMany(t *testing.T) {
	t.Parallel()
	var report bytes.Buffer
	require.NoError(t, run(t.Context(), []string{
		"waiting", "--fnpod", built(t), "--requests", "2", "--wait", "1ms", "--rounds", "1", "--duration", "20ms", "--warmup", "5ms", "--noise-limit", "100",
	}, &report))
	require.Contains(t, report.String(), "| a worker for each | ")
	require.NotContains(t, report.String(), "| a worker for each | –")
}

// It is not parallel: it puts the whole process on one processor.
func TestTripsCompareWorkersWithBareLoops(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trips.json")
	procs := runtime.GOMAXPROCS(0)
	var report bytes.Buffer
	require.NoError(t, run(t.Context(), []string{
		"trips", "--fnpod", built(t), "--only", "Python,Go", "--rounds", "2", "--duration", "10ms", "--sizes", "0,102400,1048576", "--json", file,
	}, &report))
	require.Equal(t, procs, runtime.GOMAXPROCS(0), "as it was")
	require.Contains(t, report.String(), "| language | 0 B: bare | worker | ÷ | CPU ÷ | 100 KB: bare |")
	require.NotContains(t, report.String(), "–")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var written results
	require.NoError(t, json.Unmarshal(text, &written))
	for _, f := range written.Figures {
		require.Len(t, f.Values, 2, f.Variant+": "+f.What)
		require.Positive(t, f.Values[0], f.Variant+": "+f.What)
	}
	require.Len(t, written.Figures, 2*2*(1+1+1+2*3)+1, "and what Python costs with packages")

	t.Setenv("PATH", "") // python3 is found before by the version manager or not at all
	require.Error(t, run(t.Context(), []string{"trips", "--only", "Python"}, &bytes.Buffer{}))
}
