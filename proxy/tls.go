package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"

	"github.com/fnpod/fnpod/proxy/http1"
)

// Secure is a listener whose clients speak TLS. The protocol, HTTP/2 or HTTP/1.1, is
// negotiated by ALPN (RFC 7301); what Config has in NextProtos is replaced.
type Secure struct {
	net.Listener

	Config *tls.Config
}

// unwrap returns the listener that has the socket, and how its clients are secured:
// nil means not at all.
func (s *Server) unwrap(l net.Listener) (net.Listener, *tls.Config) {
	secure, ok := l.(Secure)
	if !ok {
		return l, nil
	}
	config := secure.Config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	if s.cfg.HTTP2Streams == 0 {
		config.NextProtos = slices.Delete(config.NextProtos, 0, 1)
	}
	return secure.Listener, config
}

// serveTLS runs a connection with TLS to its end. There is no reading past the TLS
// layer, so it reads like any other program, and waits with one byte of buffer.
func (c *conn) serveTLS(t *tls.Conn) {
	if !c.handshake(t) {
		return
	}
	if t.ConnectionState().NegotiatedProtocol == "h2" {
		c.handOver(nil)
		return
	}
	for {
		if c.step = c.fill(); c.step != waitMore && !c.outside() {
			return
		}
		c.park()
	}
}

// handshake reports whether the client speaks TLS.
func (c *conn) handshake(t *tls.Conn) bool {
	err := t.Handshake() //nolint:noctx // the guard bounds it
	if err == nil {
		return true
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
		c.nc = plain.Conn
		c.x = takeExchange(&c.link)
		c.reject(c.x, http1.ErrRequestLine) // most likely HTTP: say something it understands
		return false
	}
	c.srv.log.Debug("TLS handshake failed", "peer", c.peer, "err", err)
	return false
}

// fill reads once and serves what is whole.
func (c *conn) fill() next {
	recheck := c.recheck && c.x != nil
	c.recheck = false
	if recheck {
		if step := c.advance(true); step != waitMore {
			return step
		}
	}
	room := c.first[:]
	if c.x != nil {
		room = c.x.in[c.x.used:]
	}
	n, err := c.nc.Read(room)
	switch {
	case n > 0:
	case errors.Is(err, os.ErrDeadlineExceeded) && c.guard.resume(errHungUp):
		c.ended = true
		return waitMore
	case errors.Is(err, io.EOF):
		if c.x == nil {
			return leaveClose
		}
		return c.clientEnded()
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.timedOut()
		return leaveClose
	default:
		return leaveClose
	}
	c.shard.BytesIn.Add(uint64(n))
	if c.x == nil {
		c.x = takeExchange(&c.link)
		c.x.in[0] = c.first[0]
	}
	c.x.used += n
	return c.advance(true)
}
