package e2e_test

import (
	"context"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// autoscalerStat is what the autoscaler reads of a pod, by the numbers of the fields.
type autoscalerStat map[protowire.Number]float64

// Fields of autoscalerStat.
const (
	average        protowire.Number = 2
	proxiedAverage protowire.Number = 3
	perSecond      protowire.Number = 4
	proxiedRate    protowire.Number = 5
	uptime         protowire.Number = 6
)

// stat scrapes as the autoscaler does.
func (p *queuePod) stat() autoscalerStat {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.autoscaler+"/metrics", nil)
	require.NoError(p.t, err)
	r.Header.Set("Accept", "text/plain") // changes nothing (10.1)
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	require.Equal(p.t, "application/protobuf", resp.Header.Get("Content-Type"))
	b, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	require.LessOrEqual(p.t, len(b), 336)
	require.Equal(p.t, "\x0a\x09hello-pod", string(b[:11]))
	m := autoscalerStat{}
	for b = b[11:]; len(b) > 0; b = b[9:] {
		number, kind := protowire.DecodeTag(uint64(b[0]))
		require.Equal(p.t, protowire.Fixed64Type, kind)
		bits, n := protowire.ConsumeFixed64(b[1:])
		require.Equal(p.t, 8, n)
		m[number] = math.Float64frombits(bits)
	}
	return m
}

// windows calls see with every new window until it is content.
func (p *queuePod) windows(see func(autoscalerStat) bool) {
	p.t.Helper()
	seen := 0.0
	require.Eventually(p.t, func() bool {
		m := p.stat()
		if m[uptime] == seen {
			return false
		}
		seen = m[uptime]
		return see(m)
	}, 20*time.Second, 20*time.Millisecond)
}

// blocked is a function that answers when release is closed.
func blocked(t *testing.T) (address string, release func()) {
	t.Helper()
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return userContainer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}), release
}

func TestKnative10TheAutoscalerSeesRequests(t *testing.T) {
	t.Parallel()
	address, release := blocked(t)
	p := queueProxy(t, address)
	t.Cleanup(release)
	require.Zero(t, p.stat()[perSecond])
	var clients sync.WaitGroup
	otherwise(t, "D10: K-Kubelet-Probe hides a request")
	for _, fields := range [][]string{nil, {"K-Kubelet-Probe: x"}, {"K-Proxy-Request: activator"}, {"K-Proxy-Request: Activator"}} { // D10; 10.5
		clients.Go(func() { p.ask("GET", "/", "", fields...) })
	}
	came, proxied := 0.0, 0.0
	p.windows(func(m autoscalerStat) bool {
		came, proxied = came+m[perSecond], proxied+m[proxiedRate]
		return m[average] == 4 && m[proxiedAverage] == 1
	})
	require.Equal(t, []float64{4, 1}, []float64{came, proxied}, "each counts once")
	p.ask("GET", "/", "", "User-Agent: kube-probe/1.30", "K-Network-Probe: queue") // 10.6
	release()
	clients.Wait()
	p.windows(func(m autoscalerStat) bool {
		require.NotContains(t, m, perSecond, "probes are no requests")
		return len(m) == 1 // uptime alone (10.2)
	})
}

func TestKnative104WhoWaitsAndWhoIsRefusedIsSeen(t *testing.T) {
	t.Parallel()
	address, release := blocked(t)
	p := queueProxy(t, address, "CONTAINER_CONCURRENCY=1")
	t.Cleanup(release)
	var clients sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for range 16 {
		clients.Go(func() {
			if resp, _ := p.ask("GET", "/", ""); resp.StatusCode == http.StatusServiceUnavailable {
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	came := 0.0
	p.windows(func(m autoscalerStat) bool {
		came += m[perSecond]
		return m[average] == 11
	})
	require.InDelta(t, 16, came, 0)
	release()
	clients.Wait()
	require.Equal(t, 5, refused)
}

func TestKnative85AWebSocketCountsWhileItIsOpen(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, new(echo).ServeHTTP))
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.listen, nil)
	require.NoError(t, err)
	p.windows(func(m autoscalerStat) bool { return m[average] == 1 && m[perSecond] == 0 })
	require.NoError(t, c.CloseNow())
	p.windows(func(m autoscalerStat) bool { return m[average] == 0 })
}

// Whatever becomes of requests, none is left in the figures.
func TestKnative104RequestsThatEndBadlyHaveEnded(t *testing.T) {
	t.Parallel()
	address := dualContainer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a client that leaves is seen then
		switch r.URL.Path {
		case "/cut":
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/hang":
			<-r.Context().Done()
		}
	})
	p := queueProxy(t, address, "CONTAINER_CONCURRENCY=3", "REVISION_TIMEOUT_SECONDS=1")
	var clients sync.WaitGroup
	for i := range 8 {
		client := clientOf(t, []string{"http1", "h2c"}[i%2])
		clients.Go(func() {
			for n := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n*7%40)*time.Millisecond)
				path := []string{"/", "/cut", "/hang"}[n%3]
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.listen+path, strings.NewReader("body"))
				if err == nil {
					if resp, err := client.Do(r); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body) // it may be cut
						_ = resp.Body.Close()
					}
				}
				cancel()
			}
		})
	}
	clients.Wait()
	p.windows(func(m autoscalerStat) bool { return len(m) == 1 }) // uptime alone
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
}
