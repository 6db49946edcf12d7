package proxy

import (
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fnpod/fnpod/proxy/http2"
)

// http2Stream is one stream of a session: one request and its answer (RFC 9113 §5).
type http2Stream struct {
	session *http2Session
	id      uint32
	of      any // what it is to the session's role

	// All of the rest is guarded by session.mu.
	sendWindow int64
	recvWindow int64
	freed      int    // bytes that the peer may send again and does not know yet
	room       int    // bytes of a body that may be on their way or wait here
	read       bool   // somebody reads the body
	recv       []byte // what has come of the body
	taken      int    // bytes of recv that were read
	due        int64  // bytes of the body that are still to come, by what was declared; unknownLength if nothing was
	headless   bool   // a body would be an error: its head has not come
	ended      bool   // the peer has ended its side
	sent       bool   // we have ended ours
	closed     bool   // nothing comes or goes any more
	cause      error  // why, if it ended early
	told       bool   // the role knows of cause
	waiting    bool   // it is in session.blocked
	deaf       bool   // nobody wants the rest of the body
	mute       bool   // nobody wants to send the rest

	readable, writable chan struct{} // of one place, made when somebody waits there
}

// signal wakes who waits for the stream. Called under mu.
func (st *http2Stream) signal() {
	for _, c := range [...]chan struct{}{st.readable, st.writable} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// wait waits for a signal on one of the stream's channels until a time, which may be
// zero. It reports false when that has come. Called under mu, which it gives up meanwhile.
func (st *http2Stream) wait(on *chan struct{}, until time.Time) (ok bool) {
	if *on == nil {
		*on = make(chan struct{}, 1)
	}
	c := *on
	st.session.mu.Unlock()
	defer st.session.mu.Lock()
	if until.IsZero() {
		<-c
		return true
	}
	t := timers.Get().(*time.Timer)
	t.Reset(time.Until(until))
	defer func() {
		t.Stop()
		timers.Put(t)
	}()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// keep appends to what has come of the body. What was read makes room, also if the reader never comes to the end of it:
// then the buffer holds four windows at most. Called under mu.
func (st *http2Stream) keep(b []byte) {
	if len(st.recv)+len(b) > cap(st.recv) && st.taken > len(st.recv)/2 {
		st.recv = st.recv[:copy(st.recv, st.recv[st.taken:])]
		st.taken = 0
	}
	st.recv = append(st.recv, b...)
}

// receive reads of the peer's body until a time, which may be zero. The error is io.EOF
// at the end of its side.
func (st *http2Stream) receive(p []byte, until time.Time) (int, error) {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case st.taken < len(st.recv) && !st.deaf:
			n := copy(p, st.recv[st.taken:])
			if st.taken += n; st.taken == len(st.recv) {
				st.recv, st.taken = st.recv[:0], 0
			}
			st.read = true
			s.freeStream(st, n)
			s.flush()
			return n, nil
		case st.ended && !st.deaf:
			return 0, io.EOF
		case st.cause != nil:
			return 0, st.cause
		case st.deaf:
			return 0, os.ErrDeadlineExceeded
		}
		if !st.wait(&st.readable, until) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// dead reports why nothing can be sent. Called under mu.
func (st *http2Stream) dead() error {
	switch {
	case st.session.err != nil:
		return st.session.err
	case st.cause != nil:
		return st.cause
	case st.closed, st.sent:
		return http2.StreamClosed
	case st.mute:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// send appends p as frames, and the end of our side if last. Where the peer has no room
// for them it waits, not longer than patience without progress. Called under mu, which
// it gives up meanwhile; what is appended at the end is not flushed.
func (st *http2Stream) send(p []byte, last bool, patience time.Duration) error {
	s := st.session
	defer s.wakeNext()
	var until time.Time
	for {
		if err := st.dead(); err != nil {
			return err
		}
		room := min(int64(http2.MinFrame), st.sendWindow, s.sendWindow)
		switch {
		case len(p) == 0 && !last:
			return nil
		case len(p) > 0 && (room <= 0 || len(s.out) > outMost):
			if len(s.out) > 0 && !s.writing {
				s.flush()
				continue
			}
			if patience > 0 && until.IsZero() {
				until = time.Now().Add(patience)
			}
			if !st.block(until) {
				return os.ErrDeadlineExceeded
			}
			continue
		}
		n := min(int64(len(p)), max(room, 0)) // SETTINGS make windows negative, and an end needs none
		end := last && n == int64(len(p))
		flags := uint8(0)
		if end {
			flags, st.sent = http2.EndStream, true
		}
		s.out = http2.AppendFrame(s.out, http2.Data, flags, st.id, p[:n])
		st.sendWindow -= n
		s.sendWindow -= n
		if p, until = p[n:], (time.Time{}); end {
			s.settle(st)
		}
		if len(p) == 0 {
			return nil
		}
	}
}

// block waits until a window opens or something was written. Called under mu.
func (st *http2Stream) block(until time.Time) bool {
	s := st.session
	if st.sendWindow <= 0 { // the peer opens it for this stream alone
		s.wakeNext()
		return st.wait(&st.writable, until)
	}
	if !st.waiting {
		st.waiting = true
		s.blocked = append(s.blocked, st)
	}
	ok := st.wait(&st.writable, until)
	if st.waiting { // woken by something else
		st.waiting = false
		s.blocked = slices.DeleteFunc(s.blocked, func(o *http2Stream) bool { return o == st })
	}
	return ok
}

// endWith appends fields as the end of our side. Called under mu.
func (st *http2Stream) endWith(trailers []byte) error {
	if err := st.dead(); err != nil {
		return err
	}
	s := st.session
	s.out = http2.AppendHeaders(s.out, http2.EndStream, st.id, trailers)
	st.sent = true
	s.settle(st)
	return nil
}

// stopReading makes receive return.
func (st *http2Stream) stopReading() {
	st.session.mu.Lock()
	st.deaf = true
	st.signal()
	st.session.mu.Unlock()
}

// stopWriting makes send return.
func (st *http2Stream) stopWriting() {
	st.session.mu.Lock()
	st.mute = true
	st.signal()
	st.session.mu.Unlock()
}
