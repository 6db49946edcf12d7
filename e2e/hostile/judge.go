package hostile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Exact judges by the contract of fnpod, to the letter: status, reason, interim answers, what the function sees down to
// single fields, whether the connection ends, whether it can be used again, and that another client is served after.
func Exact(c Case, o Outcome) error {
	if err := unharmed(o); err != nil {
		return err
	}
	if err := sameReadings(c.Reads, o.Whole(), true); err != nil {
		return err
	}
	if c.Interim == nil && len(o.Interim) > 0 || c.Interim != nil && !slices.Equal(c.Interim, o.Interim) {
		return fmt.Errorf("interim answers %v, not %v", o.Interim, c.Interim)
	}
	switch c.Must {
	case Cut:
		if !o.Ended && c.End != Resets {
			return errors.New("the connection is still open")
		}
		return exactCut(c, o)
	case CutAnswer:
		return exactCutAnswer(c, o)
	case Anything:
		return nil
	case Refuse:
		if !o.Ended {
			return errors.New("the connection is still open")
		}
	case Serve, Fault:
		if c.Open != o.Again || !c.Open && !o.Ended {
			return fmt.Errorf("usable again: %t, ended: %t", o.Again, o.Ended)
		}
	}
	return exactAnswers(c, o)
}

// unharmed is true of every case, whoever is judged. The words before the colon are the kind of the failure.
func unharmed(o Outcome) error {
	for _, s := range o.Seen {
		if s.Bad != "" {
			return fmt.Errorf("passed on what is illegal: %s", s.Bad)
		}
	}
	for _, s := range o.Whole() {
		if s.Target == behindTarget {
			return fmt.Errorf("taken for requests: %s", short(o.Whole()))
		}
	}
	switch {
	case o.Bad != "":
		return fmt.Errorf("answered with what is illegal: %s", o.Bad)
	case o.After != "":
		return fmt.Errorf("another client was harmed: %s", o.After)
	case o.Busy:
		return errors.New("a request without an end is held against the function")
	}
	return nil
}

// sameReadings compares whole requests with what the function must see. Fields are compared only to the letter.
func sameReadings(want []Reading, got []Seen, letter bool) error {
	switch {
	case len(got) > len(want):
		return fmt.Errorf("taken for requests: %s", short(got))
	case len(got) < len(want):
		return fmt.Errorf("refused: %d of %d requests reached the function", len(got), len(want))
	}
	for i := range want {
		if err := sameReading(want[i], got[i], letter); err != nil {
			return err
		}
	}
	return nil
}

func sameReading(w Reading, s Seen, letter bool) error {
	if s.Method != w.Method || s.Target != w.Target || s.Body != w.Body {
		return fmt.Errorf("read otherwise: %s, not %.80q %.80q with %d bytes", short([]Seen{s}), w.Method, w.Target, len(w.Body))
	}
	if err := gone(w.Gone, s); err != nil {
		return err
	}
	if !letter {
		if w.Host != "" && hostName(s.Host) != hostName(w.Host) {
			return fmt.Errorf("read otherwise: host %q, not %q", s.Host, w.Host)
		}
		if w.AnyTrailer {
			return nil
		}
		return trailersAmong(w.Trailers, s)
	}
	if w.Host != "" && s.Host != w.Host {
		return fmt.Errorf("read otherwise: host %q, not %q", s.Host, w.Host)
	}
	if got := texts(s.Trailers); !slices.Equal(got, w.Trailers) {
		return fmt.Errorf("trailers %q, not %q", got, w.Trailers)
	}
	if slices.ContainsFunc(s.Fields, Field.hasControl) {
		return errors.New("passed on what is illegal: a control byte in a value")
	}
	lines := texts(s.Fields)
	for _, line := range w.Lines {
		if !slices.Contains(lines, line) {
			return fmt.Errorf("no field %q among %q", line, lines)
		}
	}
	return nil
}

// gone looks for fields that must not have come this far.
func gone(names []string, s Seen) error {
	for _, f := range slices.Concat(s.Fields, s.Trailers) {
		for _, name := range names {
			if strings.EqualFold(f.Name, name) {
				return fmt.Errorf("let through: field %q", f.String())
			}
		}
	}
	return nil
}

