package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table writes rows as a Markdown table; the first row is its head, the first column its names.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---|%s\n", strings.Repeat("---:|", len(row)-1))
		}
	}
	return b.String()
}

// median returns the middle value, the mean of the two middle ones, or 0 when there is none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// format shows three digits, and all digits of the whole part.
func format(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// formatRatio is format, with a dash for what was not measured.
func formatRatio(v float64) string {
	if v == 0 {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// describe tells where and how the samples were taken, and who failed.
func (c *sampling) describe(ctx context.Context, out io.Writer, all samples) {
	describeMachine(ctx, out)
	if len(all) == 0 {
		c.describeAbsent(out)
		return
	}
	noise := make([]float64, 0, len(all))
	for _, s := range all {
		noise = append(noise, s.noise)
	}
	if c.tooNoisy(all) {
		fmt.Fprint(out, "**The machine was too busy to judge by these figures.** ")
	}
	fmt.Fprintf(out, "Rounds: %d, samples of %v. Other processes used %s processors (median), at most %s; %d of %d samples are above %s.\n\n",
		c.Rounds, c.Duration, format(median(noise)), format(slices.Max(noise)), c.noisy(all), len(all), format(c.NoiseLimit))
	c.describeAbsent(out)
}

// noisy counts the samples that were disturbed.
func (c *sampling) noisy(all samples) (n int) {
	for _, s := range all {
		if s.noise > c.NoiseLimit {
			n++
		}
	}
	return n
}

// tooNoisy reports that more than a quarter of the samples were disturbed.
func (c *sampling) tooNoisy(all samples) bool { return 4*c.noisy(all) > len(all) }

// describeMachine tells what the figures depend on.
func describeMachine(ctx context.Context, out io.Writer) {
	fmt.Fprintf(out, "%s. %d processors (%s), Linux %s, %s, %s.\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), processor(),
		firstLine(os.ReadFile("/proc/sys/kernel/osrelease")), runtime.Version(), firstLine(exec.CommandContext(ctx, "nginx", "-v").CombinedOutput()))
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	_, after, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(after, "\n")
	return strings.Trim(line, " \t:")
}

func firstLine(text []byte, err error) string {
	if err != nil {
		return "(" + err.Error() + ")"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return strings.ReplaceAll(line, "nginx version: ", "")
}
