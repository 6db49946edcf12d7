package metrics

import (
	"net"
	"sync"
)

// handOff gives net/http connections that a listener of ours has accepted, one by one.
type handOff struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu   sync.Mutex
	open map[net.Conn]chan struct{} // guarded by mu; closed when net/http is done with the connection
}

func newHandOff(address net.Addr) *handOff {
	return &handOff{address: address, conns: make(chan net.Conn), closed: make(chan struct{}), open: map[net.Conn]chan struct{}{}}
}

// serve has c served and returns when it is done.
func (h *handOff) serve(c net.Conn) {
	done := make(chan struct{})
	h.mu.Lock()
	h.open[c] = done
	h.mu.Unlock()
	h.conns <- c
	<-done
}

// ended is called when net/http is done with c.
func (h *handOff) ended(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done := h.open[c]; done != nil {
		close(done)
		delete(h.open, c)
	}
}

// Accept implements net.Listener.
func (h *handOff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handOff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handOff) Addr() net.Addr { return h.address }
