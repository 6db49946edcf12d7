package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crowd is a number of clients of which some misbehave: they leave at any byte, in
// every way, read slowly, or ask for more time than there is.
type crowd struct {
	t       *testing.T
	address string
	limit   string // of the function's time: an answer that takes longer is cut; in seconds
	total   int64
	ids     atomic.Int64

	whole  [6]atomic.Int64 // answers that ended as they should, by class
	cut    atomic.Int64    // connections that ended inside an answer or before it
	gaveUp atomic.Int64    // requests of clients that left
	fates  []fate          // by id

	mu     sync.Mutex
	labels map[string]int64 // guarded by mu: our own answers
	wrong  string           // guarded by mu: the first thing no client may see
}

// fate is what the client knows of its request.
type fate uint8

const (
	unknown fate = iota // it may have run
	answered
	refused
)

// newCrowd returns a crowd for that many requests, at most.
func newCrowd(t *testing.T, most int) *crowd {
	t.Helper()
	return &crowd{t: t, fates: make([]fate, most), labels: map[string]int64{}, limit: "0.7"}
}

// run has 32 clients send n more requests.
func (c *crowd) run(n int) {
	c.total += int64(n)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			m := &member{crowd: c, r: rand.New(rand.NewPCG(uint64(i), uint64(c.total)))}
			defer m.leave()
			for {
				id := c.ids.Add(1) - 1
				if id >= c.total {
					c.ids.Add(-1)
					return
				}
				m.ask(int(id))
			}
		})
	}
	all.Wait()
}

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong == "" {
		c.wrong = fmt.Sprintf(format, args...)
	}
}

// member is one client.
type member struct {
	*crowd
	r *rand.Rand
	w *wire
}

func (m *member) leave() {
	if m.w != nil {
		_ = m.w.Close()
		m.w = nil
	}
}

// ask sends one request, in one of many ways.
func (m *member) ask(id int) {
	if m.w == nil {
		w, err := dial(m.address)
		if err != nil {
			m.fault("connect: %v", err)
			return
		}
		m.w = w
	}
	_ = m.w.SetDeadline(time.Now().Add(20 * time.Second))
	c := call{id: id, target: "/"}
	dice := m.r.IntN(10_000)
	switch {
	case dice < 4_000:
		c.size = 1 + m.r.IntN(3_000)
	case dice < 4_500:
		c.size, c.chunked = 1+m.r.IntN(30_000), true
	case dice < 5_000:
		c.size, c.target = 1+m.r.IntN(200_000), "/stream"
	case dice < 5_020:
		c.size = 70_000 + m.r.IntN(200_000)
	}
	switch {
	case dice >= 9_995:
		c.target += "?sleep=" + m.limit
	case dice >= 9_985:
		c.target += "?size=1000000"
		m.readSlowly(c)
		return
	case dice%20 == 0:
		m.abort(c)
		return
	case dice%20 == 1:
		m.pipeline(c)
		return
	}
	a, err := m.w.do(c)
	m.note(c, a, err)
}

// pipeline sends up to four requests at once.
func (m *member) pipeline(c call) {
	calls := []call{c}
	for range m.r.IntN(4) {
		id := m.ids.Add(1) - 1
		if id >= m.total {
			m.ids.Add(-1)
			break
		}
		calls = append(calls, call{id: int(id), target: "/", size: m.r.IntN(3_000)})
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for _, c := range calls {
			_, _ = m.w.Write(c.bytes()) // the answers tell
		}
	})
	w := m.w
	for i, c := range calls {
		a, err := w.read(c.method())
		m.note(c, a, err)
		if m.w == nil { // the rest has no answer, and may have run
			m.gaveUp.Add(int64(len(calls) - i - 1))
			break
		}
	}
	sending.Wait()
}

// note checks an answer and counts it.
func (m *member) note(c call, a reply, err error) {
	if err != nil {
		if isTimeout(err) {
			m.fault("%d: silence", c.id) // P1
		}
		m.cut.Add(1)
		m.leave()
		return
	}
	m.whole[a.status/100].Add(1)
	size := c.size
	if c.target == "/?size=1000000" {
		size = 1_000_000
	}
	switch {
	case a.status == http.StatusOK && (a.id != strconv.Itoa(c.id) || string(a.body) != string(payload(c.id, size))):
		m.fault("%d: an answer to %q of %d bytes with id %q looks whole", c.id, c.target, len(a.body), a.id) // P5, R2
	case a.status == http.StatusOK:
		m.fates[c.id] = answered
	case a.label == "":
		m.fault("%d: status %d of nobody", c.id, a.status)
	default:
		m.mu.Lock()
		m.labels[a.label]++
		m.mu.Unlock()
		if a.label == "queue_full" || a.label == "queue_timeout" || a.label == "not_ready" {
			m.fates[c.id] = refused
			time.Sleep(time.Duration(5+m.r.IntN(20)) * time.Millisecond) // as Retry-After asks
		}
	}
	if a.close {
		m.leave()
	}
}

