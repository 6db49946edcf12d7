package proxy

import (
	"crypto/tls"
	"net"
)

// Remote returns the client's address with its port, as its socket has it.
func (x *Exchange) Remote() string {
	if nc := x.socket(); nc != nil {
		return nc.RemoteAddr().String()
	}
	if c, ok := x.c.client.(*conn); ok {
		return c.remote()
	}
	return ""
}

// TLS returns the state of the client's connection; nil if it is not encrypted.
func (x *Exchange) TLS() *tls.ConnectionState {
	if t, ok := x.socket().(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}

func (x *Exchange) socket() net.Conn {
	switch o := x.c.guard.owner.(type) {
	case *conn:
		return o.nc
	case *stream:
		return o.conn.nc
	default:
		return nil
	}
}
