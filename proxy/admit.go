package proxy

import (
	"errors"
	"math"
	"net"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
)

const (
	mostDerived = 4096 // connections where none are configured
	leastRoom   = 8    // connections that are served with any descriptor limit
	fdReserve   = 64   // descriptors for everything that is no connection
	fdSpare     = 32   // descriptors that are never a connection (rule L12)
	evictTime   = time.Millisecond

	leastPause, mostPause = 5 * time.Millisecond, time.Second // when accept fails (rule L11)
	complainEvery         = int64(10 * time.Second)
)

// errNoRoom is a connection that would take one of the last descriptors.
var errNoRoom = errors.New("descriptors are running out")

// mostConnections is the limit where none is configured: half of the descriptors,
// since a connection may need another one to the function (rule L6).
func mostConnections() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return mostDerived
	}
	return int(min(max(int64(min(limit.Cur, 1<<20))/2-fdReserve, leastRoom), mostDerived))
}

// mostDescriptors is the number from which on a descriptor is one of the last.
func mostDescriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt
	}
	n := int(min(limit.Cur, math.MaxInt32))
	return max(n-fdSpare, n/2)
}

// fits reports whether a connection leaves enough descriptors, which are given by
// number, the lowest first. For one of the last 32 another connection has to make
// room; that takes a moment, which is waited for, and half of them are never taken.
func (s *Server) fits(number int) bool {
	if number < s.descriptors {
		return true
	}
	if !s.sweeper.evict() || number >= s.descriptors+fdSpare/2 {
		return false
	}
	s.wait(evictTime)
	return true
}

// numberOf returns the number of a descriptor; 0 if it is closed.
func numberOf(raw syscall.RawConn) (number int) {
	_ = raw.Control(func(fd uintptr) { number = int(fd) }) // its error is that
	return number
}

// admit reports whether there is room for a connection, whose descriptor has a number, beside
// n others. At the limit the connection that has been idle longest makes room; if all are busy,
// it is refused, with write.
func (s *Server) admit(number int, write func([]byte), n int) bool {
	if (n <= s.most || s.sweeper.evict()) && s.fits(number) {
		return true
	}
	s.metrics.Shard(0).Rejected[metrics.RejectConnLimit].Add(1)
	out := append([]byte(nil), "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Fnpod-Error: conn_limit\r\nRetry-After: 1\r\nContent-Length: 11\r\nConnection: close\r\n"...)
	write(append(s.date.append(out), "\r\nconn_limit\n"...))
	return false
}

// evict ends the connection that has been idle longest, if any is.
func (s *sweeper) evict() bool {
	var oldest *link
	since := int64(never)
	s.each(func(l *link) {
		if t := l.guard.idleSince(); t < since {
			oldest, since = l, t
		}
	})
	return oldest != nil && oldest.guard.endIdle()
}

// cannotAccept makes room and returns how long to wait after an error of accept
// that passes. pause is how long was waited after the one before.
func (s *Server) cannotAccept(err error, pause time.Duration) time.Duration {
	s.metrics.Shard(0).AcceptErrors.Add(1)
	now, last := s.now(), s.complained.Load()
	if (last == 0 || now-last >= complainEvery) && s.complained.CompareAndSwap(last, now) {
		s.log.Warn("cannot accept connections for now", "err", err)
	}
	if errors.Is(err, syscall.ECONNABORTED) || s.sweeper.evict() {
		return leastPause
	}
	return min(max(2*pause, leastPause), mostPause)
}

// passing reports errors that say something of this moment and nothing of the
// socket: descriptors or memory have run out.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// roomFor reports whether a connection to the function, or the error instead of
// it, leaves enough descriptors. A client's idle connection makes room.
func (s *Server) roomFor(nc net.Conn, err error) bool {
	if err != nil {
		if !passing(err) {
			return true
		}
		s.sweeper.evict() // for the next one
		return false
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	return err != nil || s.fits(numberOf(raw))
}
