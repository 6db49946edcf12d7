package proxy

import (
	"errors"

	"github.com/fnpod/fnpod/metrics"
	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/queue"
)

// Errors by which a request ends. A Backend may return them or its own, for which
// Parts.Statuses says how they are answered.
var (
	ErrClientGone    = errors.New("client is gone")
	ErrTimeout       = errors.New("request ran longer than --timeout")
	ErrAnswerTimeout = errors.New("answer did not begin within --answer-timeout")
	ErrDraining      = errors.New("pod is draining")
	ErrBadAnswer     = errors.New("unusable answer")
)

var (
	errIdle         = errors.New("connection was idle too long")
	errHungUp       = errors.New("client has ended its side")
	errSleep        = errors.New("connection is idle and may sleep")
	errHeadTimeout  = errors.New("request head took longer than --head-timeout")
	errBodyTimeout  = errors.New("request body stalled longer than --body-timeout")
	errBodyTooLarge = errors.New("request body is larger than --max-body")
	errTunnelIdle   = errors.New("tunnel was idle longer than --tunnel-idle-timeout")
	errCut          = errors.New("request ended before its body did")
	errPanic        = errors.New("panic in the request's path")

	errConnect       = errors.New("function does not accept connections")
	errStale         = errors.New("idle connection was closed or held bytes nobody asked for")
	errFunctionEnded = errors.New("function has ended")
	errEarlyClose    = errors.New("function closed the connection before it answered")
	errReset         = errors.New("function reset the connection")
	errCutAnswer     = errors.New("answer of the function was cut")
)

// Status says how an error is answered and counted. Reject or Upstream may be
// zero; Label goes into the Fnpod-Error field, from a closed list.
type Status struct {
	Err        error // nil: in Parts.Statuses, for what has the Label already
	Code       int   // 0: in Parts.Statuses, that of the Label already
	Label      string
	Reject     metrics.RejectReason
	Upstream   metrics.UpstreamReason
	RetryAfter bool // the client may come again: say when

	// A platform may have its own words:
	Text   string // the whole body; "" means that of a Public error, or nothing
	Fields string // fields instead of Content-Type and Fnpod-Error, each "Name: value\r\n"

	text string
}

// Public is an error with a text that the client may read. All other errors are
// answered with the Label alone (rule M6).
type Public interface {
	error
	Public() string
}

// statuses is the only place where an error becomes a code.
var statuses = []Status{
	{Err: queue.ErrFull, Code: 503, Label: "queue_full", Reject: metrics.RejectQueueFull, RetryAfter: true},
	{Err: queue.ErrLate, Code: 503, Label: "queue_late", Reject: metrics.RejectQueueTimeout, RetryAfter: true},
	{Err: queue.ErrTimeout, Code: 503, Label: "queue_timeout", Reject: metrics.RejectQueueTimeout, RetryAfter: true},
	{Err: queue.ErrClosed, Code: 503, Label: "draining", Reject: metrics.RejectDraining, RetryAfter: true},
	{Err: ErrDraining, Code: 503, Label: "draining", Reject: metrics.RejectDraining, RetryAfter: true},
	{Err: ErrTimeout, Code: 504, Label: "timeout", Upstream: metrics.UpstreamTimeout},
	{Err: ErrAnswerTimeout, Code: 504, Label: "timeout", Upstream: metrics.UpstreamTimeout},
	{Err: errHeadTimeout, Code: 408, Label: "timeout_head", Reject: metrics.RejectTimeoutHead},
	{Err: errBodyTimeout, Code: 408, Label: "timeout_body", Reject: metrics.RejectTimeoutBody},
	{Err: errBodyTooLarge, Code: 413, Label: "body_size", Reject: metrics.RejectBodySize},
	{Err: errCut, Code: 400, Label: "cut", Reject: metrics.RejectCut},
	{Err: errNoRoom, Code: 503, Label: "conn_limit", Reject: metrics.RejectConnLimit, RetryAfter: true},
	{Err: errConnect, Code: 502, Label: "connect", Upstream: metrics.UpstreamConnect, RetryAfter: true},
	{Err: errFunctionEnded, Code: 502, Label: "early_close", Upstream: metrics.UpstreamEarlyClose},
	{Err: errEarlyClose, Code: 502, Label: "early_close", Upstream: metrics.UpstreamEarlyClose},
	{Err: errReset, Code: 502, Label: "reset", Upstream: metrics.UpstreamReset},
	{Err: errCutAnswer, Code: 502, Label: "cut", Upstream: metrics.UpstreamCut},
	{Err: ErrBadAnswer, Code: 502, Label: "malformed", Upstream: metrics.UpstreamMalformed},
	{Err: errPanic, Code: 500, Label: "panic", Upstream: metrics.UpstreamPanic},
}

