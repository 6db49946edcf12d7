package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/encoding/protowire"
)

// call is what every stream of a load over HTTP/2 asks for.
type call struct {
	name    string
	fields  []hpack.HeaderField
	body    []byte
	answer  int // bytes of DATA in a good answer
	trailer bool
}

// echoMethod is the one method of the function that speaks gRPC: it answers with what it got.
const (
	echoService = "fnpod.bench.Echo"
	echoMethod  = "Unary"
)

// getCall is the request of the load over HTTP/1.1.
func getCall() *call {
	return &call{name: "h2c", answer: 4, fields: []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/"},
		{Name: ":authority", Value: "function.example"},
		{Name: "user-agent", Value: "fnpod-bench"},
		{Name: "accept", Value: "*/*"},
	}}
}

// unaryCall is a call of gRPC with a message of size bytes, there and back.
func unaryCall(size int) *call {
	message := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), bytes.Repeat([]byte("x"), size))
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	return &call{name: "gRPC", body: body, answer: len(body), trailer: true, fields: []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/" + echoService + "/" + echoMethod},
		{Name: ":authority", Value: "function.example"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "fnpod-bench"},
		{Name: "te", Value: "trailers"},
	}}
}

// http2Load is a closed loop over HTTP/2 without TLS: each stream that ends is followed by another one. Like load it has
// one thread, and costs a fraction of what a client library would, which would be measured otherwise.
type http2Load struct {
	sockets *load
	call    *call
	conns   map[int32]*http2Conn
	all     []*http2Conn
	streams int // at once on each connection
	waiting int // streams without a whole answer
	buf     []byte
}

// http2Conn is one connection of an http2Load.
type http2Conn struct {
	socket  *loadConn
	next    uint32 // id of the next stream
	busy    map[uint32]*http2Stream
	free    []*http2Stream
	part    []byte // of a frame that is not complete
	out     []byte // frames to write after those that were read are done
	taken   int    // bytes of DATA that the other end does not know to be taken
	encoder *hpack.Encoder
	block   bytes.Buffer
	decoder *hpack.Decoder
	fields  map[string]string // of the head that is decoded
}

// http2Stream is a request on its way.
type http2Stream struct {
	sent   time.Time
	bytes  int  // of DATA
	status bool // it is 200
}

// Windows for what the load receives: as large as they may be, and given back before they are used up.
const (
	largestWindow = 1<<31 - 1
	firstWindow   = 1<<16 - 1
	giveBack      = 1 << 24
)

// dialHTTP2 opens n connections with a number of streams at once.
func dialHTTP2(address string, n, streams int, what *call) (*http2Load, error) {
	sockets, err := dial(address, n)
	if err != nil {
		return nil, err
	}
	l := &http2Load{sockets: sockets, call: what, conns: map[int32]*http2Conn{}, streams: streams, buf: make([]byte, 64<<10)}
	for i := range sockets.conns {
		c := &http2Conn{socket: &sockets.conns[i], next: 1, busy: map[uint32]*http2Stream{}, fields: map[string]string{}}
		c.encoder = hpack.NewEncoder(&c.block)
		c.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) { c.fields[f.Name] = f.Value })
		c.out = append(c.out, http2.ClientPreface...)
		c.out = appendFrame(c.out, http2.FrameSettings, 0, 0, appendSettings(nil))
		c.out = appendFrame(c.out, http2.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, largestWindow-firstWindow))
		l.conns[int32(c.socket.fd)] = c
		l.all = append(l.all, c)
	}
	return l, nil
}

// appendSettings asks for no pushes and gives streams the largest window.
func appendSettings(b []byte) []byte {
	for _, s := range []http2.Setting{{ID: http2.SettingEnablePush, Val: 0}, {ID: http2.SettingInitialWindowSize, Val: largestWindow}} {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return b
}

// appendFrame appends a frame to b.
func appendFrame(b []byte, kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), byte(kind), byte(flags))
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

