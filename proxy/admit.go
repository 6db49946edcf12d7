package proxy

import (
	"net"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/metrics"
)

const (
	mostDerived = 4096 // connections where none are configured
	leastRoom   = 8    // connections that are served with any descriptor limit
	fdReserve   = 64   // descriptors for everything that is no connection
)

// mostConnections is the limit where none is configured: half of the descriptors,
// since a connection may need another one to the function (rule L6).
func mostConnections() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return mostDerived
	}
	return int(min(max(int64(min(limit.Cur, 1<<20))/2-fdReserve, leastRoom), mostDerived))
}

// admit reports whether there is room for nc beside n others. At the limit the
// connection that has been idle longest makes room; if all are busy, nc is refused.
func (s *Server) admit(nc net.Conn, n int) bool {
	if n <= s.most || s.sweeper.evict() {
		return true
	}
	s.metrics.Shard(0).Rejected[metrics.RejectConnLimit].Add(1)
	out := append([]byte(nil), "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Fnpod-Error: conn_limit\r\nRetry-After: 1\r\nContent-Length: 11\r\nConnection: close\r\n"...)
	out = append(s.date.append(out), "\r\nconn_limit\n"...)
	_ = nc.SetWriteDeadline(time.Now().Add(time.Millisecond)) // a fresh socket has room for this
	_, _ = nc.Write(out)
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
