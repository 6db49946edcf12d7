package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/proxy/http2"
)

// Protocols by which a function is spoken to (HTTPBackend.Protocol).
const (
	ProtocolAuto  = "auto"  // HTTP/1.1, but HTTP/2 for requests of gRPC
	ProtocolHTTP1 = "http1" // HTTP/1.1
	ProtocolH2C   = "h2c"   // HTTP/2 without TLS, by prior knowledge
	ProtocolSame  = "same"  // the one that the client speaks
)

// overHTTP2 reports whether the request goes to the function by HTTP/2.
func (b *HTTPBackend) overHTTP2(x *Exchange) bool {
	switch st := x.c.stream; b.Protocol {
	case ProtocolH2C:
		return true
	case ProtocolSame:
		return st != nil && (!st.conn.upgraded || st.grpc)
	case ProtocolHTTP1:
		return false
	default:
		return st != nil && st.grpc
	}
}

// errUnprocessed says that the function did not look at a request (RFC 9113 §8.7).
var errUnprocessed = errors.New("the function did not look at the request")

// call is one request on a stream to the function.
type call struct {
	http2Stream
	x *Exchange

	// Guarded by session.mu.
	status   int    // of the head; 0 before it has come
	head     []byte // its fields, as lines
	trailers []byte // likewise
	interims []byte // heads of interim answers that were not passed on, likewise, each with its status line and an empty one
	early    int    // interim answers so far
	unsent   []byte // a body in memory that there was no room for
	fault    error  // what is wrong with the answer
}

// Interrupt gives the request up: the function sees its stream reset.
func (c *call) Interrupt() { c.abandon(http2.Cancel) }

// abandon resets the stream, unless it is over.
func (c *call) abandon(code http2.Code) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resetLocked(&c.http2Stream, code)
	s.flush()
}

// doHTTP2 runs the request on a stream to the function. It is sent a second time
// only if the function has said that it did not look at the first.
func (b *HTTPBackend) doHTTP2(x *Exchange) error {
	err := b.tryHTTP2(x)
	if err == nil || !x.body.inMemory || x.answer.begun || !errors.Is(err, errUnprocessed) || x.c.guard.interrupted() != nil {
		return err
	}
	x.c.shard.Retries.Add(1)
	return b.tryHTTP2(x)
}

func (b *HTTPBackend) tryHTTP2(x *Exchange) error {
	if !x.body.inMemory {
		x.extendAnswerTime(never / 2)
	}
	if err := x.send100(); err != nil { // before another goroutine reads the body
		return err
	}
	c := &call{x: x}
	c.of, c.headless, c.due = c, true, unknownLength
	c.recv, c.head = x.upReceived[:0], x.upHead[:0]
	if err := b.begin(x, c); err != nil {
		return err
	}
	err := x.OnInterrupt(c)
	if err == nil {
		err = c.run()
	}
	cause := x.OnInterrupt(nil)
	c.end()
	x.upReceived, x.upHead = c.recv[:0], c.head[:0]
	switch {
	case x.answer.finished:
		return nil
	case x.body.err != nil:
		return x.body.err
	case cause != nil:
		return cause
	}
	return err
}

// end gives up what is left of the call. Nobody but the caller uses it after that.
func (c *call) end() {
	s := c.session
	s.mu.Lock()
	s.resetLocked(&c.http2Stream, http2.Cancel)
	c.closed = true
	s.flush()
	s.mu.Unlock()
	s.role.(*http2Peer).released()
}

// begin sends the request's head, and its body if that is in memory and there is room
// for it, on a connection that can take one more.
func (b *HTTPBackend) begin(x *Exchange, c *call) error {
	block := x.appendBlockOfRequest(b)
	for {
		p, err := b.peer(x)
		if err != nil {
			return err
		}
		if p.open(c, block) {
			return nil
		}
	}
}

