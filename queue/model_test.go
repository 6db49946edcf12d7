package queue_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// The model test runs random operations on a queue and on a reference that is
// simple enough to be right by inspection, and compares everything that can be
// seen after each of them: who holds a slot, who was refused and why, how long
// they waited, and all counters.

const modelOperations = 1_000_000

// P2, P3, P8: any order of operations does what the model says.
func TestRandomOperationsMatchTheModel(t *testing.T) {
	operations := modelOperations
	if testing.Short() {
		operations /= 20
	}
	const perQueue = 5_000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n := range operations / perQueue {
		synctest.Test(t, func(t *testing.T) {
			runModel(t, rand.New(rand.NewPCG(seed, uint64(n))), perQueue)
		})
	}
}

// modelCall is an Acquire as the reference sees it.
type modelCall struct {
	*client
	since  time.Time
	class  int
	lane   int
	ended  bool
	result error
	waited time.Duration
}

// model is the reference. Waiters are a plain slice in order of arrival, and
// everything about them is counted anew whenever it is asked for.
type model struct {
	queue.Stats
	config  queue.Config
	classes []modelClass
	closed  bool
	line    []*modelCall
}

// modelClass is a class as the reference sees it.
type modelClass struct {
	executing int
	owners    map[int]uint64 // by lane: the key that came first
	turns     []int          // lanes that are not empty; the first has the next turn
	overload  bool
	above     time.Time // when it will be overloaded; zero: not to be expected
}

func newModel(c queue.Config) *model {
	m := &model{Stats: queue.Stats{Limit: c.Limit, Depth: c.Depth}, config: c, classes: make([]modelClass, max(len(c.Classes), 1))}
	for i := range m.classes {
		m.classes[i].owners = map[int]uint64{}
	}
	return m
}

func (m *model) share(class int) float64 {
	if len(m.config.Classes) == 0 {
		return 0
	}
	return m.config.Classes[class].Share
}

func (m *model) guaranteed(class int) int {
	n := int(m.share(class)*float64(m.Limit) + 0.5)
	if m.share(class) > 0 && m.Limit > 0 {
		n = max(n, 1)
	}
	return n
}

func (m *model) places(class int) int { return int(m.share(class) * float64(m.Depth)) }

// waiting are those of a class, and of one of its lanes if that is not -1.
func (m *model) waiting(class, lane int) (calls []*modelCall) {
	for _, c := range m.line {
		if c.class == class && (lane < 0 || c.lane == lane) {
			calls = append(calls, c)
		}
	}
	return calls
}

// may tells whether a free slot may go to a class.
func (m *model) may(class int) bool {
	if m.Limit == 0 {
		return true
	}
	if m.Executing >= m.Limit {
		return false
	}
	if len(m.classes) == 1 || m.classes[class].executing < m.guaranteed(class) {
		return true
	}
	room := m.Limit - m.Executing
	for i := range m.classes {
		if i != class {
			kept := int(m.config.Classes[i].Keep * float64(m.guaranteed(i)))
			room -= max(kept-m.classes[i].executing, 0)
		}
	}
	return room > 0
}

// laneOf is the lane of a key's hand of four that has the key, or else is the shortest.
func (m *model) laneOf(class int, key uint64) int {
	lanes := uint64(max(m.config.Lanes, 1))
	best := -1
	at := key
	for range 4 {
		l := int(at % lanes)
		waiting := m.waiting(class, l)
		if owner, ok := m.classes[class].owners[l]; ok && len(waiting) > 0 && owner == key {
			return l
		}
		if best < 0 || len(waiting) < len(m.waiting(class, best)) {
			best = l
		}
		at += 0x9e3779b97f4a7c15
		at = (at ^ at>>30) * 0xbf58476d1ce4e5b9
		at = (at ^ at>>27) * 0x94d049bb133111eb
		at ^= at >> 31
	}
	return best
}

func (m *model) acquire(c *modelCall, cause error) {
	c.since = time.Now()
	c.class = c.Class
	c.lane = m.laneOf(c.class, c.Key)
	switch {
	case cause != nil:
		m.Cancelled++
		c.ended, c.result = true, cause
	case m.closed:
		m.Closed++
		c.ended, c.result = true, queue.ErrClosed
	case m.tryAcquire(c.class):
		c.ended = true
	case m.hopeless(c):
		m.Late++
		c.ended, c.result = true, queue.ErrLate
	case m.Queued == m.Depth && !m.makeRoom(c):
		m.Refused++
		c.ended, c.result = true, queue.ErrFull
	default:
		if len(m.waiting(c.class, c.lane)) == 0 {
			m.classes[c.class].turns = append(m.classes[c.class].turns, c.lane)
			m.classes[c.class].owners[c.lane] = c.Key
		}
		m.line = append(m.line, c)
		m.Queued++
	}
}