// statusOf finds the answer to err.
func (s *Server) statusOf(err error) Status {
	if malformed, ok := errors.AsType[*http1.Error](err); ok {
		return s.inOwnWords(ofCodec(malformed))
	}
	for i := range s.statuses {
		if e := s.statuses[i].Err; e != nil && errors.Is(err, e) {
			return s.inOwnWords(s.statuses[i])
		}
	}
	return s.inOwnWords(Status{Code: 500, Label: "internal"})
}

// inOwnWords lets a platform decide about the code and the words of a status by its label.
func (s *Server) inOwnWords(st Status) Status {
	for i := range s.statuses {
		if o := &s.statuses[i]; o.Err == nil && o.Label == st.Label {
			st.Text, st.Fields = o.Text, o.Fields
			if o.Code != 0 {
				st.Code = o.Code
			}
			break
		}
	}
	return st
}

func ofCodec(e *http1.Error) Status {
	st := Status{Err: e, Code: e.Status, Label: e.Reason.String()}
	if e.Status == 502 {
		st.Upstream, _ = metrics.ParseUpstreamReason(st.Label)
	} else {
		st.Reject, _ = metrics.ParseRejectReason(st.Label)
	}
	return st
}

// fail answers a request that ended with err and reports whether the connection
// can go on. When the answer has begun, there is no way back: the connection is
// cut, so that the answer does not look whole (P11).
func (x *Exchange) fail(err error) (keep bool) {
	c := x.c
	if errors.Is(err, ErrClientGone) {
		if x.answer.committed {
			c.abort()
		}
		return false
	}
	st := c.srv.statusOf(err)
	if st.Upstream != 0 {
		c.shard.UpstreamErrors[st.Upstream].Add(1)
		x.logFault(st, err)
	}
	if x.answer.committed {
		if !x.endGRPC(st) {
			c.abort()
		}
		return false
	}
	if st.Reject != 0 {
		c.shard.Rejected[st.Reject].Add(1)
	}
	if public, ok := errors.AsType[Public](err); ok {
		st.text = public.Public()
	}
	keep = x.body.done && x.body.err == nil && x.req.KeepAlive
	x.req.KeepAlive = keep
	x.writeError(st)
	return keep && x.answer.keep && x.answer.finished
}

// body is what the client reads.
func (st *Status) body() string {
	switch {
	case st.Text != "":
		return st.Text
	case st.text != "" && st.Fields != "": // it is the platform's, to the last byte
		return st.text
	case st.text != "":
		return st.text + "\n"
	case st.Fields != "": // whose platform gives this status no words
		return ""
	default:
		return st.Label + "\n"
	}
}

// refuse answers a request that never got as far as the queue, and counts it.
func (x *Exchange) refuse(err error) {
	st, shard := x.c.srv.statusOf(err), x.c.shard
	shard.Rejected[st.Reject].Add(1)
	x.answer.reset()
	x.writeError(st)
	shard.Accepted.Add(1)
	shard.Answered[st.Code/100].Add(1)
}

// writeError writes our own answer: a short fixed text, nothing of the error
// itself (rule M6), and a field that says who answered and why.
func (x *Exchange) writeError(st Status) {
	if stream := x.c.stream; stream != nil && stream.grpc {
		x.writeGRPCError(st)
		return
	}
	a := &x.answer
	a.reset()
	a.ours = true
	x.Respond(st.Code, 0)
	if st.Fields != "" {
		a.out = append(a.out, st.Fields...)
	} else {
		a.out = append(a.out, "Content-Type: text/plain; charset=utf-8\r\nFnpod-Error: "...)
		a.out = append(a.out, st.Label...)
		a.out = append(a.out, '\r', '\n')
		a.out = x.c.srv.appendLimit(a.out, st.Label)
	}
	if st.RetryAfter {
		a.out = appendRetryAfter(a.out, x.c.srv.queue.RetryAfter())
	}
	if st.Code == 405 {
		a.out = append(a.out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"...)
	}
	text := st.body()
	a.length = int64(len(text))
	if a.noBody {
		a.length = unknownLength
	}
	x.endHead(nil)
	if !a.noBody {
		a.out = append(a.out, text...)
		a.sent = int64(len(text))
	}
	a.finished = true
	if x.flush() != nil {
		a.keep = false
	}
}
