package hostile

import (
	"fmt"
	"strings"
)

// Why a server may decide otherwise.
const (
	anyMethod  = "RFC 9110 §9.1: a server may refuse methods it does not know"
	anyLimit   = "RFC 9110 §5.4: limits are the server's own"
	loneLF     = "RFC 9112 §2.2: a lone LF may be taken for a line end"
	blanks     = "RFC 9112 §3: parts of the request line may be split at any blanks"
	foldedLine = "RFC 9112 §5.2: a folded line may be joined with spaces"
	emptyLines = "RFC 9112 §2.2: empty lines before a request line should be ignored"
	rawTarget  = "RFC 3986 §2: the byte is not allowed in a target; many servers pass it"
	oddHost    = "RFC 3986 §3.2.2: legal in the grammar of hosts, or of no consequence behind"
	recovered  = "RFC 9110 §2.4: what is meant may be recovered from it"
	inFull     = "RFC 9112 §3.2.2: an absolute target may be passed on as it is"
	minor      = "RFC 9110 §2.5: a higher minor version may be served as 1.1"
)

func on(requestLine string) string { return head(requestLine, "Host: h") }

func requestLines() []Case {
	long := strings.Repeat("M", 33)
	cases := refuse(RequestLine, "§2 §1a S6", 400, "request_line",
		line{"double space before the target", on("GET  /x HTTP/1.1")},
		line{"double space after the target", on("GET /x  HTTP/1.1")},
		line{"tab after the method", on("GET\t/x HTTP/1.1")},
		line{"tab after the target", on("GET /x\tHTTP/1.1")},
		line{"vertical tab after the target", on("GET /x\vHTTP/1.1")},
		line{"form feed after the method", on("GET\f/x HTTP/1.1")},
		line{"space behind the version", on("GET /x HTTP/1.1 ")},
		line{"tab behind the version", on("GET /x HTTP/1.1\t")},
		line{"space before the method", on(" GET /x HTTP/1.1")},
		line{"space in the target", on("GET /a b HTTP/1.1")},
		line{"fourth word", on("GET /x HTTP/1.1 x")},
		line{"LF after the method", on("GET\n/x HTTP/1.1")},
		line{"LF after the target", on("GET /x\nHTTP/1.1")},
		line{"LF as line end", "GET /x HTTP/1.1\nHost: h\r\n\r\n"},
		line{"LF before the request line", "\n" + get()},
		line{"CR before the request line", "\r" + get()},
		line{"CR CR LF as line end", "GET /x HTTP/1.1\r\r\nHost: h\r\n\r\n"},
		line{"CR in the version", on("GET /x HTTP\r/1.1")},
		line{"CR after the target", on("GET /x\rHTTP/1.1")},
		line{"five empty lines", strings.Repeat("\r\n", 5) + get()},
		line{"no version", "GET /x\r\nHost: h\r\n\r\n"},
		line{"no target", on("GET HTTP/1.1")},
		line{"no method", on("/x HTTP/1.1")},
		line{"method alone", on("GET")},
		line{"version in small letters", on("GET /x http/1.1")},
		line{"version without minor", on("GET /x HTTP/1")},
		line{"version with a dot alone", on("GET /x HTTP/1.")},
		line{"version with two minor digits", on("GET /x HTTP/1.10")},
		line{"version with a leading zero", on("GET /x HTTP/01.1")},
		line{"version with a comma", on("GET /x HTTP/1,1")},
		line{"version with a letter", on("GET /x HTTP/1.1a")},
		line{"version with a sign", on("GET /x HTTP/+1.1")},
		line{"version with a space", on("GET /x HTTP/ 1.1")},
		line{"other protocol in the version", on("GET /x RTSP/1.0")},
		line{"HTTPS as protocol", on("GET /x HTTPS/1.1")},
		line{"SSH banner", "SSH-2.0-OpenSSH_9.2\r\n"},
		line{"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 64) + "\r\n\r\n"},
		line{"NUL first", "\x00" + get()},
		line{"JSON", "{\"a\":1}\r\n\r\n"},
		line{"byte order mark", "\xef\xbb\xbf" + get()},
		line{"high byte in the method", on("GE\xe9T /x HTTP/1.1")},
		line{"NUL in the method", on("GE\x00T /x HTTP/1.1")},
	)
	cases = except(cases, blanks, []Reading{readsGet}, "double space before the target", "double space after the target", "tab after the method",
		"tab after the target", "vertical tab after the target", "form feed after the method", "space behind the version", "tab behind the version",
		"space before the method", "CR CR LF as line end", "CR after the target")
	cases = except(cases, loneLF, []Reading{readsGet}, "LF as line end", "LF before the request line")
	cases = except(cases, emptyLines, []Reading{readsGet}, "five empty lines", "CR before the request line")
	cases = except(cases, "HTTP/0.9 may be spoken", []Reading{{Method: "GET", Target: "/x"}}, "no version", "LF after the target")
	cases = except(cases, recovered, []Reading{readsGet}, "version with two minor digits", "version with a leading zero")
	cases = append(cases, refuse(RequestLine, "§2 S6", 505, "version",
		line{"HTTP/0.9 in words", on("GET /x HTTP/0.9")},
		line{"HTTP/0.0", on("GET /x HTTP/0.0")},
		line{"HTTP/2.0", on("GET /x HTTP/2.0")},
		line{"HTTP/2.1", on("GET /x HTTP/2.1")},
		line{"HTTP/3.0", on("GET /x HTTP/3.0")},
		line{"HTTP/9.9", on("GET /x HTTP/9.9")},
	)...)
	for _, c := range []struct{ name, method string }{
		{"bracket", "GE[T"},
		{"colon", "GET:"},
		{"at sign", "G@T"},
		{"quotes", `G"T`},
		{"slash", "GE/T"},
		{"equals sign", "G=T"},
		{"comma", "GET,POST"},
		{"semicolon", "GET;"},
		{"braces", "G{T}"},
		{"backslash", `G\T`},
		{"question mark", "GET?"},
	} {
		cases = append(cases, refuse(RequestLine, "§2", 400, "method", line{"method with " + c.name, on(c.method + " /x HTTP/1.1")})...)
	}
	cases = append(cases, choice(anyLimit, refuse(RequestLine, "S20", 400, "method", line{"method of 33 bytes", on(long + " /x HTTP/1.1")}), reads(long, "/x", ""))...)
	cases = append(cases, refuse(RequestLine, "S20", 400, "method", line{"method of 9 kB", on(strings.Repeat("M", 9000) + " /x HTTP/1.1")})...)
	tunnel := refuse(RequestLine, "S10", 405, "method",
		line{"CONNECT", on("CONNECT h:443 HTTP/1.1")},
		line{"CONNECT with a path", on("CONNECT /x HTTP/1.1")},
		line{"TRACE", on("TRACE /x HTTP/1.1")},
		line{"TRACE with an absolute target", on("TRACE http://h/x HTTP/1.1")},
	)
	for i := range tunnel {
		tunnel[i].Fields = []string{"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	}
	traced := choice("RFC 9110 §9.3.8: TRACE may be passed on", tunnel[2:], reads("TRACE", "/x", ""))
	traced[1].Else = []Reading{reads("TRACE", "http://h/x", "")} // HTTP/1.1 allows that to any server
	cases = append(cases, tunnel...)
	return append(cases, servedLines()...)
}

func servedLines() []Case {
	var cases []Case
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		cases = append(cases, serve(RequestLine, "§2", method, on(method+" /x HTTP/1.1"), reads(method, "/x", "")))
	}
	for _, method := range []string{"get", "PURGE", "M-SEARCH", "connect", "!#$%&'*+-.^_`|~", "X", strings.Repeat("M", 32)} {
		cases = append(cases, serve(RequestLine, "§2", "unknown method "+method, on(method+" /x HTTP/1.1"), reads(method, "/x", "")))
		cases[len(cases)-1].Choice = anyMethod
	}
	for _, version := range []string{"HTTP/1.2", "HTTP/1.9"} {
		cases = append(cases, serve(RequestLine, "§2", version, on("GET /x "+version), readsGet))
		cases[len(cases)-1].Choice = minor
	}
	for n := 1; n <= 4; n += 3 {
		c := serve(RequestLine, "§2", fmt.Sprintf("%d empty lines before", n), strings.Repeat("\r\n", n)+get(), readsGet)
		c.Choice = emptyLines
		cases = append(cases, c)
	}
	old := serve(RequestLine, "§2", "HTTP/1.0", on("GET /x HTTP/1.0"), readsGet)
	kept := serve(RequestLine, "§2", "HTTP/1.0 that asks to be kept", head("GET /x HTTP/1.0", "Host: h", "Connection: keep-alive"), readsGet)
	kept.Fields = []string{"Connection: keep-alive"}
	return append(cases, closing(old), kept)
}

func targets() []Case {
	cases := refuse(Target, "§2 §1a S7", 400, "target",
		line{"PROXY protocol", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get()},
		line{"NUL", on("GET /a\x00b HTTP/1.1")},
		line{"control byte", on("GET /a\x01b HTTP/1.1")},
		line{"escape", on("GET /a\x1bb HTTP/1.1")},
		line{"DEL", on("GET /a\x7fb HTTP/1.1")},
		line{"fragment", on("GET /x#f HTTP/1.1")},
		line{"fragment in the query", on("GET /x?a#f HTTP/1.1")},
		line{"number sign alone", on("GET # HTTP/1.1")},
		line{"backslash first", on(`GET \x HTTP/1.1`)},
		line{"relative", on("GET x HTTP/1.1")},
		line{"relative upwards", on("GET ../x HTTP/1.1")},
		line{"query alone", on("GET ?q HTTP/1.1")},
		line{"encoded slash first", on("GET %2Fx HTTP/1.1")},
		line{"authority form", on("GET h:80 HTTP/1.1")},
		line{"asterisk without OPTIONS", on("GET * HTTP/1.1")},
		line{"two asterisks", on("OPTIONS ** HTTP/1.1")},
		line{"scheme alone", on("GET http: HTTP/1.1")},
		line{"one slash after the scheme", on("GET http:/x HTTP/1.1")},
		line{"no host, no path", on("GET http:// HTTP/1.1")},
		line{"no host", on("GET http:///x HTTP/1.1")},
		line{"file scheme", on("GET file:///etc/passwd HTTP/1.1")},
		line{"ftp scheme", on("GET ftp://h/x HTTP/1.1")},
		line{"ws scheme", on("GET ws://h/x HTTP/1.1")},
		line{"javascript", on("GET javascript:alert(1) HTTP/1.1")},
		line{"user and password", on("GET http://u:p@h/x HTTP/1.1")},
		line{"user", on("GET http://u@h/x HTTP/1.1")},
		line{"empty user", on("GET http://@h/x HTTP/1.1")},
		line{"absolute with a fragment", on("GET http://h/x#f HTTP/1.1")},
		line{"absolute with a port out of range", on("GET http://h:99999/x HTTP/1.1")},
		line{"absolute with two ports", on("GET http://h:80:80/x HTTP/1.1")},
		line{"absolute with an open bracket", on("GET http://[::1/x HTTP/1.1")},
		line{"absolute with more behind the bracket", on("GET http://[::1]h/x HTTP/1.1")},
		line{"absolute with a comma in the host", on("GET http://a,b/x HTTP/1.1")},
		line{"absolute with a backslash in the host", on(`GET http://h\x HTTP/1.1`)},
		line{"absolute with an encoded host", on("GET http://%68/x HTTP/1.1")},
		line{"OPTIONS with an absolute asterisk", on("OPTIONS http://*/x HTTP/1.1")},
	)
	cases = except(cases, rawTarget, []Reading{reads("GET", "/a\x01b", "")}, "control byte")
	cases = except(cases, rawTarget, []Reading{reads("GET", "/a\x1bb", "")}, "escape")
	cases = except(cases, rawTarget, []Reading{reads("GET", "/a\x7fb", "")}, "DEL")
	cases = except(cases, rawTarget, []Reading{reads("GET", "/x#f", "")}, "fragment")
	cases = except(cases, rawTarget, []Reading{reads("GET", "/x?a#f", "")}, "fragment in the query")
	cases = except(cases, oddHost, []Reading{{Method: "GET", Target: "/x", Host: "h"}}, "absolute with a port out of range")
	cases = except(cases, rawTarget, []Reading{{Method: "GET", Target: "/x#f", Host: "h"}}, "absolute with a fragment")
	cases = except(cases, "RFC 9112 §3.2.2: the scheme of an absolute target is not of interest", []Reading{readsGet}, "ftp scheme", "ws scheme")
	cases = except(cases, oddHost, []Reading{{Method: "GET", Target: "/x", Host: "a,b"}}, "absolute with a comma in the host")
	cases = except(cases, oddHost, []Reading{{Method: "GET", Target: "/x", Host: "%68"}}, "absolute with an encoded host")
	for _, target := range []string{
		"/", "//x", "//h/x", "/../x", "/a/../b", "/./x", "/%2e%2e/x", "/a%2Fb", "/a//b", "/?", "/?a=b&c", "/x??", "/x?http://h/", "/a;b=c", "/%00", "/%zz", "/%",
		"/\xc3\xa9", "/\xff", "/a\\b", "/\"<>^`{|}", "/[x]", "/x:80", "/http://h/x", "/a@b", "/*", "/x?a=%0d%0aX:y", "/" + strings.Repeat("a", 7000),
	} {
		name := target
		if len(name) > 40 {
			name = "path of 7 kB"
		}
		c := serve(Target, "§2 S18", fmt.Sprintf("as it is: %q", name), on("GET "+target+" HTTP/1.1"), reads("GET", target, ""))
		switch {
		case strings.ContainsAny(target, "\\\"<>^`{|}[]"), target >= "/\x80" && target < "0", strings.Contains(target, "%z"), target == "/%", target == "/%00":
			c.Choice = rawTarget
		case strings.Contains(target, "../") || strings.Contains(target, "%2e%2e/"):
			c.Choice = "a target that leaves the root may be refused"
		}
		cases = append(cases, c)
	}
	for _, c := range []struct{ name, raw, method, target, host string }{
		{"asterisk", on("OPTIONS * HTTP/1.1"), "OPTIONS", "*", "h"},
		{"absolute", on("GET http://h/x HTTP/1.1"), "GET", "/x", "h"},
		{"absolute in capitals", on("GET HTTP://h/x HTTP/1.1"), "GET", "/x", "h"},
		{"absolute with https", on("GET https://h/x?y HTTP/1.1"), "GET", "/x?y", "h"},
		{"absolute without a path", on("GET http://h HTTP/1.1"), "GET", "/", "h"},
		{"absolute with a query alone", on("GET http://h?q HTTP/1.1"), "GET", "/?q", "h"},
		{"absolute for OPTIONS without a path", on("OPTIONS http://h HTTP/1.1"), "OPTIONS", "*", "h"},
		{"absolute wins over Host", on("GET http://other:81/x HTTP/1.1"), "GET", "/x", "other:81"},
		{"absolute with an IPv6 address", on("GET http://[::1]:80/x HTTP/1.1"), "GET", "/x", "[::1]:80"},
		{"absolute with dots in the path", on("GET http://h/a/../b HTTP/1.1"), "GET", "/a/../b", "h"},
	} {
		served := serve(Target, "§2", c.name, c.raw, Reading{Method: c.method, Target: c.target, Host: c.host})
		if full := strings.Fields(c.raw)[1]; full != c.target {
			served.Choice, served.Else = inFull, []Reading{{Method: c.method, Target: full, Host: c.host}}
		}
		cases = append(cases, served)
	}
	return cases
}

func hosts() []Case {
	var rows []line
	for _, h := range []string{
		"h,i", "h i", "h\ti", "u@h", "u:p@h", "h/x", "h?x", "h#x", `"h"`, "h:80:80", "h:99999", "h:-1", "h:+1", "h:a", "h:", ":80", "[::1", "::1]", "[::1]x", "[::g]",
		"[fe80::1%25eth0]", "[]", "h\xe9", `h\x`, "%68", "", "<h>", "h;a", "{h}", "*", "h(", "h|i", "http://h", "h=i", "h'",
	} {
		rows = append(rows, line{fmt.Sprintf("%q", h), head("GET /x HTTP/1.1", "Host: "+h)})
	}
	cases := refuse(Host, "§2 §1a S8 S9", 400, "host", rows...)
	for i := range cases {
		h := strings.TrimSuffix(strings.SplitN(cases[i].Send[0], "Host: ", 2)[1], "\r\n\r\n")
		switch h {
		case "h:99999", "h,i", "[fe80::1%25eth0]", "h:", "h\xe9", "%68", "h;a", "h=i", "h'", "h(", "*", `"h"`, "<h>", "{h}", "h|i", "":
			cases[i].Choice, cases[i].Else = oddHost, []Reading{{Method: "GET", Target: "/x", Host: h}}
		}
	}
	two := refuse(Host, "§2 §1a", 400, "host",
		line{"none", head("GET /x HTTP/1.1")},
		line{"none, with an absolute target", head("GET http://h/x HTTP/1.1")},
		line{"bad, with an absolute target", head("GET http://h/x HTTP/1.1", "Host: a b")},
		line{"twice the same", get("Host: h")},
		line{"twice", get("Host: i")},
		line{"twice, in small letters", get("host: i")},
		line{"twice, one of them empty", get("Host:")},
		line{"twice in HTTP/1.0", head("GET /x HTTP/1.0", "Host: h", "Host: i")},
		line{"twice with others between", get("A: b", "Host: h")},
	)
	cases = append(cases, two...)
	for _, h := range []string{"h", "H.Example.ORG", "h:8080", "h:0", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080", "[2001:db8::1]", "[::ffff:1.2.3.4]", "a_b", "h.", "xn--bcher-kva", "a-b.c-d"} {
		cases = append(cases, serve(Host, "§2", "good: "+h, head("GET /x HTTP/1.1", "Host: "+h), Reading{Method: "GET", Target: "/x", Host: h}))
	}
	return append(cases,
		serve(Host, "§2", "good: between blanks", head("GET /x HTTP/1.1", "Host: \t h \t"), readsGet),
		serve(Host, "§2", "good: name in capitals", head("GET /x HTTP/1.1", "HOST:h"), readsGet),
		closing(serve(Host, "§2", "good: none in HTTP/1.0", head("GET /x HTTP/1.0"), Reading{Method: "GET", Target: "/x"})),
	)
}
