package proxy

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups notices clients that end their side of the connection while a request
// is queued or running. Connections are added when their first long request has
// run for a while; the kernel then reports the end once, whatever is unread.
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
		n, _ := unix.EpollWait(int(fd), events[:], 0) // an error leaves n at -1: wait for the next event
		for _, e := range events[:max(n, 0)] {
			h.report(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
		return false
	})
}

func (h *hangups) report(id uint64) {
	h.mu.Lock()
	c := h.conns[id]
	h.mu.Unlock()
	if c != nil {
		c.guard.clientLeft()
	}
}

// add watches c. Called under c's guard; an already ended connection is
// reported at once.
func (h *hangups) add(c *conn) {
	h.mu.Lock()
	h.conns[c.id] = c
	h.mu.Unlock()
	event := unix.EpollEvent{
		Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT,
		Fd:     int32(uint32(c.id)), Pad: int32(uint32(c.id >> 32)),
	}
	_ = c.raw.Control(func(fd uintptr) { // a closed connection needs no watching
		_ = unix.EpollCtl(h.fd, unix.EPOLL_CTL_ADD, int(fd), &event)
	})
}

// remove forgets c. Its descriptor leaves the epoll set by being closed.
func (h *hangups) remove(c *conn) {
	h.mu.Lock()
	delete(h.conns, c.id)
	h.mu.Unlock()
}

// close ends run.
func (h *hangups) close() error { return h.epoll.Close() }
