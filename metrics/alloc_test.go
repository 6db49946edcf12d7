//go:build !race

package metrics_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
)

func TestCountingDoesNotAllocate(t *testing.T) {
	s := metrics.New(2)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		h := s.Shard(5)
		h.Accepted.Add(1)
		h.QueueWait.Observe(0)
		h.FirstByte.Observe(time.Millisecond)
		h.RunTime.Observe(time.Second)
		h.Duration.Observe(time.Minute)
		h.Answered[200/100].Add(1)
		h.Rejected[metrics.RejectQueueFull].Add(1)
	}))
}

func TestAddingUpRequestsDoesNotAllocate(t *testing.T) {
	s := metrics.New(2)
	require.Zero(t, testing.AllocsPerRun(1000, func() { s.Requests() }))
}
