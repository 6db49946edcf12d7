package knative_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/knative"
)

func TestKnative134RouteTags(t *testing.T) {
	var tags knative.Tags
	for _, tt := range []struct{ tag, untagged, today, older string }{
		{"", "", "kn:disabled", "DISABLED"},
		{"", "true", "kn:default", "DEFAULT"},
		{"", "false", "kn:default", "DEFAULT"},
		{"blue", "true", "kn:undefined", "UNDEFINED"},
		{"blue", "false", "blue", "blue"},
		{"blue", "", "blue", "blue"},
		{"green", "", "green", "green"},
	} {
		n := tags.Number(tt.tag, tt.untagged)
		require.Equal(t, tt.today, tags.Name(n, 0), tt)
		require.Equal(t, tt.older, tags.Name(n, 1), tt)
	}
}

func TestTagsAreBounded(t *testing.T) {
	var tags knative.Tags
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for i := range 100 {
				tags.Number(strconv.Itoa(i), "")
			}
		})
	}
	done.Wait()
	own := 0
	for i := range 100 {
		name := strconv.Itoa(i)
		got := tags.Name(tags.Number(name, ""), 0)
		if got == name {
			own++
			continue
		}
		require.Equal(t, "kn:other", got)
	}
	require.Equal(t, 28, own)
	require.Zero(t, testing.AllocsPerRun(100, func() { tags.Number("0", "false") }))
}

// A series with a name that is no text would be no series, and a collector takes no message with one. A name that is long
// would be in a hundred lines.
func TestTagsAreShortTexts(t *testing.T) {
	var tags knative.Tags
	require.Equal(t, "kn:other", tags.Name(tags.Number("\xff", ""), 0))
	require.Equal(t, "ü", tags.Name(tags.Number("ü", ""), 0))
	require.Equal(t, "kn:other", tags.Name(tags.Number(strings.Repeat("x", 64), ""), 0))
	require.Equal(t, strings.Repeat("x", 63), tags.Name(tags.Number(strings.Repeat("x", 63), ""), 0))
}