func (m *model) adaptive() bool { return m.config.Discipline == queue.Adaptive }

func (m *model) hopeless(c *modelCall) bool {
	if c.Deadline.IsZero() {
		return false
	}
	left := time.Until(c.Deadline)
	if m.adaptive() && left <= m.Service || left <= 0 {
		return true
	}
	if !m.adaptive() || m.classes[c.class].overload || m.Limit == 0 {
		return false
	}
	slots := m.Limit
	if g := m.guaranteed(c.class); len(m.classes) > 1 && g > 0 {
		slots = g
	}
	return time.Duration(len(m.waiting(c.class, -1))+1)*m.Service/time.Duration(slots) > left
}

// makeRoom is told apart by who has too much: another class, another lane, or old age.
func (m *model) makeRoom(c *modelCall) bool {
	if len(m.waiting(c.class, -1)) < m.places(c.class) {
		for i := range slices.Backward(m.classes) {
			if i != c.class && len(m.waiting(i, -1)) > m.places(i) {
				m.displace(i, m.longest(i))
				return true
			}
		}
	}
	longest := m.longest(c.class)
	if longest < 0 {
		return false
	}
	own := len(m.waiting(c.class, c.lane))
	if own+1 < len(m.waiting(c.class, longest)) {
		m.displace(c.class, longest)
		return true
	}
	if m.classes[c.class].overload && own > 0 {
		m.displace(c.class, c.lane)
		return true
	}
	return false
}

func (m *model) longest(class int) int {
	longest := -1
	for _, l := range m.classes[class].turns {
		if longest < 0 || len(m.waiting(class, l)) > len(m.waiting(class, longest)) {
			longest = l
		}
	}
	return longest
}

func (m *model) displace(class, lane int) {
	calls := m.waiting(class, lane)
	c := calls[len(calls)-1]
	if m.classes[class].overload {
		c = calls[0]
	}
	m.Displaced++
	m.leave(c, queue.ErrFull)
}

func (m *model) tryAcquire(class int) bool {
	if m.closed || len(m.waiting(class, -1)) > 0 || !m.may(class) {
		return false
	}
	m.grant(class)
	return true
}

func (m *model) grant(class int) {
	m.Executing++
	m.Granted++
	m.classes[class].executing++
}

func (m *model) leave(c *modelCall, result error) {
	m.line = slices.DeleteFunc(m.line, func(o *modelCall) bool { return o == c })
	m.Queued--
	class := &m.classes[c.class]
	if len(m.waiting(c.class, c.lane)) == 0 {
		class.turns = slices.DeleteFunc(class.turns, func(l int) bool { return l == c.lane })
	}
	if len(m.waiting(c.class, -1)) == 0 {
		class.overload, class.above = false, time.Time{}
	}
	c.ended, c.result, c.waited = true, result, time.Since(c.since)
}

// settle does what follows by itself: time-outs first, then grants.
func (m *model) settle() {
	for m.config.MaxWait > 0 && m.Queued > 0 && time.Since(m.line[0].since) >= m.config.MaxWait {
		m.TimedOut++
		c := m.line[0]
		m.leave(c, queue.ErrTimeout)
		c.waited = m.config.MaxWait
	}
	for m.Queued > 0 {
		i := m.next()
		if i < 0 {
			return
		}
		m.look(i)
		class := &m.classes[i]
		calls := m.waiting(i, class.turns[0])
		c := calls[0]
		if class.overload {
			c = calls[len(calls)-1]
		}
		patience := time.Duration(0)
		if m.adaptive() {
			patience = m.Service
		}
		if !c.Deadline.IsZero() && time.Until(c.Deadline) <= patience {
			m.Late++
			m.leave(c, queue.ErrLate)
			continue
		}
		class.turns = append(class.turns[1:], class.turns[0])
		m.grant(i)
		m.leave(c, nil)
	}
}

func (m *model) next() int {
	for i := range m.classes {
		if len(m.waiting(i, -1)) > 0 && m.may(i) && m.classes[i].executing < m.guaranteed(i) {
			return i
		}
	}
	for i := range m.classes {
		if len(m.waiting(i, -1)) > 0 && m.may(i) {
			return i
		}
	}
	return -1
}

func (m *model) look(class int) {
	c := &m.classes[class]
	if !m.adaptive() {
		return
	}
	target := m.config.Target
	if target == 0 {
		target = max(m.Service, 5*time.Millisecond)
	}
	switch {
	case time.Since(m.waiting(class, -1)[0].since) < target:
		c.overload, c.above = false, time.Time{}
	case c.above.IsZero():
		c.above = time.Now().Add(min(max(5*target, 100*time.Millisecond), 10*time.Second))
	case !time.Now().Before(c.above):
		c.overload = true
	}
}

