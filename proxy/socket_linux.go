package proxy

import (
	"syscall"
	"unsafe"
)

// The calls below are raw: the sockets are non-blocking, so the scheduler need
// not know of them. They return EAGAIN where the caller has to wait.

// readSocket reads once from a non-blocking socket. n is 0 at end of stream.
func readSocket(fd uintptr, p []byte) (n int, err syscall.Errno) {
	for {
		r, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(r), 0
	}
}

// writeSocket writes once to a non-blocking socket. A peer that is gone is
// EPIPE, never a signal.
func writeSocket(fd uintptr, p []byte) (n int, err syscall.Errno) {
	for {
		r, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			syscall.MSG_NOSIGNAL, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(r), 0
	}
}

// quiet reports whether nothing at all is waiting on an idle socket: no bytes
// nobody asked for, no end of stream, no error (invariant P5).
func quiet(fd uintptr) bool {
	_, e := peek(fd)
	return e == syscall.EAGAIN
}

// connected reports whether the other end may still send.
func connected(fd uintptr) bool {
	n, e := peek(fd)
	return n > 0 || e == syscall.EAGAIN
}

// peek looks at the next byte and leaves it there.
func peek(fd uintptr) (n int, err syscall.Errno) {
	var b [1]byte
	for {
		r, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(r), 0
	}
}

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT; the syscall package does not name it

// limitStall lets the kernel end a TCP connection whose peer has taken nothing
// for the given time. Unlike a write deadline it measures progress: a slow
// reader of a long answer is left alone (rule L4).
func limitStall(fd uintptr, milliseconds int) error {
	return syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, milliseconds)
}

// resetAtClose lets the end of a connection be a reset.
func resetAtClose(fd uintptr) {
	_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}) // no socket refuses it
}
