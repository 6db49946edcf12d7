package proxy

import "hash/maphash"

// ClassRule says which requests are of one class of the queue. All that is set must
// match; a rule without anything matches all.
type ClassRule struct {
	Path  string // beginning of the target
	Field string // name of a field, in any case
	Value string // its value; "" matches any
}

// Fairness says whose requests share their turns in the queue.
type Fairness struct {
	Client bool   // those of one client address
	Field  string // those with the same value of this field
}

// classify returns the request's class, the first whose rule matches, else the last; and
// its key.
func (x *Exchange) classify() (class int, key uint64) {
	s := x.c.srv
	for class = range s.classes {
		if s.classes[class].matches(x) {
			break
		}
	}
	switch f := &s.fairness; {
	case f.Field != "":
		v, _ := x.Field(f.Field)
		key = maphash.Bytes(s.seed, v)
	case f.Client:
		key = maphash.String(s.seed, x.c.peer)
	}
	return class, key
}

func (r *ClassRule) matches(x *Exchange) bool {
	if len(x.req.Target) < len(r.Path) || string(x.req.Target[:len(r.Path)]) != r.Path {
		return false
	}
	if r.Field == "" {
		return true
	}
	v, ok := x.Field(r.Field)
	return ok && (r.Value == "" || string(v) == r.Value)
}
