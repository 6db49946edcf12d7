package knative

import (
	"sync"

	"github.com/fnpod/fnpod/proxy"
)

// Answer answers a probe that asks for readiness (proxy.Exchange.Bypassed).
func (p *Prober) Answer(x *proxy.Exchange) error {
	g := &gone{left: make(chan struct{})}
	if err := x.OnInterrupt(g); err != nil {
		return err
	}
	ready := p.Ask(g.left)
	if err := x.OnInterrupt(nil); err != nil {
		return err
	}
	if !ready {
		x.Respond(503, 0)
		return x.Finish()
	}
	const body = "queue"
	x.Respond(200, int64(len(body)))
	if err := x.AddField([]byte("Content-Type"), []byte("text/plain; charset=utf-8")); err != nil {
		return err
	}
	if _, err := x.Write([]byte(body)); err != nil {
		return err
	}
	return x.Finish()
}

// gone is a client that does not wait any more.
type gone struct {
	once sync.Once
	left chan struct{}
}

// Interrupt implements proxy.Interrupter.
func (g *gone) Interrupt() { g.once.Do(func() { close(g.left) }) }
