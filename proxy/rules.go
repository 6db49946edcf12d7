package proxy

import "time"

// Rules are what a platform wants otherwise than Config can say. The zero value is our own way.
type Rules struct {
	// StartTimeout is the longest time from the end of a request's head to the first byte of its
	// answer, and QuietTimeout the longest without a byte of the answer, from the same moment on;
	// the wait for a slot and for the request's body counts. Both end with ErrTimeout; 0 means no
	// limit. In a tunnel, bytes in either direction count for QuietTimeout.
	StartTimeout, QuietTimeout time.Duration
	// BoundTunnels lets Config.Timeout end tunnels, too.
	BoundTunnels bool
	// AnyUpgrade lets requests switch to any protocol, not to WebSocket alone: the function
	// says whether, and a tunnel carries the bytes; h2c is spoken here.
	AnyUpgrade bool
	// SharedConnections lets the streams of one connection of HTTP/2 take all waiting places:
	// there is a proxy before us that has one for all clients.
	SharedConnections bool
	// Linger, if not nil, takes the place of Config.DrainDelay: it returns when nobody can be
	// expected to come any more, or when hurry is closed.
	Linger func(hurry <-chan struct{})
	// DrainStreams bounds the part of a drain after the listeners were closed for tunnels and
	// streams of HTTP/2; 0 means Config.DrainTimeout.
	DrainStreams time.Duration
	// SlowBodies lets bodies of requests come as slowly as they like: the time of the request
	// is their bound.
	SlowBodies bool
	// HoldBodies lets every body be whole in memory before its request asks for a slot, however
	// large it is and however it is framed; MaxBody bounds it.
	HoldBodies bool
}

// Unbound frees a request from all time-outs but those of its client. Hooks.Own may call it.
func (x *Exchange) Unbound() { x.unbound = true }

// startBy is the latest start of the answer by the rules.
func (x *Exchange) startBy() int64 {
	r := &x.c.srv.hooks.Rules
	by := int64(never)
	if x.unbound {
		return by
	}
	for _, d := range [...]time.Duration{r.StartTimeout, r.QuietTimeout} {
		if d > 0 {
			by = min(by, x.arrived+int64(d))
		}
	}
	return by
}

// wrote notes that bytes of the answer have gone to the client.
func (x *Exchange) wrote() {
	if x.c.srv.hooks.Rules.QuietTimeout > 0 {
		x.c.guard.active.Store(x.c.srv.now())
	}
}

// quietUntil is when an answer that has begun has been quiet for too long.
func (g *guard) quietUntil() int64 {
	d := g.srv.hooks.Rules.QuietTimeout
	if d == 0 {
		return never
	}
	return g.active.Load() + int64(d)
}
