package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// written puts results into a folder, as an experiment does.
func written(t *testing.T, folder, name string, r results, report string) {
	t.Helper()
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+".json"), text, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+".md"), []byte(report), 0o600))
}

// fig8Results has two rounds, of which the second is slow for all: the ratios are 0.5 and 0.7 at 1 connection, and 2 at 10.
func fig8Results() results {
	of := func(variant string, connections, round int, cpu float64) record {
		return record{Variant: variant, Connections: connections, Round: round, CPU: cpu, Requests: 10, Seconds: 1, P50: cpu, RSS: 1}
	}
	return results{Date: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Fnpod: "fnpod v1", Command: []string{"fnpod-bench", "fig8", "--only", "^(a|b)$"}, Samples: []record{
		of(fnpodName, 1, 0, 10), of(nginxName, 1, 0, 20), of(directName, 1, 0, 5), of(relayName, 1, 0, 5),
		of(fnpodName, 1, 1, 70), of(nginxName, 1, 1, 100), of(directName, 1, 1, 50),
		of(fnpodName, 10, 0, 40), of(nginxName, 10, 0, 20),
	}}
}

func TestTargetsAreJudgedByRatiosWithinRounds(t *testing.T) {
	folder := t.TempDir()
	written(t, folder, "fig8", fig8Results(), "")
	written(t, folder, "memory", results{TooNoisy: true, Command: []string{"fnpod-bench", "memory"}, Figures: []figures{
		{fnpodName, idleMB, []float64{11, 13, 12.04}}, {fnpodName, binaryMB, []float64{17}},
	}}, "")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"targets", "--from", folder}, &out))
	for _, row := range []string{
		"| CPU ÷ nginx, one worker | ≤ 1 | 1: 0.60, 10: **2.00** | **missed** at 10 | raw relay 1: 0.25 | `fig8` |",
		"| what is added to the p50 of direct ÷ nginx, 1 connection | ≤ 1 | 0.37 | met |  | `fig8` |",
		"| RSS idle | ≤ 12 MB | 12.0 | met |  | `memory` |",
		"| binary, static and stripped | ≤ 16 MB | **17.0** | **missed** |  | `memory` |",
		"| CPU ÷ of-watchdog | ≤ 0.2 | – | not measured |  | `fig8` |",
		"| allocations per request | ≤ 0 | – | a test |  | `go test -run Allocat ./...` |",
		"2 targets are met, 2 are missed, ",
		"bin/fnpod-bench fig8 --only '^(a|b)$'\n",
		"bin/fnpod-bench memory   # the machine was too busy to judge\n",
	} {
		require.Contains(t, out.String(), row)
	}
	require.Error(t, run(t.Context(), []string{"targets", "--from", t.TempDir()}, &out), "no results")
}

func TestResultsArePublishedBetweenTheirMarkers(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	written(t, folder, "fig8", fig8Results(), "2026-01-02. 2 processors (x), Linux 6, go, nginx.\nRounds: 2.\n\n| a |\n")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "fig8-latency.svg"), []byte("<svg/>"), 0o600))
	document := filepath.Join(dir, "README.md")
	part := func(name, text string) string {
		return "<!-- generated: " + name + " -->\n" + text + "<!-- end: " + name + " -->\n"
	}
	args := []string{"publish", "--from", folder, "--into", document}
	require.NoError(t, os.WriteFile(document, []byte(part("fig8", "old\n")), 0o600))
	require.ErrorContains(t, run(t.Context(), args, &bytes.Buffer{}), "markers")

	before := "# A\n" + part("machine", "") + part("targets", "") + part("fig8", "old\n") + part("rate", "kept\n") + "end\n"
	require.NoError(t, os.WriteFile(document, []byte(before), 0o600))
	for range 2 { // again it is the same
		require.NoError(t, run(t.Context(), args, &bytes.Buffer{}))
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		require.Contains(t, string(text), part("fig8", "    bin/fnpod-bench fig8 --only '^(a|b)$'\n\nRounds: 2.\n\n| a |\n"))
		require.Contains(t, string(text), part("rate", "kept\n"))
		require.Contains(t, string(text), "2026-01-02 03:04 to 03:04 UTC; fnpod v1.")
		require.Contains(t, string(text), "| CPU ÷ nginx, one worker |")
		require.True(t, strings.HasPrefix(string(text), "# A\n") && strings.HasSuffix(string(text), "end\n"))
		require.FileExists(t, filepath.Join(dir, "fig8-latency.svg"))
	}
}

// Every experiment that scripts/bench runs has its place in the document.
func TestTheDocumentHasAPlaceForEveryExperiment(t *testing.T) {
	script, err := os.ReadFile("../../scripts/bench")
	require.NoError(t, err)
	document, err := os.ReadFile("../../bench/README.md")
	require.NoError(t, err)
	text := string(document)
	for _, name := range []string{machinePart, targetsPart} {
		_, err := replacePart(text, name, "")
		require.NoError(t, err)
	}
	n := 0
	for line := range strings.Lines(string(script)) {
		words := strings.Fields(line)
		if len(words) > 2 && words[0] == "experiment" {
			_, err := replacePart(text, words[1], "")
			require.NoError(t, err)
			n++
		}
	}
	require.Greater(t, n, 30)
}

func TestCommandsTellNoPaths(t *testing.T) {
	require.Equal(t,
		[]string{"fnpod-bench", "fig8", "--rounds", "3", "--queue-proxy", "PATH", "--fwatchdog", "PATH", "--only", "x"},
		withoutPaths([]string{"/a/fnpod-bench", "fig8", "--rounds", "3", "--queue-proxy", "/b", "--json=/c", "--fwatchdog=/d", "--plots", "/e", "--only", "x"}))
}
