package queue

import "time"

// class is one group of requests: how much of the queue it may have, and those of
// it who wait, in lanes that take turns. All of it is guarded by Queue.mu.
type class struct {
	share, keep float64

	guaranteed int // slots that it gets before others may borrow
	kept       int // of these, slots that are never lent
	places     int // waiting places that others cannot take from it
	executing  int
	queued     int
	line       // all who wait, in order of arrival
	lanes      []lane
	turns      *lane // the lane whose turn is next, in a ring of those that are not empty; nil if all are
	overload   overload
}

// lane is the part of a line that one key, or few, can fill.
type lane struct {
	line

	key        uint64 // whose it is, while not empty; others may share it
	prev, next *lane  // in the ring of its class, while not empty
}

// resize follows a change of the limit.
func (c *class) resize(limit, depth int) {
	c.guaranteed = int(c.share*float64(limit) + 0.5)
	if c.share > 0 && limit > 0 {
		c.guaranteed = max(c.guaranteed, 1)
	}
	c.kept = int(c.keep * float64(c.guaranteed))
	c.places = int(c.share * float64(depth))
}

// enqueue puts w into a lane of its key.
func (c *class) enqueue(w *Waiter) {
	l := c.deal(w.Key)
	if l.length == 0 {
		c.link(l)
		l.key = w.Key
	}
	w.lane = l
	l.push(w, byLane)
	c.push(w, byArrival)
	c.queued++
}

// dequeue takes w out of its lane.
func (c *class) dequeue(w *Waiter) {
	l := w.lane
	l.remove(w, byLane)
	c.remove(w, byArrival)
	if l.length == 0 {
		c.unlink(l)
	}
	w.lane = nil
	c.queued--
	if c.queued == 0 {
		c.overload.end()
	}
}

// link puts a lane that is no longer empty at the end of the ring.
func (c *class) link(l *lane) {
	if c.turns == nil {
		l.prev, l.next = l, l
		c.turns = l
		return
	}
	l.prev, l.next = c.turns.prev, c.turns
	l.prev.next, l.next.prev = l, l
}

// unlink takes an empty lane out of the ring.
func (c *class) unlink(l *lane) {
	if l.next == l {
		c.turns = nil
	} else {
		l.prev.next, l.next.prev = l.next, l.prev
		if c.turns == l {
			c.turns = l.next
		}
	}
	l.prev, l.next = nil, nil
}

// hand is how many lanes a key is dealt: with that many, two keys seldom have to share
// one ("shuffle sharding").
const hand = 4

// deal chooses a lane of a key's hand: the one it waits in already, so that a key has one
// turn however much it sends; else an empty one; else the shortest.
func (c *class) deal(key uint64) *lane {
	if len(c.lanes) == 1 {
		return &c.lanes[0]
	}
	var best *lane
	at := key
	for range hand {
		l := &c.lanes[at%uint64(len(c.lanes))]
		if l.length > 0 && l.key == key {
			return l
		}
		if best == nil || l.length < best.length {
			best = l
		}
		at = scramble(at)
	}
	return best
}

// scramble is a step of the generator SplitMix64 (Steele, Lea, Flood 2014).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// longest is the lane with most waiters.
func (c *class) longest() *lane {
	var longest *lane
	for l := c.turns; l != nil; {
		if longest == nil || l.length > longest.length {
			longest = l
		}
		if l = l.next; l == c.turns {
			break
		}
	}
	return longest
}

// pick returns whose turn it is: of the lane that is next, the first, or the newest
// while the class is overloaded.
func (c *class) pick() *Waiter {
	if c.overload.now {
		return c.turns.last
	}
	return c.turns.first
}

// turn lets the next lane have its turn.
func (c *class) turn() {
	if c.turns != nil {
		c.turns = c.turns.next
	}
}

// overload tells when a line stands: when even the oldest in it has waited longer
// than a target for a whole interval (CoDel, RFC 8289 §4.2, applied to the head of
// the line). A burst is over before that; a standing line is not, and then serving
// the oldest first means to serve nobody in time.
type overload struct {
	now   bool
	above time.Duration // when it will be, if nothing changes; 0: the oldest is below the target
}

// look notes how long the oldest has waited.
func (o *overload) look(now, oldest, target, interval time.Duration) {
	switch {
	case oldest < target:
		o.end()
	case o.above == 0:
		o.above = now + interval
	case now >= o.above:
		o.now = true
	}
}

func (o *overload) end() { *o = overload{} }
