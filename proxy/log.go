package proxy

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// faultRate is how many records per second and label are written (rule M4).
const faultRate = 10

// faultLog writes one record per request that the function failed, up to a rate.
type faultLog struct {
	log *slog.Logger

	mu     sync.Mutex
	second int64          // guarded by mu
	counts map[string]int // guarded by mu: records in this second, by label
}

// report logs a fault of the function. Counters stay exact; records do not.
func (f *faultLog) report(x *Exchange, st Status, err error) {
	dropped, ok := f.admit(st.Label, time.Now().Unix())
	if dropped > 0 {
		f.log.Warn("faults not logged", "count", dropped)
	}
	if !ok {
		return
	}
	f.log.Warn("request failed", "request_id", x.ID(), "reason", st.Label, "status", st.Code, "err", err)
}

// admit decides about one record. dropped is how many the second before lost.
func (f *faultLog) admit(label string, second int64) (dropped int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if second != f.second || f.counts == nil {
		for _, n := range f.counts {
			dropped += max(n-faultRate, 0)
		}
		f.second, f.counts = second, map[string]int{}
	}
	f.counts[label]++
	return dropped, f.counts[label] <= faultRate
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
}

// observe notes how long the request took.
func (x *Exchange) observe(end int64) {
	x.c.shard.Duration.Observe(time.Duration(end - x.arrived))
	if x.granted > 0 {
		x.c.shard.RunTime.Observe(time.Duration(end - x.granted))
		x.c.srv.queue.Observe(time.Duration(end - x.granted))
	}
}

// logAccess writes what came and what went. Text of the client is cut here and
// escaped by the handler of the log (rule M3).
func (x *Exchange) logAccess(end int64, err error) {
	attrs := []any{
		"request_id", x.ID(), "peer", x.c.peer, "method", string(clip(x.req.Method)),
		"target", string(x.req.Target[:min(len(x.req.Target), 512)]), "status", x.answer.status,
		"bytes_in", x.body.total, "bytes_out", x.answer.sent,
		"wait_ms", milliseconds(max(x.granted-x.arrived, 0)), "total_ms", milliseconds(end - x.arrived),
	}
	if err != nil {
		attrs = append(attrs, "err", err.Error())
	}
	x.c.srv.log.Info("request", attrs...)
}

func milliseconds(ns int64) float64 { return float64(ns/1000) / 1000 }