// appendBlockOfRequest assembles the head that a function gets by HTTP/1.1, as fields
// of HTTP/2.
func (x *Exchange) appendBlockOfRequest(b *HTTPBackend) []byte {
	contentType, _ := x.Field("Content-Type")
	grpc := isGRPC(contentType)
	timeout := grpc && x.deadline != never && x.c.srv.hooks.Deadline == nil
	if timeout {
		for i := range x.req.Fields {
			if f := &x.req.Fields[i]; bytes.EqualFold(f.Name, []byte("grpc-timeout")) {
				x.Hide(f)
			}
		}
	}
	head := x.appendRequest(x.answer.out[:0], b)
	x.answer.out = head[:0]
	host := x.req.Host
	if len(host) == 0 {
		host = []byte(b.Address)
	}
	block := x.block[:0]
	block = http2.AppendField(block, []byte(":method"), x.req.Method)
	block = http2.AppendField(block, []byte(":scheme"), []byte("http"))
	block = http2.AppendField(block, []byte(":authority"), host)
	target := x.req.Target
	if b.Prefix != "" {
		target = append([]byte(b.Prefix), target...)
	}
	block = http2.AppendField(block, []byte(":path"), target)
	block = appendBlock(block, head, !grpc)
	if x.req.TETrailers {
		block = http2.AppendField(block, []byte("te"), []byte("trailers"))
	}
	if names := x.announced(); len(names) > 0 {
		block = http2.AppendField(block, []byte("trailer"), names)
	}
	if timeout {
		block = http2.AppendField(block, []byte("grpc-timeout"), []byte(grpcTimeoutOf(x.Remaining())))
	}
	x.block = block
	return block
}

// announced are the names of the trailers that are to come, as a list: some servers drop others.
func (x *Exchange) announced() []byte {
	var names [][]byte
	if x.body.inMemory {
		for _, f := range x.Trailers() {
			names = append(names, f.Name)
		}
	} else if list, n := http1.Find(x.req.Fields, http1.Trailer); n > 0 {
		for name := range bytes.SplitSeq(list, []byte{','}) {
			if name = trim(name); http1.ValidName(name) && http1.ValidTrailer(name) {
				names = append(names, name)
			}
		}
	}
	return bytes.ToLower(bytes.Join(names, []byte(", ")))
}

// run waits for the answer and passes it on.
func (c *call) run() error {
	x := c.x
	upload := c.startUpload()
	defer upload.stop()
	status, err := c.awaitHead()
	if err != nil {
		return err
	}
	return x.relayHTTP2(c, status)
}

// awaitHead returns the status of the answer. Interim answers are passed on.
func (c *call) awaitHead() (status int, err error) {
	s := c.session
	for {
		s.mu.Lock()
		for c.status == 0 && c.interims == nil && c.failure() == nil {
			c.wait(&c.readable, time.Time{})
		}
		status, interims, err := c.status, c.interims, c.failure()
		c.interims = nil
		s.mu.Unlock()
		if err := c.passOn(interims); err != nil {
			return 0, err
		}
		switch {
		case status > 0:
			return status, nil
		case err != nil:
			return 0, c.x.http2Failed(err)
		}
	}
}

// failure reports why no more comes of the answer, or nil. Called under mu.
func (c *call) failure() error {
	if c.fault != nil {
		return c.fault
	}
	return c.cause
}

// passOn sends interim answers to the client.
func (c *call) passOn(heads []byte) error {
	for len(heads) > 0 {
		var head []byte
		head, heads, _ = bytes.Cut(heads, []byte("\r\n\r\n"))
		n, err := c.x.resp.Parse(append(slices.Clip(head), "\r\n\r\n"...), false, c.x.c.srv.limits)
		if err != nil || n == 0 {
			return http1.ErrAnswer
		}
		if c.x.resp.Status == 100 {
			continue
		}
		if err := c.x.interim(c.x.resp.Status, c.x.resp.Fields); err != nil {
			return err
		}
	}
	return nil
}

// relayHTTP2 passes the function's answer on.
func (x *Exchange) relayHTTP2(c *call, status int) error {
	if status > 599 {
		return http1.ErrAnswerStatus
	}
	c.session.mu.Lock()
	head, whole, arrived := c.head, c.ended && c.fault == nil, len(c.recv)
	c.session.mu.Unlock()
	length, err := lengthOf(head)
	switch {
	case err != nil:
		return err
	case length < 0 && whole && arrived == 0 && !x.isHead():
		if len(c.trailers) == 0 {
			length = 0
		}
	}
	x.Respond(status, length)
	x.answer.dated = true
	size, fields := 0, 0
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		size, fields = size+len(line)+len("\r\n"), fields+1
		if size > x.c.srv.limits.HeadBytes || fields > x.c.srv.limits.Fields {
			return http1.ErrAnswerSize
		}
		if err := x.AddField(name, value); err != nil {
			return err
		}
	}
	if st := x.c.stream; st != nil {
		st.corked = whole // nothing more will come: one write for all of it
	}
	if length < 0 && !whole { // nobody knows when a body will come
		if _, err := x.Write(nil); err != nil {
			return err
		}
	}
	for {
		n, err := c.receive(x.up, time.Time{})
		if n > 0 {
			if _, err := x.Write(x.up[:n]); err != nil {
				return err
			}
			x.growUp(n)
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		return c.cut(err)
	}
	return x.endHTTP2(c)
}

