package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Runner plays cases against one server with one function behind it, one at a time.
type Runner struct {
	Addr     string
	Function *Function

	// Patience is how long a server that owes something may do nothing; 0 means two seconds.
	Patience time.Duration
	// NoProbeBehind leaves refused bytes without more bytes behind them: a server has to notice without help.
	NoProbeBehind bool
}

// Outcome is what came of a case.
type Outcome struct {
	Answers []Answer // final ones that are whole
	Interim []int    // interim ones
	Rest    Answer   // a last answer that is not whole
	Raw     []byte   // all that the client received
	Bad     string   // what in it no correct server sends
	Ended   bool     // the connection ended before the client ended it
	Reset   bool     // it ended with an error
	Hung    bool     // nothing happened until the client ended its side
	Again   bool     // the connection took another request and answered it

	Seen  []Seen // requests that the function saw, without probes
	Busy  bool   // the server still holds a request that has no end against the function
	After string // what was wrong with a request of another client afterwards; "" for nothing
}

// Whole returns the whole requests that the function saw.
func (o *Outcome) Whole() (whole []Seen) {
	for _, s := range o.Seen {
		if s.Whole {
			whole = append(whole, s)
		}
	}
	return whole
}

const (
	behind = "GET " + behindTarget + " HTTP/1.1\r\nHost: behind\r\nConnection: close\r\n\r\n"
	again  = "GET " + againTarget + " HTTP/1.1\r\nHost: h\r\n\r\n"
	after  = "GET " + afterTarget + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)

// Run plays one case. An error means that it could not be played at all.
func (r *Runner) Run(ctx context.Context, c Case) (o Outcome, err error) {
	r.Function.begin(c.Script)
	cl, err := dial(ctx, r.Addr)
	if err != nil {
		return o, err
	}
	r.send(cl, c)
	heads := make([]bool, 0, len(c.Reads))
	for _, reading := range c.Reads {
		heads = append(heads, reading.Method == "HEAD")
	}
	r.await(cl, c, heads, &o)
	in, end := cl.view()
	o.Ended = !o.Hung && end != nil
	o.Reset = end != nil && !errors.Is(end, io.EOF)
	cl.close()
	o.read(in, end, heads)
	r.settle(ctx, &o)
	return o, nil
}

func (r *Runner) patience(c Case) time.Duration {
	switch {
	case c.Class == Slow || c.Script != nil && c.Script.Hangs:
		return 6 * time.Second
	case r.Patience > 0:
		return r.Patience
	default:
		return 2 * time.Second
	}
}

// send writes what the client sends and ends its side as the case says.
func (r *Runner) send(cl *client, c Case) {
	for i, piece := range c.Send {
		switch {
		case i == 0:
		case c.Await != "":
			cl.until(r.patience(c), contains(c.Await))
		case len(c.Send) < 10:
			cl.until(pause, ended)
		}
		if i == len(c.Send)-1 && c.End == StaysOpen && (c.Must == Anything || c.Must == Refuse && !c.whole && !r.NoProbeBehind) {
			piece += behind
		}
		cl.write(piece)
	}
	if c.End == Resets { // otherwise the kernel may forget what was sent
		wait(100*time.Millisecond, r.Function.headSeen)
	}
	finish(cl.nc, c.End)
}

// await waits until everything has come that has to.
func (r *Runner) await(cl *client, c Case, heads []bool, o *Outcome) {
	patience := r.patience(c)
	switch {
	case c.End == Resets:
		return
	case (c.Must == Serve || c.Must == Fault) && c.Open:
		if !cl.until(patience, enough(len(c.Status), heads)) {
			return
		}
		wait(2*time.Second, r.Function.quiet) // what the function does besides answering is done
		cl.write(again)
		o.Again = cl.until(patience, enough(len(c.Status)+1, heads))
		return
	}
	if cl.until(patience, ended) {
		return
	}
	o.Hung = true
	finish(cl.nc, Closes)
	cl.until(patience, ended)
}

// enough is a condition for until: n answers are whole.
func enough(n int, heads []bool) func([]byte, error) bool {
	return func(in []byte, end error) bool {
		final, _, _, _ := answers(in, end, heads)
		return len(final) >= n
	}
}

func (o *Outcome) read(in []byte, end error, heads []bool) {
	var broken error
	o.Raw = in
	o.Answers, o.Interim, o.Rest, broken = answers(in, end, heads)
	if broken != nil {
		o.Bad = broken.Error()
	}
	if o.Again {
		last := len(o.Answers) - 1
		o.Again = last >= 0 && o.Answers[last].Status == 200 && o.Answers[last].Body == "GET "+againTarget
		o.Answers = o.Answers[:max(last, 0)]
	}
}

// settle waits until the server has done with the case, and asks as another client.
func (r *Runner) settle(ctx context.Context, o *Outcome) {
	o.Busy = !wait(2*time.Second, r.Function.quiet)
	o.After = r.askAfter(ctx)
	o.Seen = slices.DeleteFunc(slices.Clone(r.Function.take()), func(s Seen) bool {
		return s.Target == afterTarget || s.Target == againTarget && o.Again
	})
}

func (r *Runner) askAfter(ctx context.Context) string {
	cl, err := dial(ctx, r.Addr)
	if err != nil {
		return err.Error()
	}
	defer cl.close()
	cl.write(after)
	if !cl.until(2*time.Second, ended) {
		return "no answer"
	}
	in, end := cl.view()
	final, _, _, broken := answers(in, end, nil)
	switch {
	case broken != nil:
		return broken.Error()
	case len(final) != 1 || final[0].Status != 200 || final[0].Body != "GET "+afterTarget:
		return fmt.Sprintf("%.200q", in)
	}
	return ""
}

// wait looks until something is true, at most for the given time.
func wait(most time.Duration, ok func() bool) bool {
	for end := time.Now().Add(most); ; {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(time.Millisecond / 2) //nolint:forbidigo // nobody tells when another process has done something
	}
}
