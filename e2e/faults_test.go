package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kind is what a network does to one direction of a connection.
type kind int

const (
	healthy  kind = iota
	delays        // waits once
	cuts          // ends with FIN
	resets        // ends with RST
	trickles      // passes some bytes one by one
	stalls        // reads nothing more
)

var kinds = map[kind]string{delays: "delays", cuts: "cuts", resets: "resets", trickles: "trickles", stalls: "stalls"}

// stallTime is longer than every time-out of the pod under test.
const stallTime = time.Second

// fault strikes when so many bytes have passed.
type fault struct {
	kind  kind
	after int
}

// randomFault puts a fault of a kind anywhere in a few requests: heads are as
// likely as bodies.
func randomFault(k kind, r *rand.Rand) fault {
	sizes := [...]int{100, 400, 4_000, 120_000, 2_000_000}
	return fault{k, r.IntN(sizes[r.IntN(len(sizes))])}
}

// faulty is a network between two ends, with faults that plan decides on by the
// number of the connection.
type faulty struct {
	ln   net.Listener
	to   string
	work sync.WaitGroup

	mu  sync.Mutex
	era *era // guarded by mu
}

// era is the time for which a plan holds. Its connections end with it.
type era struct {
	plan  func(n int) (up, down fault)
	n     int
	over  chan struct{}
	conns sync.WaitGroup
}

func newFaulty(t *testing.T, to string) *faulty {
	t.Helper()
	ln := listen(t)
	f := &faulty{ln: ln, to: to, era: &era{over: make(chan struct{})}}
	f.heal()
	f.work.Go(f.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		f.work.Wait()
		f.heal()
	})
	return f
}

func (f *faulty) address() string { return f.ln.Addr().String() }

// heal ends all connections and lets those to come be healthy.
func (f *faulty) heal() { f.follow(func(int) (up, down fault) { return }) }

// follow ends all connections and has a plan for those to come.
func (f *faulty) follow(plan func(n int) (up, down fault)) {
	f.mu.Lock()
	last := f.era
	f.era = &era{plan: plan, over: make(chan struct{})}
	f.mu.Unlock()
	close(last.over)
	last.conns.Wait()
}

func (f *faulty) accept() {
	for {
		nc, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		e := f.era
		up, down := e.plan(e.n)
		e.n++
		e.conns.Go(func() { e.serve(nc.(*net.TCPConn), f.to, up, down) })
		f.mu.Unlock()
	}
}

func (e *era) serve(client *net.TCPConn, to string, up, down fault) {
	defer client.Close()
	nc, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer nc.Close()
	server := nc.(*net.TCPConn)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-e.over:
			_, _ = client.Close(), server.Close()
		case <-ended:
		}
	}()
	var both sync.WaitGroup
	both.Go(func() { e.pass(server, client, up) })
	both.Go(func() { e.pass(client, server, down) })
	both.Wait()
}

// pass copies one direction until it ends or the fault ends it.
func (e *era) pass(dst, src *net.TCPConn, flt fault) {
	buf := make([]byte, 32<<10)
	slow := 0 // bytes that still pass one by one
	for passed := 0; ; {
		room := len(buf)
		switch {
		case flt.kind == healthy && slow > 0:
			slow--
			room = 1
			e.wait(100 * time.Microsecond)
		case flt.kind != healthy && passed < flt.after:
			room = min(room, flt.after-passed)
		case flt.kind != healthy:
			if !e.strike(flt.kind, dst, src) {
				return
			}
			if flt.kind == trickles {
				slow = 100
			}
			flt.kind = healthy
			continue
		}
		n, err := src.Read(buf[:room])
		passed += n
		if _, err := dst.Write(buf[:n]); err != nil {
			reset(dst, src)
			return
		}
		if errors.Is(err, io.EOF) {
			_ = dst.CloseWrite() // the other direction may go on
			return
		}
		if err != nil {
			reset(dst, src)
			return
		}
	}
}

// strike does what is to be done; more says that the direction goes on.
func (e *era) strike(k kind, dst, src *net.TCPConn) (more bool) {
	switch k {
	case delays:
		e.wait(20 * time.Millisecond)
		return true
	case cuts:
		_ = dst.CloseWrite()
		_, _ = io.Copy(io.Discard, src)
		return false
	case stalls:
		e.wait(stallTime)
		reset(dst, src)
		return false
	case resets:
		reset(dst, src)
		return false
	default:
		return true
	}
}

func (e *era) wait(d time.Duration) {
	select {
	case <-e.over:
	case <-time.After(d):
	}
}

