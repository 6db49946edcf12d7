//go:build !race

package workers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequestsAllocateNothing(t *testing.T) {
	c := config(t, "quiet")
	c.Min, c.Max = 1, 1
	p := running(t, c)
	for name, x := range map[string]*exchange{
		"without body": newExchange("/hello"),
		"small body":   post("/echo", make([]byte, 1000)),
		"in the lane":  post("/echo", make([]byte, 100_000)),
	} {
		x.keep = false
		do := func() {
			x.again()
			if err := p.Do(x); err != nil {
				t.Fatal(err)
			}
		}
		do()
		require.Zero(t, testing.AllocsPerRun(500, do), name)
	}
}

func TestAStreamedAnswerAllocatesNoFrames(t *testing.T) {
	c := function(t, "stream.py", "def handle(req):\n    return (bytes(65536) for _ in range(100))\n")
	c.Min, c.Max = 1, 1
	p := running(t, c)
	x := newExchange("/")
	x.keep = false
	do := func() {
		x.again()
		if err := p.Do(x); err != nil {
			t.Fatal(err)
		}
	}
	do()
	require.Less(t, testing.AllocsPerRun(10, do), 10.0, "allocations for 100 frames of the largest size")
}
