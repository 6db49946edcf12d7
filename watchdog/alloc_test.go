//go:build !race

package watchdog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/watchdog"
)

func TestLinesDoNotAllocate(t *testing.T) {
	seen := 0
	l := watchdog.NewLines(watchdog.Config{OutputRate: 1 << 30, Output: func(l watchdog.Line) { seen += len(l.Text) }})
	text := []byte("one line\nanother one\nhalf of a")
	require.Zero(t, testing.AllocsPerRun(1000, func() { l.Write(text) }))
	require.Positive(t, seen)
}

// What a request costs in memory does not grow with the number of its fields.
func TestForkAllocatesLittle(t *testing.T) {
	run := func(fields ...string) float64 {
		c := watchdog.DefaultForkConfig()
		c.Path, c.Env = truePath, []string{"A=1", "B=2"}
		c.Output = func(string, watchdog.Line) {}
		f := forks(t, c)
		x := newExchange("GET /path?query", fields...)
		return testing.AllocsPerRun(50, func() {
			x.status, x.finished, x.fields = 0, false, x.fields[:0]
			if err := f.Do(x); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := run("A: 1"), run("A: 1", "B: 2", "C: 3", "D: 4", "E: 5", "F: 6", "G: 7", "H: 8", "I: 9", "J: 10")
	t.Log(few, many)
	require.LessOrEqual(t, many, few+2)
	require.Less(t, few, 20.0)
}
