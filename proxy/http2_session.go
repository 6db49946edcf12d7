package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/proxy/http2"
)

// What one connection of HTTP/2 may cost, in bytes.
const (
	streamWindow = 256 << 10         // of a body that is being read and may be on their way, or wait for who reads
	unreadWindow = http2.FirstWindow // the same while nobody reads it: a request in the queue
	connWindow   = 1 << 20           // of all bodies of a connection, that may be on their way
	outMost      = 64 << 10          // frames that wait to be written, before who sends more has to wait
	frameRoom    = 32 << 10          // what is read at once: at least one whole frame
)

// http2Session is one connection of HTTP/2, to a client or to the function: what both
// ends do alike (RFC 9113 §4 to §6). One goroutine reads; frames are written by
// whoever has some, and by one at a time for all.
type http2Session struct {
	nc   net.Conn
	raw  syscall.RawConn // nil where the socket is not ours to read: TLS
	role http2Role

	// The next belong to the goroutine that reads.
	early    []byte // read before the session began
	in       []byte // lent while anything is in it
	at, have int    // in[at:have] has not been looked at
	missed   int    // bytes of the preface to come
	begun    bool   // the first frame has come, which is SETTINGS
	readErr  error  // what ended the reading
	block    []byte // of a head that came in pieces
	head     http2.Head
	open     bool       // the head goes on in the next frame
	ofBlock  http2.Head // the frame that began it
	fields   http2Fields
	table    *http2.Decoder
	emit     func(name, value []byte)
	touched  []*http2Stream // who is told when all that came has been looked at
	content  int            // bytes of a body that the frame in progress still brings
	padding  int            // what follows them
	owner    *http2Stream   // whose they are; nil: nobody's any more
	ends     bool           // they end the body

	mu          sync.Mutex
	streams     map[uint32]*http2Stream // guarded by mu: those that are not over
	highest     uint32                  // guarded by mu: the latest stream that was opened
	sendWindow  int64                   // guarded by mu
	firstWindow int64                   // guarded by mu: of a stream to the peer
	recvWindow  int64                   // guarded by mu: what the peer may still send
	freed       int                     // guarded by mu: bytes that the peer may send again and does not know yet
	firstRoom   int                     // bytes of a body that the peer may send on a new stream
	out         []byte                  // guarded by mu: frames to be written
	spare       []byte                  // guarded by mu
	writing     bool                    // guarded by mu: somebody writes, and will write what is added
	bytes       []byte                  // of who writes
	wrote       int                     // likewise
	errno       syscall.Errno           // likewise
	onWritable  func(fd uintptr) bool
	resets      [128]uint32    // guarded by mu: the latest streams that we have reset
	nextReset   int            // guarded by mu
	leaving     bool           // guarded by mu: our last words are being said
	blocked     []*http2Stream // guarded by mu: who waits for the connection's window or for room in out, in turn
	drained     sync.Cond      // of mu: something was written
	err         error          // guarded by mu: why the session is over
}

// http2Role is what one end of a session does differently. All is called by the
// goroutine that reads, without mu. An error ends the connection.
type http2Role interface {
	// saw is told of every frame, as soon as its head is here.
	saw(h http2.Head) error
	// take takes the fields of a whole block; they are s.fields, decoded.
	take(stream uint32, end bool) error
	// limitOfHead is the most bytes of a head that are looked at.
	limitOfHead() int
	// left is told that the peer has given up a stream.
	left(st *http2Stream)
	// goneAway is told that the peer takes no stream above last.
	goneAway(last uint32, code http2.Code)
	// setting is told of one.
	setting(s http2.Setting)
	// rest is called when all that came has been looked at.
	rest()
	// moved counts bytes of the socket.
	moved(in, out int)
	// patience is how long a peer may take nothing.
	patience() time.Duration
	// blamed is told, under mu, that a stream was reset for what the peer has done.
	blamed()
	// panicked reports a bug of ours, and returns what ends the connection (rule R7).
	panicked(bug any) error
}

// init makes a session whose peer may send firstRoom bytes of a body on a new stream.
func (s *http2Session) init(nc net.Conn, raw syscall.RawConn, firstRoom int, role http2Role) {
	s.nc, s.raw, s.firstRoom, s.role = nc, raw, firstRoom, role
	s.table = http2.NewDecoder(tableBytes)
	s.head.Length = -1
	s.emit = s.fields.add
	s.streams = map[uint32]*http2Stream{}
	s.sendWindow, s.firstWindow, s.recvWindow = http2.FirstWindow, http2.FirstWindow, connWindow
	s.drained.L = &s.mu
	s.onWritable = func(fd uintptr) bool {
		s.wrote, s.errno = writeSocket(fd, s.bytes)
		return true
	}
}

