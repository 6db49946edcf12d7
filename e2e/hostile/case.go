package hostile

import (
	"slices"
	"strings"
)

// Class says what a case is about. The report has a row for each.
type Class string

// The classes, in the order of the report.
const (
	RequestLine  Class = "request line"
	Target       Class = "target"
	Host         Class = "host"
	Fields       Class = "header fields"
	Limits       Class = "limits"
	Framing      Class = "body framing"
	Chunks       Class = "chunks"
	Trailers     Class = "trailers"
	Cuts         Class = "cut requests"
	Connection   Class = "connection semantics"
	Expectations Class = "expectations"
	Pipelines    Class = "pipelining"
	Slow         Class = "slow clients"
	Answers      Class = "answers of the function"
)

// Classes lists all classes in the order of the report.
var Classes = []Class{RequestLine, Target, Host, Fields, Limits, Framing, Chunks, Trailers, Cuts, Connection, Expectations, Pipelines, Slow, Answers}

// End is how one side ends its stream.
type End uint8

// Ways to end.
const (
	StaysOpen End = iota
	Closes        // FIN
	Resets        // RST
)

// Must is the kind of what has to come of a case.
type Must uint8

// What must hold. In every case the function sees the requests in Reads and no other whole one.
const (
	// Refuse: the last request is answered with the last Status and Reason, and the connection ends. What follows the
	// bytes in the stream is never taken for a request.
	Refuse Must = iota
	// Serve: every request is answered, with Status; the connection is usable afterwards if Open.
	Serve
	// Cut: the client stopped before the end of its last request. It gets an error or nothing, and the connection ends.
	Cut
	// Fault: the function failed before its answer began; the client gets the last Status, and the function ran once.
	Fault
	// CutAnswer: the function failed inside its answer; the client sees that the answer is not whole.
	CutAnswer
	// Anything: only the reading is of interest (Mutations).
	Anything
)

// Case is one conversation of a client, the server under test and the function behind it.
type Case struct {
	Class Class
	Rules string // ids of the contract's rows
	Name  string

	Send   []string // what the client sends, with a pause between the pieces
	Await  string   // the second piece is sent when this has come; "" does not wait
	End    End      // of the client, after the last piece
	Script *Script  // how the function answers; nil: 200, and the body is "METHOD target"

	Must    Must
	Status  []int     // final answers that the client sees, in order
	Reason  string    // why fnpod refuses or fails: the field Fnpod-Error and the label of its counter; "" if it does neither
	Silent  bool      // fnpod ends the connection without the answer that Status and Reason stand for
	Reads   []Reading // whole requests that the function sees, in order
	Bodies  []string  // of the answers that are not errors of the server; nil: "METHOD target" of each reading
	Fields  []string  // lines that the last answer has
	Absent  []string  // names of fields that the last answer has not
	Interim []int     // interim answers that the client sees
	Open    bool      // Serve, Fault: another request on the connection is answered

	// Choice says why a server may decide otherwise without harm: it names the section of the standard that leaves the
	// choice. Then a server may also refuse what must be served here, or take what must be refused, with the reading in
	// Else and no other.
	Choice string
	Else   []Reading

	whole bool // what is sent needs nothing behind it: no probe there
	atOne bool // what must hold depends on the bytes being there at once
}

// Reading is a request as the function must see it.
type Reading struct {
	Method, Target, Host string
	Body                 string
	Trailers             []string // "Name: value"
	Lines                []string // field lines that must be there; what the server adds is its own matter (Exact alone)
	Gone                 []string // names that must not be there, neither as field nor as trailer
	AnyTrailer           bool     // Trailers do not matter
}

// Bytes returns all that the client sends.
func (c Case) Bytes() string { return strings.Join(c.Send, "") }

// Split returns the case with its bytes in pieces of n at first, where that makes no difference to what must hold.
// Long ones are cut in their first part only.
func (c Case) Split(n int) Case {
	if c.Await != "" || c.Class == Slow || c.atOne {
		return c
	}
	const most = 600
	pieces := make([]string, 0, most)
	for _, piece := range c.Send {
		for len(piece) > n && len(pieces) < most {
			pieces, piece = append(pieces, piece[:n]), piece[n:]
		}
		pieces = append(pieces, piece)
	}
	c.Send = pieces
	return c
}

// Cases returns the whole table. No two cases of a class have the same name.
func Cases() []Case {
	return slices.Concat(
		requestLines(), targets(), hosts(), fields(), limits(),
		framing(), chunks(), trailers(), cuts(),
		connections(), expectations(), pipelines(), slow(),
		faults(), cutAnswers(), goodAnswers(),
	)
}
