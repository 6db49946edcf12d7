package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// 7.7, D10: what a client may write into its fields, no request of its passes the queue, and no probe reaches the function.
func TestKnative77AndD10NobodyPassesTheQueue(t *testing.T) {
	t.Parallel()
	otherwise(t, "D10: K-Kubelet-Probe passes everything; there is no admin port to read")
	for _, protocol := range []string{"http1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := newHoldingFunction(t)
			p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1")
			client := clientOf(t, protocol)
			ask := func(fields ...string) (int, string) {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.listen+"/x", strings.NewReader("body"))
				require.NoError(t, err)
				r.Header["User-Agent"] = nil
				for _, f := range fields {
					name, value, _ := strings.Cut(f, ": ")
					r.Header[name] = append(r.Header[name], value)
				}
				resp, err := client.Do(r)
				require.NoError(t, err)
				defer resp.Body.Close()
				buf := make([]byte, 100)
				n, _ := resp.Body.Read(buf) // the length is judged
				return resp.StatusCode, string(buf[:n])
			}
			held := make(chan int, 11)
			for range cap(held) {
				go func() {
					resp, err := client.Get("http://" + p.listen + "/")
					if err != nil {
						held <- 0
						return
					}
					_ = resp.Body.Close()
					held <- resp.StatusCode
				}()
			}
			p.waitRequests(1, 10)
			for _, fields := range [][]string{
				{"K-Kubelet-Probe: x"},
				{"K-Kubelet-Probe: true", "User-Agent: kube-probe", "K-Network-Probe: queue"},
				{"K-Network-Probe: queue"},
				{"K-Network-Probe: Probe", "K-Network-Hash: h"},
				{"K-Network-Probe: "},
				{"User-Agent: Kube-Probe/1.30", "K-Network-Probe: queue"},
				{"User-Agent:  x kube-probe/1.30", "K-Network-Probe: queue"},
				{"User-Agent: Knative-Ingress-Probe", "K-Network-Probe: queue"},
				{"User-Agent: Knative-Queue-Proxy-Probe", "K-Network-Probe: queue"},
				{"K-Network-Probe: other,probe", "K-Network-Hash: h"},
				{"K-Proxy-Request: activator"},
				{"Connection: K-Network-Probe", "K-Network-Probe: queue"},
			} {
				if protocol == "h2c" && strings.HasPrefix(fields[0], "Connection") {
					continue // has no place there
				}
				code, body := ask(fields...)
				require.Equal(t, 503, code, fields)
				require.Equal(t, "pending request queue full\n", body, fields)
			}
			for want, fields := range map[string][]string{
				"queue":                              {"User-Agent: kube-probe/1.30", "K-Network-Probe: queue", "K-Original-Host: h"},
				"unexpected probe header value: x\n": {"User-Agent: Knative-Activator-Probe", "K-Network-Probe: x"},
				"":                                   {"K-Network-Probe: probe", "K-Network-Hash: h"},
			} {
				_, body := ask(fields...)
				require.Equal(t, want, body, fields)
			}
			require.Equal(t, []float64{1, 10}, []float64{p.number("queue", "executing"), p.number("queue", "queued")})
			require.Eventually(t, func() bool { return f.most.Load() == 1 }, 10*time.Second, time.Millisecond)
			f.release()
			for range cap(held) {
				select {
				case code := <-held:
					require.Equal(t, 200, code)
				case <-time.After(20 * time.Second):
					require.Fail(t, "a request is lost")
				}
			}
			require.EqualValues(t, 1, f.most.Load(), "one at a time")
		})
	}
}

// A probe that asks for a tunnel gets none.
func TestKnative77AProbeIsNoTunnel(t *testing.T) {
	t.Parallel()
	f := newHoldingFunction(t)
	p := queueProxy(t, f.address)
	for _, protocol := range []string{"websocket", "h2c", "foo"} {
		resp, body := p.ask("GET", "/", "", "User-Agent: kube-probe/1.30", "K-Network-Probe: queue", "Connection: Upgrade", "Upgrade: "+protocol)
		require.Equal(t, 200, resp.StatusCode, protocol)
		require.Equal(t, "queue", body, protocol)
	}
	require.Zero(t, f.most.Load())
}