// tableBytes is the size of the table by which heads are compressed (RFC 7541 §4.2).
const tableBytes = 4096

// announce appends our settings, and what is more than the protocol's first window.
// Called under mu, or before anybody else knows the session.
func (s *http2Session) announce(settings ...http2.Setting) {
	s.out = http2.AppendSettings(s.out, append(settings, http2.Setting{ID: http2.InitialWindowSize, Value: uint32(s.firstRoom)})...)
	s.out = http2.AppendWindowUpdate(s.out, 0, connWindow-http2.FirstWindow)
}

var frameRooms = sync.Pool{New: func() any { return new([frameRoom]byte) }}

// read reads until the connection ends, and returns why.
func (s *http2Session) read() error {
	defer s.giveIn()
	if len(s.early) > 0 {
		s.takeIn()
		for len(s.early) > 0 {
			n := copy(s.in[s.have:], s.early)
			s.have, s.early = s.have+n, s.early[n:]
			if err := s.look(); err != nil {
				return err
			}
		}
		s.early = nil
	}
	if s.raw == nil {
		return s.readPlainly()
	}
	if err := s.raw.Read(s.onReadable); err != nil {
		return err
	}
	return s.readErr
}

// readPlainly reads what is not a bare socket.
func (s *http2Session) readPlainly() error {
	for {
		s.takeIn()
		n, err := s.nc.Read(s.in[s.have:])
		if err := s.got(n); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// onReadable looks at what has come, and returns false to be called again. It reads until
// nothing is there: the event that brought the last bytes may have brought the end of the
// peer's side, too, and comes once.
func (s *http2Session) onReadable(fd uintptr) (done bool) {
	for {
		s.takeIn()
		room := s.in[s.have:]
		n, errno := readSocket(fd, room)
		switch {
		case errno == syscall.EAGAIN:
			s.giveIn()
			return false
		case errno != 0:
			s.readErr = errno
		case n == 0:
			s.readErr = io.EOF
		default:
			s.readErr = s.got(n)
		}
		if s.readErr != nil {
			return true
		}
	}
}

// takeIn makes sure that there is room to read into.
func (s *http2Session) takeIn() {
	if s.in == nil {
		s.in = frameRooms.Get().(*[frameRoom]byte)[:]
	}
}

// giveIn gives the room back when nothing is in it.
func (s *http2Session) giveIn() {
	if s.in != nil && s.at == s.have {
		frameRooms.Put((*[frameRoom]byte)(s.in))
		s.in, s.at, s.have = nil, 0, 0
	}
}

// got takes n bytes that were read.
func (s *http2Session) got(n int) error {
	s.role.moved(n, 0)
	s.have += n
	return s.look()
}

// look takes all frames that are here, and tells whom they concern.
func (s *http2Session) look() error {
	err := s.frames()
	s.have = copy(s.in, s.in[s.at:s.have])
	s.at = 0
	s.mu.Lock()
	var left []*http2Stream
	for i, st := range s.touched {
		st.signal()
		if st.cause != nil && !st.told {
			st.told = true
			left = append(left, st)
		}
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
	s.wakeNext()
	s.flush()
	for err == nil && len(s.out) > 2*outMost && s.err == nil { // it takes none of our answers: nothing is taken of it
		s.drained.Wait()
	}
	if err == nil {
		err = s.err // a deadline ends no reading for which there is always something
	}
	s.mu.Unlock()
	for _, st := range left {
		s.role.left(st)
	}
	s.role.rest()
	return err
}

// frames takes the frames in s.in, of the last maybe only a part.
func (s *http2Session) frames() error {
	for {
		if s.content+s.padding > 0 {
			if s.at == s.have {
				return nil
			}
			if err := s.body(); err != nil {
				return err
			}
			continue
		}
		b := s.in[s.at:s.have]
		if s.missed > 0 {
			n := min(len(b), s.missed)
			if at := len(preface) - s.missed; string(b[:n]) != preface[at:at+n] {
				return http2.ProtocolError
			}
			s.at, s.missed, b = s.at+n, s.missed-n, b[n:]
		}
		if len(b) < http2.HeadSize {
			return nil
		}
		h := http2.ParseHead(b)
		if s.head != h {
			s.head = h
			if err := s.check(h); err != nil {
				return err
			}
		}
		b = b[http2.HeadSize:]
		if h.Kind == http2.Data {
			if h.Has(http2.Padded) && h.Length > 0 && len(b) == 0 {
				return nil
			}
			s.at += http2.HeadSize
			if err := s.beginBody(h, b); err != nil {
				return err
			}
		} else {
			if len(b) < h.Length {
				return nil
			}
			s.at += http2.HeadSize + h.Length
			if err := s.frame(h, b[:h.Length]); err != nil {
				return err
			}
		}
		s.head = http2.Head{Length: -1}
	}
}

// inHead reports whether a head has begun and is not here as a whole.
func (s *http2Session) inHead() bool {
	return s.open || s.at < s.have && s.head.Length >= 0 && (s.head.Kind == http2.Headers || s.head.Kind == http2.Continuation)
}

// check judges a frame by its head.
func (s *http2Session) check(h http2.Head) error {
	switch {
	case !s.begun && (h.Kind != http2.Settings || h.Has(http2.Ack)):
		return http2.ProtocolError
	case s.open != (h.Kind == http2.Continuation), s.open && h.Stream != s.ofBlock.Stream:
		return http2.ProtocolError
	}
	if err := h.Check(); err != nil {
		return err
	}
	s.begun = true
	return s.role.saw(h)
}

// frame takes a whole frame that is no piece of a body.
func (s *http2Session) frame(h http2.Head, payload []byte) error {
	switch h.Kind {
	case http2.Headers:
		block, on, err := h.Block(payload)
		switch {
		case err != nil:
			return err
		case on == h.Stream && h.Has(http2.HasPriority):
			return http2.ProtocolError
		case h.Has(http2.EndHeaders):
			return s.whole(h.Stream, block, h.Has(http2.EndStream))
		}
		s.open, s.block = true, append(s.block[:0], block...)
		s.ofBlock = h
	case http2.Continuation:
		if len(s.block)+len(payload) > s.role.limitOfHead() {
			return http2.ProtocolError
		}
		s.block = append(s.block, payload...)
		if h.Has(http2.EndHeaders) {
			s.open = false
			err := s.whole(h.Stream, s.block, s.ofBlock.Has(http2.EndStream))
			if cap(s.block) > keepMax {
				s.block = nil
			}
			return err
		}
	case http2.Priority:
		return s.priority(h, payload)
	case http2.Reset:
		return s.resetBy(h.Stream, http2.Code(binary.BigEndian.Uint32(payload)))
	case http2.Settings:
		return s.settings(h, payload)
	case http2.Ping:
		if !h.Has(http2.Ack) {
			s.mu.Lock()
			s.out = http2.AppendFrame(s.out, http2.Ping, http2.Ack, 0, payload)
			s.mu.Unlock()
		}
	case http2.GoAway:
		s.role.goneAway(binary.BigEndian.Uint32(payload)&http2.MaxWindow, http2.Code(binary.BigEndian.Uint32(payload[4:])))
	case http2.WindowUpdate:
		return s.windowUpdate(h.Stream, int64(binary.BigEndian.Uint32(payload)&http2.MaxWindow))
	case http2.PushPromise:
		return http2.ProtocolError
	default: // of Data is none here, and others mean nothing
	}
	return nil
}

// whole takes a block of fields.
func (s *http2Session) whole(stream uint32, block []byte, end bool) error {
	s.fields.begin(s.role.limitOfHead())
	if err := s.table.Decode(block, s.emit); err != nil {
		return http2.CompressionError
	}
	s.fields.end()
	return s.role.take(stream, end)
}

// priority looks at a frame that has no meaning any more (RFC 9113 §5.3.2).
func (s *http2Session) priority(h http2.Head, payload []byte) error {
	s.mu.Lock()
	idle := s.idle(h.Stream)
	s.mu.Unlock()
	switch {
	case len(payload) != 5 && idle: // which cannot be reset (RFC 9113 §6.4)
		return http2.FrameSizeError
	case len(payload) != 5:
		s.reset(h.Stream, http2.FrameSizeError)
	case binary.BigEndian.Uint32(payload)&http2.MaxWindow == h.Stream:
		s.reset(h.Stream, http2.ProtocolError)
	}
	return nil
}

// idle reports a stream that nobody has opened. Called under mu.
func (s *http2Session) idle(stream uint32) bool { return stream > s.highest || stream%2 == 0 }

func (s *http2Session) resetBy(stream uint32, code http2.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle(stream) {
		return http2.ProtocolError
	}
	if st := s.streams[stream]; st != nil {
		s.over(st, &resetError{code})
		s.touched = append(s.touched, st)
	}
	return nil
}

// resetError is why a stream ended that the peer has reset.
type resetError struct{ code http2.Code }

func (e *resetError) Error() string { return "stream was reset: " + e.code.String() }

func (s *http2Session) settings(h http2.Head, payload []byte) error {
	if h.Has(http2.Ack) {
		return nil
	}
	for len(payload) > 0 {
		var one http2.Setting
		one, payload = http2.ParseSetting(payload)
		if err := one.Check(); err != nil {
			return err
		}
		if one.ID == http2.InitialWindowSize {
			if err := s.resize(int64(one.Value)); err != nil {
				return err
			}
		}
		s.role.setting(one)
	}
	s.mu.Lock()
	s.out = http2.AppendFrame(s.out, http2.Settings, http2.Ack, 0, nil)
	s.mu.Unlock()
	return nil
}

// resize changes the window of all streams (RFC 9113 §6.9.2).
func (s *http2Session) resize(window int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := window - s.firstWindow
	s.firstWindow = window
	for _, st := range s.streams {
		was := st.sendWindow
		if st.sendWindow += by; st.sendWindow > http2.MaxWindow {
			return http2.FlowControlError
		}
		if was <= 0 && st.sendWindow > 0 {
			s.touched = append(s.touched, st)
		}
	}
	return nil
}

func (s *http2Session) windowUpdate(stream uint32, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream == 0 {
		if n == 0 {
			return http2.ProtocolError
		}
		if s.sendWindow += n; s.sendWindow > http2.MaxWindow {
			return http2.FlowControlError
		}
		return nil
	}
	st := s.streams[stream]
	switch {
	case s.idle(stream):
		return http2.ProtocolError
	case st == nil:
	case n == 0:
		s.blame(st, http2.ProtocolError)
	case st.sendWindow+n > http2.MaxWindow:
		s.blame(st, http2.FlowControlError)
	default:
		st.sendWindow += n
		s.touched = append(s.touched, st)
	}
	return nil
}

// beginBody takes the head of a Data frame; b is what is here of its payload.
func (s *http2Session) beginBody(h http2.Head, b []byte) error {
	s.content, s.padding = h.Length, 0
	overhead := 0
	if h.Has(http2.Padded) {
		if h.Length == 0 {
			return http2.FrameSizeError
		}
		s.at++
		s.padding = int(b[0])
		if s.content, overhead = h.Length-1-s.padding, 1+s.padding; s.content < 0 {
			return http2.ProtocolError
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle(h.Stream) {
		return http2.ProtocolError
	}
	if s.recvWindow -= int64(h.Length); s.recvWindow < 0 {
		return http2.FlowControlError
	}
	st := s.streams[h.Stream]
	switch {
	case st == nil:
		if !s.resetByUs(h.Stream) {
			s.resetID(h.Stream, http2.StreamClosed)
		}
	case st.ended:
		s.blame(st, http2.StreamClosed)
		st = nil
	case st.headless:
		s.blame(st, http2.ProtocolError)
		st = nil
	default:
		if st.recvWindow -= int64(h.Length); st.recvWindow < 0 {
			s.blame(st, http2.FlowControlError)
			st = nil
		}
	}
	s.free(h.Length) // what waits for who reads is bounded by the window of its stream: it holds up no other
	if st != nil {
		s.freeStream(st, overhead)
	}
	s.owner, s.ends = st, h.Has(http2.EndStream)
	if s.content == 0 {
		s.endBody()
	}
	return nil
}

// body takes what is here of the Data frame in progress.
func (s *http2Session) body() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.in[s.at:s.have]
	if s.content > 0 {
		b = b[:min(len(b), s.content)]
		s.at += len(b)
		s.content -= len(b)
		if st := s.owner; st != nil && !st.closed {
			st.keep(b)
			s.touched = append(s.touched, st)
			if st.due >= 0 {
				if st.due -= int64(len(b)); st.due < 0 {
					s.blame(st, http2.ProtocolError)
				}
			}
		}
		if s.content == 0 {
			s.endBody()
		}
		return nil
	}
	n := min(len(b), s.padding)
	s.at += n
	s.padding -= n
	return nil
}

// endBody ends what a Data frame brought. Called under mu.
func (s *http2Session) endBody() {
	if st := s.owner; st != nil && s.ends && !st.closed {
		s.end(st)
	}
	s.owner = nil
}

// end ends the peer's side of a stream. Called under mu, by the goroutine that reads.
func (s *http2Session) end(st *http2Stream) {
	if st.due > 0 { // rule H5
		s.blame(st, http2.ProtocolError)
		return
	}
	st.ended = true
	s.touched = append(s.touched, st)
	s.settle(st)
}

// free lets the peer send n bytes again on the connection. Called under mu.
func (s *http2Session) free(n int) {
	if s.freed += n; s.freed >= connWindow/4 {
		s.out = http2.AppendWindowUpdate(s.out, 0, s.freed)
		s.recvWindow += int64(s.freed)
		s.freed = 0
	}
}

// freeStream lets the peer send n bytes again on a stream. Called under mu.
func (s *http2Session) freeStream(st *http2Stream, n int) {
	if st.ended || st.closed {
		return
	}
	if st.freed += n; st.freed < st.room/4 {
		return
	}
	if st.read {
		st.freed += streamWindow - st.room
		st.room = streamWindow
	}
	s.out = http2.AppendWindowUpdate(s.out, st.id, st.freed)
	st.recvWindow += int64(st.freed)
	st.freed = 0
}

// add makes a stream known. Called under mu.
func (s *http2Session) add(st *http2Stream, id uint32) {
	st.session, st.id = s, id
	st.sendWindow, st.recvWindow, st.room = s.firstWindow, int64(s.firstRoom), s.firstRoom
	if s.err != nil { // fail did not see it
		st.cause, st.closed = s.err, true
	}
	s.streams[id] = st
	s.highest = id
}

// over ends a stream for good; cause is nil when both sides have said all. Called
// under mu.
func (s *http2Session) over(st *http2Stream, cause error) {
	if st.closed {
		return
	}
	st.closed = true
	if st.cause == nil {
		st.cause = cause
	}
	s.drop(st)
	st.signal()
}

// settle ends a stream whose sides have both ended. Called under mu.
func (s *http2Session) settle(st *http2Stream) {
	if st.ended && st.sent && !st.closed {
		st.closed = true
		s.drop(st)
	}
}

// drop takes a stream off the books, and with the last one large buffers. Called under mu.
func (s *http2Session) drop(st *http2Stream) {
	delete(s.streams, st.id)
	if len(s.streams) > 0 {
		return
	}
	if cap(s.spare) > keepMax {
		s.spare = nil
	}
	if len(s.out) == 0 && cap(s.out) > keepMax {
		s.out = nil
	}
}

// reset ends a stream by number.
func (s *http2Session) reset(id uint32, code http2.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[id]; st != nil {
		s.blame(st, code)
		return
	}
	s.resetID(id, code)
}

// blame ends a stream for what the peer has done. Called under mu, by the goroutine that
// reads.
func (s *http2Session) blame(st *http2Stream, code http2.Code) {
	s.resetLocked(st, code)
	s.touched = append(s.touched, st)
}

// resetID says that a stream is over. Called under mu.
func (s *http2Session) resetID(id uint32, code http2.Code) {
	if s.err == nil {
		s.out = http2.AppendReset(s.out, id, code)
	}
	s.resets[s.nextReset%len(s.resets)] = id
	s.nextReset++
	switch code {
	case http2.ProtocolError, http2.FlowControlError, http2.StreamClosed, http2.FrameSizeError, http2.RefusedStream:
		s.role.blamed()
	default:
	}
}

// resetByUs reports whether frames of a stream may still come that is over, because
// the peer does not know yet. Called under mu.
func (s *http2Session) resetByUs(id uint32) bool { return slices.Contains(s.resets[:], id) }

// maybeReset reports whether we may have reset a stream and forgotten it. Called under mu.
func (s *http2Session) maybeReset() bool { return s.nextReset > len(s.resets) }

// resetLocked ends a stream that is known. Called under mu.
func (s *http2Session) resetLocked(st *http2Stream, code http2.Code) {
	if st.closed {
		return
	}
	s.over(st, code)
	s.resetID(st.id, code)
	st.recv, st.taken = st.recv[:0], 0
}

// wakeNext wakes who waits longest to send, if there is room. One at a time, who wakes the
// next when there is room left: a peer that opens its window by single bytes does not
// make all of them run for each. Called under mu.
func (s *http2Session) wakeNext() {
	if len(s.blocked) == 0 || s.sendWindow <= 0 || len(s.out) > outMost {
		return
	}
	st := s.blocked[0]
	s.blocked = slices.Delete(s.blocked, 0, 1)
	st.waiting = false
	st.signal()
}

// flush writes what is assembled, unless somebody is at it already, who will write this,
// too. What the peer does not take at once is written by a goroutine of its own: nobody
// waits here. Called under mu, which it gives up meanwhile.
func (s *http2Session) flush() {
	if s.writing || len(s.out) == 0 || s.err != nil {
		return
	}
	s.writing = true
	if len(s.streams) > 1 { // let others add to it: one system call for all
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	if s.raw == nil {
		go s.writeOut(nil)
		return
	}
	for len(s.out) > 0 && s.err == nil {
		b := s.swap()
		s.mu.Unlock()
		s.bytes, s.wrote, s.errno = b, 0, 0
		err := s.raw.Write(s.onWritable)
		s.bytes = nil
		n := s.wrote
		s.role.moved(0, n)
		s.mu.Lock()
		switch {
		case err == nil && s.errno != 0 && s.errno != syscall.EAGAIN:
			err = s.errno
		case err == nil && n < len(b):
			go s.writeOut(b[n:])
			return
		}
		s.written(b, err)
	}
	s.writing = false
	s.drained.Broadcast()
}

// swap takes what is to be written. Called under mu.
func (s *http2Session) swap() []byte {
	b := s.out
	s.out, s.spare = s.spare[:0], nil
	return b
}

// written is called under mu when b was written, or failed.
func (s *http2Session) written(b []byte, err error) {
	if cap(b) <= keepMax || cap(b) <= 4*outMost && len(s.streams) > 0 {
		s.spare = b[:0]
	}
	if err != nil {
		s.fail(err)
	}
	s.wakeNext()
}

// writeOut writes rest and all that is added meanwhile, and waits for the peer to take
// it. It has the right to write and gives that back.
func (s *http2Session) writeOut(rest []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(rest) > 0 || len(s.out) > 0 {
		if len(rest) == 0 {
			rest = s.swap()
		}
		s.mu.Unlock()
		err := s.writeSlowly(rest)
		s.mu.Lock()
		s.written(rest, err)
		rest = nil
		if s.err != nil {
			break
		}
		s.drained.Broadcast()
	}
	s.writing = false
	if !s.leaving && s.err == nil {
		_ = s.nc.SetWriteDeadline(time.Time{}) // it would strike the next write; fails on a closed connection only
	}
	s.drained.Broadcast()
}

// writeSlowly writes b to a peer that has its patience for each piece.
func (s *http2Session) writeSlowly(b []byte) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = s.role.panicked(bug)
		}
	}()
	for len(b) > 0 {
		s.mu.Lock()
		if !s.leaving && s.err == nil { // else who ends the session has set a shorter time
			_ = s.nc.SetWriteDeadline(time.Now().Add(s.role.patience())) // fails on a closed connection only
		}
		s.mu.Unlock()
		n, err := s.nc.Write(b[:min(len(b), pieceBytes)])
		s.role.moved(0, n)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// fail ends the session for all of its streams. The first reason stays. Called under
// mu.
func (s *http2Session) fail(err error) {
	if s.err != nil {
		return
	}
	if errors.Is(err, io.EOF) { // which would be a good end of a body
		err = io.ErrUnexpectedEOF
	}
	s.err = err
	for _, st := range s.streams {
		if st.cause == nil {
			st.cause = err
		}
		st.closed = true
		st.signal()
	}
	s.drained.Broadcast()
	s.interrupt()
}

// interrupt ends whatever waits for the socket, which whoever reads will close. Closing it
// here would wait for that goroutine, which may be the one that is here.
func (s *http2Session) interrupt() { _ = s.nc.SetDeadline(time.Unix(1, 0)) } // fails on a closed connection only

// readBy bounds the reading of what comes next; zero: nothing does.
func (s *http2Session) readBy(limit time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_ = s.nc.SetReadDeadline(limit) // likewise
	}
}
