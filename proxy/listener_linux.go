package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handshake is how long a connection may take from its client's first packet to
// the place in line.
const handshake = 50 * time.Millisecond

// socketListener is what net's listeners are.
type socketListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// entrance is a listener and what takes its connections.
type entrance struct {
	outer     net.Listener // what was given to Run
	listener  net.Listener // what has the socket
	secure    *tls.Config  // nil: without TLS
	accepting sync.WaitGroup

	// Where connections begin bare; else nil. It is the same socket, since net lets nobody
	// else wait for a listener.
	bare *os.File
	raw  syscall.RawConn
}

func (s *Server) entrance(l net.Listener) *entrance {
	e := &entrance{outer: l}
	e.listener, e.secure = s.unwrap(l)
	sl, ok := e.listener.(interface{ File() (*os.File, error) })
	if !ok || e.secure != nil {
		return e
	}
	file, err := sl.File()
	if err != nil {
		return e
	}
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close() // nobody needs it
		return e
	}
	e.bare, e.raw = file, raw
	if _, tcp := e.listener.Addr().(*net.TCPAddr); tcp {
		_ = raw.Control(func(fd uintptr) { // what net sets for each connection, and which they inherit
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		})
	}
	return e
}

// acceptOne takes one connection.
func (s *Server) acceptOne(e *entrance) error {
	if e.bare == nil {
		nc, err := e.listener.Accept()
		if err == nil {
			s.start(nc, e.secure)
		}
		return err
	}
	var fd int
	var peer unix.Sockaddr
	var failed error
	err := e.raw.Read(func(l uintptr) bool {
		fd, peer, failed = unix.Accept4(int(l), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		for errors.Is(failed, unix.EINTR) {
			fd, peer, failed = unix.Accept4(int(l), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		}
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err = cmp.Or(err, failed); err == nil {
		s.startBare(fd, addressOf(peer))
	}
	return err
}

// close ends the accepting of connections without losing one that its client
// believes to be open. The kernel completes connections before they are accepted
// and resets those still in line when the listener closes. So newcomers are shut
// out first, and whoever is in line is served.
func (s *Server) close(e *entrance) {
	defer func() {
		_ = e.outer.Close() // its error would be of no use
		if e.bare != nil {
			_ = e.bare.Close() // likewise
		}
		e.accepting.Wait()
	}()
	sl, ok := e.listener.(socketListener)
	if !ok {
		return
	}
	raw, err := sl.SyscallConn()
	if err != nil {
		return
	}
	if _, tcp := e.listener.Addr().(*net.TCPAddr); tcp {
		_ = raw.Control(shutOut) // fails on a closed listener only
		s.wait(handshake)
	}
	setDeadline := sl.SetDeadline
	if e.bare != nil {
		setDeadline = e.bare.SetDeadline
	}
	if setDeadline(time.Unix(1, 0)) != nil { // ends accept, which would delay the close
		return
	}
	e.accepting.Wait()
	_ = raw.Control(func(fd uintptr) { s.acceptRest(fd, e) }) // as above
}

// shutOut drops the first packet of every new connection, by a filter on the
// listening socket. Its client repeats it and is refused then. Where filters are
// not allowed, who comes in the last microseconds is reset.
func shutOut(fd uintptr) {
	const flags, syn = 13, 0x02 // RFC 9293 §3.1; the filter sees the segment from its first byte
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18}, // all of it
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
}

// acceptRest takes all connections in line.
func (s *Server) acceptRest(fd uintptr, e *entrance) {
	for {
		n, peer, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // none is left, or no descriptor
		}
		if e.bare != nil {
			s.startBare(n, addressOf(peer))
		} else {
			s.adopt(n, e.secure)
		}
	}
}

// adopt serves a connection of which only the descriptor is there.
func (s *Server) adopt(fd int, secure *tls.Config) {
	f := os.NewFile(uintptr(fd), "connection")
	nc, err := net.FileConn(f)
	_ = f.Close() // nc has a descriptor of its own
	if err == nil {
		s.start(nc, secure)
	}
}
