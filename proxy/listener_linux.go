package proxy

import (
	"crypto/tls"
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

// close ends the accepting of connections without losing one that its client
// believes to be open. The kernel completes connections before they are accepted
// and resets those still in line when the listener closes. So newcomers are shut
// out first, and whoever is in line is served.
func (s *Server) close(l net.Listener, accepting *sync.WaitGroup) {
	defer func() {
		_ = l.Close() // its error would be of no use
		accepting.Wait()
	}()
	inner, secure := s.unwrap(l)
	sl, ok := inner.(socketListener)
	if !ok {
		return
	}
	raw, err := sl.SyscallConn()
	if err != nil {
		return
	}
	if _, tcp := inner.(*net.TCPListener); tcp {
		_ = raw.Control(shutOut) // fails on a closed listener only
		s.wait(handshake)
	}
	if sl.SetDeadline(time.Unix(1, 0)) != nil { // ends accept, which would delay the close
		return
	}
	accepting.Wait()
	_ = raw.Control(func(fd uintptr) { s.acceptRest(fd, secure) }) // as above
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
func (s *Server) acceptRest(fd uintptr, secure *tls.Config) {
	for {
		n, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // none is left, or no descriptor
		}
		s.adopt(n, secure)
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
