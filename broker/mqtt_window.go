package broker

import "sync"

// window are the messages that the broker waits to hear about, in the order in which they came. They are acknowledged in
// that order (MQTT 3.1.1, section 4.6), however long each takes. It outlives connections: a broker that has kept the session
// sends again what was not acknowledged, under the same numbers, and what we have handled is not handled again.
type window struct {
	mu    sync.Mutex
	order []*held          // guarded by mu: what came by this connection and is not acknowledged
	byID  map[uint16]*held // guarded by mu
	send  func([]byte)     // guarded by mu; nil: there is no connection
}

// held is a message in the window.
type held struct {
	id       uint16
	twice    bool // quality 2: first received, then released
	here     bool // it came by this connection
	handled  bool
	received bool // PUBREC was sent: it is out of order
}

func newWindow() *window { return &window{byID: map[uint16]*held{}} }

// open begins a connection. Where the broker has kept no session, its numbers mean nothing any more.
func (w *window) open(send func([]byte), kept bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.send, w.order = send, nil
	if !kept {
		clear(w.byID)
	}
	for _, h := range w.byID {
		h.here = false
	}
}

// close ends it.
func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.send = nil
}

// arrive notes a message that came, and reports whether it is new. again says that the broker may have sent it before.
func (w *window) arrive(id uint16, qos byte, again bool) (h *held, fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h = w.byID[id]
	switch {
	case h == nil || !again && !h.here:
		h = &held{id: id, twice: qos == 2}
		w.byID[id] = h
		fresh = true
	case h.received: // what we said about it is lost
		if w.send != nil {
			w.send(numbered(packetPubrec, id))
		}
		return h, false
	case h.here:
		return h, false
	}
	h.here = true
	w.order = append(w.order, h)
	w.flush()
	return h, fresh
}

// handle notes that a message has been handled.
func (w *window) handle(h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.handled = true
	w.flush()
}

// flush acknowledges what its turn is. Called with mu held.
func (w *window) flush() {
	for w.send != nil && len(w.order) > 0 && w.order[0].handled {
		h := w.order[0]
		w.order = w.order[1:]
		if w.byID[h.id] != h {
			continue
		}
		if h.twice {
			h.received = true
			w.send(numbered(packetPubrec, h.id))
			continue
		}
		delete(w.byID, h.id)
		w.send(numbered(packetPuback, h.id))
	}
}

// release ends a message of quality 2: the broker will not send it again.
func (w *window) release(id uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.byID[id]; h != nil && h.received {
		delete(w.byID, id)
	}
	if w.send != nil {
		w.send(numbered(packetPubcomp, id))
	}
}
