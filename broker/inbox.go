package broker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Reasons for which a message is lost, as Inbox.Lost hears them.
var (
	ErrFull     = errors.New("broker: too many messages wait")
	ErrTooLarge = errors.New("broker: message is too large")
)

// Inbox holds messages that wait to be worked on, in the order in which they came. Create it with NewInbox; its methods may
// be called by any number of goroutines.
type Inbox struct {
	most  int
	bytes int64
	came  func()
	lost  func(error)
	idle  chan struct{} // closed when no message is left and none will come

	mu      sync.Mutex
	changed *sync.Cond // of all below
	waiting []*Message // guarded by mu; the oldest first
	held    int64      // guarded by mu: bytes of those
	working int        // guarded by mu: taken, not done
	closed  bool       // guarded by mu
	ended   bool       // guarded by mu: idle is closed
}

// NewInbox returns an Inbox for messages of a number and of bytes in all; a single message may be larger. came is told of each
// message that can be taken, lost of each that nobody will handle. They must not block.
func NewInbox(messages int, bytes int64, came func(), lost func(reason error)) *Inbox {
	in := &Inbox{most: messages, bytes: bytes, came: came, lost: lost, idle: make(chan struct{})}
	in.changed = sync.NewCond(&in.mu)
	return in
}

// offer takes a message if there is room for it. One that is not taken is lost.
func (in *Inbox) offer(m *Message) {
	in.mu.Lock()
	full := !in.room()
	if !full {
		in.add(m)
	}
	in.mu.Unlock()
	if full {
		in.lost(ErrFull)
	}
}

// put waits until there is room for a message, and takes it. When ctx ends it is taken at once, since it has been received.
func (in *Inbox) put(ctx context.Context, m *Message) {
	defer context.AfterFunc(ctx, in.wake)()
	in.mu.Lock()
	defer in.mu.Unlock()
	for !in.room() && ctx.Err() == nil && !in.closed {
		in.changed.Wait()
	}
	in.add(m)
}

func (in *Inbox) wake() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.changed.Broadcast()
}

// room tells whether one more message fits. Called with mu held.
func (in *Inbox) room() bool { return len(in.waiting) < in.most && in.held < in.bytes }

// add is called with mu held. A closed Inbox takes nothing.
func (in *Inbox) add(m *Message) {
	if in.closed {
		return
	}
	m.inbox, m.Came = in, time.Now()
	m.weigh()
	in.waiting = append(in.waiting, m)
	in.held += m.size
	in.came()
	in.changed.Broadcast()
}

// Take returns the oldest message, waiting for one if it must. False means that no more will come. Done must follow.
func (in *Inbox) Take() (*Message, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.waiting) == 0 {
		if in.closed {
			return nil, false
		}
		in.changed.Wait()
	}
	m := in.waiting[0]
	in.waiting[0] = nil
	in.waiting = in.waiting[1:]
	in.held -= m.size
	in.working++
	in.changed.Broadcast()
	return m, true
}

// done ends the work on a message.
func (in *Inbox) done() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.working--
	in.look()
}

// Close lets no more messages in. Those that wait can still be taken.
func (in *Inbox) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.look()
	in.changed.Broadcast()
}

// Abandon closes, and gives up the messages that wait: they are not acknowledged. It returns how many that were.
func (in *Inbox) Abandon() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.waiting)
	in.closed, in.waiting, in.held = true, nil, 0
	in.look()
	in.changed.Broadcast()
	return n
}

// look finds out whether it is over. Called with mu held.
func (in *Inbox) look() {
	if in.closed && !in.ended && len(in.waiting) == 0 && in.working == 0 {
		in.ended = true
		close(in.idle)
	}
}

// Waiting returns how many messages nobody works on yet.
func (in *Inbox) Waiting() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.waiting)
}
