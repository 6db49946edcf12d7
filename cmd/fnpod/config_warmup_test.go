package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

func TestWarmupsAreWrittenInOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"a": 1}`), 0o600))
	var w warmups
	require.NoError(t, w.parse("/; HEAD /a?b=c x3 ; POST /p @"+file+"; PUT /p @"+file+" x20;", nil))
	body := []byte(`{"a": 1}`)
	require.Equal(t, warmups{
		workers.Warmup{Method: "GET", Target: "/", Times: 1},
		workers.Warmup{Method: "HEAD", Target: "/a?b=c", Times: 3},
		workers.Warmup{Method: "POST", Target: "/p", Body: body, Times: 1},
		workers.Warmup{Method: "PUT", Target: "/p", Body: body, Times: 20},
	}, w)
	require.Equal(t, "GET /; HEAD /a?b=c x3; POST /p @(8 bytes); PUT /p @(8 bytes) x20", w.String())
	for _, bad := range []string{"GET", "GET path", "/ 3", "/ x", "/ x-1", "/ x3 @f", "/ x3 x4", "POST / @/no/such/file"} {
		require.Error(t, w.parse(bad, nil), bad)
	}
	require.Len(t, w, 4, "unchanged after an error")
	require.NoError(t, w.parse("", nil))
	require.Empty(t, w)
}
