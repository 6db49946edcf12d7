package workers

import (
	"fmt"
	"sync"
	"time"
)

// ticket is a request's place in the line for a worker.
type ticket struct {
	prev, next *ticket // guarded by Pool.mu
	since      int64   // guarded by Pool.mu
	waiting    bool    // guarded by Pool.mu: in line
	worker     *worker // guarded by Pool.mu: handed to it
	err        error   // guarded by Pool.mu: or the reason why none is

	called chan struct{} // worker or err was set
	cut    chan struct{} // Interrupt was called
	timer  *time.Timer
}

var tickets = sync.Pool{New: func() any {
	t := &ticket{called: make(chan struct{}, 1), cut: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	return t
}}

// Interrupt makes the request leave the line.
func (t *ticket) Interrupt() {
	select {
	case t.cut <- struct{}{}:
	default:
	}
}

// recycle gives the ticket back; it is not in line any more.
func (t *ticket) recycle() {
	t.timer.Stop()
	t.worker, t.err = nil, nil
	for _, c := range [2]chan struct{}{t.called, t.cut} {
		select {
		case <-c:
		default:
		}
	}
	tickets.Put(t)
}

// line holds those who wait for a worker, first come, first served. It is guarded
// by Pool.mu.
type line struct {
	first, last *ticket
	n           int
}

func (l *line) push(t *ticket, now int64) {
	t.since, t.waiting = now, true
	t.prev, t.next = l.last, nil
	if l.last != nil {
		l.last.next = t
	} else {
		l.first = t
	}
	l.last = t
	l.n++
}

func (l *line) remove(t *ticket) {
	if !t.waiting {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.last = t.prev
	}
	t.prev, t.next, t.waiting = nil, nil, false
	l.n--
}

// call hands a worker, or an error, to the first in line.
func (l *line) call(w *worker, err error) {
	t := l.first
	l.remove(t)
	t.worker, t.err = w, err
	t.called <- struct{}{}
}

// await waits in line until a worker is free, the request is interrupted or its
// time is up.
func (p *Pool) await(x Exchange, t *ticket) (*worker, error) {
	defer t.recycle()
	cause := x.OnInterrupt(t)
	if cause == nil {
		t.wait(x.Remaining())
		cause = x.OnInterrupt(nil)
	}
	p.mu.Lock()
	p.line.remove(t)
	w, err := t.worker, t.err
	p.mu.Unlock()
	switch {
	case cause != nil:
		if w != nil {
			p.release(w, false)
		}
		return nil, cause
	case w == nil && err == nil:
		return nil, fmt.Errorf("%w: no worker was free in time", ErrTimeout)
	}
	return w, err
}

// wait returns when the ticket was called or cut, or after left, if that is not 0.
func (t *ticket) wait(left time.Duration) {
	var late <-chan time.Time
	if left != 0 {
		t.timer.Reset(left)
		late = t.timer.C
	}
	select {
	case <-t.called:
	case <-t.cut:
	case <-late:
	}
}
