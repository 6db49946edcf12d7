package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
	"github.com/fnpod/fnpod/workers"
)

func TestTheLimitFollowsTheQuota(t *testing.T) {
	for _, test := range []struct {
		name         string
		auto, limits bool
		want         []int // limits with 2, 6, 1 processors; at least 2 workers
	}{
		{"as many as processors", true, true, []int{6, 18, 6}},
		{"a limit that was set", true, false, []int{6, 6, 6}},
		{"workers that were set", false, true, []int{6, 6, 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := workers.DefaultConfig()
				config.Min, config.Max, config.Concurrency = 2, 2, 3
				f := &workersFunction{pool: workers.New(config), config: config, auto: test.auto, limits: test.limits}
				p := &pod{log: slog.New(slog.DiscardHandler), function: f, queue: queue.New(queue.Config{Limit: 6})}
				var processors atomic.Int64
				processors.Store(2)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go p.followQuota(ctx, func() int { return int(processors.Load()) })
				for i, n := range []int64{2, 6, 1} {
					synctest.Wait()
					processors.Store(n)
					time.Sleep(2 * quotaLook)
					require.Equal(t, test.want[i], p.queue.Stats().Limit)
				}
			})
		})
	}
}
