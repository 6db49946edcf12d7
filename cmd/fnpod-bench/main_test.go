package main

import (
	"bytes"
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
	fnpod := filepath.Join(t.TempDir(), "fnpod")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", fnpod, "../fnpod").CombinedOutput()
	require.NoError(t, err, string(out))

	var report bytes.Buffer
	err = run(t.Context(), []string{
		"proxy", "--fnpod", fnpod, "--fnpod-only", "--rounds", "1", "--duration", "100ms", "--warmup", "10ms", "--connections", "4", "--noise-limit", "100",
	}, &report)
	require.NoError(t, err)
	for _, name := range []string{"**4 connections**", "| direct | – | – |", "| fnpod | ", "| fnpod, unix socket to the function | "} {
		require.Contains(t, report.String(), name)
	}
	require.NotContains(t, report.String(), "| 0.00 | – |", "a request without processor time")
	require.Equal(t, 5, strings.Count(report.String(), "\n| ")+1, report.String())
}

func TestWhatDoesNotStartIsReported(t *testing.T) {
	err := run(t.Context(), []string{"proxy", "--fnpod", filepath.Join(t.TempDir(), "missing"), "--fnpod-only", "--connections", "1", "--duration", "1ms"}, &bytes.Buffer{})
	require.ErrorContains(t, err, "fnpod, 1 connections: ")
	require.ErrorIs(t, err, os.ErrNotExist)
}
