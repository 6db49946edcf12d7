package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// knativeService is a service of Kubernetes: its clients are connected to one of the pods that are ready, in turns.
type knativeService struct {
	next atomic.Uint64

	mu   sync.Mutex
	pods []string // guarded by mu: addresses
}

func (s *knativeService) set(change func(pods []string) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = change(s.pods)
}

func (s *knativeService) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	address := s.pods[s.next.Add(1)%uint64(len(s.pods))]
	s.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// rollingPod is a queue-proxy and the server of its user container.
type rollingPod struct {
	*queuePod

	function *http.Server
}

// newRollingPod starts a pod, and returns it when kubelet has found it ready.
func newRollingPod(t *testing.T) *rollingPod {
	t.Helper()
	l := listen(t)
	f := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.URL.Path == "/slow" {
			time.Sleep(100 * time.Millisecond)
		}
		_, _ = w.Write(body) // the client judges
	})}
	f.Protocols.SetHTTP1(true)
	f.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = f.Serve(l) }() // ends with Shutdown or Close
	t.Cleanup(func() { _ = f.Close() })
	p := &rollingPod{queueProxy(t, l.Addr().String(), "CONTAINER_CONCURRENCY=20", "FNPOD_DRAIN_DELAY=400ms",
		`SERVING_READINESS_PROBE={"tcpSocket":{"port":`+portOf(t, l.Addr().String())+`,"host":"127.0.0.1"},"successThreshold":1}`), f}
	resp, body := p.ask("GET", "/", "", kubelet...)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "queue", body)
	return p
}

// end is what kubelet does: it runs the preStop hook of the user container and ends the queue-proxy, which has none, at the same
// time; when the hook has ended it ends the user container. That the pod goes reaches those who send requests a little later.
func (p *rollingPod) end(t *testing.T, left func()) {
	t.Helper()
	hook := p.waitForDrain()
	p.waitShuttingDown()
	p.signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	left()
	require.Equal(t, 200, <-hook)
	require.NoError(t, p.function.Shutdown(t.Context()))
	require.Equal(t, 0, p.exit())
}

// rollingClient sends requests, one after the other, over connections that it keeps.
type rollingClient func(method, path, body string) (answer string, err error)

// plainClient repeats nothing, and leaves a connection when it is told to and not before.
func plainClient(t *testing.T, s *knativeService) rollingClient {
	t.Helper()
	var nc net.Conn
	var r *bufio.Reader
	t.Cleanup(func() {
		if nc != nil {
			_ = nc.Close()
		}
	})
	return func(method, path, body string) (string, error) {
		if nc == nil {
			var err error
			if nc, err = s.dial(context.Background(), "tcp", ""); err != nil {
				return "", err
			}
			r = bufio.NewReader(nc)
		}
		if _, err := fmt.Fprintf(nc, "%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body); err != nil {
			return "", err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return "", err
		}
		answer, err := io.ReadAll(resp.Body)
		if resp.Close {
			err = errors.Join(err, nc.Close())
			nc = nil
		}
		return answerOf(resp, answer, err)
	}
}

func answerOf(resp *http.Response, body []byte, err error) (string, error) {
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// goClient is one of Go, which repeats what it may.
func goClient(t *testing.T, s *knativeService, protocol string) rollingClient {
	t.Helper()
	client := clientOf(t, protocol)
	client.Transport.(*http.Transport).DialContext = s.dial
	return func(method, path, body string) (string, error) {
		r, err := http.NewRequest(method, "http://service"+path, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		resp, err := client.Do(r)
		if err != nil {
			return "", err
		}
		answer, err := io.ReadAll(resp.Body)
		return answerOf(resp, answer, err)
	}
}

// D3, 11.2 to 11.4: a service whose pods are replaced one after the other, for clients that keep their connections.
func TestKnativeD3RollingRestartsFailNoRequest(t *testing.T) {
	t.Parallel()
	otherwise(t, "D3: connections are kept, the drain does not end")
	s := &knativeService{}
	pods := []*rollingPod{newRollingPod(t), newRollingPod(t)}
	for _, p := range pods {
		s.pods = append(s.pods, p.listen)
	}
	senders := map[string]rollingClient{}
	for i := range 4 {
		senders[fmt.Sprint("plain ", i)] = plainClient(t, s)
		senders[fmt.Sprint("http1 ", i)] = goClient(t, s, "http1")
	}
	for i := range 2 {
		senders[fmt.Sprint("h2c ", i)] = goClient(t, s, "h2c")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var good atomic.Int64
	failures := make(chan string, len(senders)) // each ends with its first
	for name, send := range senders {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := fmt.Sprint(name, i)
				path := "/"
				if i%50 == 0 {
					path = "/slow"
				}
				got, err := send([]string{"GET", "POST"}[i%2], path, body)
				if err != nil || got != body {
					failures <- fmt.Sprintf("%s, request %d: %q %v", name, i, got, err)
					return
				}
				good.Add(1)
			}
		})
	}
	restarts := full(2, 100)
	for range restarts {
		young, old := newRollingPod(t), pods[0]
		pods = append(pods[1:], young)
		s.set(func(list []string) []string { return append(list, young.listen) })
		old.end(t, func() {
			s.set(func(list []string) []string {
				return slices.DeleteFunc(list, func(address string) bool { return address == old.listen })
			})
		})
		before := good.Load()
		require.Eventually(t, func() bool { return good.Load() > before+100 || len(failures) > 0 }, 20*time.Second, time.Millisecond)
		if len(failures) > 0 {
			break
		}
	}
	cancel()
	clients.Wait()
	close(failures)
	for f := range failures {
		require.Fail(t, f)
	}
	t.Logf("%d restarts, %d requests, none failed", restarts, good.Load())
}
