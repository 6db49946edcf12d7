package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// B2, B3, T2, T5: whatever becomes of workers, an answer is the one to its request, and the pod lives.
func TestNuclioAnswersBelongToTheirRequests(t *testing.T) {
	t.Parallel()
	const requests, clients = 60, 6
	spec := nuclioSpec{
		files:   py("import os, time", "def handler(context, event):", "    if event.path == '/sleep': time.sleep(float(event.body))", "    if event.path == '/exit': os._exit(int(event.body))", "    return event.fields.get('id', '') + ' ' + event.path"),
		trigger: "      numWorkers: 3\n      workerAvailabilityTimeoutMilliseconds: 100000\n", spec: "  eventTimeout: 1s\n",
	}
	for name, start := range map[string]func(*testing.T, nuclioSpec) *nuclioPod{"ours": startNuclio, "external": external} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, spec)
			before := p.holds()
			var wrong, good atomic.Int64
			var all sync.WaitGroup
			for c := range clients {
				all.Go(func() {
					transport := &http.Transport{}
					defer transport.CloseIdleConnections()
					client := &http.Client{Timeout: 100 * time.Second, Transport: transport}
					for i := range requests {
						id := fmt.Sprintf("%d-%d", c, i)
						path, body := "/echo", "x"
						switch rand.IntN(20) {
						case 0:
							path, body = "/exit", "3"
						case 1:
							path, body = "/sleep", "30"
						case 2:
							path, body = "/sleep", "0.01"
						}
						if name == "external" && path == "/echo" {
							path, body = "/raw", `r{"body": "`+id+` /raw", "body_encoding": "text"}`+"\n"
						}
						resp, err := client.Post("http://"+p.listen+path+"?id="+id, "", strings.NewReader(body))
						if err != nil {
							wrong.Add(1)
							continue
						}
						b, err := io.ReadAll(resp.Body)
						_ = resp.Body.Close()
						text := string(b)
						switch {
						case err != nil:
							wrong.Add(1)
						case resp.StatusCode == 200 && (text == id+" "+path || name == "external" && text == "slept" && path == "/sleep"):
							good.Add(1)
						case resp.StatusCode == 500 && text == "EOF" && path == "/exit", resp.StatusCode == 408 && body == "30":
						default:
							wrong.Add(1)
							t.Logf("%s %s: %d %s", path, id, resp.StatusCode, text)
						}
					}
				})
			}
			all.Wait()
			require.Zero(t, wrong.Load())
			require.Greater(t, good.Load(), int64(clients*requests/2))
			p.waitHealthy()
			require.Eventually(t, func() bool { return len(p.children()) == 3 }, 10*time.Second, 5*time.Millisecond)
			require.Eventually(t, func() bool {
				now := p.holds()
				return now.files <= before.files && now.goroutines <= before.goroutines && now.executing == 0
			}, 20*time.Second, 50*time.Millisecond, "nothing is left of what died")
			p.signal(syscall.SIGTERM)
			require.Equal(t, 0, p.exit())
			require.NotContains(t, p.log.String(), "DATA RACE")
			require.NotContains(t, p.log.String(), "panic")
		})
	}
}