// readSlowly takes an answer in small pieces.
func (m *member) readSlowly(c call) {
	_, _ = m.w.Write(c.bytes()) // the answer tells
	m.w.r = bufio.NewReader(&slowly{r: m.w.TCPConn, pause: 100 * time.Microsecond})
	a, err := m.w.read(c.method())
	m.note(c, a, err)
	if m.w != nil {
		m.w.r = bufio.NewReader(m.w.TCPConn)
	}
}

// slowly reads a little at a time.
type slowly struct {
	r     io.Reader
	pause time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.r.Read(p[:min(len(p), 4096)])
}

// abort leaves at a random byte of the request, or of the answer, by FIN, by RST
// or by ending only what is sent.
func (m *member) abort(c call) {
	defer m.leave()
	m.gaveUp.Add(1)
	b := c.bytes()
	sent := len(b)
	if m.r.IntN(3) > 0 {
		sent = m.r.IntN(len(b) + 1)
	}
	_ = m.w.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = m.w.Write(b[:sent]) // it may be refused already
	if sent == len(b) && m.r.IntN(2) == 0 {
		_ = m.w.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.CopyN(io.Discard, m.w.TCPConn, int64(1+m.r.IntN(c.size+200)))
	}
	switch m.r.IntN(3) {
	case 0:
		m.w.drop()
	case 1:
		_ = m.w.CloseWrite()
		_ = m.w.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.Copy(io.Discard, m.w.TCPConn) // the pod ends it
	}
}

// scrape reads the status of a pod all the time, and says what was wrong with it.
func scrape(p *pod, stop <-chan struct{}) (n int, wrong string) {
	var last requests
	for {
		select {
		case <-stop:
			return n, ""
		case <-time.After(5 * time.Millisecond):
		}
		s, err := p.status()
		if err != nil {
			return n, err.Error()
		}
		if wrong := s.wrong(last); wrong != "" {
			return n, wrong
		}
		last = s.Requests
		n++
	}
}

// status is what the pod says about itself.
type status struct {
	Requests requests
	Queue    struct{ Limit, Places, Executing, Queued int64 }
}

type requests struct {
	Accepted   int64
	Answered   map[string]int64
	ClientGone int64 `json:"client_gone"`
	Aborted    int64
	InFlight   int64 `json:"in_flight"`
}

func (r requests) ended() int64 {
	n := r.ClientGone + r.Aborted
	for _, class := range r.Answered {
		n += class
	}
	return n
}

func (p *pod) status() (s status, err error) {
	r, err := http.Get("http://" + p.admin + "/status")
	if err != nil {
		return s, err
	}
	defer r.Body.Close()
	return s, json.NewDecoder(r.Body).Decode(&s)
}

// wrong reports sums that do not add up (P12), a queue beyond its bounds (P2) and
// counters that fell.
func (s status) wrong(last requests) string {
	r, q := s.Requests, s.Queue
	switch {
	case r.Accepted != r.ended()+r.InFlight, r.InFlight < 0:
		return fmt.Sprintf("requests do not add up: %+v", r)
	case q.Limit > 0 && q.Executing > q.Limit, q.Queued > q.Places:
		return fmt.Sprintf("queue beyond its bounds: %+v", q)
	case r.Accepted < last.Accepted, r.ended() < last.ended():
		return fmt.Sprintf("counters fell from %+v to %+v", last, r)
	}
	return ""
}

// disaster is what happens to the workers, or to the function, of a pod.
type disaster func(r *rand.Rand)

