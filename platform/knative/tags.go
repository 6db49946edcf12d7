package knative

import (
	"maps"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Routes that have no name, or none of their own.
const (
	tagDisabled  = iota // the feature is off
	tagDefault          // the route without a name
	tagUndefined        // no name that any route has
	tagOther            // a name that no route can have, or that came when there were too many
	tagFirst            // a name
)

// longestTag is how long the name of a route may be: it is part of a host.
const longestTag = 63

// mostTags is how many numbers fit into the bits of a mark.
const mostTags = 1 << (8 - tagShift)

// fixedTags are what the routes without a name are called, today and up to 1.18.
var fixedTags = [tagFirst][2]string{
	{"kn:disabled", "DISABLED"}, {"kn:default", "DEFAULT"}, {"kn:undefined", "UNDEFINED"}, {"kn:other", "OTHER"},
}

// Tags gives the names of routes numbers, in the order in which they come. They are labels of series, and clients can
// make them up: those beyond the 28th share one number. The zero value is usable by several goroutines.
type Tags struct {
	known atomic.Pointer[tagNames]

	mu sync.Mutex // held by who adds a name
}

// tagNames never changes.
type tagNames struct {
	numbers map[string]uint8
	names   []string // from tagFirst on
}

// number returns the number of a route, from the fields by which the ingress names it.
func (t *Tags) number(tag, untagged []byte) uint8 {
	switch {
	case len(tag) == 0 && len(untagged) == 0:
		return tagDisabled
	case len(tag) == 0:
		return tagDefault
	case string(untagged) == "true":
		return tagUndefined
	case len(tag) > longestTag:
		return tagOther
	}
	if known := t.known.Load(); known != nil {
		if n, ok := known.numbers[string(tag)]; ok {
			return n
		}
		if len(known.names) == mostTags-tagFirst {
			return tagOther
		}
	}
	return t.add(string(tag))
}

// add gives a name a number.
func (t *Tags) add(tag string) uint8 {
	if !utf8.ValidString(tag) { // a series can have no such name
		return tagOther
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := &tagNames{numbers: map[string]uint8{}}
	if known := t.known.Load(); known != nil {
		if n, ok := known.numbers[tag]; ok {
			return n
		}
		if len(known.names) == mostTags-tagFirst {
			return tagOther
		}
		next.numbers, next.names = maps.Clone(known.numbers), append(next.names, known.names...)
	}
	n := uint8(tagFirst + len(next.names))
	next.numbers[tag], next.names = n, append(next.names, tag)
	t.known.Store(next)
	return n
}

// name returns what a number stands for; of generation 0, today's, or 1.
func (t *Tags) name(n uint8, generation int) string {
	if n < tagFirst {
		return fixedTags[n][generation]
	}
	return t.known.Load().names[n-tagFirst]
}
