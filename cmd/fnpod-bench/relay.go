package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// relayName is the variant that others are measured against where nothing could cost less.
const relayName = "raw relay"

// relayCmd passes bytes on and looks at none: one thread, epoll, a read and a write for whatever comes, and for each
// client a connection of its own to the function. It is the floor for a proxy. It is made for small messages: it waits for
// who does not take them. The Go runtime is not told of its system calls: it costs what it would in C.
type relayCmd struct {
	Listen   string `help:"Address to listen on."`
	Function string `help:"Address of the function."`
}

// Run serves until standard input ends.
func (c *relayCmd) Run() error {
	listen, err := sockaddr(c.Listen)
	if err != nil {
		return err
	}
	r := &relay{peers: map[int32]int{}, buf: make([]byte, 64<<10)}
	if r.function, err = sockaddr(c.Function); err != nil {
		return err
	}
	if r.listener, err = socketListening(listen); err != nil {
		return err
	}
	return r.run()
}

// relay belongs to one thread.
type relay struct {
	epoll, listener int
	function        syscall.Sockaddr
	peers           map[int32]int // both ways
	buf             []byte
}

func sockaddr(address string) (*syscall.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
}

func socketListening(address syscall.Sockaddr) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return fd, err
	}
	err = errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), syscall.Bind(fd, address), syscall.Listen(fd, 4096))
	return fd, err
}

// run relays until something breaks, or standard input ends.
func (r *relay) run() (err error) {
	runtime.LockOSThread()
	if r.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if err := errors.Join(r.watch(r.listener), r.watch(stdin)); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, 512)
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(r.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), ^uintptr(0), 0, 0)
		if errno != 0 && errno != syscall.EINTR {
			return fmt.Errorf("epoll: %w", errno)
		}
		if errno != 0 {
			continue
		}
		for _, e := range events[:n] {
			switch int(e.Fd) {
			case r.listener:
				if err := r.accept(); err != nil {
					return err
				}
			case stdin:
				return errors.New("standard input has ended")
			default:
				r.pass(e.Fd)
			}
		}
	}
}

const stdin = 0

func (r *relay) watch(fd int) error {
	return syscall.EpollCtl(r.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// accept takes all clients that wait.
func (r *relay) accept() error {
	for {
		client, _, err := syscall.Accept4(r.listener, syscall.SOCK_CLOEXEC)
		if errors.Is(err, syscall.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		function, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := syscall.Connect(function, r.function); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		for fd, peer := range map[int]int{client: function, function: client} {
			r.peers[int32(fd)] = peer
			if err := errors.Join(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1), r.watch(fd)); err != nil {
				return err
			}
		}
	}
}

// pass passes on what one side has sent. A connection that ends ends the other one.
func (r *relay) pass(fd int32) {
	peer, open := r.peers[fd]
	if !open {
		return // its peer has ended in the same round
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&r.buf[0])), uintptr(len(r.buf)))
	if errno == 0 && n > 0 {
		_, _, errno = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(peer), uintptr(unsafe.Pointer(&r.buf[0])), n) // the sockets block
	}
	if errno != 0 || n == 0 {
		delete(r.peers, fd)
		delete(r.peers, int32(peer))
		_, _ = syscall.Close(int(fd)), syscall.Close(peer) // nothing is buffered in them
	}
}

func startRelay(ctx context.Context, s *site) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, []string{childVariable + "=1", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}, self, "relay", "--listen", s.listen, "--function", s.function.tcp)
}
