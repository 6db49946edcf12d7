package e2e_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const nuclioAsyncHandler = `
import asyncio
here = 0

async def handler(context, event):
    global here
    if event.path == '/never':
        await asyncio.sleep(1000)
    here += 1
    while here < 20:
        await asyncio.sleep(0.001)
    return context.worker_id + event.path
`

// Nuclio contract §7.7: in mode async a worker has several events at once, and the time-out of one is no end of the others.
func TestNuclio77ModeAsync(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files:   map[string]string{"main.py": nuclioAsyncHandler},
		spec:    "  eventTimeout: 2s\n",
		trigger: "      mode: async\n      async: {maxConnectionsNumber: 21}\n",
	})
	codes := make(chan int, 1)
	go func() {
		code, _ := p.get("/never")
		codes <- code
	}()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if code, body := p.get(fmt.Sprintf("/%d", i)); code != 200 || body != fmt.Sprintf("0/%d", i) {
				t.Errorf("%d %q", code, body)
			}
		})
	}
	all.Wait()
	require.Equal(t, 408, <-codes)
	code, body := p.get("/after")
	require.Equal(t, 200, code)
	require.Equal(t, "0/after", body)
}