func (l *http2Load) close() { l.sockets.close() }

// run keeps all streams busy for d, then waits for the answers that are missing.
func (l *http2Load) run(ctx context.Context, d time.Duration) (*loadResult, error) {
	r := &loadResult{}
	begin := time.Now()
	end := begin.Add(d)
	for _, c := range l.all {
		for range l.streams {
			l.begin(c, time.Now())
		}
		if err := l.flush(c); err != nil {
			return nil, err
		}
	}
	for l.waiting > 0 {
		if err := l.step(ctx, r, end); err != nil {
			return nil, err
		}
	}
	r.elapsed = time.Since(begin)
	return r, nil
}

// pace is not there: constant rates are measured over HTTP/1.1.
func (l *http2Load) pace(context.Context, float64, time.Duration) (*loadResult, error) {
	return nil, errors.New("no constant rate over HTTP/2")
}

// begin opens the next stream of a connection.
func (l *http2Load) begin(c *http2Conn, now time.Time) {
	s := &http2Stream{}
	if n := len(c.free); n > 0 {
		s, c.free = c.free[n-1], c.free[:n-1]
	}
	*s = http2Stream{sent: now}
	c.busy[c.next] = s
	c.block.Reset()
	for _, f := range l.call.fields {
		_ = c.encoder.WriteField(f) // into memory
	}
	flags := http2.FlagHeadersEndHeaders
	if len(l.call.body) == 0 {
		flags |= http2.FlagHeadersEndStream
	}
	c.out = appendFrame(c.out, http2.FrameHeaders, flags, c.next, c.block.Bytes())
	if len(l.call.body) > 0 {
		c.out = appendFrame(c.out, http2.FrameData, http2.FlagDataEndStream, c.next, l.call.body)
	}
	c.next += 2
	l.waiting++
}

// flush writes what a connection has to say, as far as the other end takes it.
func (l *http2Load) flush(c *http2Conn) error {
	if len(c.out) == 0 {
		return nil
	}
	c.socket.rest = append(c.socket.rest, c.out...)
	c.out = c.out[:0]
	return l.sockets.flush(c.socket)
}

// step waits for answers and opens the next stream where one is complete, unless end has come.
func (l *http2Load) step(ctx context.Context, r *loadResult, end time.Time) error {
	events, err := l.sockets.wait(ctx)
	if err != nil {
		return err
	}
	for _, event := range events {
		c := l.conns[event.Fd]
		if event.Events&syscall.EPOLLOUT != 0 {
			if err := l.sockets.flush(c.socket); err != nil {
				return err
			}
		}
		if event.Events&^syscall.EPOLLOUT == 0 {
			continue
		}
		done, err := l.receive(c, r)
		if err != nil {
			return err
		}
		for now := time.Now(); done > 0 && now.Before(end); done-- {
			l.begin(c, now)
		}
		if err := l.flush(c); err != nil {
			return err
		}
	}
	return nil
}

// receive reads what is there and tells how many answers are complete.
func (l *http2Load) receive(c *http2Conn, r *loadResult) (done int, err error) {
	n, err := syscall.Read(c.socket.fd, l.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return 0, fmt.Errorf("connection ended with %d streams open", len(c.busy))
	}
	frames := l.buf[:n]
	if len(c.part) > 0 {
		c.part = append(c.part, frames...)
		frames = c.part
	}
	for len(frames) >= 9 {
		length := int(frames[0])<<16 | int(frames[1])<<8 | int(frames[2])
		if len(frames) < 9+length {
			break
		}
		head := http2.FrameHeader{Type: http2.FrameType(frames[3]), Flags: http2.Flags(frames[4]), StreamID: binary.BigEndian.Uint32(frames[5:])}
		ended, err := l.frame(c, head, frames[9:9+length])
		if err != nil {
			return done, err
		}
		if ended {
			s := c.busy[head.StreamID]
			delete(c.busy, head.StreamID)
			r.requests++
			r.latency.add(time.Since(s.sent))
			c.free = append(c.free, s)
			l.waiting--
			done++
		}
		frames = frames[9+length:]
	}
	c.part = append(c.part[:0], frames...)
	return done, nil
}

