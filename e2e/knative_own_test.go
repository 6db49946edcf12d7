package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What fnpod can do beyond the original, by variables of its own.

// gatedFunction lets requests in one by one, and notes in which order.
type gatedFunction struct {
	address string
	let     chan struct{}

	mu    sync.Mutex
	order []string // guarded by mu: paths
}

func newGatedFunction(t *testing.T) *gatedFunction {
	t.Helper()
	f := &gatedFunction{let: make(chan struct{})}
	f.address = userContainer(t, func(_ http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.order = append(f.order, r.URL.Path)
		f.mu.Unlock()
		select {
		case <-f.let:
		case <-r.Context().Done():
		}
	})
	return f
}

// arrived waits until the function had n requests, and returns the path of the last of them.
func (f *gatedFunction) arrived(t *testing.T, n int) (last string) {
	t.Helper()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.order) < n {
			return false
		}
		last = f.order[n-1]
		return true
	}, 10*time.Second, time.Millisecond, "the function has no request %d", n)
	return last
}

// served sends requests, each when the one before has its place, lets all of them in and returns the order in which the
// function had them.
func (f *gatedFunction) served(p *queuePod, requests ...[]string) []string {
	p.t.Helper()
	var clients sync.WaitGroup
	for i, r := range requests {
		clients.Go(func() { p.ask("GET", r[0], "", r[1:]...) })
		p.waitRequests(1, float64(i))
	}
	close(f.let)
	clients.Wait()
	return f.order
}

func TestKnativeOwnClassesAndFairness(t *testing.T) {
	t.Parallel()
	otherwise(t, "it has one line")
	t.Run("classes", func(t *testing.T) {
		t.Parallel()
		f := newGatedFunction(t)
		p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1", "FNPOD_QUEUE_CLASSES=high=0%:header:X-Class=high;low=0%:*")
		require.Equal(t, []string{"/1", "/high", "/2", "/3"}, f.served(p, []string{"/1"}, []string{"/2"}, []string{"/3"}, []string{"/high", "X-Class: high"}))
	})
	t.Run("fairness", func(t *testing.T) {
		t.Parallel()
		f := newGatedFunction(t)
		p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1", "FNPOD_QUEUE_FAIR_BY=header:X-User")
		order := f.served(p, []string{"/1", "X-User: a"}, []string{"/2", "X-User: a"}, []string{"/3", "X-User: a"}, []string{"/4", "X-User: a"}, []string{"/b", "X-User: b"})
		require.Contains(t, order[1:3], "/b", "whoever has asked once does not wait for those of who has asked often")
	})
	t.Run("none", func(t *testing.T) { // 11.1: first come, first served
		t.Parallel()
		f := newGatedFunction(t)
		p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1")
		require.Equal(t, []string{"/1", "/2", "/3", "/4", "/5"}, f.served(p, []string{"/1"}, []string{"/2"}, []string{"/3"}, []string{"/4"}, []string{"/5"}))
	})
}

// When the line stands for a while, who came last is served next, so that somebody is served in time.
func TestKnativeOwnAdaptiveDiscipline(t *testing.T) {
	t.Parallel()
	otherwise(t, "its line is in order")
	f := newGatedFunction(t)
	p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1", "FNPOD_QUEUE_DISCIPLINE=adaptive")
	var clients []<-chan answer
	come := func() { clients = append(clients, p.later(fmt.Sprint("/", len(clients)))) }
	come()
	p.waitRequests(1, 0)
	for range 10 {
		come()
	}
	p.waitRequests(1, 10)
	for end, served := time.Now().Add(20*time.Second), 1; ; served++ {
		require.True(t, time.Now().Before(end), "the line stays in order")
		f.let <- struct{}{}
		p.waitRequests(1, 9)
		if last := f.arrived(t, served+1); last != fmt.Sprint("/", served) {
			require.Equal(t, fmt.Sprint("/", len(clients)-1), last)
			break
		}
		come()
		p.waitRequests(1, 10)
	}
	close(f.let)
	for _, got := range clients {
		require.Equal(t, 200, (<-got).code)
	}
}

func TestKnativeOwnAnswersTellOfThemselves(t *testing.T) {
	t.Parallel()
	otherwise(t, "its answers tell nothing")
	nobody := freePort(t)
	for name, p := range map[string]*queuePod{
		"on":  queueProxy(t, nobody, "FNPOD_SERVER_TIMING=true", "FNPOD_KNATIVE_ERROR_FIELD=true"),
		"off": queueProxy(t, nobody),
	} {
		resp, body := p.ask("POST", "/", "x")
		require.Equal(t, 502, resp.StatusCode)
		require.Equal(t, "dial tcp "+nobody+": connect: connection refused\n", body, "the words are the platform's")
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		if name == "off" {
			require.Empty(t, resp.Header.Get("Fnpod-Error"))
			require.Empty(t, resp.Header.Get("Server-Timing"))
			continue
		}
		require.Equal(t, "connect", resp.Header.Get("Fnpod-Error"))
		require.Regexp(t, `^queue;dur=\d+\.\d{3}, run;dur=\d+\.\d{3}$`, resp.Header.Get("Server-Timing"))
	}
}

// A function may listen on a unix socket: containers of a pod have the abstract ones in common. The controller's probe, which is for
// the port of the user container, looks there, too.
func TestKnativeOwnUnixSocket(t *testing.T) {
	t.Parallel()
	otherwise(t, "the function has a port")
	nobody := freePort(t)
	port := portOf(t, nobody)
	for i, socket := range []string{filepath.Join(t.TempDir(), "f.sock"), "@fnpod-e2e-" + port} {
		l, err := net.Listen("unix", socket)
		require.NoError(t, err)
		server := &http.Server{Handler: http.HandlerFunc(told), Protocols: new(http.Protocols)}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = server.Serve(l) }() // ends with Close
		t.Cleanup(func() { _ = server.Close() })
		probe := []string{`{"tcpSocket":{"port":` + port + `},"successThreshold":1}`, `{"httpGet":{"port":` + port + `,"path":"/","host":"127.0.0.1","scheme":"HTTP"},"successThreshold":1}`}[i]
		p := queueProxy(t, nobody, "FNPOD_KNATIVE_UPSTREAM=unix:"+socket, "SERVING_READINESS_PROBE="+probe)
		resp, body := p.ask("GET", "/", "", kubelet...)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "queue", body)
		for protocol, want := range map[string]string{"http1": "HTTP/1.1", "h2c": "HTTP/2.0"} {
			_, body := p.by(clientOf(t, protocol), "POST", "/x", "b")
			require.Contains(t, body, "POST /x "+want)
		}
	}
	p := prepareQueueProxy(t, nobody, "FNPOD_KNATIVE_UPSTREAM=127.0.0.1:80")
	p.begin()
	require.Equal(t, 1, p.exit())
	require.Contains(t, p.log.String(), `FNPOD_KNATIVE_UPSTREAM "127.0.0.1:80": must be unix:/PATH or unix:@NAME`)
}
