package workers

import (
	"context"
	"log/slog"

	"github.com/fnpod/fnpod/watchdog"
)

// outputLine passes on a line of standard output or standard error, or makes a log record of it.
func (w *worker) outputLine(l watchdog.Line) {
	if l.Dropped > 0 {
		w.pool.countDropped(l.Dropped)
	}
	if output := w.pool.cfg.Output; output != nil {
		output(l)
		return
	}
	l.Log(w.log, w.request.get())
}

func (p *Pool) countDropped(bytes int64) {
	p.mu.Lock()
	p.stats.Dropped += uint64(bytes)
	p.mu.Unlock()
}

// logFrame makes a log record of a LOG frame, unless the worker writes more than it may. What the function calls its
// facts stays apart from ours.
func (w *worker) logFrame(f *frame, requestID string) {
	level := levelOf(f.code)
	if !w.log.Enabled(context.Background(), level) {
		return
	}
	if size := len(f.meta) + len(f.body); !w.proc.Admit(size) { // rule W14
		w.unlogged += int64(size)
		w.pool.countDropped(int64(size))
		return
	}
	attrs := []slog.Attr{slog.String("line", string(f.body))}
	if w.unlogged > 0 {
		attrs = append(attrs, slog.Int64("dropped_bytes", w.unlogged))
		w.unlogged = 0
	}
	if requestID != "" {
		attrs = append(attrs, slog.String("request_id", requestID))
	}
	var fields []any
	for meta := f.meta; len(meta) > 0; {
		name, value, rest, ok := cutPair(meta)
		if !ok {
			break
		}
		fields = append(fields, slog.String(string(name), string(value)))
		meta = rest
	}
	if len(fields) > 0 {
		attrs = append(attrs, slog.Group("fields", fields...))
	}
	w.log.LogAttrs(context.Background(), level, "function log", attrs...)
}

// levelOf translates the code of a LOG frame.
func levelOf(code uint16) slog.Level {
	switch code {
	case 0:
		return slog.LevelDebug
	case 1:
		return slog.LevelInfo
	case 2:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}
