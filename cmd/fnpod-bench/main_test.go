package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the function, as the program is its own function.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestProxyComparesFnpodWithTheBareFunction(t *testing.T) {
	dir := t.TempDir()
	fnpod, file := filepath.Join(dir, "fnpod"), filepath.Join(dir, "samples.json")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", fnpod, "../fnpod").CombinedOutput()
	require.NoError(t, err, string(out))

	var report bytes.Buffer
	err = run(t.Context(), []string{
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

func TestModesCompareLaunchersWithOSExec(t *testing.T) {
	fnpod := filepath.Join(t.TempDir(), "fnpod")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", fnpod, "../fnpod").CombinedOutput()
	require.NoError(t, err, string(out))
	var report bytes.Buffer
	err = run(t.Context(), []string{
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
	dir := t.TempDir()
	fnpod, file := filepath.Join(dir, "fnpod"), filepath.Join(dir, "robustness.md")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", fnpod, "../fnpod").CombinedOutput()
	require.NoError(t, err, string(out))
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
