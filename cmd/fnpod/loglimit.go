package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// logRate is how many warnings and errors of one kind are logged in a second (rule M4).
const logRate = 10

// mostKinds bounds the memory for kinds. There are fewer: messages are constant and reasons a closed list.
const mostKinds = 256

// limitedLog is a slog.Handler that keeps warnings and errors of one kind to a rate: whoever can cause one can cause any
// number. What was left out is counted, and told of when its second is over. Information is as much as was asked for.
type limitedLog struct {
	slog.Handler
	*logLimit
}

// kind is what records have in common.
type kind struct{ message, reason string }

// logLimit is what all handlers of one log share.
type logLimit struct {
	out   slog.Handler // for what is told of
	total atomic.Uint64

	mu    sync.Mutex
	ends  time.Time    // guarded by mu: of the second that is counted
	kinds map[kind]int // guarded by mu: records in it
	timer *time.Timer  // guarded by mu: tells at its end; nil when there is nothing to tell
}

func limitLog(h slog.Handler) *limitedLog { return &limitedLog{h, &logLimit{out: h}} }

// WithAttrs implements slog.Handler.
func (l *limitedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limitedLog{l.Handler.WithAttrs(attrs), l.logLimit}
}

// WithGroup implements slog.Handler.
func (l *limitedLog) WithGroup(name string) slog.Handler {
	return &limitedLog{l.Handler.WithGroup(name), l.logLimit}
}

// functionLog is what a function logs itself, at any level it likes; its amount has another limit.
const functionLog = "function log"

// Handle implements slog.Handler.
func (l *limitedLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && r.Message != functionLog && !l.admit(r) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// admit counts a record and reports whether it is among the first of its second.
func (l *logLimit) admit(r slog.Record) bool {
	k := kind{message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "reason" {
			k.reason = a.Value.String()
		}
		return a.Key != "reason"
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.timer == nil && now.After(l.ends) { // else the timer begins the next second
		l.ends, l.kinds = now.Add(time.Second), map[kind]int{}
	}
	if _, known := l.kinds[k]; !known && len(l.kinds) >= mostKinds {
		k = kind{message: "records of other kinds"}
	}
	l.kinds[k]++
	if l.kinds[k] <= logRate {
		return true
	}
	l.total.Add(1)
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(l.ends), l.tell)
	}
	return false
}

// tell logs what was left out so far.
func (l *logLimit) tell() {
	l.mu.Lock()
	kinds := l.kinds
	l.kinds, l.ends = map[kind]int{}, time.Now().Add(time.Second)
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.mu.Unlock()
	for k, n := range kinds {
		if n <= logRate {
			continue
		}
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log records were left out: there were too many", 0)
		r.AddAttrs(slog.String("message", k.message))
		if k.reason != "" {
			r.AddAttrs(slog.String("reason", k.reason))
		}
		r.AddAttrs(slog.Int("count", n-logRate))
		_ = l.out.Handle(context.Background(), r) // there is nobody else to tell
	}
}
