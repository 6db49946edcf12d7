package workers

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/protocol"
)

// shared is the conversation with a worker that runs several requests at once. Each request is run by its own goroutine,
// as elsewhere; one more reads what the worker writes and hands it to those it is for.
type shared struct {
	w       *worker
	leaving atomic.Bool   // the worker was told to end
	ponged  atomic.Bool   // it has answered the last PING
	done    chan struct{} // closed when nothing is read any more: the worker is dead, or cannot be killed

	writing sync.Mutex // held by those who write to the worker's channel
	given   int64      // guarded by writing: bytes that were sent, or wait to be

	mu    sync.Mutex
	slots map[uint32]*slot // guarded by mu: requests in flight
	last  uint32           // guarded by mu: id
	fault error            // guarded by mu: what a request found wrong with the worker
	ended error            // guarded by mu: why nothing is read any more
	read  int64            // guarded by mu, set with ended: the worker has read no byte from here on
}

func newShared(w *worker) *shared {
	return &shared{w: w, done: make(chan struct{}), slots: map[uint32]*slot{}}
}

// run reads until the end of the worker.
func (s *shared) run() {
	err := io.ErrUnexpectedEOF
	defer func() { s.end(err) }()
	defer s.w.survive(func() { err = fmt.Errorf("%w: %w", ErrProtocol, errPanic) })
	err = s.converse()
}

// converse takes frames until no more come.
func (s *shared) converse() error {
	w := s.w
	for {
		f, raw, ok, err := w.ch.takeWhole()
		switch {
		case err != nil:
			return err
		case ok:
			if err := s.route(&f, raw); err != nil {
				return err
			}
			continue
		}
		if err := w.ch.wait(); err != nil {
			return err
		}
		if err := s.woken(); err != nil {
			return err
		}
	}
}

// woken looks at what others have woken the reader for.
func (s *shared) woken() error {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		return fault
	}
	if s.w.limit.reached() || s.w.killReason() != Reasons && !s.leaving.Load() {
		return errOverdue
	}
	s.writing.Lock()
	err := s.w.ch.flush()
	s.writing.Unlock()
	if err == nil && !s.w.ch.full() {
		s.each(func(sl *slot) {
			if sl.held.Swap(false) {
				sl.wake()
			}
		})
	}
	if errors.Is(err, errInputClosed) { // its answers may still come (rule W13)
		return nil
	}
	return err
}

// route hands a frame to the request it is for.
func (s *shared) route(f *frame, raw []byte) error {
	switch f.typ {
	case protocol.Response, protocol.Error, protocol.Data, protocol.Trailers, protocol.Window:
		return s.deliver(f, raw)
	case protocol.Log:
		s.w.logFrame(f, s.requestID(f.id))
		return nil
	case protocol.Pong:
		s.ponged.Store(true)
		return nil
	case protocol.Bye:
		s.w.pool.noMore(s.w)
		return nil
	case protocol.Metric:
		return nil
	default:
		if f.typ >= protocol.Optional {
			return nil
		}
		return fmt.Errorf("%w: frame of type %#02x out of place", ErrProtocol, uint8(f.typ))
	}
}

// deliver hands a frame to a request. It holds mu, so that the slot is not that of another request meanwhile.
func (s *shared) deliver(f *frame, raw []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.slots[f.id]; sl != nil {
		return sl.deliver(raw)
	}
	if f.typ == protocol.Window { // it read on while it answered
		return nil
	}
	return fmt.Errorf("%w: frame of type %#02x for request %d, which is not there", ErrProtocol, uint8(f.typ), f.id)
}

// requestID returns our id of a request in flight, for the log.
func (s *shared) requestID(id uint32) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.slots[id]; sl != nil {
		return sl.request.get()
	}
	return ""
}

