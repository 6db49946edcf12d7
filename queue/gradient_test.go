package queue_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// server is a function that can do some requests at once; more of them share.
type server struct {
	capacity int
	service  time.Duration
	r        *rand.Rand
}

// observe lets a request end beside executing-1 others.
func (s *server) observe(executing int) time.Duration {
	d := float64(s.service) * max(1, float64(executing)/float64(s.capacity))
	return time.Duration(d * (0.9 + 0.2*s.r.Float64()))
}

func (s *server) settle(g *queue.Gradient, n int) int {
	for range n {
		executing := g.Limit() // there is always more to do than may run
		g.Observe(s.observe(executing), executing)
	}
	return g.Limit()
}

func TestTheGradientFindsTheCapacity(t *testing.T) {
	for _, capacity := range []int{4, 20, 100} {
		s := &server{capacity: capacity, service: 10 * time.Millisecond, r: rand.New(rand.NewPCG(1, 2))}
		for _, start := range []int{1, 20, 400} {
			limit := s.settle(queue.NewGradient(start, 1, 1000), 400_000)
			t.Logf("capacity %d, start %d: limit %d", capacity, start, limit)
			require.GreaterOrEqual(t, limit, capacity, "nothing of the capacity is left unused")
			require.LessOrEqual(t, limit, 2*capacity+20, "what runs does not wait in the function for long")
		}
	}
}

func TestTheGradientLearnsNothingFromIdleTimes(t *testing.T) {
	g := queue.NewGradient(50, 1, 1000)
	for range 1000 {
		require.Equal(t, 50, g.Observe(time.Millisecond, 10))
	}
}

func TestTheGradientStaysWithinItsBounds(t *testing.T) {
	g := queue.NewGradient(500, 10, 100)
	require.Equal(t, 100, g.Limit())
	d := time.Millisecond
	for range 20_000 {
		g.Observe(d, 100)
		d += d / 1000
	}
	require.Equal(t, 10, g.Limit())
	for range 100_000 {
		g.Observe(time.Microsecond, 100)
	}
	require.Equal(t, 100, g.Limit())
}
