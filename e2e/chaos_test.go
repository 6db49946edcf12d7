package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load is what keep-alive clients have seen.
type load struct {
	may []string // labels of the answers that faults may cost

	good, lost, refused, wrong, failed atomic.Int64
	first                              atomic.Pointer[string] // the first thing that was wrong
}

func (l *load) fault(n *atomic.Int64, format string, args ...any) {
	n.Add(1)
	text := fmt.Sprintf(format, args...)
	l.first.CompareAndSwap(nil, &text)
}

// run has clients send requests until stop is closed; every request carries a tag
// that its answer must carry, too.
func (l *load) run(p *pod, clients int, stop <-chan struct{}) *sync.WaitGroup {
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 20 * time.Second}
			defer c.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if !l.ask(c, p, fmt.Sprintf("tag-%d-%d", i, n)) {
					return
				}
			}
		})
	}
	return &all
}

// ask sends one request; false when the pod does not accept any more.
func (l *load) ask(c *http.Client, p *pod, tag string) bool {
	req, err := http.NewRequest(http.MethodGet, "http://"+p.listen+"/echo", nil)
	if err != nil {
		l.fault(&l.failed, "%v", err)
		return false
	}
	req.Header.Set("X-Tag", tag)
	r, err := c.Do(req)
	if err != nil {
		if refusedNow(err) {
			l.refused.Add(1)
			return false
		}
		l.fault(&l.failed, "%s: %v", tag, err)
		return true
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		l.fault(&l.failed, "%s: %v", tag, err)
	case r.StatusCode >= 500 && slices.Contains(l.may, r.Header.Get("Fnpod-Error")):
		l.lost.Add(1)
	case r.StatusCode != http.StatusOK:
		l.fault(&l.failed, "%s: status %d %s", tag, r.StatusCode, body)
	case string(body) != tag:
		l.fault(&l.wrong, "%s got %q", tag, body)
	default:
		l.good.Add(1)
	}
	return true
}

func (l *load) text() string {
	if first := l.first.Load(); first != nil {
		return *first
	}
	return ""
}

// TestWorkersThatAreKilledCostTheirOwnRequests is the promise of the project: 50
// clients, 2 workers, kill -9 at random. Every request has one answer, and no
// answer reaches another client.
//
// P1, P3, P5, R4, W7.
func TestWorkersThatAreKilledCostTheirOwnRequests(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2", "--queue-max-wait", "20s")
	l := load{may: []string{"worker_exit"}}
	stop := make(chan struct{})
	clients := l.run(p, 50, stop)
	kills := 0
	end := time.After(10 * time.Second)
	for running := true; running; {
		select {
		case <-end:
			running = false
		case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
			if code, pid := p.get("/pid"); code == http.StatusOK { // one that serves, at any moment of its work
				n, err := strconv.Atoi(pid)
				require.NoError(t, err)
				_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended meanwhile
				kills++
			}
		}
	}
	close(stop)
	clients.Wait()
	t.Logf("%d kills: %d answers, %d lost with their worker", kills, l.good.Load(), l.lost.Load())
	require.Zero(t, l.wrong.Load(), l.text())
	require.Zero(t, l.failed.Load(), l.text())
	require.LessOrEqual(t, l.lost.Load(), int64(kills), "a kill costs one request at most")
	require.Positive(t, l.good.Load())
	require.Greater(t, kills, 20)
	require.Eventually(t, func() bool { return p.number("function", "idle") == 2 }, 10*time.Second, 10*time.Millisecond, "back to size")
	accepted, gone := p.number("requests", "accepted"), p.number("requests", "client_gone")+p.number("requests", "aborted")
	require.InDelta(t, accepted, p.number("requests", "answered", "2xx")+p.number("requests", "answered", "5xx")+gone, 0)
}

// D1 to D5.
func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	p := begin(t, nil, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2")
	p.waitReady()
	var l load
	stop := make(chan struct{})
	clients := l.run(p, 50, stop)
	require.Eventually(t, func() bool { return l.good.Load() > 500 }, 20*time.Second, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	code := p.exit()
	close(stop)
	clients.Wait()
	require.Equal(t, 0, code)
	require.Zero(t, l.failed.Load(), l.text())
	require.Zero(t, l.wrong.Load(), l.text())
	require.Zero(t, l.lost.Load())
	require.EqualValues(t, 50, l.refused.Load(), "every client went on until the port was closed")
}

// TestClientsThatAbortLeaveNothingBehind sends 10 000 requests whose clients go
// away at any moment, in every way.
//
// P3, P7, P12.
func TestClientsThatAbortLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2", "--workers-client-grace", "5s")
	code, _ := p.get("/")
	require.Equal(t, 200, code)
	http.DefaultClient.CloseIdleConnections()
	require.Eventually(t, func() bool { return p.number("function", "idle") == 2 }, 10*time.Second, 10*time.Millisecond)
	before := p.holds()
	requests := []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /wait?0.002 HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.1\r\nHo",
		"POST /sum HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\nabc",
		"POST /sum HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"POST /sum HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc",
	}
	var clients sync.WaitGroup
	for client := range 20 {
		clients.Go(func() {
			for i := range 500 {
				abort(t, p.listen, requests[(client+i)%len(requests)], i)
			}
		})
	}
	clients.Wait()
	var after holdings
	require.Eventually(t, func() bool {
		http.DefaultClient.CloseIdleConnections()
		after = p.holds()
		return after.goroutines <= before.goroutines && after.files <= before.files && after.executing == 0 &&
			after.queued == 0 && after.inFlight <= before.inFlight
	}, 20*time.Second, 100*time.Millisecond, "before %+v, after %+v", before, &after)
	code, body := p.get("/")
	require.Equal(t, 200, code)
	require.Equal(t, "hello", body)
	answered := p.number("requests", "answered", "2xx") + max(p.number("requests", "answered", "4xx"), 0) + max(p.number("requests", "answered", "5xx"), 0)
	require.InDelta(t, p.number("requests", "accepted"), answered+p.number("requests", "client_gone")+p.number("requests", "aborted"), 0)
}

// abort sends a request and goes away, in one of several ways.
func abort(t *testing.T, address, request string, how int) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Errorf("connect: %v", err)
		return
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, request) // it may be refused already
	tcp := nc.(*net.TCPConn)
	switch how % 4 {
	case 0:
		_ = tcp.SetLinger(0)
	case 1:
		_ = tcp.CloseWrite()
		_, _ = io.Copy(io.Discard, nc)
	case 2:
		_ = nc.SetReadDeadline(time.Now().Add(time.Duration(how%7) * time.Millisecond))
		_, _ = nc.Read(make([]byte, 64))
	}
}

// TestWrkFindsNoFault lets a real load generator look at a pod.
func TestWrkFindsNoFault(t *testing.T) {
	p := start(t, "serve", "testdata/handler.py", "--workers-min", "2", "--workers-max", "2")
	out, err := exec.Command("wrk", "-t", "1", "-c", "50", "-d", "2s", "http://"+p.listen+"/").CombinedOutput()
	require.NoError(t, err, "wrk is needed: %s", out)
	require.NotContains(t, string(out), "Socket errors")
	require.NotContains(t, string(out), "Non-2xx")
	require.Contains(t, string(out), "Requests/sec")
}