// trailersAmong allows trailers to be dropped, but not to become fields or to be invented.
func trailersAmong(want []string, s Seen) error {
	for _, t := range s.Trailers {
		if !slices.ContainsFunc(want, func(line string) bool { return strings.EqualFold(line, t.String()) }) {
			return fmt.Errorf("let through: trailer %q", t.String())
		}
	}
	for _, f := range s.Fields {
		if slices.Contains(want, f.String()) {
			return fmt.Errorf("merged: trailer %q became a field", f.String())
		}
	}
	return nil
}

// hostName is a host in small letters, without its port and a dot at its end.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func texts(fields []Field) (lines []string) {
	for _, f := range fields {
		lines = append(lines, f.String())
	}
	return lines
}

func exactAnswers(c Case, o Outcome) error {
	if c.Silent {
		if len(o.Raw) > 0 {
			return fmt.Errorf("answer %.80q instead of silence", o.Raw)
		}
		return nil
	}
	if got := statusesOf(o); !slices.Equal(got, c.Status) || o.Rest.Status != 0 {
		return fmt.Errorf("answers %v and %d in part, not %v", got, o.Rest.Status, c.Status)
	}
	if len(o.Answers) == 0 {
		return nil
	}
	last := o.Answers[len(o.Answers)-1]
	if got := last.Value("Fnpod-Error"); got != c.Reason {
		return fmt.Errorf("reason %q, not %q", got, c.Reason)
	}
	if c.Must == Refuse && !strings.EqualFold(last.Value("Connection"), "close") {
		return errors.New("the answer does not say that the connection ends")
	}
	lines := texts(last.Fields)
	for _, line := range c.Fields {
		if !slices.Contains(lines, line) {
			return fmt.Errorf("no field %q in the answer: %q", line, lines)
		}
	}
	for _, name := range c.Absent {
		if last.Value(name) != "" {
			return fmt.Errorf("field %s: %q in the answer", name, last.Value(name))
		}
	}
	if c.Must == Fault {
		return nil
	}
	return sameBodies(c, o)
}

func statusesOf(o Outcome) (all []int) {
	for _, a := range o.Answers {
		all = append(all, a.Status)
	}
	return all
}

// sameBodies compares the answers that are the function's own: each must belong to its request.
func sameBodies(c Case, o Outcome) error {
	want := c.Bodies
	if want == nil {
		for _, r := range c.Reads {
			if c.Must == Fault {
				break
			}
			body := r.Method + " " + r.Target
			if r.Method == "HEAD" {
				body = ""
			}
			want = append(want, body)
		}
	}
	for i := range min(len(want), len(o.Answers)) {
		if got := o.Answers[i].Body; got != want[i] {
			return fmt.Errorf("answered otherwise: body %d is %.80q, not %.80q", i+1, got, want[i])
		}
	}
	return nil
}

// exactCut allows silence: a client that is gone reads no answer.
func exactCut(c Case, o Outcome) error {
	if len(o.Answers) == len(c.Reads) && o.Rest.Status == 0 {
		return nil
	}
	if c.Silent {
		return fmt.Errorf("answers %v instead of silence", statusesOf(o))
	}
	return exactAnswers(c, o)
}

// exactCutAnswer allows that the bad part came together with the first: then there is still time for a status.
func exactCutAnswer(c Case, o Outcome) error {
	switch {
	case len(c.Script.Pieces) > 1 && len(o.Answers) == 1 && o.Answers[0].Status == 502 && o.Answers[0].Value("Fnpod-Error") == c.Reason:
		return nil
	case len(o.Answers) > 0:
		return fmt.Errorf("an answer that was cut looks whole: %.100q", o.Raw)
	case !o.Ended:
		return errors.New("the connection is still open")
	case o.Rest.Status != c.Status[0]:
		return fmt.Errorf("answer %d, not %d", o.Rest.Status, c.Status[0])
	}
	return nil
}

// Verdict is what Safe says.
type Verdict uint8

// Verdicts.
const (
	Held   Verdict = iota // as the case demands
	Chosen                // otherwise, where the standard leaves a choice, and without harm
	Failed
)

