package hostile

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
)

// Mutations returns n damaged copies of what the cases send, the same ones for the same seed. What must come of them is
// not known; servers can be compared.
func Mutations(seed uint64, n int) []Case {
	var base []Case
	for _, c := range Cases() {
		if c.Script != nil || c.Class == Slow || c.End != StaysOpen || len(c.Bytes()) > 2000 {
			continue
		}
		base = append(base, c)
		if c.Must == Serve { // most damage is refused: begin with what is good
			base = append(base, c, c, c)
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	all := make([]Case, n)
	for i := range all {
		from := base[r.IntN(len(base))]
		raw := from.Bytes()
		for range 1 + r.IntN(3) {
			raw = mutations[r.IntN(len(mutations))](r, raw)
		}
		all[i] = Case{Class: from.Class, Rules: from.Rules, Name: fmt.Sprintf("%d, of %q", i, from.Name), Send: []string{raw}, Must: Anything}
	}
	return all
}

// mutations damage bytes in one way each.
var mutations = []func(r *rand.Rand, raw string) string{
	flipBit, putByte, dropByte, changeLineEnd, changeLineEnd, repeatLine, dropLine, mergeLines, swapLines, cutLine, addField, addField, editSize, editSize, repeatPiece,
}

const oddBytes = "\x00\t\n\v\r \"#%,-./0158:;=?@AX\\_{\x7f\x85\xff"

func at(r *rand.Rand, raw string) int { return r.IntN(len(raw) + 1) }

func flipBit(r *rand.Rand, raw string) string {
	if raw == "" {
		return raw
	}
	b := []byte(raw)
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	return string(b)
}

func putByte(r *rand.Rand, raw string) string {
	i := at(r, raw)
	return raw[:i] + string(oddBytes[r.IntN(len(oddBytes))]) + raw[i:]
}

func dropByte(r *rand.Rand, raw string) string {
	if raw == "" {
		return raw
	}
	i := r.IntN(len(raw))
	return raw[:i] + raw[i+1:]
}

// pick chooses among the matches of a pattern; ok is false when there is none.
func pick(r *rand.Rand, pattern *regexp.Regexp, raw string) (start, end int, ok bool) {
	found := pattern.FindAllStringIndex(raw, -1)
	if len(found) == 0 {
		return 0, 0, false
	}
	m := found[r.IntN(len(found))]
	return m[0], m[1], true
}

var (
	lineEnds = regexp.MustCompile("\r\n")
	wholes   = regexp.MustCompile("[^\r\n]*\r\n")
	sizes    = regexp.MustCompile("(?m)^[0-9a-fA-F]+")
	lengths  = regexp.MustCompile("[0-9]+\r\n")
)

func changeLineEnd(r *rand.Rand, raw string) string {
	start, end, ok := pick(r, lineEnds, raw)
	if !ok {
		return raw
	}
	ends := []string{"\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\r\n\t", "\r\n\r\n", "\n\n", "\x00\r\n", " \r\n", "\t\r\n", "\v\r\n"}
	return raw[:start] + ends[r.IntN(len(ends))] + raw[end:]
}

// editLine replaces one whole line by what edit makes of it.
func editLine(r *rand.Rand, raw string, edit func(line string) string) string {
	start, end, ok := pick(r, wholes, raw)
	if !ok {
		return raw
	}
	return raw[:start] + edit(raw[start:end]) + raw[end:]
}

func repeatLine(r *rand.Rand, raw string) string {
	return editLine(r, raw, func(line string) string { return line + line })
}

func dropLine(r *rand.Rand, raw string) string {
	return editLine(r, raw, func(string) string { return "" })
}

func mergeLines(r *rand.Rand, raw string) string {
	return editLine(r, raw, func(line string) string { return strings.TrimSuffix(line, "\r\n") })
}

func cutLine(r *rand.Rand, raw string) string {
	return editLine(r, raw, func(line string) string { return line[:r.IntN(len(line)-1)] + "\r\n" })
}

func swapLines(r *rand.Rand, raw string) string {
	a, b, ok := pick(r, wholes, raw)
	next := wholes.FindStringIndex(raw[b:])
	if !ok || next == nil {
		return raw
	}
	return raw[:a] + raw[b:b+next[1]] + raw[a:b] + raw[b+next[1]:]
}

// addField puts a line that has a say in framing or routing into the first head.
func addField(r *rand.Rand, raw string) string {
	names := []string{"Content-Length", "Transfer-Encoding", "Host", "Connection", "content-length", "transfer-encoding", "Content_Length", "Trailer", "Expect", "Upgrade", "TE"}
	colons := []string{": ", ":", " : ", ":\t", ": \r\n ", ":\v"}
	values := []string{"0", "5", "chunked", "identity", "close", "keep-alive", "h", "+5", "5,5", "chunked, chunked", "05", " 5 ", "x\x00", "100-continue", "websocket", ""}
	line := names[r.IntN(len(names))] + colons[r.IntN(len(colons))] + values[r.IntN(len(values))] + "\r\n"
	i := strings.Index(raw, "\r\n")
	if i < 0 {
		return line + raw
	}
	return raw[:i+2] + line + raw[i+2:]
}

// editSize changes a chunk size or a length.
func editSize(r *rand.Rand, raw string) string {
	pattern := sizes
	if r.IntN(2) == 0 {
		pattern = lengths
	}
	start, end, ok := pick(r, pattern, raw)
	if !ok {
		return raw
	}
	size := strings.TrimSuffix(raw[start:end], "\r\n")
	tail := raw[start+len(size) : end]
	sizes := []string{"0", "1", "6", "4", "5;a", "5 ", " 5", "05", "0x5", "-5", "+5", "ffffffffffffffff", "100000005", "", size + "0", size + ";\"\r\n\"", size + "\t"}
	return raw[:start] + sizes[r.IntN(len(sizes))] + tail + raw[end:]
}

func repeatPiece(r *rand.Rand, raw string) string {
	i, j := at(r, raw), at(r, raw)
	if i > j {
		i, j = j, i
	}
	j = min(j, i+60)
	return raw[:j] + raw[i:]
}
