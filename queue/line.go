package queue

// line is a doubly linked list of waiters, linked through the waiters themselves
// so that joining allocates nothing and leaving from the middle costs nothing.
type line struct {
	first, last *Waiter
	length      int
}

// push puts w at the end.
func (l *line) push(w *Waiter) {
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.length++
}

// remove takes w, which must be in the line, out of it.
func (l *line) remove(w *Waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.length--
}