// Safe judges by safety alone, so that servers with other statuses, texts and additions can be compared. It asks:
//
//   - Refuse: of the last request no whole one reached the function (its head may have, where the body is at fault),
//     nothing behind it in the stream was taken for a request, and the client got a 4xx or 5xx, or the end of the
//     connection, at the latest when it ended its own side.
//   - Serve: the function saw exactly the requests in Reads: the same method and target, byte for byte, the same body, the
//     same host (its case and its port may differ), none of the fields in Gone, no trailer that was not sent or must be
//     dropped, no trailer among the fields; and the client got the same final statuses with the bodies that belong to
//     them. Whether the connection stays open is the server's choice, and so are interim answers.
//   - Cut: no whole request reached the function besides Reads, and the client got no 2xx or 3xx for it.
//   - Fault: the client got a 5xx or the end of the connection, and the function ran once.
//   - CutAnswer: the client did not see a whole answer.
//   - Always: nothing illegal was sent, to either side, and a request of another client afterwards gets its own answer.
//
// Where a case has a Choice, the server may decide otherwise, and the verdict is Chosen: it may refuse what must be served,
// or take what must be refused, provided that the function sees the readings in Else and no others; it may repair an answer
// that is a fault here, provided that the client sees the bodies in Bodies and the function ran once (or twice, where Else
// says so: a repeated request). What failed is said by the error; its words before the colon are the kind of failure.
func Safe(c Case, o Outcome) (Verdict, error) {
	err := safe(c, o)
	if err == nil {
		return Held, nil
	}
	if c.Choice != "" && chosen(c, o) == nil {
		return Chosen, nil
	}
	return Failed, err
}

func safe(c Case, o Outcome) error {
	if err := unharmed(o); err != nil {
		return err
	}
	if err := sameReadings(c.Reads, o.Whole(), false); err != nil {
		return fmt.Errorf("%w; %s", err, clientGot(o))
	}
	switch c.Must {
	case Refuse, Cut:
		for _, a := range o.Answers[min(len(c.Reads), len(o.Answers)):] {
			if a.Status < 400 {
				return fmt.Errorf("answered with %d", a.Status)
			}
		}
		return nil
	case Fault:
		for _, a := range o.Answers {
			if a.Status < 500 || a.Status > 599 {
				return fmt.Errorf("answered with %d", a.Status)
			}
		}
		return nil
	case CutAnswer:
		if len(o.Answers) > 0 && o.Answers[0].Status < 500 {
			return errors.New("made to look whole: an answer that was cut")
		}
		return nil
	case Serve:
		if got := statusesOf(o); !slices.Equal(got, c.Status) {
			return fmt.Errorf("answered otherwise: %v, not %v", got, c.Status)
		}
		return sameBodies(c, o)
	default:
		return nil
	}
}

// chosen is safe for the other decision: the opposite of what the case demands.
func chosen(c Case, o Outcome) error {
	switch c.Must {
	case Serve:
		refused, taken := c, c
		if c.Script != nil { // the function ran: it is its answer that may be given up
			if refused.Must = Fault; safe(refused, o) == nil {
				return nil
			}
		}
		refused.Must, refused.Reads, taken.Reads = Refuse, nil, c.Else
		if err := safe(refused, o); err == nil || c.Else == nil {
			return err
		}
		return safe(taken, o)
	case Refuse:
		for i := range o.Seen { // behind a request that was taken, the probe is a good request, too
			if s := &o.Seen[i]; s.Whole && s.Target == behindTarget && i > 0 {
				o.Seen = slices.Delete(slices.Clone(o.Seen), i, i+1)
				break
			}
		}
		if err := unharmed(o); err != nil {
			return err
		}
		return sameReadings(slices.Concat(c.Reads, c.Else), o.Whole(), false)
	case Fault, CutAnswer:
		if err := unharmed(o); err != nil {
			return err
		}
		if c.Else != nil && len(o.Whole()) != len(c.Reads) {
			c.Reads = c.Else
		}
		if err := sameReadings(c.Reads, o.Whole(), false); err != nil {
			return err
		}
		return sameBodies(c, o)
	default:
		return errors.New("no choice")
	}
}

func clientGot(o Outcome) string {
	switch {
	case len(o.Answers) > 0:
		return fmt.Sprintf("the client got %v", statusesOf(o))
	case o.Hung:
		return "the client got nothing"
	default:
		return "the connection was ended"
	}
}

// short describes requests in a line.
func short(seen []Seen) string {
	if len(seen) == 0 {
		return "none"
	}
	var all []string
	for _, s := range seen {
		text := fmt.Sprintf("%.40q %.60q", s.Method, s.Target)
		if s.Body != "" {
			text += fmt.Sprintf(" with %d bytes", len(s.Body))
		}
		all = append(all, text)
	}
	return strings.Join(all, ", then ")
}
