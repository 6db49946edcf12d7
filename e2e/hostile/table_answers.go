package hostile

import (
	"fmt"
	"slices"
	"strings"
)

// Why a server may decide otherwise about an answer.
const (
	lenientAnswer = "RFC 9112 §5: a proxy may repair the answer of a server"
	answerLimit   = "limits are the server's own"
	anyStatus     = "RFC 9110 §15: a status above 599 may be treated as one of 5xx"
	repeatable    = "RFC 9110 §9.2.2: a request with an idempotent method may be repeated"
	forwardCut    = "RFC 9112 §8: an answer that ends with the connection cannot be told from a cut one"
)

// answer makes a case of a GET and what the function answers.
func answer(rules, name string, must Must, end End, pieces ...string) Case {
	return Case{
		Class: Answers, Rules: rules, Name: name, Send: []string{get()}, Script: &Script{Pieces: pieces, End: end},
		Must: must, Reads: []Reading{readsGet}, Bodies: []string{}, Open: must != CutAnswer,
	}
}

const ok200 = "HTTP/1.1 200 OK\r\n"

func faults() []Case {
	fault := func(rules, reason, name, raw string, end End) Case {
		c := answer(rules, name, Fault, end, raw)
		c.Status, c.Reason = []int{502}, reason
		return c
	}
	var cases []Case
	for _, row := range []line{
		{"binary", "\x16\x03\x01 no HTTP at all\r\n\r\n"},
		{"SSH banner", "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
		{"body without a head", "hello\r\n\r\n"},
		{"HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"HTTP/9.9", "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"small letters", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"},
		{"status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"},
		{"status with a sign", "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n"},
		{"status with a letter", "HTTP/1.1 20x OK\r\nContent-Length: 0\r\n\r\n"},
		{"two spaces before the status", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n"},
		{"space before the status line", " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"empty line before the status line", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"LF as line ends", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"LF behind a field", ok200 + "A: b\nContent-Length: 0\r\n\r\n"},
		{"LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"},
		{"space in a name", ok200 + "A B: c\r\nContent-Length: 0\r\n\r\n"},
		{"space before the colon", ok200 + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
		{"forged field in a name", ok200 + "Set-Cookie: a=b; X\r\nB C: d\r\nContent-Length: 0\r\n\r\n"},
		{"empty name", ok200 + ": b\r\nContent-Length: 0\r\n\r\n"},
		{"no colon", ok200 + "abc\r\nContent-Length: 0\r\n\r\n"},
		{"NUL in a name", ok200 + "A\x00: b\r\nContent-Length: 0\r\n\r\n"},
		{"NUL in a value", ok200 + "A: b\x00c\r\nContent-Length: 0\r\n\r\n"},
		{"control byte in a value", ok200 + "A: b\x01c\r\nContent-Length: 0\r\n\r\n"},
		{"CR in a value", ok200 + "A: b\rc\r\nContent-Length: 0\r\n\r\n"},
		{"folded field", ok200 + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n"},
		{"folded coding", ok200 + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
		{"length and chunked", ok200 + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"the same length twice", ok200 + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
		{"two lengths", ok200 + "Content-Length: 3\r\nContent-Length: 1\r\n\r\nabc"},
		{"list of lengths", ok200 + "Content-Length: 3, 3\r\n\r\nabc"},
		{"negative length", ok200 + "Content-Length: -1\r\n\r\nabc"},
		{"length with plus", ok200 + "Content-Length: +3\r\n\r\nabc"},
		{"length that is no number", ok200 + "Content-Length: abc\r\n\r\nabc"},
		{"empty length", ok200 + "Content-Length:\r\n\r\nabc"},
		{"length of 9e18", ok200 + "Content-Length: 9000000000000000000\r\n\r\nabc"},
		{"length above 64 bits", ok200 + "Content-Length: 99999999999999999999\r\n\r\nabc"},
		{"unknown coding", ok200 + "Transfer-Encoding: gzip\r\n\r\nabc"},
		{"identity coding", ok200 + "Transfer-Encoding: identity\r\n\r\nabc"},
		{"chunked twice", ok200 + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
		{"two codings", ok200 + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"first chunk size is no number", ok200 + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc"},
		{"first chunk size of 15 fs and more", ok200 + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\nabc"},
		{"first chunk size of 17 digits", ok200 + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc"},
		{"17 interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17) + ok200 + "Content-Length: 0\r\n\r\n"},
	} {
		cases = append(cases, fault("C1 C2 C8 C9 C14", "malformed", row.name, row.raw, Closes))
	}
	harmless(cases)
	for _, status := range []string{"000", "099", "600", "999"} {
		c := fault("C6 C7", "status", "status "+status, "HTTP/1.1 "+status+" Odd\r\nContent-Length: 0\r\n\r\n", StaysOpen)
		if status > "599" {
			c.Choice = anyStatus
		}
		cases = append(cases, c)
	}
	cases = append(cases,
		fault("C5", "status", "101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", StaysOpen),
		fault("C5", "status", "101 without an Upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\nraw", StaysOpen),
		fault("C13", "header_size", "head of 17 kB", ok200+"A: "+strings.Repeat("a", 17<<10)+"\r\nContent-Length: 0\r\n\r\n", StaysOpen),
		fault("C13", "header_size", "head without an end", ok200+"A: "+strings.Repeat("a", 100<<10), StaysOpen),
		fault("C13 S19", "header_size", "300 fields", ok200+strings.Repeat("A: b\r\n", 300)+"Content-Length: 0\r\n\r\n", StaysOpen),
		fault("C1", "early_close", "end without an answer", "", Closes),
		fault("C1", "early_close", "end inside the status line", "HTTP/1.1 20", Closes),
		fault("C1", "early_close", "end inside a field", ok200+"A: b", Closes),
		fault("C1", "early_close", "end before the empty line", ok200+"Content-Length: 0\r\n", Closes),
		fault("C1", "early_close", "end behind an interim answer", "HTTP/1.1 102 Processing\r\n\r\n", Closes),
		fault("R2", "cut", "end before the first byte of a body", ok200+"Content-Length: 5\r\n\r\n", Closes),
	)
	for i := range cases {
		c := &cases[i]
		switch c.Name {
		case "end without an answer", "end inside the status line", "end inside a field", "end before the empty line":
			c.Choice, c.Else, c.Bodies = repeatable, []Reading{readsGet, readsGet}, []string{"GET /x"}
		case "head of 17 kB", "300 fields":
			c.Choice = answerLimit
		case "17 interim answers":
			c.Choice = answerLimit
			c.Interim = slices.Repeat([]int{102}, 16)
		case "end behind an interim answer":
			c.Interim = []int{102}
		}
	}
	for _, method := range []string{"POST", "HEAD"} {
		none := fault("C1 P6", "early_close", "end without an answer to "+method, "", Closes)
		none.Send, none.Reads = []string{head(method+" /x HTTP/1.1", "Host: h", "Content-Length: 0")}, []Reading{reads(method, "/x", "")}
		if method == "HEAD" {
			none.Choice, none.Else, none.Bodies = repeatable, []Reading{none.Reads[0], none.Reads[0]}, []string{""}
		}
		cases = append(cases, none)
	}
	reset := fault("C1 P6", "reset", "reset without an answer to POST", "", Resets) // a GET may be repeated
	reset.Send, reset.Reads = []string{head("POST /x HTTP/1.1", "Host: h", "Content-Length: 0")}, []Reading{reads("POST", "/x", "")}
	hang := fault("C1", "timeout", "no answer at all", "", StaysOpen)
	hang.Script.Hangs, hang.Status = true, []int{504}
	return append(cases, reset, hang)
}

// harmless marks what a proxy may repair, with the bodies that the client then sees.
func harmless(cases []Case) {
	repaired := map[string]string{
		"empty line before the status line": "", "LF as line ends": "", "LF behind a field": "", "LF behind the status line": "", "folded field": "", "folded coding": "",
		"control byte in a value": "", "CR in a value": "", "space before the colon": "", "length and chunked": "abc", "the same length twice": "abc", "list of lengths": "abc",
		"HTTP/2.0": "", "HTTP/9.9": "", "no colon": "", "unknown coding": "abc", "17 interim answers": "", "chunked in HTTP/1.0": "", "HTTP/1.2": "", "identity coding": "abc", "two spaces before the status": "",
	}
	for i := range cases {
		if body, ok := repaired[cases[i].Name]; ok {
			cases[i].Choice, cases[i].Bodies = lenientAnswer, []string{body}
		}
	}
}

func cutAnswers() []Case {
	cut := func(rules, name, raw string, end End, later ...string) Case {
		c := answer(rules, name, CutAnswer, end, append([]string{raw}, later...)...)
		c.Status, c.Reason = []int{200}, "cut"
		return c
	}
	inChunks := ok200 + "Transfer-Encoding: chunked\r\n\r\n"
	large := strings.Repeat("b", 80_000)
	bad := func(name, first, later string) Case {
		c := cut("C11", name, inChunks+first, Closes, later)
		c.Reason = "malformed"
		return c
	}
	cases := []Case{
		cut("R2", "inside a body", ok200+"Content-Length: 5\r\n\r\nhel", Closes),
		cut("R2", "inside a body, reset", ok200+"Content-Length: 5\r\n\r\nhel", Resets),
		cut("R2", "inside a large body", ok200+"Content-Length: 100000\r\n\r\n"+large, Closes),
		cut("R2", "inside a body of megabytes", ok200+"Content-Length: 3000000\r\n\r\n"+strings.Repeat(large, 20), Closes),
		cut("C2", "inside a body of 4e18 bytes", ok200+"Content-Length: 4000000000000000000\r\n\r\nhel", Closes),
		cut("C2", "inside a chunk of 15 fs", inChunks+"fffffffffffffff\r\nhel", Closes),
		cut("C10", "before a chunk", inChunks, Closes),
		cut("C10", "inside a chunk size", inChunks+"5", Closes),
		cut("C10", "behind a chunk size", inChunks+"5\r\n", Closes),
		cut("C10", "inside a chunk", inChunks+"5\r\nhel", Closes),
		cut("C10", "behind the data of a chunk", inChunks+"5\r\nhello", Closes),
		cut("C10", "on a chunk boundary", inChunks+"5\r\nhello\r\n", Closes),
		cut("C10", "on a chunk boundary, reset", inChunks+"5\r\nhello\r\n", Resets),
		cut("C10", "on a late chunk boundary", inChunks+"13880\r\n"+large+"\r\n", Closes),
		cut("C10", "behind the last size", inChunks+"5\r\nhello\r\n0\r\n", Closes),
		cut("C10", "inside a trailer", inChunks+"5\r\nhello\r\n0\r\nA: b", Closes),
		cut("C10", "behind a trailer", inChunks+"5\r\nhello\r\n0\r\nA: b\r\n", Closes),
		cut("R2", "body to the end of the connection, reset", ok200+"\r\nhello", Resets),
		cut("R2", "HTTP/1.0 inside a body", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhel", Closes),
		bad("bad chunk size behind a chunk", "5\r\nhello\r\n", "xyz\r\n"),
		bad("bad end of a chunk", "5\r\nhello\r\n5\r\nhel", "lo!!0\r\n\r\n"),
		bad("bad trailer", "5\r\nhello\r\n", "0\r\nA B: c\r\n\r\n"),
		bad("LF behind a later chunk size", "5\r\nhello\r\n", "5\nhello\r\n0\r\n\r\n"),
		bad("later chunk size of 16 fs", "5\r\nhello\r\n", "ffffffffffffffff\r\nhello"),
		bad("control byte in a later extension", "5\r\nhello\r\n", "5;\x01\r\nhello\r\n0\r\n\r\n"),
	}
	for i := range cases {
		c := &cases[i]
		switch c.Name {
		case "body to the end of the connection, reset":
			c.Choice, c.Bodies = forwardCut, []string{"hello"}
		case "LF behind a later chunk size", "control byte in a later extension":
			c.Choice, c.Bodies = lenientAnswer, []string{"hellohello"}
		case "bad trailer":
			c.Choice, c.Bodies = lenientAnswer, []string{"hello"}
		}
	}
	old := cut("R2 P11", "inside a body, to a client of HTTP/1.0", inChunks+"5\r\nhello\r\n", Closes)
	old.Send = []string{on("GET /x HTTP/1.0")}
	old.Choice, old.Bodies = forwardCut, []string{"hello"}
	return append(cases, old)
}

func goodAnswers() []Case {
	good := func(rules, name, body string, end End, pieces ...string) Case {
		c := answer(rules, name, Serve, end, pieces...)
		c.Status, c.Bodies = []int{200}, []string{body}
		return c
	}
	toHEAD := func(c Case) Case {
		c.Send, c.Reads = []string{head("HEAD /x HTTP/1.1", "Host: h")}, []Reading{reads("HEAD", "/x", "")}
		return c
	}
	status := func(n int, c Case) Case {
		c.Status = []int{n}
		return c
	}
	five := ok200 + "Content-Length: 5\r\n\r\nhello"
	cases := []Case{
		good("§1d", "length", "hello", StaysOpen, five),
		good("§1d", "length, in pieces", "hello", StaysOpen, "HTTP/1.1 20", "0 OK\r\nContent-Le", "ngth: 5\r\n\r", "\nhel", "lo"),
		good("§1d", "length with leading zeros", "hello", StaysOpen, ok200+"Content-Length: 005\r\n\r\nhello"),
		good("§1d", "chunks", "hello", StaysOpen, ok200+"Transfer-Encoding: chunked\r\n\r\n"+whole),
		good("§1d", "chunks, in pieces", "hellohello", StaysOpen, ok200+"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "lo\r\n5\r", "\nhello\r\n0\r", "\n\r\n"),
		good("§1d", "chunks, with trailers", "hello", StaysOpen, ok200+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\nX-Sum: 7\r\nHost: evil\r\nContent-Length: 9\r\n\r\n"),
		good("§1d", "to the end of the connection", "hello", Closes, ok200+"\r\nhel", "lo"),
		good("§1d", "HTTP/1.0 to the end of the connection", "hello", Closes, "HTTP/1.0 200 OK\r\n\r\nhello"),
		good("§1d", "HTTP/1.0 with a length", "hello", Closes, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
		good("§1d", "no phrase", "hello", StaysOpen, "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello"),
		good("§1d", "no phrase and no space", "hello", StaysOpen, "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello"),
		good("C12", "control bytes in the phrase", "hello", StaysOpen, "HTTP/1.1 200 \x01\x1b[2J\x00\r\nContent-Length: 5\r\n\r\nhello"),
		good("C14", "16 interim answers", "hello", StaysOpen, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 16)+five),
		good("C14", "100 that nobody asked for", "hello", StaysOpen, "HTTP/1.1 100 Continue\r\n\r\n"+five),
		good("C14", "early hints", "hello", StaysOpen, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", five),
		good("§1d", "two equal fields", "hello", StaysOpen, ok200+"A: b\r\nA: c\r\nContent-Length: 5\r\n\r\nhello"),
		good("C13", "head of 15 kB", "hello", StaysOpen, ok200+"A: "+strings.Repeat("a", 15<<10)+"\r\nContent-Length: 5\r\n\r\nhello"),
		good("C15 P6", "ends the connection without saying so", "hello", Closes, five),
		good("§1d", "says close", "hello", Closes, ok200+"Connection: close\r\nContent-Length: 5\r\n\r\nhello"),
		good("§1d §4", "hop-by-hop fields", "hello", StaysOpen, ok200+"Connection: A\r\nA: b\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nProxy-Connection: x\r\nTrailer: x\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"),
		status(404, good("§1d", "status 404", "hello", StaysOpen, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello")),
		status(599, good("C7", "status 599", "hello", StaysOpen, "HTTP/1.1 599 Odd\r\nContent-Length: 5\r\n\r\nhello")),
		status(204, good("§1d", "204", "", StaysOpen, "HTTP/1.1 204 No Content\r\n\r\n")),
		status(204, good("§1d C4", "204 with a body", "", StaysOpen, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello")),
		status(204, good("§1d C4", "204 with chunks", "", StaysOpen, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"+whole)),
		status(304, good("§1d", "304", "", StaysOpen, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")),
		status(304, good("§1d C4", "304 with a body", "", StaysOpen, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello")),
		toHEAD(good("§4", "HEAD with a length", "", StaysOpen, ok200+"Content-Length: 5\r\n\r\n")),
		toHEAD(good("§4", "HEAD with chunked", "", StaysOpen, ok200+"Transfer-Encoding: chunked\r\n\r\n")),
		toHEAD(good("C4", "HEAD with a body", "", StaysOpen, five)),
		toHEAD(good("C3", "HEAD with a body that comes later", "", StaysOpen, ok200+"Content-Length: 5\r\n\r\n", "hello")),
		good("C4", "bytes behind the answer", "hello", StaysOpen, five+"surplus"),
		good("C4", "answer behind the answer", "hello", StaysOpen, five+ok200+"Content-Length: 4\r\n\r\nevil"),
		good("C3", "answer a little later", "hello", StaysOpen, five, ok200+"Content-Length: 4\r\n\r\nevil"),
		good("C3", "bytes a little later", "hello", StaysOpen, five, "surplus"),
		good("C4", "bytes behind the chunks", "hello", StaysOpen, ok200+"Transfer-Encoding: chunked\r\n\r\n"+whole+"surplus"),
		good("C4", "answer behind the chunks", "hello", StaysOpen, ok200+"Transfer-Encoding: chunked\r\n\r\n"+whole+ok200+"Content-Length: 4\r\n\r\nevil"),
		status(204, good("C3", "answer a little after 204", "", StaysOpen, "HTTP/1.1 204 No Content\r\n\r\n", ok200+"Content-Length: 4\r\n\r\nevil")),
		toHEAD(good("C3", "answer a little after HEAD", "", StaysOpen, ok200+"Content-Length: 5\r\n\r\n", ok200+"Content-Length: 4\r\n\r\nevil")),
		good("§1d", "body that looks like an answer", ok200+"\r\n", StaysOpen, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s\r\n", ok200, len(ok200)+2, ok200)),
	}
	for i := range cases {
		c := &cases[i]
		switch c.Name {
		case "hop-by-hop fields":
			c.Absent = []string{"A", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Trailer", "Upgrade"}
		case "16 interim answers":
			c.Interim, c.Choice = slices.Repeat([]int{102}, 16), answerLimit
		case "early hints":
			c.Interim = []int{103}
		case "no phrase and no space", "control bytes in the phrase":
			c.Choice = "RFC 9112 §4: it is malformed and may be refused"
		case "HEAD with a length":
			c.Fields = []string{"Content-Length: 5"}
		case "head of 15 kB":
			c.Choice = answerLimit
		case "204 with a body", "204 with chunks", "304 with a body", "HEAD with a body", "bytes behind the answer", "answer behind the answer", "bytes behind the chunks", "answer behind the chunks":
			c.Choice = "bytes that nobody asked for may spoil the answer, too"
		}
	}
	return cases
}
