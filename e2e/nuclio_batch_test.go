package e2e_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const nuclioBatch = `
import nuclio_sdk, time
def handler(context, events):
    if any(e.path == '/raise' for e in events):
        raise ValueError('no batch')
    if any(e.path == '/slow' for e in events):
        time.sleep(30)
    return [nuclio_sdk.Response(body='%d %s %s' % (len(events), e.path, e.body.decode()), headers={'x-a': e.headers.get('X-A', '')}, status_code=201, event_id=e.id)
            for e in reversed(events) if e.path != '/none']
`

// §5.8, B10–B12: a batch is full or due; each client has the answer to its event.
func TestNuclio58Batches(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{
		files: py(nuclioBatch), spec: "  eventTimeout: 2s\n",
		trigger: "      batch: {mode: enable, batchSize: 3, timeout: 500ms}\n",
	})
	type answered struct {
		code       int
		body, path string
		err        error
	}
	ask := func(paths ...string) (all []answered) {
		all = make([]answered, len(paths))
		var clients sync.WaitGroup
		for i, path := range paths {
			clients.Go(func() {
				all[i].path = path
				r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.listen+path, strings.NewReader(strconv.Itoa(i)))
				if err == nil {
					r.Header.Set("X-A", path)
					var resp *http.Response
					if resp, err = http.DefaultClient.Do(r); err == nil {
						all[i].code = resp.StatusCode
						b := make([]byte, 1000)
						n, _ := resp.Body.Read(b) // small answers are one piece
						all[i].body = string(b[:n])
						err = resp.Body.Close()
					}
				}
				all[i].err = err
			})
		}
		clients.Wait()
		return all
	}
	for i, a := range ask("/a", "/b", "/c") {
		require.NoError(t, a.err)
		require.Equal(t, 201, a.code)
		require.Equal(t, "3 "+a.path+" "+strconv.Itoa(i), a.body)
	}
	from := time.Now()
	resp, body := nuclioAsk(t, p, "POST", "/alone", "x", "X-A: y")
	require.Equal(t, "1 /alone x", body)
	require.Equal(t, "y", resp.Header.Get("X-A"))
	require.GreaterOrEqual(t, time.Since(from), 500*time.Millisecond)
	for _, a := range ask("/d", "/none", "/e") {
		require.NoError(t, a.err)
		if a.path == "/none" {
			require.Equal(t, 200, a.code)
			require.Empty(t, a.body)
		} else {
			require.Equal(t, 201, a.code)
		}
	}
	for _, a := range ask("/f", "/raise", "/g") {
		require.Equal(t, 500, a.code, "B11")
		require.True(t, strings.HasPrefix(a.body, `Exception caught in handler - "no batch"`), a.body)
	}
	for _, a := range ask("/h", "/slow", "/i") {
		require.Equal(t, 408, a.code)
	}
	_, body = nuclioAsk(t, p, "POST", "/alone", "z")
	require.Equal(t, "1 /alone z", body, "B12")

	for _, bad := range []nuclioSpec{
		{runtime: "shell", handler: "cat", trigger: "      batch: {mode: enable}\n"},
		{trigger: "      batch: {mode: enable, timeout: x}\n"},
	} {
		q := prepareNuclio(t, bad)
		q.begin()
		require.Equal(t, 1, q.exit())
		require.Contains(t, q.log.String(), "batch")
	}
}
