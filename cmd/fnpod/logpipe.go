package main

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	logRoom  = 1 << 20              // bytes of records that wait to be written
	logMuch  = logRoom / 8          // as many are written at once
	logPause = 5 * time.Millisecond // fewer wait as long after what was written before
	logFlush = time.Second          // what is left may take as long at the end
)

// logPipe is a writer that never waits for its reader (rule M5): a log driver that stopped must not hold up requests,
// workers or the drain. Records wait in memory and are written by a goroutine of the pipe, those of some milliseconds
// together: to wake it for each would cost more than the record itself. What does not fit is dropped,
// a whole record at a time, and counted. Its methods may be called by several goroutines.
type logPipe struct {
	w       io.Writer
	told    atomic.Pointer[func(lost uint64)]
	dropped atomic.Uint64
	wake    chan struct{} // something waits to be written
	hurry   chan struct{} // and it is much, or the end
	done    chan struct{} // closed when all that was written before close is out

	mu     sync.Mutex
	buf    []byte // guarded by mu: whole records
	lost   uint64 // guarded by mu: records dropped and not told of yet
	closed bool   // guarded by mu
}

func newLogPipe(w io.Writer) *logPipe {
	p := &logPipe{w: w, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{})}
	go p.run()
	return p
}

// Write takes one record, or drops it. A record larger than all the room is taken when nothing else waits.
func (p *logPipe) Write(record []byte) (int, error) {
	p.add(record, nil)
	return len(record), nil
}

// add is Write for a record of two parts.
func (p *logPipe) add(record, end []byte) {
	p.mu.Lock()
	before := len(p.buf)
	if before > 0 && before+len(record)+len(end) > logRoom {
		p.lost++
		p.dropped.Add(1)
	} else {
		p.buf = append(append(p.buf, record...), end...)
	}
	after := len(p.buf)
	p.mu.Unlock()
	if before == 0 {
		stir(p.wake)
	}
	if before < logMuch && after >= logMuch {
		stir(p.hurry)
	}
}

// Dropped returns how many records were dropped so far.
func (p *logPipe) Dropped() uint64 { return p.dropped.Load() }

// tell sets what is called, by the goroutine of the pipe, when records have been dropped and there is room again. It may
// write to the pipe.
func (p *logPipe) tell(told func(lost uint64)) { p.told.Store(&told) }

// close returns when everything is written, or after a while if the reader does not take it. What is written later may
// be lost.
func (p *logPipe) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	stir(p.wake)
	stir(p.hurry)
	t := time.NewTimer(logFlush)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
	}
}

func stir(sleeper chan struct{}) {
	select {
	case sleeper <- struct{}{}:
	default:
	}
}

// run writes until the pipe is closed and empty. If the reader takes nothing, it ends with the process.
func (p *logPipe) run() {
	defer close(p.done)
	var out []byte
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range p.wake {
		select {
		case <-pause.C:
		case <-p.hurry:
		}
		records, lost, closed := p.take(out)
		if closed && len(records) == 0 && lost == 0 {
			return
		}
		if len(records) > 0 {
			if _, err := p.w.Write(records); err != nil { // nobody to tell
				p.dropped.Add(1)
			}
		}
		if lost > 0 {
			(*p.told.Load())(lost)
		}
		if closed { // until nothing is left
			stir(p.wake)
			stir(p.hurry)
		}
		pause.Reset(logPause)
		if out = records[:0]; cap(out) > logRoom/4 { // from a time when much was logged
			out = nil
		}
	}
}

// take exchanges what waits for an empty buffer.
func (p *logPipe) take(empty []byte) (records []byte, lost uint64, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	records, p.buf = p.buf, empty
	if p.told.Load() != nil {
		lost, p.lost = p.lost, 0
	}
	return records, lost, p.closed
}
