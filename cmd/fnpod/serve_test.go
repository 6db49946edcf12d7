package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// Every setting of the workers reaches the pool; --workers-client-grace once did not.
func TestEverySettingOfTheWorkersReachesThePool(t *testing.T) {
	c := settingsOf[serveCmd](t, nil, "serve", handlerFile(t), "--workers-min=2", "--workers-max=3", "--workers-idle-timeout=1m1s",
		"--workers-start-timeout=1m2s", "--workers-timeout=1m3s", "--workers-client-grace=1m4s", "--workers-grace=1m5s",
		"--workers-max-requests=6", "--workers-max-rss=7MiB", "--workers-concurrency=9", "--workers-warmup=/ x2", "--watch", "--workers-lane-bytes=65536")
	config, err := c.config(&invocation{env: newEnvironment(os.Environ())})
	require.NoError(t, err)
	require.Equal(t, 2, config.Min)
	require.Equal(t, 3, config.Max)
	require.Equal(t, time.Minute+time.Second, config.IdleTimeout)
	require.Equal(t, time.Minute+2*time.Second, config.StartTimeout)
	require.Equal(t, time.Minute+3*time.Second, config.Timeout)
	require.Equal(t, time.Minute+4*time.Second, config.ClientGrace)
	require.Equal(t, time.Minute+5*time.Second, config.Grace)
	require.Equal(t, 6, config.MaxRequests)
	require.EqualValues(t, 7<<20, config.MaxRSS)
	require.Equal(t, 9, config.Concurrency)
	require.Equal(t, []workers.Warmup{{Method: "GET", Target: "/", Times: 2}}, config.Warmup)
	require.True(t, config.Watch)
	require.Equal(t, 65536, config.LaneBytes)
}