// endHTTP2 ends the answer as the function has.
func (x *Exchange) endHTTP2(c *call) error {
	c.session.mu.Lock()
	trailers, fault := c.trailers, c.fault
	c.session.mu.Unlock()
	if fault != nil {
		return c.cut(fault)
	}
	for len(trailers) > 0 {
		var line []byte
		line, trailers, _ = bytes.Cut(trailers, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		if err := x.AddTrailer(name, value); err != nil {
			return err
		}
	}
	return x.Finish()
}

// cut names what ended an answer that had begun.
func (*call) cut(err error) error { return fmt.Errorf("%w: %w", errCutAnswer, err) }

// lengthOf reads the length of a body that a head declares; unknownLength if it does not.
func lengthOf(head []byte) (int64, error) {
	v, ok := fieldOf(head, "Content-Length")
	if !ok {
		return unknownLength, nil
	}
	n, err := strconv.ParseUint(string(v), 10, 63)
	if err != nil || v[0] == '+' {
		return 0, http1.ErrAnswer
	}
	return int64(n), nil
}

// http2Failed names why there is no answer.
func (x *Exchange) http2Failed(err error) error {
	var reset *resetError
	var code http2.Code
	switch {
	case errors.Is(err, ErrBadAnswer):
		return err
	case errors.As(err, &reset) && x.c.srv.now() >= x.deadline-int64(time.Millisecond):
		return ErrTimeout // the function knows the deadline, too, and was faster
	case errors.As(err, &reset) && reset.code == http2.RefusedStream:
		return fmt.Errorf("%w: %w: %w", errReset, errUnprocessed, err)
	case errors.As(err, &reset):
		return fmt.Errorf("%w: %w", errReset, err)
	case errors.As(err, &code):
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	default:
		return fmt.Errorf("%w: %w", errEarlyClose, err)
	}
}

// http2Upload sends the body of a request that is not in memory, or too large for the window,
// from a goroutine of its own.
type http2Upload struct {
	call *call
	done chan struct{} // closed at its end; nil if there is none
	rest []byte        // of a body in memory
}

// startUpload starts sending what begin has not sent.
func (c *call) startUpload() *http2Upload {
	u := &http2Upload{call: c}
	c.session.mu.Lock()
	sent := c.sent
	u.rest = c.unsent
	c.session.mu.Unlock()
	if !sent {
		u.done = make(chan struct{})
		go u.run()
	}
	return u
}

// stop ends the upload and waits for that: the Exchange is not used any more. What is
// left of the body can still be read.
func (u *http2Upload) stop() {
	if u.done == nil {
		return
	}
	select {
	case <-u.done:
		return
	default:
	}
	u.call.stopWriting()
	if u.call.x.body.inMemory {
		<-u.done
		return
	}
	u.call.x.StopBody(func() { <-u.done })
}

func (u *http2Upload) run() {
	defer close(u.done)
	x := u.call.x
	defer func() {
		if bug := recover(); bug != nil {
			x.c.srv.log.Error("upload panicked", "request_id", x.ID(), "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
			x.c.shard.Panics.Add(1)
			u.call.abandon(http2.InternalError)
		}
	}()
	if x.body.inMemory {
		_ = u.send(u.rest, true) // the answer tells what became of it
		return
	}
	small := smallBuffers.Get().(*[upSize]byte)
	defer smallBuffers.Put(small)
	p := piece{buf: small[:]}
	defer p.release()
	for {
		n, err := x.ReadBody(p.buf)
		if n > 0 && u.send(p.buf[:n], false) != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			_ = u.send(nil, true)
			x.extendAnswerTime(x.c.srv.now())
			return
		}
		if err != nil { // nothing cut looks whole
			u.call.abandon(http2.Cancel)
			return
		}
		if n == len(p.buf) {
			p.grow()
		}
	}
}

// send sends a piece of the body, or its end with the trailers.
func (u *http2Upload) send(p []byte, last bool) error {
	c := u.call
	var trailers []byte
	if last {
		trailers = c.x.blockOfTrailers()
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	err := c.send(p, last && trailers == nil, 0)
	if err == nil && trailers != nil {
		err = c.endWith(trailers)
	}
	s.flush()
	return err
}

// blockOfTrailers are the trailers of the request; nil if there are none.
func (x *Exchange) blockOfTrailers() []byte {
	var block []byte
	for _, f := range x.Trailers() {
		block = http2.AppendField(block, bytes.ToLower(f.Name), f.Value)
	}
	return block
}

const (
	peerIdle     = 90 * time.Second                          // that a connection to the function may be idle
	peerPatience = time.Minute                               // for a function that takes nothing of what is on its way to it
	peerHead     = headSlack << 14                           // bytes of an answer's head that are looked at
	bodyFrames   = outMost / http2.MinFrame * http2.HeadSize // bytes of the heads of frames around a body that fits into the buffer
	peerStreams  = 100                                       // on a connection, before the function says how many
)

// http2Peer is a connection to the function that speaks HTTP/2.
type http2Peer struct {
	http2Session
	backend *HTTPBackend
	log     *slog.Logger
	shard   *metrics.Shard

	most  uint32    // guarded by mu: streams at once
	next  uint32    // guarded by mu: the number of the next
	gone  bool      // guarded by mu: it takes no more
	since time.Time // guarded by mu: when it became idle

	idling *time.Timer
}

// peer returns a connection that may have room for one more request.
func (b *HTTPBackend) peer(x *Exchange) (*http2Peer, error) {
	if p := b.roomyPeer(); p != nil {
		return p, nil
	}
	b.mu.Lock()
	if b.dialing == nil {
		b.dialing = make(chan struct{}, 1)
	}
	turn := b.dialing
	b.mu.Unlock()
	stop := make(chan struct{})
	if cause := x.OnInterrupt(cancelFunc(func() { close(stop) })); cause != nil {
		return nil, cause
	}
	select {
	case turn <- struct{}{}: // one at a time: it may be enough for all
		defer func() { <-turn }()
	case <-stop:
		return nil, x.OnInterrupt(nil)
	}
	if cause := x.OnInterrupt(nil); cause != nil {
		return nil, cause
	}
	if p := b.roomyPeer(); p != nil {
		return p, nil
	}
	nc, err := b.reach(x)
	if err != nil {
		return nil, err
	}
	return b.newPeer(x, nc)
}

// roomyPeer returns the first connection with room for a request; nil if there is none.
func (b *HTTPBackend) roomyPeer() *http2Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.peers {
		p.mu.Lock()
		room := p.roomy()
		p.mu.Unlock()
		if room {
			return p
		}
	}
	return nil
}

// roomy reports whether one more request may be sent. Called under mu.
func (p *http2Peer) roomy() bool {
	return p.err == nil && !p.gone && uint32(len(p.streams)) < p.most && p.next < http2.MaxWindow-2
}

// carries reports whether requests are on the connection.
func (p *http2Peer) carries() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams) > 0
}

