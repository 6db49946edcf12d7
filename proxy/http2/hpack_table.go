package http2

import (
	"bytes"
	"math/bits"
)

// overhead is what an entry counts for besides its bytes, RFC 7541 §4.1.
const overhead = 32

type field struct{ name, value []byte }

// static is the table of RFC 7541 appendix A. Its first index is 1. Fields of one name stand together.
var static = [...]field{
	1:  {[]byte(":authority"), nil},
	2:  {[]byte(":method"), []byte("GET")},
	3:  {[]byte(":method"), []byte("POST")},
	4:  {[]byte(":path"), []byte("/")},
	5:  {[]byte(":path"), []byte("/index.html")},
	6:  {[]byte(":scheme"), []byte("http")},
	7:  {[]byte(":scheme"), []byte("https")},
	8:  {[]byte(":status"), []byte("200")},
	9:  {[]byte(":status"), []byte("204")},
	10: {[]byte(":status"), []byte("206")},
	11: {[]byte(":status"), []byte("304")},
	12: {[]byte(":status"), []byte("400")},
	13: {[]byte(":status"), []byte("404")},
	14: {[]byte(":status"), []byte("500")},
	15: {[]byte("accept-charset"), nil},
	16: {[]byte("accept-encoding"), []byte("gzip, deflate")},
	17: {[]byte("accept-language"), nil},
	18: {[]byte("accept-ranges"), nil},
	19: {[]byte("accept"), nil},
	20: {[]byte("access-control-allow-origin"), nil},
	21: {[]byte("age"), nil},
	22: {[]byte("allow"), nil},
	23: {[]byte("authorization"), nil},
	24: {[]byte("cache-control"), nil},
	25: {[]byte("content-disposition"), nil},
	26: {[]byte("content-encoding"), nil},
	27: {[]byte("content-language"), nil},
	28: {[]byte("content-length"), nil},
	29: {[]byte("content-location"), nil},
	30: {[]byte("content-range"), nil},
	31: {[]byte("content-type"), nil},
	32: {[]byte("cookie"), nil},
	33: {[]byte("date"), nil},
	34: {[]byte("etag"), nil},
	35: {[]byte("expect"), nil},
	36: {[]byte("expires"), nil},
	37: {[]byte("from"), nil},
	38: {[]byte("host"), nil},
	39: {[]byte("if-match"), nil},
	40: {[]byte("if-modified-since"), nil},
	41: {[]byte("if-none-match"), nil},
	42: {[]byte("if-range"), nil},
	43: {[]byte("if-unmodified-since"), nil},
	44: {[]byte("last-modified"), nil},
	45: {[]byte("link"), nil},
	46: {[]byte("location"), nil},
	47: {[]byte("max-forwards"), nil},
	48: {[]byte("proxy-authenticate"), nil},
	49: {[]byte("proxy-authorization"), nil},
	50: {[]byte("range"), nil},
	51: {[]byte("referer"), nil},
	52: {[]byte("refresh"), nil},
	53: {[]byte("retry-after"), nil},
	54: {[]byte("server"), nil},
	55: {[]byte("set-cookie"), nil},
	56: {[]byte("strict-transport-security"), nil},
	57: {[]byte("transfer-encoding"), nil},
	58: {[]byte("user-agent"), nil},
	59: {[]byte("vary"), nil},
	60: {[]byte("via"), nil},
	61: {[]byte("www-authenticate"), nil},
}

// statusIndex is the first index of ":status" in static.
const statusIndex = 8

// names finds the first index of a name in static by its hash, which is different for each of them.
var names = func() (t [256]uint8) {
	for i := len(static) - 1; i > 0; i-- {
		t[hash(static[i].name)] = uint8(i)
	}
	return t
}()

// hash makes one byte of a name that is not empty.
func hash(name []byte) uint8 {
	n := len(name)
	return uint8(n) + 10*name[0] + 4*name[n-1]
}

// staticIndex returns the first index of name in static, 0 when it is not there.
func staticIndex(name []byte) int {
	if len(name) == 0 {
		return 0
	}
	i := int(names[hash(name)])
	if !bytes.Equal(static[i].name, name) {
		return 0
	}
	return i
}

// staticPair returns the index of name with value, 0 when it is not there. i is the first index of the name.
func staticPair(i int, name, value []byte) int {
	for ; i < len(static) && bytes.Equal(static[i].name, name); i++ {
		if bytes.Equal(static[i].value, value) {
			return i
		}
	}
	return 0
}

// entry is a field of the dynamic table: where its name starts in table.bytes, and the lengths. The value follows the name.
type entry struct{ at, name, value uint32 }

func (e *entry) size() int { return int(e.name) + int(e.value) + overhead }

// table is a dynamic table, RFC 7541 §2.3.2. Entries and their bytes are appended behind the older ones. Once there is no
// room behind them the ones that live move to the front, or to twice the room if they fill more than half of it, so that
// an insertion costs a constant time in the mean. With 4096 bytes of limit it takes 11 KB at most.
type table struct {
	entries []entry // oldest first; those before first are evicted
	first   int
	bytes   []byte
	size    int // of the live entries, §4.1
	limit   int // of size
}

// field returns the field with an index of the common index space, §2.3.3. It is valid until the next insertion.
func (t *table) field(n int) (name, value []byte, ok bool) {
	if n < len(static) {
		return static[n].name, static[n].value, n > 0
	}
	i := len(t.entries) - 1 - (n - len(static))
	if i < t.first {
		return nil, nil, false
	}
	e := &t.entries[i]
	b := t.bytes[e.at:]
	return b[:e.name:e.name], b[e.name : e.name+e.value : e.name+e.value], true
}

// insert adds a field, whose bytes are not those of the table, and evicts what it needs the room of. A field larger than
// the table leaves it empty, §4.4.
func (t *table) insert(name, value []byte) {
	size := len(name) + len(value) + overhead
	t.evict(t.limit - size)
	if size > t.limit {
		return
	}
	if len(t.entries) == cap(t.entries) || len(name)+len(value) > cap(t.bytes)-len(t.bytes) {
		t.makeRoom(len(name) + len(value))
	}
	t.entries = append(t.entries, entry{uint32(len(t.bytes)), uint32(len(name)), uint32(len(value))})
	t.bytes = append(append(t.bytes, name...), value...)
	t.size += size
}

// resize sets the limit, §4.3.
func (t *table) resize(limit int) {
	t.limit = limit
	t.evict(limit)
}

// evict drops the oldest entries until at most size bytes are left.
func (t *table) evict(size int) {
	for t.size > size && t.first < len(t.entries) {
		t.size -= t.entries[t.first].size()
		t.first++
	}
	if t.first == len(t.entries) {
		t.entries, t.first, t.bytes = t.entries[:0], 0, t.bytes[:0]
	}
}

// makeRoom makes room for one more entry of n bytes.
func (t *table) makeRoom(n int) {
	entries, text := t.entries[t.first:], t.bytes
	if len(entries) > 0 {
		start := entries[0].at
		text = text[start:]
		for i := range entries {
			entries[i].at -= start
		}
	}
	t.entries = append(room(t.entries, len(entries)+1, 16), entries...)
	t.bytes = append(room(t.bytes, len(text)+n, 256), text...)
	t.first = 0
}

// room returns an empty slice for n elements of which at most half of the capacity is in use then: s if it is large
// enough, otherwise a new one of at least least.
func room[E any](s []E, n, least int) []E {
	if 2*n <= cap(s) {
		return s[:0]
	}
	return make([]E, 0, max(least, 1<<bits.Len(uint(2*n-1))))
}