// reset ends connections with RST.
func reset(conns ...*net.TCPConn) {
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// shapes are the ways in which bodies go through a pod. Answers have the shape of
// their requests.
var shapes = []shape{
	{"length body", "/", 3_000, false},
	{"chunked body", "/", 3_000, true},
	{"streamed upload", "/", 100_000, false},
	{"streamed chunks", "/", 100_000, true},
	{"large spliced body", "/", 600_000, false},
	{"streamed upload nobody wants", "/early", 100_000, false},
	{"large spliced body nobody wants", "/early", 600_000, false},
}

type shape struct {
	name    string
	target  string
	size    int
	chunked bool
}

// answer is how long the body of the answer is.
func (s shape) answer() int {
	if s.target == "/early" {
		return 1000
	}
	return s.size
}

// tally is what clients have seen.
type tally struct {
	whole, ours, broken atomic.Int64
}

// faultTest is a pod between two faulty networks, or behind one.
type faultTest struct {
	t        *testing.T
	pod      *pod
	front    *faulty // client and pod
	back     *faulty // pod and function; nil for workers
	ledger   *ledger
	ids      atomic.Int64
	answered []atomic.Bool // by id
}

var shortTimeouts = []string{
	"--head-timeout", "400ms", "--body-timeout", "400ms",
	"--write-timeout", "400ms", "--answer-timeout", "700ms", "--idle-timeout", "2s",
}

// ask sends requests of one shape on one connection until something breaks.
func (f *faultTest) ask(shape int, requests int, seen *tally) {
	w, err := dial(f.front.address())
	if err != nil {
		f.t.Errorf("connect: %v", err)
		return
	}
	defer w.Close()
	_ = w.SetDeadline(time.Now().Add(10 * time.Second))
	for range requests {
		s := shapes[shape]
		c := call{id: int(f.ids.Add(1)), target: s.target, size: s.size, chunked: s.chunked}
		a, err := w.do(c)
		if isTimeout(err) {
			f.t.Errorf("%s %d: silence", s.name, c.id) // P1
		}
		if err != nil {
			seen.broken.Add(1)
			return
		}
		switch {
		case a.status != http.StatusOK:
			seen.ours.Add(1)
		case a.id != strconv.Itoa(c.id) || string(a.body) != string(payload(c.id, s.answer())):
			f.t.Errorf("%s %d: an answer of %d bytes with id %q looks whole", s.name, c.id, len(a.body), a.id) // R2, P5
		default:
			f.answered[c.id].Store(true)
			seen.whole.Add(1)
		}
		if a.close {
			return
		}
	}
}

// TestR2R4P3FaultsOfTheNetworkCutNothingInSecret lets every fault strike in every
// place and direction, in every shape of body, at random bytes of a seed. An answer
// and a request that look whole are whole, nothing runs twice, and the pod serves on
// and holds nothing afterwards.
func TestR2R4P3FaultsOfTheNetworkCutNothingInSecret(t *testing.T) {
	rounds := full(2, 60)
	ids := 2_000 + rounds*4*len(kinds)*len(shapes)*3
	t.Run("proxy", func(t *testing.T) {
		f := newFunction(t, ids)
		back := newFaulty(t, f.address())
		p := start(t, "proxy", append([]string{"http://" + back.address()}, shortTimeouts...)...)
		x := &faultTest{t: t, pod: p, front: newFaulty(t, p.listen), back: back, ledger: f.ledger, answered: make([]atomic.Bool, ids)}
		x.run(rounds, "client to pod", "pod to client", "pod to function", "function to pod")
		x.check()
	})
	t.Run("workers", func(t *testing.T) {
		l := newHandlerLedger(t, ids)
		p := begin(t, l.env, "serve", append([]string{"testdata/ledger.py", "--workers-min", "2", "--workers-max", "2", "--workers-client-grace", "300ms"}, shortTimeouts...)...)
		p.waitReady()
		x := &faultTest{t: t, pod: p, front: newFaulty(t, p.listen), ledger: l.ledger, answered: make([]atomic.Bool, ids)}
		x.run(rounds, "client to pod", "pod to client")
		l.read(t)
		x.check()
	})
}

// run has every fault strike in every place.
func (f *faultTest) run(rounds int, places ...string) {
	var seen tally
	for shape := range shapes {
		f.ask(shape, 3, &seen)
	}
	require.GreaterOrEqual(f.t, seen.whole.Load(), int64(3*len(shapes)-2*2), "one is enough where nobody wants the body")
	require.Zero(f.t, seen.ours.Load()+seen.broken.Load())
	http.DefaultClient.CloseIdleConnections()
	before := f.pod.holds()
	for _, place := range places {
		for k := delays; k <= stalls; k++ {
			f.t.Run(fmt.Sprintf("%s %s", place, kinds[k]), func(t *testing.T) { f.strike(t, rounds, place, k) })
		}
	}
	for shape := range shapes { // connections to the function may still be faulty
		require.Eventually(f.t, func() bool {
			var seen tally
			f.ask(shape, 1, &seen)
			return seen.whole.Load() == 1
		}, 10*time.Second, time.Millisecond)
	}
	before.files += float64(2 * len(shapes)) // connections to the function that wait for the next request
	f.pod.rests(before)
	f.pod.sound()
}

func (f *faultTest) strike(t *testing.T, rounds int, place string, k kind) {
	t.Helper()
	network, up := f.front, place == "client to pod" || place == "pod to function"
	if strings.Contains(place, "function") {
		network = f.back
	}
	network.follow(func(n int) (fault, fault) {
		flt := randomFault(k, rand.New(rand.NewPCG(uint64(n), uint64(k))))
		if up {
			return flt, fault{}
		}
		return fault{}, flt
	})
	var seen tally
	var clients sync.WaitGroup
	for client := range 2 * len(shapes) {
		clients.Go(func() {
			for range rounds / 2 {
				f.ask(client%len(shapes), 3, &seen)
			}
		})
	}
	clients.Wait()
	network.heal()
	t.Logf("%d whole answers, %d of the pod's own, %d broken off", seen.whole.Load(), seen.ours.Load(), seen.broken.Load())
	require.Positive(t, seen.whole.Load()+seen.ours.Load()+seen.broken.Load())
	if k == delays || k == trickles {
		require.Zero(t, seen.ours.Load()+seen.broken.Load(), "slow is not broken")
	}
}

// check compares what clients and function know of each other.
func (f *faultTest) check() {
	f.ledger.check(f.t)
	for id := range f.answered {
		if f.answered[id].Load() {
			require.EqualValues(f.t, 1, f.ledger.runs[id].Load(), "request %d was answered", id)
		}
	}
}
