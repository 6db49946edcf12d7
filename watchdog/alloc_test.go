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