// crowdPod starts a pod of one kind that a crowd can be let loose on; note fills
// its ledger.
func crowdPod(t *testing.T, kind string, ids int, start func(env []string, command string, args ...string) *pod) (p *pod, l *ledger, note func(), d disaster) {
	t.Helper()
	queued := []string{"--queue-depth", "24", "--queue-max-wait", "5s"}
	if kind == "proxy" {
		f := newFunction(t, ids)
		p = start(nil, "proxy", append([]string{"http://" + f.address(), "--queue-limit", "4", "--answer-timeout", "500ms"}, queued...)...)
		return p, f.ledger, func() {}, func(*rand.Rand) { f.hangUp() }
	}
	h := newHandlerLedger(t, ids)
	p = start(h.env, "serve", append([]string{
		"testdata/" + kind, "--workers-min", "2", "--workers-max", "2",
		"--workers-timeout", "500ms", "--workers-start-timeout", "3s", "--workers-client-grace", "300ms",
	}, queued...)...)
	return p, h.ledger, func() { h.read(t) }, func(r *rand.Rand) {
		pids := p.children()
		if len(pids) == 0 {
			return
		}
		signal := syscall.SIGKILL
		if r.IntN(4) == 0 {
			signal = syscall.SIGSTOP // its next request times out
		}
		_ = syscall.Kill(pids[r.IntN(len(pids))], signal) // it may have ended
	}
}

var crowdPods = []string{"ledger.py", "ledger.js", "proxy"}

// TestP12P5R4ACrowdOfClientsGetsItsOwnAnswers sends many requests while workers are
// killed and stopped, clients leave, and the queue overflows. Every answer belongs to
// its request, none runs twice, and the pod's counts are those of its clients.
func TestP12P5R4ACrowdOfClientsGetsItsOwnAnswers(t *testing.T) {
	total := full(10_000, 1_000_000)
	for _, kind := range crowdPods {
		t.Run(kind, func(t *testing.T) {
			p, l, note, d := crowdPod(t, kind, total, func(env []string, command string, args ...string) *pod {
				p := begin(t, env, command, args...)
				p.waitReady()
				return p
			})
			c := newCrowd(t, total)
			c.face(p, total, d)
			note()
			c.check(p, l)
		})
	}
}

// face lets the crowd and disasters loose on a pod.
func (c *crowd) face(p *pod, n int, d disaster) {
	c.address = p.listen
	http.DefaultClient.CloseIdleConnections()
	before := p.holds()
	stop := make(chan struct{})
	var others sync.WaitGroup
	scrapes, disasters, wrong := 0, 0, ""
	others.Go(func() { scrapes, wrong = scrape(p, stop) })
	others.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(50+r.IntN(300)) * time.Millisecond):
				d(r)
				disasters++
			}
		}
	})
	began := time.Now()
	c.run(n)
	took := time.Since(began)
	close(stop)
	others.Wait()
	c.t.Logf("%d requests in %.1fs; of all %d: %d answered, %d cut, %d left, own answers %v; %d disasters, %d scrapes", n,
		took.Seconds(), c.total, c.whole[2].Load(), c.cut.Load(), c.gaveUp.Load(), c.labels, disasters, scrapes)
	require.Empty(c.t, wrong)
	require.Positive(c.t, scrapes)
	before.files += 4 // connections to the function that wait for the next request
	p.rests(before)
}

// check compares what clients, pod and function know of each other.
func (c *crowd) check(p *pod, l *ledger) {
	t := c.t
	t.Helper()
	require.Empty(t, c.wrong)
	l.check(t)
	for id, f := range c.fates {
		switch ran := l.runs[id].Load(); f {
		case answered:
			require.EqualValues(t, 1, ran, "request %d was answered", id)
		case refused:
			require.Zero(t, ran, "request %d was refused", id)
		case unknown:
		}
	}
	s, err := p.status()
	require.NoError(t, err)
	require.Empty(t, s.wrong(requests{}))
	require.Zero(t, s.Requests.InFlight)
	left := c.gaveUp.Load() // whatever became of those, nobody else knows
	between := func(n, least int64, what string) {
		t.Helper()
		require.GreaterOrEqual(t, n, least, what)
		require.LessOrEqual(t, n, least+left, what)
	}
	whole := int64(0)
	for class := range c.whole {
		seen := c.whole[class].Load()
		whole += seen
		between(s.Requests.Answered[fmt.Sprintf("%dxx", class)], seen, fmt.Sprintf("answers %dxx", class))
	}
	between(s.Requests.Accepted, whole+c.cut.Load(), "accepted")
	between(s.Requests.Aborted, c.cut.Load(), "aborted")
	require.LessOrEqual(t, s.Requests.ClientGone, left, "clients that left")
	between(int64(p.series(`fnpod_rejected_total{reason="queue_full"}`)), c.labels["queue_full"], "queue_full")
	p.sound()
}
