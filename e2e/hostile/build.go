package hostile

import (
	"slices"
	"strconv"
	"strings"
)

// head joins a start line and fields to a head.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// get is a plain request with more lines.
func get(lines ...string) string {
	return head(append([]string{"GET /x HTTP/1.1", "Host: h"}, lines...)...)
}

// post is a request with more lines and a body.
func post(body string, lines ...string) string {
	return head(append([]string{"POST /x HTTP/1.1", "Host: h"}, lines...)...) + body
}

// sized is a request with a body of declared length.
func sized(body string, lines ...string) string {
	return post(body, append(lines, "Content-Length: "+strconv.Itoa(len(body)))...)
}

// chunked is a request with what is to be read as chunks.
func chunked(body string, lines ...string) string {
	return post(body, append(lines, "Transfer-Encoding: chunked")...)
}

// reads is what the function sees of the requests above.
func reads(method, target, body string) Reading {
	return Reading{Method: method, Target: target, Host: "h", Body: body}
}

var (
	readsGet  = reads("GET", "/x", "")
	readsPost = reads("POST", "/x", "hello")
)

// line is a row of a table: what differs between the cases of one kind.
type line struct{ name, raw string }

// refuse makes cases of rows that are refused for one reason.
func refuse(class Class, rules string, status int, reason string, rows ...line) []Case {
	cases := make([]Case, len(rows))
	for i, row := range rows {
		cases[i] = Case{Class: class, Rules: rules, Name: row.name, Send: []string{row.raw}, Must: Refuse, Status: []int{status}, Reason: reason}
	}
	return cases
}

// serve makes a case of one request that is served and leaves the connection open.
func serve(class Class, rules, name, raw string, seen Reading) Case {
	return Case{Class: class, Rules: rules, Name: name, Send: []string{raw}, Must: Serve, Status: []int{200}, Reads: []Reading{seen}, Open: true}
}

// choice marks cases in which the standard lets a server decide, and tells the only reading it may then have. Of each
// case in served the reading is its own.
func choice(why string, cases []Case, otherwise ...Reading) []Case {
	for i := range cases {
		cases[i].Choice, cases[i].Else = why, otherwise
	}
	return cases
}

// except marks some cases by name, like choice.
func except(cases []Case, why string, otherwise []Reading, names ...string) []Case {
	for i := range cases {
		if slices.Contains(names, cases[i].Name) {
			cases[i].Choice, cases[i].Else = why, otherwise
		}
	}
	return cases
}

// closing changes cases that end the connection though they are served.
func closing(c Case) Case {
	c.Open = false
	return c
}
