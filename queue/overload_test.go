package queue_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/queue"
)

// overload is an experiment in virtual time: clients come at random, at a multiple of
// what the slots can do, and leave when they have waited for five service times.
type overload struct {
	queue.Config
	load     float64
	service  time.Duration
	random   bool // service times are exponential, not fixed
	patience time.Duration
	deadline bool // clients say how long they wait
	tell     func(n int) (class int, key uint64, tenant int)
}

// outcome counts what became of the requests, by tenant.
type outcome struct {
	came, good [2]atomic.Int64
}

// share is the part of the capacity that was answered in time.
func (o *outcome) share(capacity float64) float64 {
	var good int64
	for i := range o.good {
		good += o.good[i].Load()
	}
	return float64(good) / capacity
}

const experiment = 100 * time.Second

// run lets the experiment happen and returns what came of it.
func (e overload) run(t *testing.T) *outcome {
	t.Helper()
	var o outcome
	synctest.Test(t, func(*testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		q := queue.New(e.Config)
		gap := float64(e.service) / float64(e.Limit) / e.load
		end := time.Now().Add(experiment)
		for n := 0; time.Now().Before(end); n++ {
			time.Sleep(time.Duration(r.ExpFloat64() * gap))
			service := e.service
			if e.random {
				service = time.Duration(r.ExpFloat64() * float64(e.service))
			}
			var w queue.Waiter
			tenant := 0
			if e.tell != nil {
				w.Class, w.Key, tenant = e.tell(n)
			}
			o.came[tenant].Add(1)
			go func() {
				if e.request(q, &w, service) {
					o.good[tenant].Add(1)
				}
			}()
		}
		time.Sleep(time.Minute)
		st := q.Stats()
		require.Zero(t, st.Executing)
		require.Zero(t, st.Queued)
	})
	return &o
}

// request reports whether it was answered before its client left.
func (e overload) request(q *queue.Queue, w *queue.Waiter, service time.Duration) bool {
	start := time.Now()
	if e.deadline {
		w.Deadline = start.Add(e.patience)
	}
	leave := time.AfterFunc(e.patience, func() { w.Cancel(errGone) })
	err := q.Acquire(w)
	leave.Stop()
	if err != nil {
		return false
	}
	left := e.patience - time.Since(start)
	time.Sleep(min(service, left)) // a client that leaves ends its request
	q.Observe(time.Since(start) - w.Waited())
	q.Release(w.Class)
	return service <= left
}

const service = 200 * time.Millisecond

// eight is an experiment with eight slots and lines of ten times as many.
func eight(discipline string, load float64) overload {
	return overload{
		Config: queue.Config{Limit: 8, Depth: 80, MaxWait: 30 * time.Second, Discipline: discipline},
		load:   load, service: service, patience: 5 * service,
	}
}

const capacity = 8 * float64(experiment) / float64(service)

// Under overload the adaptive discipline answers as many in time as there is capacity
// for, while a line in order answers whom nobody waits for any more; without overload
// there is next to no difference.
func TestGoodputUnderOverload(t *testing.T) {
	for _, random := range []bool{false, true} {
		for _, deadline := range []bool{false, true} {
			for _, load := range []float64{0.9, 1.2, 2, 5} {
				var share [2]float64
				for i, d := range []string{queue.FIFO, queue.Adaptive} {
					e := eight(d, load)
					e.random, e.deadline = random, deadline
					share[i] = e.run(t).share(capacity)
				}
				t.Logf("random %v, deadlines %v, load %v: fifo %.3f, adaptive %.3f of the capacity", random, deadline, load, share[0], share[1])
				if load < 1 {
					require.InDelta(t, share[0], share[1], 0.01)
					continue
				}
				require.Greater(t, share[1], 0.95)
				if !random && load >= 2 {
					require.Less(t, share[0], 0.1, "a line in order collapses")
				}
			}
		}
	}
}

// tenants mixes two of them: of every twelve requests, one is from the first.
func tenants(asClass, asKey bool) func(n int) (class int, key uint64, tenant int) {
	return func(n int) (class int, key uint64, tenant int) {
		if n%12 > 0 {
			tenant = 1
		}
		if asClass {
			class = tenant
		}
		if asKey {
			key = uint64(tenant)
		}
		return class, key, tenant
	}
}

// A tenant that sends ten times its share does not take from another that stays
// within its own: neither when keys tell them apart nor when they are classes.
func TestAFloodLeavesOthersTheirShare(t *testing.T) {
	const load = 0.9*0.5 + 10*0.5
	for _, d := range []string{queue.FIFO, queue.Adaptive} {
		for _, how := range []string{"nothing", "keys", "classes"} {
			e := eight(d, load)
			e.tell = tenants(how == "classes", how == "keys")
			switch how {
			case "keys":
				e.Lanes = 64
			case "classes":
				e.Classes = []queue.Class{{Share: 0.5}, {Share: 0.5}}
			}
			o := e.run(t)
			good := float64(o.good[0].Load()) / float64(o.came[0].Load())
			t.Logf("%s, told apart by %s: %.3f of the modest tenant's requests were answered in time", d, how, good)
			if how == "nothing" {
				require.Less(t, good, 0.5)
			} else {
				require.Greater(t, good, 0.9)
			}
		}
	}
}

// What a class does not use is lent to others, but for what is kept.
func TestUnusedSharesAreLent(t *testing.T) {
	for _, test := range []struct{ keep, least, most float64 }{{0, 0.95, 1.05}, {1, 0.45, 0.52}} {
		e := eight(queue.Adaptive, 5)
		e.Classes = []queue.Class{{Share: 0.5, Keep: test.keep}, {Share: 0.5}}
		e.tell = func(int) (int, uint64, int) { return 1, 0, 0 }
		share := e.run(t).share(capacity)
		require.Greater(t, share, test.least)
		require.Less(t, share, test.most)
	}
}