// newPeer begins to speak HTTP/2 on a new connection.
func (b *HTTPBackend) newPeer(x *Exchange, nc net.Conn) (*http2Peer, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		_ = nc.Close()
		return nil, fmt.Errorf("%w: connection without a socket", errConnect)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	p := &http2Peer{backend: b, log: x.c.srv.log, shard: x.c.shard, most: peerStreams, next: 1, since: time.Now()}
	p.init(nc, raw, streamWindow, p)
	p.out = append(p.out, preface...)
	p.announce(http2.Setting{ID: http2.EnablePush}, http2.Setting{ID: http2.MaxHeaderListSize, Value: peerHead})
	p.idling = time.AfterFunc(peerIdle, p.rested)
	b.mu.Lock()
	b.peers = append(b.peers, p)
	b.mu.Unlock()
	go p.serve()
	return p, nil
}

// serve reads until the connection ends.
func (p *http2Peer) serve() {
	err := p.readSafely()
	p.idling.Stop()
	b := p.backend
	b.mu.Lock()
	b.peers = slices.DeleteFunc(b.peers, func(o *http2Peer) bool { return o == p })
	b.mu.Unlock()
	defer p.nc.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if code, ok := errors.AsType[http2.Code](err); ok {
		p.out = http2.AppendGoAway(p.out, 0, code)
		p.flush()
	}
	p.fail(err)
}

// readSafely keeps a bug of ours to the connection that met it (rule R7).
func (p *http2Peer) readSafely() (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = p.panicked(bug)
		}
	}()
	return p.read()
}

// panicked implements http2Role.
func (p *http2Peer) panicked(bug any) error {
	p.log.Error("connection to the function panicked", "panic", fmt.Sprint(bug), "stack", string(debug.Stack()))
	p.shard.Panics.Add(1)
	return http2.InternalError
}

// rested closes a connection that has been idle for long.
func (p *http2Peer) rested() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch left := time.Until(p.since.Add(peerIdle)); {
	case p.err != nil:
	case len(p.streams) > 0:
		p.idling.Reset(peerIdle)
	case left > 0:
		p.idling.Reset(left)
	default:
		p.fail(net.ErrClosed)
	}
}

// retire closes the connection when its last request has ended.
func (p *http2Peer) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.close()
}

