package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	require.InDelta(t, 2, median([]float64{9, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{9, 1, 3, 2}), 0)
}

// The slow round makes both slow; the ratio does not see it, a ratio of medians might.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	var all samples
	for round, cpu := range [][2]time.Duration{{10, 20}, {40, 80}, {15, 20}} {
		for i, name := range []string{"a", "b"} {
			all = append(all, sample{variant: name, connections: 1, round: round, load: &loadResult{requests: 10}, used: usage{own: cpu[i] * time.Microsecond}})
		}
	}
	require.InDelta(t, 0.5, all.ratio("a", "b", 1, cpuPerRequest), 1e-9)
	require.InDelta(t, 1.5, all.median("a", 1, cpuPerRequest), 1e-9)
	require.Zero(t, all.ratio("a", "c", 1, cpuPerRequest))
}

func TestTableIsMarkdown(t *testing.T) {
	require.Equal(t, "| a | b |\n|---|---:|\n| x | 1 |\n", table([][]string{{"a", "b"}, {"x", "1"}}))
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	require.Equal(t, []string{"0.12", "12.3", "1235"}, []string{format(0.123), format(12.34), format(1234.6)})
}

func TestPerfOutputIsReadByEvent(t *testing.T) {
	counts, err := parsePerf("Events disabled\n1200;;raw_syscalls:sys_enter;100;100.00;;\n300;;syscalls:sys_enter_read;100;100.00;;\n")
	require.NoError(t, err)
	require.Equal(t, map[string]float64{allCalls: 1200, "syscalls:sys_enter_read": 300}, counts)
	for _, bad := range []string{"", "<not counted>;;raw_syscalls:sys_enter;0;100.00;;\n", "event syntax error\n"} {
		_, err := parsePerf(bad)
		require.Error(t, err, "%q", bad)
	}
}
