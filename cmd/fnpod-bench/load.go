package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// request is what every connection sends.
var request = []byte("GET / HTTP/1.1\r\nHost: function.example\r\nUser-Agent: fnpod-bench\r\nAccept: */*\r\n\r\n")

// browserRequest is a request as a browser sends it through an ingress, with twelve fields.
var browserRequest = []byte("GET /function/hello?name=world&lang=en HTTP/1.1\r\nHost: function.example\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nCookie: session=3f9a1c77b2d04e5f8a6b; theme=dark; consent=1\r\n" +
	"Referer: https://function.example/\r\nX-Request-Id: 7f3b1c9e-0d52-4a51-9a3e-6f2c8f1f0b7d\r\nX-Forwarded-For: 192.0.2.7\r\n" +
	"X-Forwarded-Proto: https\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nCache-Control: no-cache\r\n\r\n")

// post is a request with a body of size bytes.
func post(size int) []byte {
	head := fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: function.example\r\nUser-Agent: fnpod-bench\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", size)
	return append(head, bytes.Repeat([]byte("x"), size)...)
}

// stall is how long the load waits for any answer before it gives up.
const stall = 10 * time.Second

// load is a closed loop: each connection sends its next request when it has its answer. It belongs to one goroutine.
type load struct {
	epoll   int
	request []byte // what every connection sends
	conns   []loadConn
	byFD    map[int32]*loadConn
	waiting int // connections that wait for an answer
	buf     []byte
	events  []syscall.EpollEvent
}

// loadConn is one connection of a load.
type loadConn struct {
	fd   int
	sent time.Time
	rest []byte // of a request that the connection has not taken yet
	full bool   // the connection took no more; it is watched for room
	part []byte // of a head that is not complete
	size int    // of the answer, 0 while unknown
	got  int    // of the answer
}

// loadResult is what a load saw.
type loadResult struct {
	requests int64
	elapsed  time.Duration
	latency  latencies
}

// rate is requests per second.
func (r *loadResult) rate() float64 { return float64(r.requests) / r.elapsed.Seconds() }

// dial opens n connections to an address of the loopback interface.
func dial(address string, n int) (l *load, err error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	l = &load{
		request: request,
		conns:   make([]loadConn, n), byFD: make(map[int32]*loadConn, n),
		buf: make([]byte, 256<<10), events: make([]syscall.EpollEvent, min(n, 512)),
	}
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	for i := range l.conns {
		l.conns[i].fd = -1
	}
	for i := range l.conns {
		if err := l.open(&l.conns[i], to); err != nil {
			l.close()
			return nil, fmt.Errorf("connection %d of %d to %s: %w", i+1, n, address, err)
		}
	}
	return l, nil
}

func (l *load) open(c *loadConn, to netip.AddrPort) (err error) {
	if c.fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := syscall.Connect(c.fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(c.fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := syscall.SetNonblock(c.fd, true); err != nil {
		return err
	}
	l.byFD[int32(c.fd)] = c
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, c.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)})
}

// close closes all connections.
func (l *load) close() {
	for i := range l.conns {
		if l.conns[i].fd >= 0 {
			_ = syscall.Close(l.conns[i].fd) // nothing is buffered in it
		}
	}
	_ = syscall.Close(l.epoll)
}

