package nuclio

import (
	"bytes"
	"strings"
)

// cleanPath returns the path of a target as Nuclio's events have it: unescaped, with one slash where there are several, and without
// segments of dots. fasthttp, whose path that is, is the oracle of the tests.
func cleanPath(path []byte) string {
	var kept []string
	folder := true // the last segment ends with a slash
	for segment := range strings.SplitSeq(string(unescape(path, false)), "/") {
		folder = true
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept, folder = append(kept, segment), false
		}
	}
	if folder {
		kept = append(kept, "")
	}
	return "/" + strings.Join(kept, "/")
}

// queryFields returns the arguments of a query as Nuclio's events have them: of those with the same name the last.
func queryFields(query []byte) map[string]string {
	fields := map[string]string{}
	for pair := range bytes.SplitSeq(query, []byte{'&'}) {
		name, value, _ := bytes.Cut(pair, []byte{'='})
		if len(name)+len(value) > 0 {
			fields[string(unescape(name, true))] = string(unescape(value, true))
		}
	}
	return fields
}

// unescape returns b with the bytes that its escapes stand for. What is no escape stays, and so does all behind one that is cut.
func unescape(b []byte, plus bool) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			if i+2 >= len(b) {
				return append(out, b[i:]...)
			}
			if high, low := hex(b[i+1]), hex(b[i+2]); high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		} else if c == '+' && plus {
			c = ' '
		}
		out = append(out, c)
	}
	return out
}

// hex returns the value of a digit, 16 of what is none.
func hex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
