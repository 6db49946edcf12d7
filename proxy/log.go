package proxy

import (
	"errors"
	"slices"
	"strconv"
	"time"
)

// logFault writes one record for a request that the function failed. The handler
// of the log keeps them to a rate (rule M4); counters stay exact.
func (x *Exchange) logFault(st Status, err error) {
	x.c.srv.log.Warn("request failed", "request_id", x.ID(), "reason", st.Label, "status", st.Code, "err", err)
}

// account counts a request that has ended and writes its access log record.
func (x *Exchange) account(end int64, err error) {
	c, a := x.c, &x.answer
	switch {
	case a.finished && !c.aborted:
		c.shard.Answered[a.status/100].Add(1)
	case c.aborted && !errors.Is(err, ErrClientGone):
		c.shard.Aborted.Add(1)
	default:
		c.shard.ClientGone.Add(1)
	}
	if x.tunnel == nil { // a tunnel lasts as long as its client likes
		x.observe(end)
	}
	if x.granted > 0 {
		c.shard.QueueWait.Observe(time.Duration(x.granted - x.arrived))
		if err == nil || x.tunnel != nil {
			c.shard.FirstByte.Observe(time.Duration(x.answered - x.granted))
		}
	}
	if c.srv.cfg.AccessLog {
		x.logAccess(end, err)
	}
	if ended := c.srv.hooks.Ended; ended != nil {
		ended(x, Outcome{
			Status: a.status, Bytes: a.sent, Took: time.Duration(end - x.arrived), Err: err,
			Whole: a.finished && !c.aborted, Own: x.own,
		})
	}
}

// observe notes how long the request took.
func (x *Exchange) observe(end int64) {
	x.c.shard.Duration.Observe(time.Duration(end - x.arrived))
	if x.granted > 0 {
		x.c.shard.RunTime.Observe(time.Duration(end - x.granted))
		x.c.srv.queue.Observe(time.Duration(end - x.granted))
	}
}

// logAccess writes what came and what went.
func (x *Exchange) logAccess(end int64, err error) {
	attrs := []any{
		"request_id", x.ID(), "peer", x.c.peer, "method", quoted(x.req.Method),
		"target", quoted(x.req.Target), "status", x.answer.status,
		"bytes_in", x.body.total, "bytes_out", x.answer.sent,
		"wait_ms", milliseconds(max(x.granted-x.arrived, 0)), "total_ms", milliseconds(end - x.arrived),
	}
	if err != nil {
		attrs = append(attrs, "err", err.Error())
	}
	x.c.srv.log.Info("request", attrs...)
}

// mostText is how much of a client's text is logged.
const mostText = 512

// quoted makes a client's text fit for any log: everything that is not printable
// ASCII is escaped, and the rest is cut (rule M3).
func quoted(text []byte) string {
	text = text[:min(len(text), mostText)]
	plain := func(b byte) bool { return b >= 0x20 && b < 0x7f && b != '\\' }
	if !slices.ContainsFunc(text, func(b byte) bool { return !plain(b) }) {
		return string(text)
	}
	const hex = "0123456789abcdef"
	out := make([]byte, 0, 2*len(text))
	for _, b := range text {
		if plain(b) {
			out = append(out, b)
		} else {
			out = append(out, '\\', 'x', hex[b>>4], hex[b&15])
		}
	}
	return string(out)
}

// AppendText appends a client's text to b as quoted makes it fit for any log, escaped as in a Go string without its
// quotes: for lines that have a form of their own.
func AppendText(b, text []byte) []byte {
	text = text[:min(len(text), mostText)]
	if !slices.ContainsFunc(text, func(c byte) bool { return c < ' ' || c >= 0x7f || c == '"' || c == '\\' }) {
		return append(b, text...)
	}
	from := len(b)
	b = strconv.AppendQuoteToASCII(b, string(text))
	copy(b[from:], b[from+1:len(b)-1])
	return b[:len(b)-2]
}

func milliseconds(ns int64) float64 { return float64(ns/1000) / 1000 }
