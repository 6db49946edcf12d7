package hostile

import (
	"fmt"
	"strings"
)

func fields() []Case {
	cases := refuse(Fields, "§2 §1a S3 S4 S5", 400, "header",
		line{"space in a name", get("A B: c")},
		line{"space in the name of a framing field", post("0\r\n\r\n", "Transfer Encoding: chunked")},
		line{"space before the colon", get("A : b")},
		line{"tab before the colon", get("A\t: b")},
		line{"space before the colon of a framing field", post("hello", "Content-Length : 5")},
		line{"space before the first field", "GET /x HTTP/1.1\r\n A: b\r\nHost: h\r\n\r\n"},
		line{"tab before the first field", "GET /x HTTP/1.1\r\n\tHost: h\r\n\r\n"},
		line{"folded line", get("A: b", " c")},
		line{"line folded with a tab", get("A: b", "\tc")},
		line{"folded line that looks like a field", get("A: b", " Host: i")},
		line{"folded line of blanks", get("A: b", " ")},
		line{"folded Content-Length", post("hello", "Content-Length:", " 5")},
		line{"folded Transfer-Encoding", post("0\r\n\r\n", "Transfer-Encoding:", " chunked")},
		line{"folded Host", head("GET /x HTTP/1.1", "Host:", " h")},
		line{"folded Expect", post("hello", "Expect:", " 100-continue", "Content-Length: 5")},
		line{"empty name", get(": b")},
		line{"no colon", get("abc")},
		line{"no colon, behind a field", get("A: b", "garbage", "C: d")},
		line{"CR in a value", get("A: b\rc")},
		line{"CR in a value that looks like a line end", get("A: b\rX: y")},
		line{"CR CR LF", get("A: b\r")},
		line{"CR before a name", get("\rA: b")},
		line{"LF after a field", "GET /x HTTP/1.1\r\nHost: h\nA: b\r\n\r\n"},
		line{"LF instead of the empty line", "GET /x HTTP/1.1\r\nHost: h\r\n\n"},
		line{"LF everywhere but in the request line", "GET /x HTTP/1.1\r\nHost: h\n\n"},
		line{"LF LF inside the head", "GET /x HTTP/1.1\r\nHost: h\n\nA: b\r\n\r\n"},
		line{"LF CR", "GET /x HTTP/1.1\r\nHost: h\n\rA: b\r\n\r\n"},
		line{"CR instead of the empty line", "GET /x HTTP/1.1\r\nHost: h\r\n\rA\r\n"},
		line{"CR LF CR CR LF", "GET /x HTTP/1.1\r\nHost: h\r\n\r\r\n"},
		line{"high byte in a name", get("A\xe9: b")},
		line{"byte order mark before a name", get("\xef\xbb\xbfA: b")},
		line{"NUL in a name", get("A\x00: b")},
		line{"NUL in the name of a framing field", post("0\r\n\r\n", "Transfer-Encoding\x00: chunked")},
		line{"NUL behind a framing field", post("0\r\n\r\n", "Transfer-Encoding: chunked\x00")},
		line{"vertical tab before a coding", post("0\r\n\r\n", "Transfer-Encoding: \vchunked")},
		line{"NUL behind a length", post("hello", "Content-Length: 5\x00")},
		line{"vertical tab behind a length", post("hello", "Content-Length: 5\v")},
		line{"request line as a field", get("GET /y HTTP/1.1")},
	)
	folded := readsGet
	cases = except(cases, foldedLine, []Reading{folded}, "folded line", "line folded with a tab", "folded line that looks like a field", "folded line of blanks", "folded Host")
	cases = except(cases, foldedLine, []Reading{readsPost}, "folded Content-Length", "folded Expect")
	cases = except(cases, foldedLine, []Reading{reads("POST", "/x", "")}, "folded Transfer-Encoding")
	cases = except(cases, recovered, []Reading{readsGet}, "no colon", "no colon, behind a field", "empty name", "high byte in a name", "byte order mark before a name")
	cases = except(cases, loneLF, []Reading{readsGet}, "LF LF inside the head", "LF after a field", "LF instead of the empty line", "LF everywhere but in the request line")
	cases = except(cases, "RFC 9112 §2.2: a lone CR may be replaced by a space", []Reading{readsGet}, "CR in a value", "CR in a value that looks like a line end", "CR CR LF")
	var rows []line
	for _, c := range []byte{0x00, 0x01, 0x07, 0x08, 0x0b, 0x0c, 0x0e, 0x1b, 0x1f, 0x7f} {
		rows = append(rows, line{fmt.Sprintf("byte %#02x in a value", c), get("A: b" + string(rune(c)) + "c")})
	}
	values := refuse(Fields, "§2 §1a", 400, "header", rows...)
	for i := 1; i < len(values); i++ { // without NUL
		values[i].Choice, values[i].Else = "RFC 9110 §5.5: control bytes other than CR, LF and NUL may be kept", []Reading{readsGet}
	}
	cases = append(cases, values...)
	rows = nil
	for _, c := range `(),/;<=>?@[\]{}"` {
		rows = append(rows, line{fmt.Sprintf("%c in a name", c), get("A" + string(c) + "B: c")})
	}
	cases = append(cases, choice(recovered, refuse(Fields, "§2 §1a", 400, "header", rows...), readsGet)...)
	return append(cases, goodFields()...)
}