// close closes a connection that is not used and will not be. Called under mu.
func (p *http2Peer) close() {
	if p.gone && len(p.streams) == 0 {
		p.fail(net.ErrClosed)
	}
}

// released is called when a request has ended.
func (p *http2Peer) released() {
	p.backend.mu.Lock()
	closed := p.backend.closed
	p.backend.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = p.gone || closed || p.most == 0 // it would be of no use
	if len(p.streams) == 0 {
		p.since = time.Now()
	}
	p.close()
}

// open sends the head of a request, and what there is room for of a body in memory. It
// reports false if the connection can take no more requests.
func (p *http2Peer) open(c *call, block []byte) bool {
	body, trailers := &c.x.body, []byte(nil)
	if body.inMemory {
		trailers = c.x.blockOfTrailers()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.roomy() {
		return false
	}
	p.add(&c.http2Stream, p.next)
	p.next += 2
	last := body.inMemory && len(body.whole) == 0 && trailers == nil
	flags := uint8(0)
	if last {
		flags, c.sent = http2.EndStream, true
	}
	p.out = http2.AppendHeaders(p.out, flags, c.id, block)
	if body.inMemory && !last {
		c.unsent = body.whole
		if n := int64(len(body.whole)); n <= min(c.sendWindow, p.sendWindow, outMost-int64(len(p.out))-bodyFrames) {
			c.unsent = nil
			_ = c.send(body.whole, trailers == nil, 0) // there is room for it
			if trailers != nil {
				_ = c.endWith(trailers)
			}
		}
	}
	p.flush()
	return true
}

// saw implements http2Role.
func (*http2Peer) saw(http2.Head) error { return nil }

// limitOfHead implements http2Role.
func (*http2Peer) limitOfHead() int { return peerHead }

// patience implements http2Role.
func (*http2Peer) patience() time.Duration { return peerPatience }

// moved implements http2Role.
func (*http2Peer) moved(int, int) {}

// blamed implements http2Role.
func (*http2Peer) blamed() {}

// left implements http2Role: the call was signalled.
func (*http2Peer) left(*http2Stream) {}

// rest implements http2Role.
func (*http2Peer) rest() {}

// setting implements http2Role.
func (p *http2Peer) setting(s http2.Setting) {
	if s.ID == http2.MaxConcurrentStreams {
		p.mu.Lock()
		p.most = s.Value
		p.mu.Unlock()
	}
}

// goneAway implements http2Role.
func (p *http2Peer) goneAway(last uint32, code http2.Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	for id, st := range p.streams {
		if id > last {
			p.over(st, fmt.Errorf("%w: %w", errUnprocessed, code))
		}
	}
	p.close()
}

// take implements http2Role: the head of an answer, or its trailers.
func (p *http2Peer) take(id uint32, end bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle(id) {
		return http2.ProtocolError
	}
	st := p.streams[id]
	if st == nil || st.closed {
		return nil // it was reset, or all are over: what the call has is another's by now
	}
	if st.ended {
		p.blame(st, http2.StreamClosed)
		return nil
	}
	c := st.of.(*call)
	if c.fault = c.takeFields(&p.fields, end); c.fault != nil {
		p.blame(st, http2.ProtocolError)
		return nil
	}
	p.touched = append(p.touched, st)
	if end {
		p.end(st)
	}
	return nil
}

// takeFields takes a head, an interim one or trailers. Called under mu.
func (c *call) takeFields(f *http2Fields, end bool) error {
	switch {
	case f.large:
		return http1.ErrAnswerSize
	case f.bad:
		return fmt.Errorf("%w: fields that HTTP/2 forbids", ErrBadAnswer)
	case c.status > 0 && (f.seen != 0 || !end):
		return fmt.Errorf("%w: trailers that HTTP/2 forbids", ErrBadAnswer)
	case c.status > 0:
		c.trailers = append([]byte(nil), f.text...)
		return nil
	}
	status := f.status()
	switch {
	case status < 100, status == 101, status < 200 && end:
		return http1.ErrAnswerStatus
	case status >= 200:
		c.headless, c.status, c.head = false, status, append(c.head[:0], f.text...)
		return nil
	}
	if c.early++; c.early > maxInterim {
		return http1.ErrAnswer
	}
	c.interims = append(append(http1.AppendStatusLine(c.interims, status), f.text...), '\r', '\n')
	return nil
}

// status returns the status of an answer; 0 if it has none.
func (f *http2Fields) status() int {
	v := f.get(pseudoStatus)
	if f.seen != 1<<pseudoStatus || len(v) != 3 {
		return 0
	}
	n, err := strconv.ParseUint(string(v), 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}
