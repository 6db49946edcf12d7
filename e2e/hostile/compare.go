package hostile

import (
	"errors"
	"fmt"
	"slices"
)

// Differ compares what two servers made of the same bytes. Where both let a request through, the function must have
// seen the same one: method, target, body. One of them may have refused what the other took, but it has to have said so
// or ended the connection.
func Differ(a, b Outcome) error {
	for _, s := range a.Seen {
		if s.Bad != "" {
			return fmt.Errorf("the first sent what is illegal: %s", s.Bad)
		}
	}
	if slices.ContainsFunc(b.Seen, func(s Seen) bool { return s.Bad != "" }) {
		return nil // the second is not judged
	}
	one, other := a.Whole(), b.Whole()
	for i := range min(len(one), len(other)) {
		if one[i].Method != other[i].Method || one[i].Target != other[i].Target || one[i].Body != other[i].Body {
			return fmt.Errorf("request %d: %s and %s", i+1, short(one[i:i+1]), short(other[i:i+1]))
		}
	}
	fewer := a
	if len(one) > len(other) {
		fewer = b
	}
	if len(one) != len(other) && !fewer.refused() {
		return errors.New("different numbers of requests, and none refused: " + short(one) + " and " + short(other))
	}
	return nil
}

// refused reports that the server said no, or nothing more.
func (o *Outcome) refused() bool {
	return len(o.Answers) <= len(o.Whole()) || o.Answers[len(o.Answers)-1].Status >= 400 || o.Bad != ""
}
