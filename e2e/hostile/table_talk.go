package hostile

import (
	"fmt"
	"strconv"
	"strings"
)

// Why a server may decide otherwise.
const (
	passedOn        = "RFC 9110 §7.8: an upgrade may be passed on"
	expectations417 = "RFC 9110 §10.1.1: an unknown expectation may be ignored"
)

func connections() []Case {
	gone := func(lines []string, names ...string) Case {
		r := readsGet
		r.Gone = names
		return serve(Connection, "§4", "", get(lines...), r)
	}
	named := func(name string, c Case) Case {
		c.Name = name
		return c
	}
	cases := []Case{
		named("named field goes", gone([]string{"A: b", "Connection: A"}, "A")),
		named("named field goes, in any case", gone([]string{"x-secret: b", "Connection: X-SECRET"}, "X-Secret")),
		named("named fields of a list go", gone([]string{"A: b", "C: d", "Connection: A , C"}, "A", "C")),
		named("named fields of two lists go", gone([]string{"A: b", "C: d", "Connection: A", "Connection: keep-alive, C"}, "A", "C")),
		named("named field goes, wherever it is", gone([]string{"Connection: A", "A: b", "A: c"}, "A")),
		named("empty elements of the list", gone([]string{"A: b", "Connection: ,, A,"}, "A")),
	}
	for _, f := range []string{
		"Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authenticate: Basic", "Proxy-Authorization: Basic eA==", "TE: gzip", "Trailer: A",
		"Upgrade: foo/1", "HTTP2-Settings: AAA", "Proxy: http://evil/",
	} {
		name, _, _ := strings.Cut(f, ":")
		c := named("hop-by-hop: "+name, gone([]string{f}, name))
		if name == "Proxy" {
			c.Choice, c.Else = "Proxy is no field of the standard", []Reading{readsGet}
		}
		switch name {
		case "Keep-Alive", "Proxy-Connection", "Upgrade", "HTTP2-Settings":
			c.Choice, c.Else = "RFC 9110 §7.6.1: one that Connection does not name should be removed, no more", []Reading{readsGet}
		}
		if name == "Proxy-Authorization" || name == "Proxy-Authenticate" || name == "Trailer" {
			c.Choice, c.Else = "RFC 9110 §7.6.1: it may be passed on", []Reading{readsGet}
		}
		cases = append(cases, c)
	}
	kept := func(name string, lines []string, want ...string) Case {
		r := readsGet
		r.Lines = want
		return serve(Connection, "§4", name, get(lines...), r)
	}
	cases = append(cases,
		kept("TE: trailers goes on, named", []string{"TE: trailers", "Connection: TE"}, "TE: trailers", "Connection: TE"),
		kept("Host cannot be named away", []string{"Connection: Host"}, "Host: h"),
		kept("X-Forwarded-For cannot be named away", []string{"X-Forwarded-For: 1.2.3.4", "Connection: X-Forwarded-For"}, "X-Forwarded-For: 1.2.3.4, 127.0.0.1"),
		kept("X-Request-Id cannot be named away", []string{"X-Request-Id: abc", "Connection: X-Request-Id"}, "X-Request-Id: abc"),
		kept("traceparent cannot be named away", []string{"traceparent: 00-1-2-01", "Connection: traceparent"}, "traceparent: 00-1-2-01"),
		kept("X-Forwarded-For is added to", []string{"X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8"}, "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1"),
		kept("X-Forwarded-Proto and -Host are kept", []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: e"}, "X-Forwarded-Proto: https", "X-Forwarded-Host: e"),
		kept("X-Forwarded-* is set", nil, "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: h"),
		kept("Forwarded is added to", []string{"Forwarded: for=1.2.3.4"}, `Forwarded: for=1.2.3.4, for=127.0.0.1;host="h";proto=http`),
		kept("bad X-Request-Id is replaced", []string{"X-Request-Id: a b"}),
	)
	cases[len(cases)-1].Reads[0].Gone = nil
	length := serve(Connection, "§4", "Content-Length cannot be named away", sized("hello", "Connection: Content-Length"), readsPost)
	coding := serve(Connection, "§4", "Transfer-Encoding cannot be named away", chunked(whole, "Connection: Transfer-Encoding"), readsPost)
	cases = append(cases, length, coding)
	many := refuse(Connection, "R6", 400, "header", line{"70 names in Connection", get("Connection: " + strings.Repeat("a,", 70) + "b")})
	cases = append(cases, choice(anyLimit, many, readsGet)...)
	cases = append(cases, upgrades()...)
	return append(cases, endings()...)
}

// upgrades are requests that ask for a tunnel and are none (rules U1, U2).
func upgrades() []Case {
	plain := func(name, raw, method string) Case {
		r := reads(method, "/x", "")
		r.Gone = []string{"Upgrade", "HTTP2-Settings"}
		return serve(Connection, "U1 U2", name, raw, r)
	}
	h2c := []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"}
	ws := []string{"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	body := plain("upgrade to websocket with a body", sized("hello", append(ws, "Connection: Upgrade", "Upgrade: websocket")...), "POST")
	body.Reads[0].Body = "hello"
	onGet := plain("upgrade to websocket with a body on GET", get(append(ws, "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5")...)+"hello", "GET")
	onGet.Reads[0].Body = "hello"
	onGet.Choice = "RFC 9110 §9.3.1: a body has no meaning in this method and may be refused"
	body.Choice, body.Else = passedOn, []Reading{readsPost}
	unknown := plain("upgrade to something unknown", get("Connection: Upgrade", "Upgrade: foo"), "GET")
	unknown.Choice, unknown.Else = passedOn, []Reading{readsGet}
	two := plain("upgrade to two protocols", get("Connection: Upgrade", "Upgrade: websocket, foo"), "GET")
	two.Choice, two.Else = passedOn, []Reading{readsGet}
	posted := plain("upgrade to websocket with POST", post("", append(ws, "Connection: Upgrade", "Upgrade: websocket")...), "POST")
	posted.Choice, posted.Else = passedOn, []Reading{reads("POST", "/x", "")}
	old := plain("upgrade to websocket in HTTP/1.0", head("GET /x HTTP/1.0", "Host: h", "Connection: Upgrade", "Upgrade: websocket"), "GET")
	return []Case{
		plain("upgrade to h2c", get(h2c...), "GET"),
		unknown, two, posted,
		plain("upgrade to websocket that Connection does not name", get(append(ws, "Upgrade: websocket")...), "GET"),
		body, onGet, closing(old),
	}
}

func endings() []Case {
	var cases []Case
	for _, value := range []string{"close", "Close", "CLOSE", "keep-alive, close", "close, A", " close "} {
		c := closing(serve(Connection, "§1a §4", fmt.Sprintf("Connection: %q ends it", value), get("Connection: "+value)+get(), readsGet))
		c.Fields = []string{"Connection: close"}
		cases = append(cases, c)
	}
	two := closing(serve(Connection, "§4", "close in a second field ends it", get("Connection: keep-alive", "Connection: close")+get(), readsGet))
	asks := serve(Connection, "§4", "keep-alive is usual", get("Connection: keep-alive"), readsGet)
	old := closing(serve(Connection, "§2", "HTTP/1.0 ends it", on("GET /x HTTP/1.0")+get(), readsGet))
	head := serve(Connection, "§4", "HEAD has no body", head("HEAD /x HTTP/1.1", "Host: h"), reads("HEAD", "/x", ""))
	return append(cases, two, asks, old, head)
}

func expectations() []Case {
	expect := "Expect: 100-continue"
	waiting := func(name, raw, body string, seen Reading) Case {
		c := serve(Expectations, "§4 S29", name, raw, seen)
		c.Send, c.Await, c.Interim = []string{raw, body}, "100 Continue", []int{100}
		return c
	}
	big := strings.Repeat("b", 100_000)
	cases := []Case{
		waiting("a small body is waited for", post("", expect, "Content-Length: 5"), "hello", readsPost),
		waiting("in capitals", post("", "EXPECT: 100-CONTINUE", "Content-Length: 5"), "hello", readsPost),
		waiting("a large body is waited for", post("", expect, "Content-Length: 100000"), big, reads("POST", "/x", big)),
		waiting("chunks are waited for", post("", expect, "Transfer-Encoding: chunked"), whole, readsPost),
		serve(Expectations, "S29", "no body, no 100", get(expect), readsGet),
		serve(Expectations, "S29", "length 0, no 100", post("", expect, "Content-Length: 0"), reads("POST", "/x", "")),
		closing(serve(Expectations, "§1a", "HTTP/1.0 gets no 100", head("POST /x HTTP/1.0", "Host: h", expect, "Content-Length: 5")+"hello", readsPost)),
		serve(Expectations, "§4", "the body is here already", post("hello", expect, "Content-Length: 5"), readsPost),
	}
	cases[len(cases)-1].atOne = true
	unknown := refuse(Expectations, "S28 §4", 417, "expect",
		line{"unknown expectation", sized("hello", "Expect: tea")},
		line{"100-continue and another", sized("hello", "Expect: 100-continue, tea")},
		line{"two fields, one unknown", sized("hello", expect, "Expect: tea")},
		line{"100-continue with a parameter", sized("hello", "Expect: 100-continue; a=b")},
		line{"unknown without a body", get("Expect: 200-ok")},
		line{"empty expectation", sized("hello", "Expect:")},
	)
	unknown = choice(expectations417, unknown, readsPost)
	unknown[4].Else = []Reading{readsGet}
	large := refuse(Expectations, "S21 §3", 413, "body_size",
		line{"too large a body is not asked for", post("", expect, fmt.Sprintf("Content-Length: %d", MaxBody+1))})
	large = choice(anyLimit, large)
	bad := refuse(Expectations, "§3", 400, "framing",
		line{"bad framing is not asked for", post("", expect, "Content-Length: 5", "Transfer-Encoding: chunked")})
	bad = choice(codingWins, bad, reads("POST", "/x", ""))
	for i := range large {
		large[i].whole = true
		bad[i].whole = true
	}
	return append(append(append(cases, unknown...), large...), bad...)
}

func pipelines() []Case {
	ask := func(n int) string { return head("GET /"+strconv.Itoa(n)+" HTTP/1.1", "Host: h") }
	give := func(n int) string {
		return head("POST /"+strconv.Itoa(n)+" HTTP/1.1", "Host: h", "Content-Length: 5") + "hello"
	}
	send := func(n int) string {
		return head("POST /"+strconv.Itoa(n)+" HTTP/1.1", "Host: h", "Transfer-Encoding: chunked") + whole
	}
	seen := func(n int, method, body string) Reading { return reads(method, "/"+strconv.Itoa(n), body) }
	row := func(name string, raw []string, seen ...Reading) Case {
		c := serve(Pipelines, "§4", name, "", Reading{})
		c.Send, c.Reads, c.Status = raw, seen, make([]int, len(seen))
		for i := range c.Status {
			c.Status[i] = 200
		}
		return c
	}
	var twenty strings.Builder
	var twentySeen []Reading
	for n := range 20 {
		twenty.WriteString(ask(n))
		twentySeen = append(twentySeen, seen(n, "GET", ""))
	}
	headOf := head("HEAD /1 HTTP/1.1", "Host: h")
	cases := []Case{
		row("two", []string{ask(1) + ask(2)}, seen(1, "GET", ""), seen(2, "GET", "")),
		row("two in three pieces", []string{ask(1) + "GET /2 HT", "TP/1.1\r\nHost: h\r\n\r", "\n"}, seen(1, "GET", ""), seen(2, "GET", "")),
		row("twenty", []string{twenty.String()}, twentySeen...),
		row("bodies", []string{give(1) + give(2) + ask(3)}, seen(1, "POST", "hello"), seen(2, "POST", "hello"), seen(3, "GET", "")),
		row("chunks", []string{send(1) + send(2) + ask(3)}, seen(1, "POST", "hello"), seen(2, "POST", "hello"), seen(3, "GET", "")),
		row("body in pieces, then another", []string{post("", "Content-Length: 5"), "hel", "lo" + ask(2)}, readsPost, seen(2, "GET", "")),
		row("chunks in pieces, then another", []string{chunked("5\r\n"), "hello\r\n0\r\n", "\r\n" + ask(2)}, readsPost, seen(2, "GET", "")),
		row("HEAD, then another", []string{headOf + ask(2)}, seen(1, "HEAD", ""), seen(2, "GET", "")),
		row("empty line between", []string{give(1) + "\r\n" + ask(2)}, seen(1, "POST", "hello"), seen(2, "GET", "")),
	}
	cases[8].Choice = emptyLines
	garbage := func(name, between string, status int, reason string) Case {
		return Case{Class: Pipelines, Rules: "§3 §4", Name: name, Send: []string{give(1) + between}, Must: Refuse, Status: []int{200, status}, Reason: reason, Reads: []Reading{seen(1, "POST", "hello")}}
	}
	cases = append(cases,
		garbage("garbage behind a body", "garbage\r\n\r\n", 400, "request_line"),
		garbage("byte too many behind a body", ")", 400, "request_line"),
		garbage("LF behind a body", "\n", 400, "request_line"),
		garbage("five empty lines behind a body", strings.Repeat("\r\n", 5)+ask(2), 400, "request_line"),
		garbage("CONNECT behind a body", head("CONNECT h:1 HTTP/1.1", "Host: h"), 405, "method"),
		garbage("ambiguous framing behind a body", post(whole, "Content-Length: 5", "Transfer-Encoding: chunked"), 400, "framing"),
		garbage("bad chunk behind a body", chunked("x\r\n\r\n"), 400, "chunk"),
		garbage("no host behind a body", head("GET /2 HTTP/1.1"), 400, "host"),
		garbage("HTTP/2 preface behind a body", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "target"),
	)
	for i := range cases {
		switch cases[i].Name {
		case "LF behind a body":
			cases[i].Choice = loneLF
		case "five empty lines behind a body":
			cases[i].Choice, cases[i].Else = emptyLines, []Reading{seen(2, "GET", "")}
		case "ambiguous framing behind a body":
			cases[i].Choice, cases[i].Else = codingWins, []Reading{readsPost}
		}
	}
	return append(cases, earlyAnswers()...)
}

// earlyAnswers come before the function has read its request.
func earlyAnswers() []Case {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	large := strings.Repeat("b", 900_000)
	early := func(name, raw string, end End) Case {
		return Case{
			Class: Pipelines, Rules: "§3 R3", Name: name, Send: []string{raw}, Must: Serve, Status: []int{200}, Bodies: []string{"ok"},
			Script: &Script{Pieces: []string{ok}, Early: true, End: end},
		}
	}
	unread := early("early answer, the rest is never sent", post("hello", "Content-Length: 900000"), Closes)
	unread.Choice = "the answer may be given up for the error of the request"
	ended := early("early answer, the function ends the connection", sized(large, "Connection: close"), Closes)
	ended.Choice = unread.Choice
	drained := early("early answer, the rest comes later, then another request", "", StaysOpen)
	drained.Send, drained.Await, drained.Open = []string{post(large[:5000], "Content-Length: 100000"), large[5000:100000]}, "\r\n\r\nok", true
	drained.Choice, drained.Else = "the rest may still be passed on", []Reading{reads("POST", "/x", large[:100000])}
	hidden := early("early answer, the rest looks like a request", "", StaysOpen)
	hidden.Send, hidden.Await, hidden.Open = []string{post(large[:5000], fmt.Sprintf("Content-Length: %d", 90000+len(behind))), large[:85000] + behind}, "\r\n\r\nok", true
	hidden.Choice, hidden.Else = drained.Choice, []Reading{reads("POST", "/x", large[:90000]+behind)}
	return []Case{unread, ended, drained, hidden}
}

func slow() []Case {
	row := func(name, raw string, reason string) Case {
		c := refuse(Slow, "L1 L3 S23 S30", 408, reason, line{name, raw})[0]
		c.whole = true
		return c
	}
	silent := row("no byte at all", "", "")
	silent.Silent, silent.Rules = true, "L1 S24"
	return []Case{
		silent,
		row("head stops inside the request line", "GET /x", "timeout_head"),
		row("head stops inside a field", "GET /x HTTP/1.1\r\nHost: h\r\nA: b", "timeout_head"),
		row("body stops", post("hel", "Content-Length: 5"), "timeout_body"),
		row("large body stops", post("hel", "Content-Length: 100000"), "timeout_body"),
		row("chunks stop", chunked("5\r\nhel"), "timeout_body"),
		row("chunks stop on a boundary", chunked("5\r\nhello\r\n"), "timeout_body"),
	}
}
