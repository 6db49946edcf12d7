package proxy

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups notices what clients do for whom nobody waits in a read: that they end
// their side of a connection whose request is queued or running, and that they
// send something to a connection that sleeps.
type hangups struct {
	fd    int // kept because os.File.Fd would make it blocking
	epoll *os.File
	raw   syscall.RawConn

	mu    sync.Mutex
	conns map[uint64]*conn // guarded by mu
}

func newHangups() (*hangups, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll instance: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("set epoll instance non-blocking: %w", err)
	}
	h := &hangups{fd: fd, epoll: os.NewFile(uintptr(fd), "epoll"), conns: map[uint64]*conn{}}
	if h.raw, err = h.epoll.SyscallConn(); err != nil {
		return nil, fmt.Errorf("open epoll instance: %w", err)
	}
	return h, nil
}

// run reports hang-ups until close is called. The epoll descriptor itself waits
// in the runtime's poller, so no thread is blocked.
func (h *hangups) run() {
	var events [64]unix.EpollEvent
	_ = h.raw.Read(func(fd uintptr) bool { // ends with the error of a closed file
		for {
			n, _ := unix.EpollWait(int(fd), events[:], 0) // an error leaves n at -1: wait for the next event
			for _, e := range events[:max(n, 0)] {
				h.report(uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32, e.Events)
			}
			if n < len(events) { // else there may be more, of which the poller does not tell
				return false
			}
		}
	})
}

func (h *hangups) report(id uint64, events uint32) {
	h.mu.Lock()
	c := h.conns[id]
	h.mu.Unlock()
	if c != nil {
		c.happened(events)
	}
}

// What is asked for. The end of the client's side is told once, whatever is unread; for a connection without a
// goroutine everything is told, each time it happens.
const (
	askHangup = unix.EPOLLRDHUP | unix.EPOLLONESHOT
	askAll    = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
)

// hungUp reports whether the client has ended its side.
func hungUp(events uint32) bool {
	return events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// add lets c.happened be called for events on c's descriptor; what has happened already
// counts.
func (h *hangups) add(c *conn, fd int, events uint32) error {
	h.mu.Lock()
	h.conns[c.id] = c
	h.mu.Unlock()
	event := unix.EpollEvent{Events: events, Fd: int32(uint32(c.id)), Pad: int32(uint32(c.id >> 32))}
	return unix.EpollCtl(h.fd, unix.EPOLL_CTL_ADD, fd, &event)
}

// remove takes back what add asked for, for a descriptor that is not closed.
func (h *hangups) remove(fd int) {
	_ = unix.EpollCtl(h.fd, unix.EPOLL_CTL_DEL, fd, nil) // it may not be there
}

// forget forgets c. Its descriptor leaves the epoll set by being closed.
func (h *hangups) forget(c *conn) {
	h.mu.Lock()
	delete(h.conns, c.id)
	h.mu.Unlock()
}

// close ends run.
func (h *hangups) close() error { return h.epoll.Close() }