func (s *shared) each(f func(*slot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.slots {
		f(sl)
	}
}

// end returns when the worker is dead, or was killed and does not end, and tells all requests.
func (s *shared) end(err error) {
	if s.leaving.Load() && !errors.Is(err, ErrProtocol) {
		<-s.w.proc.Done() // the limit sees to that
	} else {
		s.w.broken(err)
	}
	s.writing.Lock()
	read := s.given - int64(len(s.w.ch.queued)+s.w.ch.unread())
	s.writing.Unlock()
	s.mu.Lock()
	s.ended, s.read = err, read
	for _, sl := range s.slots {
		sl.wake()
	}
	s.mu.Unlock()
	close(s.done)
}

// why returns why nothing is read any more, nil while it is, and from where on the worker has read no byte.
func (s *shared) why() (read int64, ended error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read, s.ended
}

// breach ends the worker because of what a request found.
func (s *shared) breach(err error) {
	s.w.unfit.Store(true)
	s.mu.Lock()
	if s.fault == nil {
		s.fault = err
	}
	s.mu.Unlock()
	s.w.ch.wake()
}

// send writes whole frames without waiting. It returns where they begin among all bytes that the worker was sent.
func (s *shared) send(frames []byte) (int64, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	at := s.given
	s.given += int64(len(frames))
	return at, s.w.ch.send(frames)
}

// ping asks the worker whether it takes frames.
func (s *shared) ping() {
	s.ponged.Store(false)
	_, err := s.send(appendFrame(nil, protocol.Ping, 0, 0, nil))
	if err != nil && !errors.Is(err, errInputClosed) {
		s.breach(err)
	}
}

// leave lets the worker, which has no request, end; the grace time limits that.
func (s *shared) leave() {
	s.leaving.Store(true)
	s.w.limit.set(s.w.pool.now() + max(int64(s.w.pool.cfg.Grace), 1))
	_, err := s.send(appendFrame(nil, protocol.Drain, 0, 0, nil))
	s.writing.Lock()
	err = errors.Join(err, s.w.ch.closeInput())
	s.writing.Unlock()
	if err != nil && !errors.Is(err, errInputClosed) {
		s.breach(err)
	}
	<-s.done
	s.w.proc.Kill() // the rest of its group
}

// serve runs one request. again means that the worker is dead and has not read a byte of it; stays, that the worker is
// not through with it.
func (s *shared) serve(sl *slot, x Exchange) (again, stays bool, err error) {
	c := &sl.call
	if !s.enter(sl, x) {
		again, err = c.lost(io.EOF, nil)
		return again, false, err
	}
	if cause := x.OnInterrupt(c); cause != nil {
		return false, false, cause
	}
	err = c.run(x)
	cause := x.OnInterrupt(nil)
	switch {
	case err == nil, c.over:
		return false, false, err
	case !c.begun:
		if cause != nil {
			err = cause
		}
		return false, false, err
	case c.cause != nil:
		return false, true, c.cause
	}
	s.await(err)
	again, err = c.lost(err, cause)
	return again, false, err
}

// await returns when the worker is dead that has met an error, or that a request has.
func (s *shared) await(err error) {
	if _, ended := s.why(); ended == nil {
		s.breach(err)
	}
	<-s.done
}

// enter gives a request a number; false: the worker is gone.
func (s *shared) enter(sl *slot, x Exchange) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.last++; s.last != 0 && s.slots[s.last] == nil {
			break
		}
	}
	sl.open(x, s.last)
	if s.ended != nil {
		sl.at = s.read
		return false
	}
	s.slots[sl.id] = sl
	return true
}

// exit takes a request off the books. It must have been answered completely, or the worker be gone.
func (s *shared) exit(sl *slot) {
	s.mu.Lock()
	delete(s.slots, sl.id)
	s.mu.Unlock()
	sl.request.landed()
	if sl.over && sl.surplus() {
		s.breach(fmt.Errorf("%w: more than one answer to request %d", ErrProtocol, sl.id))
	}
}

// lendShared runs a request on a worker beside others.
func (p *Pool) lendShared(w *worker, x Exchange) (again bool, err error) {
	sl := p.slot(w)
	from, stays := p.now(), true // after a panic, too
	defer func() {
		if u := sl.upload; u != nil {
			u.end()
		}
		if err != nil {
			p.countFailed(err)
		}
		if p.cfg.Ran != nil && sl.begun {
			p.cfg.Ran(w.index, time.Duration(p.now()-from))
		}
		if !stays {
			p.finish(sl)
			return
		}
		l, gone := watchdog.NewLingering(err) // the worker was told to stop, and its other requests go on
		err = l
		go func() { // its worker's end ends it
			defer close(gone)
			sl.linger()
			p.finish(sl)
		}()
	}()
	again, stays, err = w.shared.serve(sl, x)
	return again, err
}

// finish gives a slot and its place at the worker back.
func (p *Pool) finish(sl *slot) {
	w, through, abandoned := sl.w, sl.over, sl.gaveUp
	w.shared.exit(sl)
	p.slots.Put(sl.clean())
	p.mu.Lock()
	if abandoned {
		w.abandoned--
	}
	p.mu.Unlock()
	p.release(w, through)
}
