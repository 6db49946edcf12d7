package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A function that is edited while clients ask for it: every answer is one of its versions, and a broken one is never seen.
func TestAFunctionIsEditedUnderLoad(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "handler.py")
	edit := func(source string) {
		require.NoError(t, os.WriteFile(file+".new", []byte(source), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	version := func(n int) string { return fmt.Sprintf("def handle(req):\n    return 'version %d'\n", n) }
	edit(version(0))
	p := start(t, "serve", file, "--watch", "--workers-warmup", "/ x2", "--workers-min", "2", "--workers-max", "2")
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if code, body := p.get("/"); code != 200 || !strings.HasPrefix(body, "version ") {
					t.Errorf("%d %q", code, body)
					return
				}
			}
		})
	}
	starts := p.series("fnpod_worker_starts_total")
	for n := 1; n <= 3; n++ {
		edit("def handle(req:\n")
		require.Eventually(t, func() bool { return p.series("fnpod_worker_starts_total") > starts }, 20*time.Second, 5*time.Millisecond)
		edit(version(n))
		require.Eventually(t, func() bool { _, body := p.get("/"); return body == fmt.Sprintf("version %d", n) }, 20*time.Second, 5*time.Millisecond)
		require.Eventually(t, func() bool { return p.number("function", "idle")+p.number("function", "busy") == 2 }, 20*time.Second, 5*time.Millisecond)
		starts = p.series("fnpod_worker_starts_total")
	}
	close(done)
	all.Wait()
}
