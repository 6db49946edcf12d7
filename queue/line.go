package queue

// line is a doubly linked list of waiters, linked through the waiters themselves
// so that joining allocates nothing and leaving from the middle costs nothing. A
// waiter can be in two: which says by which of its links.
type line struct {
	first, last *Waiter
	length      int
}

// The links of a waiter.
const (
	byArrival = iota // all who wait, or all who are leaving
	byLane           // those of one lane
	lines
)

// link is a waiter's place in one line.
type link struct{ prev, next *Waiter }

// push puts w at the end.
func (l *line) push(w *Waiter, which int) {
	w.links[which].prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.links[which].next = w
	}
	l.last = w
	l.length++
}

// remove takes w, which must be in the line, out of it.
func (l *line) remove(w *Waiter, which int) {
	at := &w.links[which]
	if at.prev == nil {
		l.first = at.next
	} else {
		at.prev.links[which].next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		at.next.links[which].prev = at.prev
	}
	*at = link{}
	l.length--
}
