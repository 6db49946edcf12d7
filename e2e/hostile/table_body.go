package hostile

import (
	"fmt"
	"slices"
	"strings"
)

// Why a server may decide otherwise.
const (
	sameLength  = "RFC 9112 §6.3: equal lengths may be taken for one"
	codingWins  = "RFC 9112 §6.3: Transfer-Encoding may be obeyed and Content-Length be dropped"
	extensions  = "RFC 9112 §7.1.1: chunk extensions are ignored; limits are the server's own"
	noTrailers  = "RFC 9110 §6.5.1: trailers may be dropped or refused"
	emptyItems  = "RFC 9110 §5.6.1: empty elements of a list are ignored"
	otherCoding = "RFC 9112 §6.1: 400 or 501"
)

const whole = "5\r\nhello\r\n0\r\n\r\n"

func framing() []Case {
	var rows []line
	for _, v := range []string{
		"+5", "-5", "0x5", "5 5", "5,6", "5;", "5a", "5.0", "5e0", "٥", `"5"`, "5_0", "0b101", "five", "-0", "5,",
		"4611686018427387905", "9223372036854775808", "18446744073709551621", "99999999999999999999", "100000000000000000000000005", "",
	} {
		rows = append(rows, line{fmt.Sprintf("length %q", v), post("hello", "Content-Length: "+v)})
	}
	cases := refuse(Framing, "§3 §1a", 400, "framing", rows...)
	cases = except(cases, "a length that never comes is a cut request", nil, `length "4611686018427387905"`)
	twice := refuse(Framing, "§3 §1a", 400, "framing",
		line{"the same length twice", post("hello", "Content-Length: 5", "Content-Length: 5")},
		line{"two lengths", post("hello", "Content-Length: 5", "Content-Length: 0")},
		line{"two lengths, in another order", post("hello", "Content-Length: 0", "Content-Length: 5")},
		line{"two lengths, one in small letters", post("hello", "Content-Length: 5", "content-length: 6")},
		line{"three lengths", post("hello", "Content-Length: 5", "Content-Length: 5", "Content-Length: 5")},
		line{"list of equal lengths", post("hello", "Content-Length: 5, 5")},
		line{"list of lengths", post("hello", "Content-Length: 5, 0")},
		line{"two lengths with others between", post("hello", "Content-Length: 5", "A: b", "Content-Length: 4")},
	)
	cases = append(cases, except(twice, sameLength, []Reading{readsPost}, "the same length twice", "three lengths", "list of equal lengths")...)
	both := refuse(Framing, "S1 §3", 400, "framing",
		line{"length and chunked", post(whole, "Content-Length: 5", "Transfer-Encoding: chunked")},
		line{"chunked and length", post(whole, "Transfer-Encoding: chunked", "Content-Length: 5")},
		line{"length 0 and chunked", post(whole, "Content-Length: 0", "Transfer-Encoding: chunked")},
		line{"length and chunked, in small letters", post(whole, "content-length: 15", "transfer-encoding: chunked")},
		line{"length and chunked on GET", head("GET /x HTTP/1.1", "Host: h", "Content-Length: 15", "Transfer-Encoding: chunked") + whole},
		line{"bad length and chunked", post(whole, "Content-Length: x", "Transfer-Encoding: chunked")},
	)
	both = choice(codingWins, both, readsPost)
	both[4].Else = []Reading{reads("GET", "/x", "hello")}
	cases = append(cases, both...)
	cases = append(cases, codings()...)
	return append(cases, framed()...)
}