// modelConfig is a random one; every second is the plain kind.
func modelConfig(r *rand.Rand) queue.Config {
	c := queue.Config{
		Limit: r.IntN(5), Depth: r.IntN(12), MaxWait: time.Duration(r.IntN(3)) * 10 * time.Millisecond, Discipline: queue.FIFO,
	}
	if r.IntN(2) == 0 {
		return c
	}
	c.MaxWait *= 20
	if r.IntN(3) > 0 {
		c.Discipline, c.Target = queue.Adaptive, time.Duration(r.IntN(2))*10*time.Millisecond
	}
	c.Lanes = r.IntN(5)
	for range r.IntN(4) {
		c.Classes = append(c.Classes, queue.Class{Share: float64(r.IntN(4)) / 10, Keep: float64(r.IntN(3)) / 2})
	}
	return c
}

// client is one goroutine with one waiter that is used again and again.
type client struct {
	queue.Waiter
	start  chan *queue.Queue
	result error
	ended  bool
}

func newClient() *client {
	c := &client{start: make(chan *queue.Queue)}
	go func() {
		for q := range c.start {
			c.result = q.Acquire(&c.Waiter)
			c.ended = true
		}
	}()
	return c
}

func runModel(t *testing.T, r *rand.Rand, operations int) {
	c := modelConfig(r)
	q := queue.New(c)
	m := newModel(c)
	closeAt := r.IntN(operations * 10)

	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = newClient()
		defer close(clients[i].start)
	}
	defer q.Close()
	idle := slices.Clone(clients)
	var busy []*modelCall

	acquire := func(cause error) string {
		if len(idle) == 0 {
			return "no idle client"
		}
		i := r.IntN(len(idle))
		call := &modelCall{client: idle[i]}
		idle = slices.Delete(idle, i, i+1)
		busy = append(busy, call)
		call.client.ended = false
		call.Reset()
		call.Class, call.Key, call.Deadline = r.IntN(len(m.classes)), r.Uint64N(6), time.Time{}
		if r.IntN(4) == 0 {
			call.Deadline = time.Now().Add(time.Duration(1+r.IntN(200)) * time.Millisecond)
		}
		if cause != nil {
			call.Cancel(cause)
			call.Cancel(errOther)
		}
		call.start <- q
		m.acquire(call, cause)
		return fmt.Sprintf("acquire, cause %v", cause)
	}
	step := func() string {
		switch p := r.IntN(100); {
		case p < 40:
			return acquire(nil)
		case p < 42:
			return acquire(errGone)
		case p < 45:
			class := r.IntN(len(m.classes))
			require.Equal(t, m.tryAcquire(class), q.TryAcquire(class))
			return "try"
		case p < 75:
			class := r.IntN(len(m.classes))
			if m.classes[class].executing == 0 {
				return "nothing to release"
			}
			q.Release(class)
			m.Executing--
			m.classes[class].executing--
			return fmt.Sprintf("release %d", class)
		case p < 78:
			d := time.Duration(r.IntN(100)) * time.Millisecond
			q.Observe(d)
			m.Service = q.Stats().Service // TestObserveFollowsTheServiceTime looks after that
			return fmt.Sprintf("observe %v", d)
		case p < 85:
			if len(m.line) == 0 {
				return "nobody to cancel"
			}
			call := m.line[r.IntN(len(m.line))]
			call.Cancel(errGone)
			m.Cancelled++
			m.leave(call, errGone)
			return "cancel"
		case p < 93:
			m.Limit = r.IntN(6)
			q.SetLimit(m.Limit)
			return fmt.Sprintf("limit %d", m.Limit)
		default:
			d := time.Duration(r.IntN(12)) * time.Millisecond
			time.Sleep(d)
			return fmt.Sprintf("sleep %v", d)
		}
	}

	for i := range operations {
		if i == closeAt {
			q.Close()
			m.closed = true
			for m.Queued > 0 {
				m.Closed++
				m.leave(m.line[0], queue.ErrClosed)
			}
		}
		what := step()
		m.settle()
		synctest.Wait()
		busy = slices.DeleteFunc(busy, func(c *modelCall) bool {
			if c.ended != c.client.ended || c.ended && (c.result != c.client.result || c.waited != c.Waited()) { //nolint:errorlint // the very cause, not one that wraps it
				t.Fatalf("operation %d (%s): want ended %v, %v after %v; got %v, %v after %v", i, what,
					c.ended, c.result, c.waited, c.client.ended, c.client.result, c.Waited())
			}
			if c.ended {
				idle = append(idle, c.client)
			}
			return c.ended
		})
		if got := q.Stats(); got != m.Stats {
			t.Fatalf("operation %d (%s): want %+v, got %+v", i, what, m.Stats, got)
		}
	}
}
