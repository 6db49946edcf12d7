package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drip writes a request and then goes on with one more byte per pause, until the
// pod answers or ends the connection, and returns what it said.
func drip(w *wire, request string, pause time.Duration, stop <-chan struct{}) (said string) {
	defer w.Close()
	answer := make(chan string)
	go func() {
		b, _ := io.ReadAll(w.TCPConn) // a reset is an end, too
		answer <- string(b)
	}()
	_, _ = io.WriteString(w, request) // the answer tells
	for {
		select {
		case said := <-answer:
			return said
		case <-stop:
			_ = w.Close()
			return <-answer
		case <-time.After(pause):
			_, _ = io.WriteString(w, "x")
		}
	}
}

// slowClients are clients that take more time than is theirs, in several ways.
// Each begins again when the pod has ended it.
type slowClients struct {
	p     *pod
	pause time.Duration // between two bytes
	stop  chan struct{}
	work  sync.WaitGroup

	heads, bodies, idle, wrong atomic.Int64 // connections that the pod has ended
	first                      atomic.Pointer[string]
}

func (s *slowClients) start(each, idle int) {
	for i := range 3*each + idle {
		s.work.Go(func() {
			for s.again() {
				w, err := dial(s.p.listen)
				if err != nil {
					continue // the backlog is full
				}
				switch {
				case i < each:
					s.ended(&s.heads, "408 timeout_head", drip(w, "GET / HTTP/1.1\r\nHost: f\r\nX-Slow: ", s.pause, s.stop))
				case i < 2*each:
					s.ended(&s.bodies, "408 timeout_body", drip(w, "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 60000\r\n\r\n", s.pause, s.stop))
				case i < 3*each:
					s.read(w)
				default:
					s.wait(w)
				}
			}
		})
	}
}

func (s *slowClients) again() bool {
	select {
	case <-s.stop:
		return false
	default:
		return true
	}
}

// ended counts a client that the pod has ended; said should be an answer with the wanted status and label.
func (s *slowClients) ended(n *atomic.Int64, want, said string) {
	if !s.again() {
		return
	}
	n.Add(1)
	code, label, _ := strings.Cut(want, " ")
	if !strings.HasPrefix(said, "HTTP/1.1 "+code) || !strings.Contains(said, "Fnpod-Error: "+label) {
		s.wrong.Add(1)
		s.first.CompareAndSwap(nil, &said)
	}
}

// read takes one byte of a large answer per pause. When the pod ends that, the
// kernel does not say so to a client whose buffer is full.
func (s *slowClients) read(w *wire) {
	defer w.Close()
	_ = w.SetReadBuffer(4096)
	_, _ = io.WriteString(w, "GET /length?30000000 HTTP/1.1\r\nHost: f\r\n\r\n") // the answer tells
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(s.pause):
		}
		if _, err := w.Read(make([]byte, 1)); err != nil {
			return
		}
	}
}

// wait sends one request and then nothing.
func (s *slowClients) wait(w *wire) {
	defer w.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.WriteString(w, "GET /length?5 HTTP/1.1\r\nHost: f\r\n\r\n") // the end tells
		_, _ = io.Copy(io.Discard, w.TCPConn)                                 // a reset is an end, too
	}()
	select {
	case <-ended:
		s.idle.Add(1)
	case <-s.stop:
		_ = w.Close()
		<-ended
	}
}

func (s *slowClients) end() {
	close(s.stop)
	s.work.Wait()
}

// measure has clients that are not slow send requests for that long, and returns
// the times of all, in order, and how many failed.
func measure(t *testing.T, p *pod, clients int, d time.Duration) (times []time.Duration, failed int64) {
	t.Helper()
	var mu sync.Mutex
	var faults atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range clients {
		all.Go(func() {
			var mine []time.Duration
			w, err := dial(p.listen)
			for err == nil && time.Now().Before(end) {
				began := time.Now()
				_ = w.SetDeadline(began.Add(10 * time.Second))
				if _, err = io.WriteString(w, "GET /length?5 HTTP/1.1\r\nHost: f\r\n\r\n"); err != nil {
					break
				}
				var a reply
				if a, err = w.read(http.MethodGet); err == nil && (a.status != 200 || len(a.body) != 5 || a.close) {
					err = fmt.Errorf("status %d", a.status)
				}
				mine = append(mine, time.Since(began))
				time.Sleep(2 * time.Millisecond) // a load, not a race
			}
			if err != nil {
				faults.Add(1)
				t.Error(err)
			} else {
				_ = w.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, mine...)
		})
	}
	all.Wait()
	slices.Sort(times)
	return times, faults.Load()
}