func codings() []Case {
	bad := refuse(Framing, "§3 §1a", 400, "framing",
		line{"chunked twice in a list", post(whole, "Transfer-Encoding: chunked, chunked")},
		line{"chunked twice", post(whole, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")},
		line{"chunked and identity in two fields", post(whole, "Transfer-Encoding: chunked", "Transfer-Encoding: identity")},
		line{"identity and chunked in two fields", post(whole, "Transfer-Encoding: identity", "Transfer-Encoding: chunked")},
		line{"chunked is not last", post(whole, "Transfer-Encoding: chunked, gzip")},
		line{"chunked and a comma", post(whole, "Transfer-Encoding: chunked,")},
		line{"comma and chunked", post(whole, "Transfer-Encoding: ,chunked")},
		line{"quoted", post(whole, `Transfer-Encoding: "chunked"`)},
		line{"chunked with a parameter", post(whole, "Transfer-Encoding: chunked;q=1")},
		line{"chunked and a word", post(whole, "Transfer-Encoding: chunked x")},
		line{"empty coding", post(whole, "Transfer-Encoding:")},
		line{"chunked with a high byte", post(whole, "Transfer-Encoding: chunked\xa0")},
		line{"in HTTP/1.0", head("POST /x HTTP/1.0", "Host: h", "Transfer-Encoding: chunked") + whole},
		line{"in HTTP/1.0 with a length", head("POST /x HTTP/1.0", "Host: h", "Content-Length: 5", "Transfer-Encoding: chunked") + whole},
	)
	bad = except(bad, emptyItems, []Reading{readsPost}, "chunked and a comma", "comma and chunked")
	bad = except(bad, "RFC 9112 §6.1: fields of one name are a list", []Reading{readsPost}, "identity and chunked in two fields")
	bad = except(bad, "RFC 9112 §6.1: chunked in HTTP/1.0 may be obeyed when the connection ends then", []Reading{readsPost}, "in HTTP/1.0", "in HTTP/1.0 with a length")
	unknown := refuse(Framing, "S2 §3", 501, "framing",
		line{"identity", post("hello", "Transfer-Encoding: identity")},
		line{"identity and a length", post("hello", "Transfer-Encoding: identity", "Content-Length: 5")},
		line{"identity, chunked", post(whole, "Transfer-Encoding: identity, chunked")},
		line{"gzip", post("hello", "Transfer-Encoding: gzip")},
		line{"gzip, chunked", post(whole, "Transfer-Encoding: gzip, chunked")},
		line{"xchunked", post(whole, "Transfer-Encoding: xchunked")},
		line{"chunkedx", post(whole, "Transfer-Encoding: chunkedx")},
		line{"chunke", post(whole, "Transfer-Encoding: chunke")},
		line{"x-chunked", post(whole, "Transfer-Encoding: x-chunked")},
		line{"unknown on GET", get("Transfer-Encoding: br")},
	)
	return append(bad, except(unknown, "identity was a coding in RFC 2616", []Reading{readsPost}, "identity, chunked", "identity and a length")...)
}

func framed() []Case {
	one := []string{"Content-Length"}
	seen := func(method, body string) Reading {
		r := reads(method, "/x", body)
		r.Lines = []string{fmt.Sprintf("%s: %d", one[0], len(body))}
		return r
	}
	zero := func(method string) Reading { return Reading{Method: method, Target: "/x", Host: "h"} }
	cases := []Case{
		serve(Framing, "§3", "length", sized("hello"), seen("POST", "hello")),
		serve(Framing, "§3", "length 0", sized(""), seen("POST", "")),
		serve(Framing, "§3", "length with leading zeros", post("hello", "Content-Length: 0005"), seen("POST", "hello")),
		serve(Framing, "§3", "length with many leading zeros", post("hello", "Content-Length: "+strings.Repeat("0", 40)+"5"), seen("POST", "hello")),
		serve(Framing, "§3", "length between blanks", post("hello", "Content-Length: \t 5 \t"), seen("POST", "hello")),
		serve(Framing, "§3", "POST without a body", post(""), zero("POST")),
		serve(Framing, "§3", "body that looks like a request", sized(behind), seen("POST", behind)),
		serve(Framing, "§3", "body of every byte", sized(everyByte()), seen("POST", everyByte())),
		serve(Framing, "§3", "body of 100 kB", sized(strings.Repeat("b", 100_000)), seen("POST", strings.Repeat("b", 100_000))),
		serve(Framing, "S22 §3", "malformed multipart body", sized("--x\r\nbroken", "Content-Type: multipart/form-data; boundary=x"), seen("POST", "--x\r\nbroken")),
		serve(Framing, "§1a", "coding in capitals", post(whole, "Transfer-Encoding: CHUNKED"), readsPost),
		serve(Framing, "§1a", "coding between blanks", post(whole, "Transfer-Encoding: \t chunked \t"), readsPost),
	}
	for _, i := range []int{2, 3} {
		cases[i].Choice = "a length with leading zeros may be refused"
	}
	for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "PURGE"} {
		body := head(method+" /x HTTP/1.1", "Host: h", "Content-Length: 5") + "hello"
		cases = append(cases, serve(Framing, "§1a", method+" with a body", body, seen(method, "hello")))
		body = head(method+" /x HTTP/1.1", "Host: h", "Transfer-Encoding: chunked") + whole
		cases = append(cases, serve(Framing, "§1a", method+" with chunks", body, reads(method, "/x", "hello")))
		for i := range 2 {
			if method != "OPTIONS" && method != "PURGE" {
				cases[len(cases)-1-i].Choice = "RFC 9110 §9.3: a body has no meaning in this method and may be refused"
			}
		}
	}
	early := closing(serve(Framing, "§2", "body in HTTP/1.0", head("POST /x HTTP/1.0", "Host: h", "Content-Length: 5")+"hello", readsPost))
	return append(cases, early)
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// chunkRows are bad chunks; each is sent in one piece with its head, and behind it.
func chunkRows() []Case {
	cases := refuse(Chunks, "§3 §1a S16", 400, "chunk",
		line{"empty size", chunked("\r\nhello\r\n0\r\n\r\n")},
		line{"size with a hex prefix", chunked("0x5\r\nhello\r\n0\r\n\r\n")},
		line{"size with plus", chunked("+5\r\nhello\r\n0\r\n\r\n")},
		line{"size with minus", chunked("-5\r\nhello\r\n0\r\n\r\n")},
		line{"size with a suffix", chunked("5h\r\nhello\r\n0\r\n\r\n")},
		line{"size with an underscore", chunked("5_\r\nhello\r\n0\r\n\r\n")},
		line{"size that is no number", chunked("g\r\nhello\r\n0\r\n\r\n")},
		line{"space before the size", chunked(" 5\r\nhello\r\n0\r\n\r\n")},
		line{"space behind the size", chunked("5 \r\nhello\r\n0\r\n\r\n")},
		line{"tab behind the size", chunked("5\t\r\nhello\r\n0\r\n\r\n")},
		line{"space before the semicolon", chunked("5 ;a=b\r\nhello\r\n0\r\n\r\n")},
		line{"NUL behind the size", chunked("5\x00\r\nhello\r\n0\r\n\r\n")},
		line{"comma behind the size", chunked("5,5\r\nhello\r\n0\r\n\r\n")},
		line{"size of 17 digits", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n")},
		line{"size of 16 fs", chunked("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")},
		line{"negative size in two's complement", chunked("fffffffffffffffb\r\nhello\r\n0\r\n\r\n")},
		line{"LF behind the size", chunked("5\nhello\r\n0\r\n\r\n")},
		line{"CR behind the size", chunked("5\rhello\r\n0\r\n\r\n")},
		line{"CR CR LF behind the size", chunked("5\r\r\nhello\r\n0\r\n\r\n")},
		line{"LF CR behind the size", chunked("5\n\rhello\r\n0\r\n\r\n")},
		line{"more data than the size", chunked("5\r\nhello!\r\n0\r\n\r\n")},
		line{"less data than the size", chunked("6\r\nhello\r\n0\r\n\r\n")},
		line{"LF behind the data", chunked("5\r\nhello\n0\r\n\r\n")},
		line{"CR behind the data", chunked("5\r\nhello\r0\r\n\r\n")},
		line{"nothing behind the data", chunked("5\r\nhello0\r\n\r\n")},
		line{"two bytes instead of CR LF behind the data", chunked("5\r\nhelloXX0\r\n\r\n")},
		line{"empty line behind the data", chunked("5\r\nhello\r\n\r\n0\r\n\r\n")},
		line{"LF behind the last size", chunked("5\r\nhello\r\n0\n\r\n")},
		line{"size in full-width digits", chunked("\uff15\r\nhello\r\n0\r\n\r\n")},
		line{"second chunk is bad", chunked("5\r\nhello\r\nxyz\r\n0\r\n\r\n")},
		line{"identity body under chunked", chunked("hello")},
	)
	lf := []Reading{readsPost}
	cases = except(cases, loneLF, []Reading{reads("POST", "/x", "hello\r")}, "less data than the size")
	cases = except(cases, loneLF, lf, "LF behind the size", "LF behind the data", "LF behind the last size")
	cases = except(cases, "RFC 9112 §7.1.1: blanks beside a semicolon are legal, and often taken without one", lf,
		"space behind the size", "tab behind the size", "space before the semicolon")
	ext := refuse(Chunks, "S11 S12 §1a", 400, "chunk",
		line{"NUL in an extension", chunked("5;a\x00b\r\nhello\r\n0\r\n\r\n")},
		line{"control byte in an extension", chunked("5;a\x01b\r\nhello\r\n0\r\n\r\n")},
		line{"DEL in an extension", chunked("5;a\x7fb\r\nhello\r\n0\r\n\r\n")},
		line{"LF in an extension", chunked("5;a\nb\r\nhello\r\n0\r\n\r\n")},
		line{"LF that ends an extension", chunked("5;a\nhello\r\n0\r\n\r\n")},
		line{"CR in an extension", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n")},
		line{"control byte in the last extension", chunked("5\r\nhello\r\n0;\x02\r\n\r\n")},
		line{"extension of 600 bytes", chunked("5;" + strings.Repeat("e", 600) + "\r\nhello\r\n0\r\n\r\n")},
		line{"extension of 70 kB", chunked("5;" + strings.Repeat("e", 70_000) + "\r\nhello\r\n0\r\n\r\n")},
		line{"80 kB of extensions for 400 bytes", chunked(strings.Repeat("1;"+strings.Repeat("e", 200)+"\r\nx\r\n", 400) + "0\r\n\r\n")},
		line{"size of 600 zeros", chunked(strings.Repeat("0", 600) + "5\r\nhello\r\n0\r\n\r\n")},
	)
	ext = except(ext, extensions, lf, "NUL in an extension", "control byte in an extension", "DEL in an extension", "control byte in the last extension",
		"extension of 600 bytes", "extension of 70 kB", "size of 600 zeros")
	ext = except(ext, extensions, []Reading{reads("POST", "/x", strings.Repeat("x", 400))}, "80 kB of extensions for 400 bytes")
	ext = except(ext, loneLF, lf, "LF that ends an extension")
	return append(cases, ext...)
}

// behindHead returns the cases again with the body in a piece of its own, when the function may already run.
func behindHead(cases []Case) []Case {
	late := slices.Clone(cases)
	for i := range late {
		raw := late[i].Send[0]
		at := strings.Index(raw, "\r\n\r\n") + 4
		late[i].Send = []string{raw[:at], raw[at:]}
		late[i].Name += ", behind its head"
	}
	return append(cases, late...)
}

func chunks() []Case {
	cases := behindHead(chunkRows())
	many := strings.Repeat("1\r\nx\r\n", 2000) + "0\r\n\r\n"
	good := []Case{
		serve(Chunks, "§3", "one chunk", chunked(whole), readsPost),
		serve(Chunks, "§3", "no chunk", chunked("0\r\n\r\n"), reads("POST", "/x", "")),
		serve(Chunks, "§3", "last size of many zeros", chunked("5\r\nhello\r\n000\r\n\r\n"), readsPost),
		serve(Chunks, "§3", "size with leading zeros", chunked("0005\r\nhello\r\n0\r\n\r\n"), readsPost),
		serve(Chunks, "§3", "size in capitals", chunked("A\r\nhellohello\r\n0\r\n\r\n"), reads("POST", "/x", "hellohello")),
		serve(Chunks, "§3", "size in small letters", chunked("a\r\nhellohello\r\n0\r\n\r\n"), reads("POST", "/x", "hellohello")),
		serve(Chunks, "§3", "extensions", chunked("5;a=b;c=\"d;e\";f\r\nhello\r\n0;g\r\n\r\n"), readsPost),
		serve(Chunks, "§3", "extension with high bytes", chunked("5;a=\xc3\xa9\r\nhello\r\n0\r\n\r\n"), readsPost),
		serve(Chunks, "§3", "data of line ends", chunked("8\r\n\r\n\r\n0\r\n\r\n0\r\n\r\n"), reads("POST", "/x", "\r\n\r\n0\r\n\r")),
		serve(Chunks, "§3", "data that looks like a request", chunked(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(behind), behind)), reads("POST", "/x", behind)),
		serve(Chunks, "L10", "2000 chunks of one byte", chunked(many), reads("POST", "/x", strings.Repeat("x", 2000))),
		serve(Chunks, "§3", "chunk of 100 kB", chunked("186a0\r\n"+strings.Repeat("b", 100_000)+"\r\n0\r\n\r\n"), reads("POST", "/x", strings.Repeat("b", 100_000))),
	}
	good[8].Send[0] = chunked("7\r\n\r\n\r\n0\r\n\r\n0\r\n\r\n")
	good[8].Reads[0].Body = "\r\n\r\n0\r\n"
	good[7].Choice = "RFC 9112 §7.1.1: the byte is legal in a quoted extension alone"
	return append(cases, behindHead(good)...)
}

func trailers() []Case {
	with := func(lines string) string { return chunked("5\r\nhello\r\n0\r\n" + lines + "\r\n") }
	bad := refuse(Trailers, "§3 §1a S13", 400, "trailer",
		line{"LF instead of the empty line", chunked("5\r\nhello\r\n0\r\n\n")},
		line{"LF and more instead of the empty line", chunked("5\r\nhello\r\n0\r\n\nX: y\r\n\r\n")},
		line{"CR instead of the empty line", chunked("5\r\nhello\r\n0\r\n\rX")},
		line{"no colon", with("abc\r\n")},
		line{"empty name", with(": b\r\n")},
		line{"space in the name", with("A B: c\r\n")},
		line{"space before the colon", with("A : c\r\n")},
		line{"folded", with("A: b\r\n c\r\n")},
		line{"space first", with(" A: b\r\n")},
		line{"NUL in the value", with("A: b\x00\r\n")},
		line{"control byte in the value", with("A: b\x01\r\n")},
		line{"CR in the value", with("A: b\rc\r\n")},
		line{"LF as line end", with("A: b\n")},
		line{"high byte in the name", with("\xe9: b\r\n")},
		line{"request line as trailer", chunked("5\r\nhello\r\n0\r\n" + behind)},
		line{"9 kB", with("A: " + strings.Repeat("b", 9<<10) + "\r\n")},
		line{"100 kB in many lines", with(strings.Repeat("A: "+strings.Repeat("b", 96)+"\r\n", 1000))},
		line{"300 fields", with(strings.Repeat("A: b\r\n", 300))},
	)
	loose := []Reading{readsPost}
	loose[0].AnyTrailer = true
	bad = except(bad, loneLF, loose, "LF instead of the empty line", "LF and more instead of the empty line", "LF as line end")
	bad = except(bad, noTrailers, loose, "9 kB", "100 kB in many lines", "300 fields", "control byte in the value", "no colon", "empty name", "space in the name",
		"space before the colon", "NUL in the value", "high byte in the name", "space first", "request line as trailer", "CR in the value")
	bad = except(bad, foldedLine, loose, "folded")
	cases := behindHead(bad)
	for _, name := range []string{
		"Content-Length", "Transfer-Encoding", "Host", "Connection", "Trailer", "TE", "Upgrade", "Keep-Alive", "Expect", "Authorization", "Proxy-Authorization",
		"Cookie", "Set-Cookie", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Content-Type", "Content-Encoding", "Cache-Control", "X-Request-Id",
		"Proxy", "X_Sum",
	} {
		seen := readsPost
		if name != "Host" && name != "X-Request-Id" && name != "X-Forwarded-For" && name != "X-Forwarded-Proto" && name != "Forwarded" && name != "Transfer-Encoding" && name != "Content-Length" && name != "Connection" {
			seen.Gone = []string{name}
		}
		c := serve(Trailers, "§3 §1a", "dropped: "+name, with(name+": 7\r\n"), seen)
		c.Choice, c.Else = noTrailers, loose
		cases = append(cases, c)
	}
	kept := readsPost
	kept.Trailers = []string{"X-Sum: 7", "Y: z"}
	good := serve(Trailers, "§3", "passed on as trailers", with("X-Sum: 7\r\nY: z\r\n"), kept)
	good.Choice = noTrailers
	mixed := serve(Trailers, "§3", "some passed on, some dropped", with("X-Sum: 7\r\nHost: evil\r\nY: z\r\n"), kept)
	mixed.Choice, mixed.Else = noTrailers, loose
	announced := serve(Trailers, "§4", "announced", chunked("5\r\nhello\r\n0\r\nX-Sum: 7\r\nY: z\r\n\r\n", "Trailer: X-Sum"), kept)
	announced.Choice = noTrailers
	return append(cases, behindHead([]Case{good, mixed, announced})...)
}

func cuts() []Case {
	large := strings.Repeat("b", 80_000)
	var cases []Case
	for _, row := range []struct {
		name, raw string
		inHead    bool
	}{
		{"nothing sent", "", true},
		{"inside the method", "GE", true},
		{"inside the target", "GET /x", true},
		{"behind the request line", "GET /x HTTP/1.1\r\n", true},
		{"inside a field", "GET /x HTTP/1.1\r\nHost: h\r\nA: b", true},
		{"before the empty line", "GET /x HTTP/1.1\r\nHost: h\r\n", true},
		{"before the last LF of the head", "GET /x HTTP/1.1\r\nHost: h\r\n\r", true},
		{"before a small body", post("", "Content-Length: 5"), false},
		{"inside a small body", post("hel", "Content-Length: 5"), false},
		{"before a large body", post("", "Content-Length: 90000"), false},
		{"early in a large body", post("hello", "Content-Length: 90000"), false},
		{"late in a large body", post(large, "Content-Length: 90000"), false},
		{"a byte before the end of a large body", post(large, "Content-Length: 80001"), false},
		{"late in a body of megabytes", post(strings.Repeat(large, 12), "Content-Length: 1000000"), false},
		{"before the first chunk", chunked(""), false},
		{"inside a chunk size", chunked("5"), false},
		{"before the LF of a chunk size", chunked("5\r"), false},
		{"before the data of a chunk", chunked("5\r\n"), false},
		{"inside a chunk", chunked("5\r\nhel"), false},
		{"before the CR of a chunk", chunked("5\r\nhello"), false},
		{"before the LF of a chunk", chunked("5\r\nhello\r"), false},
		{"on a chunk boundary", chunked("5\r\nhello\r\n"), false},
		{"on a late chunk boundary", chunked("13880\r\n" + large + "\r\n"), false},
		{"inside the last size", chunked("5\r\nhello\r\n0"), false},
		{"behind the last size", chunked("5\r\nhello\r\n0\r\n"), false},
		{"before the last LF", chunked("5\r\nhello\r\n0\r\n\r"), false},
		{"inside a trailer", chunked("5\r\nhello\r\n0\r\nA: b"), false},
		{"behind a trailer", chunked("5\r\nhello\r\n0\r\nA: b\r\n"), false},
		{"inside an extension", chunked("5;a=b"), false},
	} {
		for _, end := range []End{Closes, Resets} {
			c := Case{Class: Cuts, Rules: "S14 S15 R2 §3", Name: row.name + ", FIN", Send: []string{row.raw}, End: end, Must: Cut, Status: []int{400}, Reason: "cut", Silent: row.inHead}
			if end == Resets {
				c.Name = row.name + ", RST"
			}
			if row.raw == "" {
				c.Reason = ""
			}
			cases = append(cases, c)
		}
	}
	second := Case{
		Class: Cuts, Rules: "S14 R2 §3", Name: "second request on the connection, FIN", Send: []string{get(), post("hel", "Content-Length: 5")}, End: Closes,
		Must: Cut, Status: []int{200, 400}, Reason: "cut", Reads: []Reading{readsGet},
	}
	return append(cases, second)
}
