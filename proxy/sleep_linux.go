package proxy

import (
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A connection whose requests are far apart is bare: a descriptor in the epoll set of
// the watcher, without a connection of the net package around it, and without a
// goroutine while nothing happens. So it begins, and so it becomes again when it has been
// idle for a while. What happens to it gives it a goroutine, which serves what is
// there with the code that all share and ends. What would have to wait for the client
// dresses the connection first, and so does a request soon after the last one: dressed,
// a connection has a goroutine that waits in the runtime's poller, which is faster.

// soonDressed is how many requests in a row have to come soon after another before a
// connection is dressed, which costs as much as serving one.
const soonDressed = 4

// startBare serves a new connection, of which there is the descriptor.
func (s *Server) startBare(fd int, peer string) {
	write := func(p []byte) { _, _ = writeSocket(uintptr(fd), p) } // whatever becomes of it
	if !s.admit(fd, write, int(s.open.Add(1))) {
		s.open.Add(-1)
		_ = unix.Close(fd) // nothing more to lose
		return
	}
	c := &conn{fd: uintptr(fd)}
	c.guard.watched = true
	s.welcome(c, "http", peer)
	c.enter(phaseIdle, s.now()+int64(s.cfg.HeadTimeout)) // rule L1, as in serve
	if s.hangups.add(c, fd, askAll) != nil {
		c.close()
		return
	}
	if !c.rest() {
		go c.roused()
	}
}

// rest lets a bare connection sleep, unless something has happened meanwhile. Who sleeps is not ours any more.
func (c *conn) rest() (asleep bool) {
	g := &c.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	c.asleep = !c.pending && !c.killed && g.cause == nil
	c.pending = false
	return c.asleep
}

// happened is told by the watcher what it was asked for.
func (c *conn) happened(events uint32) {
	g, end := &c.guard, hungUp(events)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hungUp = g.hungUp || end
	switch {
	case c.nc != nil: // only the end was asked for; anything else is an echo of when it was bare
		if end {
			g.leave()
		}
	case c.asleep:
		c.asleep = false
		go c.roused()
	default:
		c.pending = true
		if end && g.phase == phaseRun && g.watchAt == never { // else the sweeper finds it out
			g.leave()
		}
	}
}

// roused serves a bare connection that has slept.
func (c *conn) roused() { c.live(c.rise) }

func (c *conn) rise() (asleep bool) {
	for {
		cause, ended := c.look()
		switch {
		case cause != nil && !c.guard.resume(errHungUp):
			if !c.isKilled() {
				c.timedOut()
			}
			return false
		case c.soon == soonDressed && !ended:
			c.dress()
			return c.serveSocket()
		}
		c.ended = ended
		switch c.step = c.readable(); {
		case c.step == waitMore && c.nc == nil:
			if c.rest() {
				return true
			}
		case c.step == waitMore, c.step == leaveOn:
			return c.serveSocket()
		case c.step == leaveClose:
			return false
		default:
			c.dress()
			if !c.outside() {
				return false
			}
			return c.serveSocket()
		}
	}
}

// look returns why the guard has woken the connection, if it has, and whether the client has ended its side. It counts
// how often something comes soon.
func (c *conn) look() (cause error, ended bool) {
	now, g := c.srv.now(), &c.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if cause = g.cause; cause == nil && c.killed {
		cause = ErrDraining
	}
	switch {
	case g.phase != phaseIdle:
	case now-g.since < sleepAfter/2:
		c.soon++
	default:
		c.soon = 0
	}
	return cause, g.hungUp
}

func (c *conn) isKilled() bool {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	return c.killed
}

// dress makes a connection of the net package of a bare one; on others it has no effect.
func (c *conn) dress() {
	if c.nc != nil {
		return
	}
	c.srv.hangups.remove(int(c.fd))
	nc, raw := c.srv.dressed(int(c.fd))
	g, now := &c.guard, c.srv.now()
	g.mu.Lock()
	c.nc, c.raw, c.fd, c.dressed, c.pending = nc, raw, noSocket, true, false
	g.watched, g.sleeps = false, true
	c.soon = 0
	switch {
	case g.cause != nil && g.phase == phaseRun:
		c.unblock()
	case g.cause != nil:
		c.wake()
	case g.phase == phaseRun:
		g.watchAt = min(g.watchAt, max(now, g.since+watchAfter))
	default:
		g.watchAt = g.watchFrom(g.phase, now)
	}
	if c.killed {
		_ = nc.Close() // it is to end at once
	}
	due := g.nextDue()
	g.mu.Unlock()
	g.setDue(due)
}

// undress makes the connection, which is idle, bare and lets it sleep. It reports false if it cannot.
func (c *conn) undress() (asleep bool) {
	fd := -1
	_ = c.raw.Control(func(s uintptr) { fd, _ = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }) // fd tells
	if fd < 0 {
		return false
	}
	g := &c.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sleeps = false
	if g.cause != nil || c.killed || c.srv.hangups.add(c, fd, askAll) != nil {
		_ = unix.Close(fd) // nothing is lost by its error
		return false
	}
	_ = c.raw.Control(func(s uintptr) { c.srv.hangups.remove(int(s)) }) // the socket stays open
	_ = c.nc.Close()                                                    // likewise
	c.nc, c.raw, c.fd = nil, nil, uintptr(fd)
	g.watched, g.watchAt = true, never
	c.asleep = true
	return true
}

// dressed makes a connection of a descriptor, which it takes over. It needs another one for a moment: if
// there is none, idle connections make room. If that does not help, the connection is one that is closed.
func (s *Server) dressed(fd int) (net.Conn, syscall.RawConn) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	for pause := leastPause; ; pause *= 2 {
		nc, err := net.FileConn(f)
		if err == nil {
			if tcp, ok := nc.(*net.TCPConn); ok {
				_ = tcp.SetKeepAlive(false) // clients have time-outs of ours
			}
			if raw, err := nc.(syscall.Conn).SyscallConn(); err == nil {
				return nc, raw
			}
			_ = nc.Close() // nothing can be done with it
		}
		if !passing(err) || pause > mostPause {
			nc, _ = net.Pipe()
			_ = nc.Close() // it has no other purpose
			return nc, lost{}
		}
		s.sweeper.evict()
		s.wait(pause)
	}
}

// lost is the socket of a connection that could not be dressed.
type lost struct{}

func (lost) Control(func(uintptr)) error    { return net.ErrClosed }
func (lost) Read(func(uintptr) bool) error  { return net.ErrClosed }
func (lost) Write(func(uintptr) bool) error { return net.ErrClosed }

// remote returns the address and the port of a bare connection's client.
func (c *conn) remote() string {
	sa, err := unix.Getpeername(int(c.fd))
	if err != nil {
		return ""
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String()
	case *unix.SockaddrUnix:
		return a.Name
	default:
		return ""
	}
}

// addressOf is peerOf for the address of a bare connection.
func addressOf(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr).String()
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap().String()
	default:
		return ""
	}
}
