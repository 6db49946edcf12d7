package workers_test

import (
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers"
)

// indexOf is the index that a worker was told.
var indexOf = regexp.MustCompile(`(?m)^FNPOD_WORKER_INDEX=(\d+)$`)

// Nuclio's contract W2, W6: workers take turns, and are known by their place.
func TestWorkersTakeTurns(t *testing.T) {
	c := config(t, "good")
	c.Min, c.Max, c.Turns = 3, 3, true
	var mu sync.Mutex
	ran := map[int]int{}
	c.Ran = func(index int, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		ran[index]++
		if took <= 0 {
			ran[-1]++
		}
	}
	p := running(t, c)
	p.settled(t, "all are ready", func(s workers.Stats) bool { return s.Idle == 3 })
	var turns []string
	for range 9 {
		turns = append(turns, indexOf.FindStringSubmatch(p.get(t, "/env"))[1])
	}
	require.ElementsMatch(t, []string{"0", "1", "2"}, turns[:3])
	require.Equal(t, turns[:3], turns[3:6])
	require.Equal(t, turns[:3], turns[6:])
	require.Equal(t, map[int]int{0: 3, 1: 3, 2: 3}, ran)
}

func TestTheSuccessorOfADeadWorkerHasItsIndex(t *testing.T) {
	c := config(t, "good")
	c.Min, c.Max = 1, 1
	p := running(t, c)
	for range 3 {
		require.Equal(t, "0", indexOf.FindStringSubmatch(p.get(t, "/env"))[1])
		require.Error(t, p.Do(newExchange("/kill")))
	}
}

func TestOurIDOfARequestMayBeHidden(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		c := config(t, "good")
		c.WithoutRequestID = hidden
		p := running(t, c)
		if got := p.get(t, "/meta"); hidden {
			require.Contains(t, got, "|x-request-id|spoofed|", "the client's own, as any field")
		} else {
			require.Contains(t, got, "|x-request-id|")
			require.NotContains(t, got, "spoofed")
		}
	}
}
