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

// stall is how long the load waits for any answer before it gives up.
const stall = 10 * time.Second

// load is a closed loop: each connection sends its next request when it has its answer. It belongs to one goroutine.
type load struct {
	epoll   int
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
	part []byte // of an answer that is not complete
}

// loadResult is what a load saw.
type loadResult struct {
	requests int64
	elapsed  time.Duration
	latency  histogram
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
		conns: make([]loadConn, n), byFD: make(map[int32]*loadConn, n),
		buf: make([]byte, 64<<10), events: make([]syscall.EpollEvent, min(n, 512)),
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

// step waits for answers and sends the next request where one is complete, unless end has come.
func (l *load) step(ctx context.Context, r *loadResult, end time.Time) error {
	n, err := syscall.EpollWait(l.epoll, l.events, int(stall.Milliseconds()))
	switch {
	case errors.Is(err, syscall.EINTR):
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("epoll: %w", err)
	case n == 0:
		return fmt.Errorf("%d requests have no answer after %v", l.waiting, stall)
	}
	for _, event := range l.events[:n] {
		c := l.byFD[event.Fd]
		done, err := l.receive(c)
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		l.waiting--
		now := time.Now()
		r.requests++
		r.latency.add(now.Sub(c.sent))
		if now.Before(end) {
			if err := l.send(c, now); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (l *load) send(c *loadConn, now time.Time) error {
	c.sent = now
	l.waiting++
	n, err := syscall.Write(c.fd, request)
	if err == nil && n < len(request) {
		err = fmt.Errorf("%d bytes of %d taken", n, len(request))
	}
	if err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	return nil
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
		return false, fmt.Errorf("connection ended after %d bytes of an answer", len(c.part))
	}
	answer := l.buf[:n]
	if len(c.part) > 0 {
		c.part = append(c.part, answer...)
		answer = c.part
	}
	size, err := answerSize(answer)
	switch {
	case err != nil:
		return false, err
	case size == 0 || size > len(answer):
		if len(c.part) == 0 {
			c.part = append(c.part, answer...)
		}
		return false, nil
	case size < len(answer):
		return false, fmt.Errorf("bytes after an answer: %q", answer[size:])
	}
	c.part = c.part[:0]
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
	name := []byte("\r\nContent-Length: ")
	at := bytes.Index(b[:head+2], name)
	if at < 0 {
		return 0, fmt.Errorf("answer without a length: %.300q", b)
	}
	value, _, _ := bytes.Cut(b[at+len(name):], []byte("\r\n"))
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return 0, fmt.Errorf("length of an answer: %w", err)
	}
	return head + 4 + n, nil
}