func goodFields() []Case {
	with := func(lines ...string) Reading {
		r := readsGet
		r.Lines = lines
		return r
	}
	without := func(names ...string) Reading {
		r := readsGet
		r.Gone = names
		return r
	}
	every := "!#$%&'*+-.^`|~0123456789abcxyzABCXYZ"
	cases := []Case{
		serve(Fields, "§2", "empty value", get("A:"), with("A: ")),
		serve(Fields, "§2", "value of blanks", get("A: \t "), with("A: ")),
		serve(Fields, "§2", "no space after the colon", get("A:b"), with("A: b")),
		serve(Fields, "§2", "blanks around a value", get("A: \t b c \t"), with("A: b c")),
		serve(Fields, "§2", "tab inside a value", get("A: b\tc"), with("A: b\tc")),
		serve(Fields, "§2", "colons in a value", get("A: b:c: d"), with("A: b:c: d")),
		serve(Fields, "§2", "high bytes in a value", get("A: \xc3\xa9\xff"), with("A: \xc3\xa9\xff")),
		serve(Fields, "§2", "a name twice", get("A: b", "A: c"), with("A: b", "A: c")),
		serve(Fields, "§2", "every byte a name may have", get(every+": b"), with(every+": b")),
		serve(Fields, "S18", "cookie of 7 kB", get("Cookie: a="+strings.Repeat("c", 7000)), with("Cookie: a="+strings.Repeat("c", 7000))),
		serve(Fields, "§2", "quoted value", get(`A: "b\"c, d"`), with(`A: "b\"c, d"`)),
	}
	cases[8].Choice = "some servers drop or refuse names that no known field has"
	for _, name := range []string{"X_Y", "Content_Length", "Transfer_Encoding", "X_Forwarded_For", "_"} {
		c := serve(Fields, "§2 §4", "underscore: "+name, get(name+": 5"), without(name))
		c.Choice, c.Else = "RFC 9110 §5.1: an underscore is legal in a name", []Reading{readsGet}
		cases = append(cases, c)
	}
	hidden := serve(Fields, "§3", "length in a name with an underscore is none", get("Content_Length: 5"), without("Content_Length"))
	hidden.Send[0] += get()
	hidden.Status, hidden.Reads = []int{200, 200}, []Reading{readsGet, readsGet}
	return append(cases, hidden)
}

func limits() []Case {
	pad := func(total int) string {
		frame := get("A: ")
		return get("A: " + strings.Repeat("a", total-len(frame)))
	}
	count := func(n int) string {
		return get(strings.Split(strings.TrimSuffix(strings.Repeat("A: b,", n-1), ","), ",")...)
	}
	cases := refuse(Limits, "§2", 431, "header_size",
		line{"head of 16 KiB and a byte", pad(16<<10 + 1)},
		line{"value of 17 kB", get("A: " + strings.Repeat("a", 17<<10))},
		line{"value of 100 kB", get("A: " + strings.Repeat("a", 100<<10))},
		line{"name of 17 kB", get(strings.Repeat("a", 17<<10) + ": b")},
		line{"many lines of 1 kB", get(strings.Split(strings.TrimSuffix(strings.Repeat("A: "+strings.Repeat("b", 1000)+",", 30), ","), ",")...)},
	)
	cases = append(cases, refuse(Limits, "§2", 414, "header_size",
		line{"target of 17 kB", on("GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1")},
		line{"target of 100 kB", on("GET /" + strings.Repeat("a", 100<<10) + " HTTP/1.1")},
		line{"request line without an end", "GET /" + strings.Repeat("a", 40<<10)},
	)...)
	cases = append(cases, refuse(Limits, "§2 S19", 431, "header_count",
		line{"257 fields", count(257)},
		line{"3000 fields", count(3000)},
	)...)
	for i := range cases {
		cases[i].Choice = anyLimit
		cases[i].Else = []Reading{{Method: "GET", Target: strings.Fields(cases[i].Send[0])[1], Host: "h"}}
	}
	served := []Case{
		serve(Limits, "§2 S18", "head of exactly 16 KiB", pad(16<<10), readsGet),
		serve(Limits, "§2 S18", "value of 15 kB", get("A: "+strings.Repeat("a", 15<<10)), readsGet),
		serve(Limits, "§2 S18", "target of 15 kB", on("GET /"+strings.Repeat("a", 15<<10)+" HTTP/1.1"), reads("GET", "/"+strings.Repeat("a", 15<<10), "")),
		serve(Limits, "§2 S19", "256 fields", count(256), readsGet),
	}
	for i := range served {
		served[i].Choice = anyLimit
	}
	return append(append(cases, served...), bodyLimits()...)
}

// MaxBody is the largest body that the servers under test have to take.
const MaxBody = 1 << 20

func bodyLimits() []Case {
	over := strings.Repeat("b", MaxBody+1)
	declared := refuse(Limits, "§3 S21", 413, "body_size",
		line{"length above the limit", post("", fmt.Sprintf("Content-Length: %d", MaxBody+1)) + over},
		line{"length far above the limit", post("hello", "Content-Length: 4611686018427387904")},
		line{"chunks above the limit", chunked(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(over), over))},
		line{"chunk size far above the limit", chunked("3fffffffffffffff\r\nhello")},
		line{"many chunks above the limit", chunked(strings.Repeat("1000\r\n"+strings.Repeat("b", 4096)+"\r\n", 257) + "0\r\n\r\n")},
	)
	for i := range declared {
		declared[i].Choice = anyLimit
	}
	declared[0].Else = []Reading{reads("POST", "/x", over)}
	declared[2].Else = declared[0].Else
	declared[4].Else = []Reading{reads("POST", "/x", strings.Repeat("b", 4096*257))}
	full := strings.Repeat("b", MaxBody)
	return append(declared,
		serve(Limits, "§3", "length at the limit", sized(full), reads("POST", "/x", full)),
		serve(Limits, "§3", "chunks at the limit", chunked(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(full), full)), reads("POST", "/x", full)),
	)
}
