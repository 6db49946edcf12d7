package knative

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// restartTime is how long somebody who waits for the drain believes that SIGTERM is about to come. If it does not, his
// container is started anew and the pod stays.
const restartTime = time.Second

// Drain knows whether the pod is about to go, and when nobody comes any more. Its zero value with Quiet is usable, by
// several goroutines.
type Drain struct {
	Quiet time.Duration // without a request, after which the drain is over

	asked atomic.Int32 // who waits and does not know yet whether SIGTERM comes
	last  atomic.Int64 // when the last request came, in nanoseconds since start

	once    sync.Once
	stop    sync.Once
	end     sync.Once
	start   time.Time
	stopped chan struct{} // closed by Stop
	over    chan struct{} // closed by Wait
}

func (d *Drain) init() {
	d.once.Do(func() { d.start, d.stopped, d.over = time.Now(), make(chan struct{}), make(chan struct{}) })
}

// Stop begins the drain for good: SIGTERM has come. It may be called again.
func (d *Drain) Stop() {
	d.init()
	d.stop.Do(func() {
		d.asked.Add(1)
		close(d.stopped)
	})
}

// Draining reports that probes are to say no.
func (d *Drain) Draining() bool { return d.asked.Load() > 0 }

// Arrived is told of each request.
func (d *Drain) Arrived() {
	if d.Draining() {
		d.init()
		d.last.Store(int64(time.Since(d.start)))
	}
}

// Wait calls Stop, returns when no request has come for Quiet or hurry is closed, and lets go who waits in Handler. It
// fits proxy.Rules.Linger.
func (d *Drain) Wait(hurry <-chan struct{}) {
	d.Stop()
	defer d.end.Do(func() { close(d.over) })
	d.last.Store(int64(time.Since(d.start)))
	timer := time.NewTimer(d.Quiet)
	defer timer.Stop()
	for {
		select {
		case <-hurry:
			return
		case <-timer.C:
		}
		left := d.Quiet - (time.Since(d.start) - time.Duration(d.last.Load()))
		if left <= 0 {
			return
		}
		timer.Reset(left)
	}
}

// Handler answers /wait-for-drain, of any method, when the drain is over, or a second later if there is none.
func (d *Drain) Handler() http.Handler {
	d.init()
	mux := http.NewServeMux()
	mux.HandleFunc("/wait-for-drain", func(_ http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		defer d.asked.Add(-1)
		timer := time.NewTimer(restartTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			return
		case <-r.Context().Done():
			return
		case <-d.stopped:
		}
		select {
		case <-r.Context().Done():
		case <-d.over:
		}
	})
	return mux
}
