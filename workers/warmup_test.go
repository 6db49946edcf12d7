package workers_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// Every worker has answered the requests for warming up before it gets others, successors too, and they count nowhere.
func TestWorkersAreWarmedUp(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"good", "several"} {
		c := config(t, mode)
		c.Concurrency = 5
		c.MaxRequests = 3
		c.Warmup = []workers.Warmup{
			{Method: "GET", Target: "/hello", Times: 3},
			{Method: "POST", Target: "/echo?x=1", Body: make([]byte, 3000), Times: 1},
		}
		p := running(t, c)
		require.Equal(t, "5", p.get(t, "/served"))
		require.EqualValues(t, 1, p.Stats().Requests)
		require.Equal(t, 1, p.logs.count("worker warmed up"))
		for p.Stats().Ends[workers.ReasonRecycled] == 0 {
			n, err := strconv.Atoi(p.get(t, "/served"))
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, 5)
		}
		require.GreaterOrEqual(t, p.logs.count("worker warmed up"), 2)
	}
}

// W8: a worker that does not warm up has not started.
func TestW8AWorkerThatDoesNotWarmUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, text string }{
		{"/error?500", "GET /error?500: ValueError: no such thing"},
		{"/status?404", "GET /status?404: answered with status 404"},
		{"/exit?3", "GET /exit?3: workers: worker died: exit status 3"},
		{"/hang", "GET /hang: no answer within 2s of its start (workers-start-timeout)"},
		{"/garbage", "GET /garbage: workers: worker broke the protocol"},
	} {
		t.Run(c.target, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []string{"good", "several"} {
				cfg := config(t, mode)
				cfg.Concurrency = 5
				cfg.StartTimeout = 2 * time.Second
				cfg.Warmup = []workers.Warmup{{Method: "GET", Target: c.target, Times: 1}}
				p := run(t, cfg)
				err := <-p.end
				p.end <- err
				var init *workers.InitError
				require.ErrorAs(t, err, &init)
				require.Equal(t, "WarmUp", init.Type)
				require.Contains(t, init.Message, c.text)
				require.EqualValues(t, 1, p.Stats().Ends[workers.ReasonStart])
			}
		})
	}
}

// The end of the pool does not wait for workers that warm up.
func TestStopWhileWorkersWarmUp(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"good", "several"} {
		c := config(t, mode)
		c.Concurrency = 5
		c.Warmup = []workers.Warmup{{Method: "GET", Target: "/hang", Times: 1}}
		p := run(t, c)
		require.Eventually(t, func() bool { return p.logs.running() == 1 }, patience, time.Millisecond)
		require.NoError(t, p.stop())
		require.Zero(t, p.Stats().Requests)
	}
}

func TestWarmupsAreChecked(t *testing.T) {
	t.Parallel()
	for text, u := range map[string]workers.Warmup{
		`workers-warmup "GET /": 0 times: allowed are 1 to 100000`: {Method: "GET", Target: "/"},
		`workers-warmup "GET /a b":`:                               {Method: "GET", Target: "/a b", Times: 1},
		`workers-warmup "G(T /":`:                                  {Method: "G(T", Target: "/", Times: 1},
	} {
		c := config(t, "good")
		c.Warmup = []workers.Warmup{u}
		require.ErrorContains(t, c.Validate(), text)
	}
}