// frame takes one frame and tells whether it ends a good answer.
func (l *http2Load) frame(c *http2Conn, head http2.FrameHeader, payload []byte) (bool, error) {
	switch head.Type {
	case http2.FrameSettings:
		if !head.Flags.Has(http2.FlagSettingsAck) {
			c.out = appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, nil)
		}
	case http2.FramePing:
		if !head.Flags.Has(http2.FlagPingAck) {
			c.out = appendFrame(c.out, http2.FramePing, http2.FlagPingAck, 0, payload)
		}
	case http2.FrameHeaders, http2.FrameData:
		s := c.busy[head.StreamID]
		if s == nil {
			return false, fmt.Errorf("%v of stream %d, which is not open", head.Type, head.StreamID)
		}
		if head.Type == http2.FrameData {
			return l.data(c, s, head, payload)
		}
		return l.headers(c, s, head, payload)
	case http2.FrameRSTStream, http2.FrameGoAway, http2.FrameContinuation, http2.FramePushPromise:
		return false, fmt.Errorf("%v of stream %d: % x", head.Type, head.StreamID, payload[:min(len(payload), 64)])
	case http2.FrameWindowUpdate, http2.FramePriority, http2.FramePriorityUpdate:
		// The window for what we send is never used up: all of it is small.
	}
	return false, nil
}

// data counts bytes, and gives them back before the other end has to wait.
func (l *http2Load) data(c *http2Conn, s *http2Stream, head http2.FrameHeader, payload []byte) (bool, error) {
	s.bytes += len(payload)
	if c.taken += len(payload); c.taken >= giveBack {
		c.out = appendFrame(c.out, http2.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(c.taken)))
		c.taken = 0
	}
	ended := head.Flags.Has(http2.FlagDataEndStream)
	if ended && l.call.trailer {
		return false, errors.New("answer of gRPC without a trailer")
	}
	return ended, l.whole(s, ended)
}

// headers takes the head of an answer, or what comes behind its body.
func (l *http2Load) headers(c *http2Conn, s *http2Stream, head http2.FrameHeader, block []byte) (bool, error) {
	if !head.Flags.Has(http2.FlagHeadersEndHeaders) || head.Flags.Has(http2.FlagHeadersPadded) {
		return false, errors.New("a head in several frames, or padded")
	}
	if head.Flags.Has(http2.FlagHeadersPriority) {
		block = block[5:]
	}
	clear(c.fields)
	if _, err := c.decoder.Write(block); err != nil {
		return false, fmt.Errorf("head of an answer: %w", err)
	}
	if err := c.decoder.Close(); err != nil {
		return false, fmt.Errorf("head of an answer: %w", err)
	}
	if status, ok := c.fields[":status"]; ok && status != "200" {
		return false, fmt.Errorf("answer: %v", c.fields)
	}
	ended := head.Flags.Has(http2.FlagHeadersEndStream)
	if ended && l.call.trailer && c.fields["grpc-status"] != "0" {
		return false, fmt.Errorf("end of an answer: %v", c.fields)
	}
	s.status = true
	return ended, l.whole(s, ended)
}

// whole is an error if an answer has ended that is not as it should be.
func (l *http2Load) whole(s *http2Stream, ended bool) error {
	if ended && (!s.status || s.bytes != l.call.answer) {
		return fmt.Errorf("answer of %d bytes instead of %d", s.bytes, l.call.answer)
	}
	return nil
}

// askHTTP2 asks once and wants a good answer.
func askHTTP2(what *call) func(ctx context.Context, address string) error {
	return func(ctx context.Context, address string) error {
		l, err := dialHTTP2(address, 1, 1, what)
		if err != nil {
			return err
		}
		defer l.close()
		_, err = l.run(ctx, 0)
		return err
	}
}
