package broker

import "time"

// Message is what a broker delivers. It belongs to who has taken it from the Inbox, until Done.
type Message struct {
	ID     string              // the broker's number of it; empty if it has none
	Topic  string              // where it was published
	Header map[string][]string // nil: none
	Body   []byte
	Came   time.Time // when it was here
	// Kept says that the broker keeps it until it is acknowledged, so that it is handled at least once. One that is not is
	// gone when it is lost here.
	Kept bool

	inbox  *Inbox
	size   int64
	settle func() // acknowledges it; nil: nobody waits for that
}

// overhead is what a message costs besides its bytes.
const overhead = 256

// weigh computes the size.
func (m *Message) weigh() {
	m.size = int64(overhead + len(m.Topic) + len(m.Body))
	for name, values := range m.Header {
		m.size += int64(len(name))
		for _, v := range values {
			m.size += int64(len(v))
		}
	}
}

// Done ends the work on a message that was taken; it must be called once. Handled ones are acknowledged, if the broker
// waits for that. Others it delivers again: to the next who subscribes, or to us after the next connection.
func (m *Message) Done(handled bool) {
	if handled && m.settle != nil {
		m.settle()
	}
	m.inbox.done()
}