// run keeps all connections busy for d, then waits for the answers that are missing.
func (l *load) run(ctx context.Context, d time.Duration) (*loadResult, error) {
	r := &loadResult{}
	begin := time.Now()
	end := begin.Add(d)
	for i := range l.conns {
		if err := l.send(&l.conns[i], time.Now()); err != nil {
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

// once sends one request on every connection, one after the other.
func (l *load) once(ctx context.Context) error {
	r := &loadResult{}
	for i := range l.conns {
		now := time.Now()
		if err := l.send(&l.conns[i], now); err != nil {
			return err
		}
		for l.waiting > 0 {
			if err := l.step(ctx, r, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait waits for events. Each is about a connection, or about what somebody else has put into the set.
func (l *load) wait(ctx context.Context) ([]syscall.EpollEvent, error) {
	n, err := syscall.EpollWait(l.epoll, l.events, int(stall.Milliseconds()))
	switch {
	case errors.Is(err, syscall.EINTR):
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("epoll: %w", err)
	case n == 0:
		return nil, fmt.Errorf("%d requests have no answer after %v", l.waiting, stall)
	}
	return l.events[:n], ctx.Err()
}

// step waits for answers and sends the next request where one is complete, unless end has come.
func (l *load) step(ctx context.Context, r *loadResult, end time.Time) error {
	events, err := l.wait(ctx)
	if err != nil {
		return err
	}
	for _, event := range events {
		c, err := l.serve(event)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		now := time.Now()
		r.requests++
		r.latency.add(now.Sub(c.sent))
		if now.Before(end) {
			if err := l.send(c, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// serve does what an event asks for, and returns the connection if its answer is complete.
func (l *load) serve(event syscall.EpollEvent) (*loadConn, error) {
	c := l.byFD[event.Fd]
	if event.Events&syscall.EPOLLOUT != 0 {
		if err := l.flush(c); err != nil {
			return nil, err
		}
	}
	if event.Events&^syscall.EPOLLOUT == 0 {
		return nil, nil
	}
	done, err := l.receive(c)
	if err != nil || !done {
		return nil, err
	}
	l.waiting--
	return c, nil
}

func (l *load) send(c *loadConn, now time.Time) error {
	c.sent = now
	l.waiting++
	c.rest = l.request
	return l.flush(c)
}

// flush writes what the connection takes now of its request. Of a large one it takes the rest when the other end has read.
func (l *load) flush(c *loadConn) error {
	n, err := syscall.Write(c.fd, c.rest)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("send a request: %w", err)
	}
	c.rest = c.rest[max(n, 0):]
	full := len(c.rest) > 0
	if c.full == full {
		return nil
	}
	c.full = full
	events := uint32(syscall.EPOLLIN)
	if full {
		events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, c.fd, &syscall.EpollEvent{Events: events, Fd: int32(c.fd)})
}

// receive reads what is there and tells whether the answer is complete.
func (l *load) receive(c *loadConn) (bool, error) {
	n, err := syscall.Read(c.fd, l.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return false, fmt.Errorf("connection ended after %d bytes of an answer", c.got)
	}
	c.got += n
	if c.size == 0 {
		answer := l.buf[:n]
		if len(c.part) > 0 {
			c.part = append(c.part, answer...)
			answer = c.part
		}
		if c.size, err = answerSize(answer); err != nil {
			return false, err
		}
		if c.size == 0 && len(c.part) == 0 {
			c.part = append(c.part, answer...)
		}
	}
	switch {
	case c.size == 0 || c.size > c.got:
		return false, nil
	case c.size < c.got:
		return false, fmt.Errorf("bytes after an answer: %q", l.buf[n-(c.got-c.size):n])
	}
	c.part, c.size, c.got = c.part[:0], 0, 0
	return true, nil
}

// answerSize is the length of the answer that b begins with, head and body, 0 while its head is not complete. Only a
// status of 200 with a length is good.
func answerSize(b []byte) (int, error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("answer: %.100q", b)
	}
	value, ok := lengthOf(b[:head+2])
	if !ok {
		return 0, fmt.Errorf("answer without a length: %.300q", b)
	}
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return 0, fmt.Errorf("length of an answer: %w", err)
	}
	return head + 4 + n, nil
}

// lengthOf finds the value of Content-Length in a head; HAProxy writes names in lower case.
func lengthOf(head []byte) (value []byte, ok bool) {
	const name = "content-length: "
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return line[len(name):], true
		}
	}
	return nil, false
}