// TestL1L2L3L4SlowClientsAreEndedAndDisturbNobody has slow heads, slow bodies, slow
// readers and idle connections beside ordinary clients.
func TestL1L2L3L4SlowClientsAreEndedAndDisturbNobody(t *testing.T) {
	t.Parallel()
	p := start(t, "proxy", newSink(t), "--head-timeout", "800ms", "--body-timeout", "600ms", "--write-timeout", "800ms", "--idle-timeout", "1s")
	http.DefaultClient.CloseIdleConnections()
	before := p.holds()
	// One byte per second is a gap that is too long for a body and too many bytes for a head.
	slow := &slowClients{p: p, pause: time.Second, stop: make(chan struct{})}
	slow.start(20, 100)
	times, failed := measure(t, p, 20, 4*time.Second)
	readers := int64(p.number("requests", "client_gone"))
	slow.end()
	t.Logf("%d requests, p99 %v; ended: %d heads, %d bodies, %d readers, %d idle", len(times), times[len(times)*99/100],
		slow.heads.Load(), slow.bodies.Load(), readers, slow.idle.Load())
	require.Zero(t, failed)
	if first := slow.first.Load(); first != nil {
		require.Zero(t, slow.wrong.Load(), *first)
	}
	for what, n := range map[string]int64{"heads": slow.heads.Load(), "bodies": slow.bodies.Load(), "readers": readers, "idle": slow.idle.Load()} {
		require.GreaterOrEqual(t, n, int64(20), what)
	}
	before.files += 120 // idle connections to the function
	p.rests(before)
	p.sound()
}

// TestL3ABodyThatDripsIsEnded sends bodies at a byte per second, in every way that
// a body is read: without a gap that is too long, but below 512 bytes per second.
func TestL3ABodyThatDripsIsEnded(t *testing.T) {
	t.Parallel() // it waits
	p := start(t, "proxy", newSink(t))
	for _, test := range []struct{ name, framing string }{
		{"small", "Content-Length: 3000\r\n\r\n"},
		{"buffered", "Content-Length: 60000\r\n\r\n"},
		{"streamed", "Content-Length: 100000\r\n\r\n"},
		{"spliced", "Content-Length: 1000000\r\n\r\n"},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\nffff\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w, err := dial(p.listen)
			require.NoError(t, err)
			stop := make(chan struct{})
			timer := time.AfterFunc(20*time.Second, func() { close(stop) })
			defer timer.Stop()
			said := drip(w, "POST / HTTP/1.1\r\nHost: f\r\n"+test.framing+"x", time.Second, stop)
			require.Contains(t, said, "HTTP/1.1 408 ")
			require.Contains(t, said, "Fnpod-Error: timeout_body")
		})
	}
}

// TestSlowClientsCostOthersNoTime measures ordinary clients alone and beside slow
// ones, in turns: at full size 200 slow clients and 2000 idle connections.
func TestSlowClientsCostOthersNoTime(t *testing.T) {
	rounds, each, idle := full(1, 7), full(10, 67), full(50, 2000)
	d := time.Duration(full(500, 4000)) * time.Millisecond
	p := startPlain(t, nil, "proxy", newSink(t))
	p99 := func(times []time.Duration) time.Duration { return times[len(times)*99/100] }
	var alone, beside []time.Duration
	for range rounds {
		times, failed := measure(t, p, 20, d)
		require.Zero(t, failed)
		alone = append(alone, p99(times))
		slow := &slowClients{p: p, pause: time.Second, stop: make(chan struct{})}
		slow.start(each, idle)
		require.Eventually(t, func() bool { return p.series("fnpod_connections") >= float64(3*each+idle) }, 30*time.Second, 10*time.Millisecond)
		times, failed = measure(t, p, 20, d)
		slow.end()
		require.Zero(t, failed)
		beside = append(beside, p99(times))
	}
	slices.Sort(alone)
	slices.Sort(beside)
	a, b := alone[len(alone)/2], beside[len(beside)/2]
	t.Logf("p99 of %d rounds: alone %v, beside %d slow and %d idle %v", rounds, alone, 3*each, idle, beside)
	if *soak {
		require.Less(t, b, 2*a, "slow clients cost others time")
	}
	p.sound()
}
