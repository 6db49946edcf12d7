package e2e_test

import (
	"flag"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soak asks for the full sizes: make soak.
var (
	soak     = flag.Bool("soak", false, "full sizes instead of those for every day")
	soakTime = flag.Duration("soak-time", 30*time.Minute, "how long each pod of the soak test is under load")
)

// full is a size for every day, and its full version.
func full(everyday, soaking int) int {
	if *soak {
		return soaking
	}
	return everyday
}

// sample is what a pod holds when it rests.
type sample struct {
	memory   int64
	children int
	holdings
}

func (p *pod) sample() sample {
	p.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	return sample{p.memory("VmRSS"), len(p.children()), p.holds()}
}

// TestP3SoakNothingGrows lets crowd after crowd loose on pods, with faults, and looks
// at what they hold in between: descriptors, goroutines and processes are as before,
// and memory does not rise.
func TestP3SoakNothingGrows(t *testing.T) {
	const most = 20_000_000
	rounds, requests := 2, full(1_000, 20_000)
	for _, kind := range crowdPods {
		t.Run(kind, func(t *testing.T) {
			p, l, note, d := crowdPod(t, kind, full(10_000, most), func(env []string, command string, args ...string) *pod {
				return startPlain(t, env, command, args...)
			})
			c := newCrowd(t, len(l.runs))
			var samples []sample
			end := time.Now().Add(*soakTime)
			for round := 0; round < rounds || *soak && time.Now().Before(end) && int(c.total)+requests <= most; round++ {
				c.face(p, requests, d)
				if kind != "proxy" {
					require.Eventually(t, func() bool { return p.number("function", "idle") == 2 }, 30*time.Second, 20*time.Millisecond, "workers are missing")
				}
				samples = append(samples, p.sample())
			}
			note()
			c.check(p, l)
			first, last := samples[0], samples[len(samples)-1]
			t.Logf("first %+v, last %+v", first, last)
			require.Equal(t, first.children, last.children)
			first.files += 4 // connections to the function that wait for the next request
			p.rests(first.holdings)
			if !*soak {
				return
			}
			slices.SortFunc(samples[len(samples)/4:len(samples)/2], byMemory)
			slices.SortFunc(samples[len(samples)*3/4:], byMemory)
			early, late := samples[len(samples)*3/8].memory, samples[len(samples)*7/8].memory
			t.Logf("memory: %.1f MB in the second quarter, %.1f MB in the last", float64(early)/(1<<20), float64(late)/(1<<20))
			require.Less(t, late, early+(2<<20))
		})
	}
}

func byMemory(a, b sample) int { return int(a.memory - b.memory) }
