package http1

// maxFields is what head.at can count.
const maxFields = 1<<16 - 1

// Limits bound a head. The zero value refuses everything; start from DefaultLimits.
type Limits struct {
	HeadBytes int // first byte of the start line to the empty line, both included
	Fields    int // most fields, at most 65535

	AnyUpgrade bool // requests may switch to any protocol, not to WebSocket alone
}

// DefaultLimits returns 16 KiB and 256 fields.
func DefaultLimits() Limits { return Limits{HeadBytes: 16 << 10, Fields: 256} }

// cut hides the bytes beyond the limit.
func (l Limits) cut(b []byte) []byte { return b[:min(len(b), max(l.HeadBytes, 0))] }

// head is what the pass over the fields found out about the kinds in it.
type head struct {
	seen  uint32        // bit k: there is a field of kind k
	again uint32        // bit k: there is more than one
	at    [kinds]uint16 // index of the last field of a kind, where seen
}

// has reports whether any kind of the set is there.
func (h *head) has(set uint32) bool { return h.seen&set != 0 }

// note records that field number n is of kind k.
func (h *head) note(k Kind, n int) {
	h.again |= h.seen & (1 << k)
	h.seen |= 1 << k
	h.at[k] = uint16(n)
}

// scan checks the fields from b[i] to the empty line, appends them to fields and returns where
// the head ends. hop is the set of kinds that are not to be forwarded.
func (h *head) scan(b []byte, i int, fields []Field, limit int, hop uint32) ([]Field, int, *Error) {
	h.seen, h.again = 0, 0
	limit = min(limit, maxFields)
	for {
		if i >= len(b) {
			return fields, 0, errMore
		}
		if b[i] == '\r' {
			end, err := lineEnd(b, i, ErrHeader)
			return fields, end, err
		}
		if len(fields) >= limit {
			return fields, 0, ErrHeaderCount
		}
		fields = grow(fields)
		f := &fields[len(fields)-1]
		next, err := f.scan(b, i)
		if err != nil {
			return fields, 0, err
		}
		f.Hop = hop>>f.Kind&1 != 0
		if f.Kind != Other {
			h.note(f.Kind, len(fields)-1)
		}
		i = next
	}
}

// grow makes room for one more field; what is in it is old.
func grow(fields []Field) []Field {
	if len(fields) < cap(fields) {
		return fields[:len(fields)+1]
	}
	return append(fields, Field{})
}

// scan reads the line that starts at b[i] and returns where the next one starts.
func (f *Field) scan(b []byte, i int) (int, *Error) {
	start := i
	n, all := tokenEnd(b[start:])
	i += n
	if i == len(b) {
		return 0, errMore
	}
	if b[i] != ':' || i == start {
		return 0, ErrHeader
	}
	f.Name = b[start:i:i]
	f.Kind = Underscore
	if all&underscore == 0 {
		f.Kind = kindOfToken(f.Name)
	}
	i++
	for i < len(b) && blank(b[i]) {
		i++
	}
	value := i
	i = textEnd(b, i)
	end, err := lineEnd(b, i, ErrHeader)
	if err != nil {
		return 0, err
	}
	for i > value && blank(b[i-1]) {
		i--
	}
	f.Value = b[value:i:i]
	f.Line = b[start:end]
	return end, nil
}

// lineEnd checks for CR LF at b[i] and returns where the next line starts.
func lineEnd(b []byte, i int, bad *Error) (int, *Error) {
	if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
		return i + 2, nil
	}
	if i == len(b) || i+1 == len(b) && b[i] == '\r' {
		return 0, errMore
	}
	return 0, bad
}
