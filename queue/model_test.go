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
	ended  bool
	result error
	waited time.Duration
}

// model is the reference. Waiters are a plain slice in order of arrival.
type model struct {
	queue.Stats
	maxWait time.Duration
	closed  bool
	line    []*modelCall
}

func (m *model) free() bool { return m.Limit == 0 || m.Executing < m.Limit }

func (m *model) acquire(c *modelCall, cause error) {
	c.since = time.Now()
	switch {
	case cause != nil:
		m.Cancelled++
		c.ended, c.result = true, cause
	case m.closed:
		m.Closed++
		c.ended, c.result = true, queue.ErrClosed
	case m.tryAcquire():
		c.ended = true
	case m.Queued == m.Depth:
		m.Refused++
		c.ended, c.result = true, queue.ErrFull
	default:
		m.line = append(m.line, c)
		m.Queued++
	}
}

func (m *model) tryAcquire() bool {
	if m.closed || m.Queued > 0 || !m.free() {
		return false
	}
	m.Executing++
	m.Granted++
	return true
}

func (m *model) leave(c *modelCall, result error) {
	m.line = slices.DeleteFunc(m.line, func(o *modelCall) bool { return o == c })
	m.Queued--
	c.ended, c.result, c.waited = true, result, time.Since(c.since)
}

// settle does what follows by itself: time-outs first, then grants in order.
func (m *model) settle() {
	for m.maxWait > 0 && m.Queued > 0 && time.Since(m.line[0].since) >= m.maxWait {
		m.TimedOut++
		c := m.line[0]
		m.leave(c, queue.ErrTimeout)
		c.waited = m.maxWait
	}
	for m.Queued > 0 && m.free() {
		m.Executing++
		m.Granted++
		m.leave(m.line[0], nil)
	}
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
	c := queue.Config{Limit: r.IntN(5), Depth: r.IntN(12), MaxWait: time.Duration(r.IntN(3)) * 10 * time.Millisecond}
	q := queue.New(c)
	m := &model{Stats: queue.Stats{Limit: c.Limit, Depth: c.Depth}, maxWait: c.MaxWait}
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
			require.Equal(t, m.tryAcquire(), q.TryAcquire())
			return "try"
		case p < 75:
			if m.Executing == 0 {
				return "nothing to release"
			}
			q.Release()
			m.Executing--
			return "release"
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
