package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const asyncPython = `
import asyncio
here = 0

async def handle(req):
    global here
    if req.path == '/together':
        here += 1
        while here < 100:
            await asyncio.sleep(0.001)
    if req.path == '/never':
        await asyncio.sleep(1000)
    return 'hello'
`

// W9, P4: a hundred requests are on one worker at once; one that runs out of time is answered and cancelled, and its slot is free.
func TestW9AnAsyncHandlerHasAHundredRequestsAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "handler.py")
	require.NoError(t, os.WriteFile(file, []byte(asyncPython), 0o600))
	p := start(t, "serve", file, "--workers-max", "1", "--workers-concurrency", "100")
	var all sync.WaitGroup
	var good atomic.Int64
	for range 100 {
		all.Go(func() {
			if code, body := p.get("/together"); code == 200 && body == "hello" {
				good.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 100, good.Load())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.listen+"/never", nil)
	require.NoError(t, err)
	req.Header.Set("X-Timeout", "100ms")
	r, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, 504, r.StatusCode)
	require.Equal(t, "timeout", r.Header.Get("Fnpod-Error"))
	require.Eventually(t, func() bool { return p.number("queue", "executing") == 0 }, 10*time.Second, 5*time.Millisecond)
	require.InDelta(t, 1, p.series("fnpod_worker_starts_total"), 0)
}
