package watchdog

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// MaxLine is the length in bytes at which a line of output is cut.
const MaxLine = 16 << 10

// leastCost is what the shortest line costs of the rate, in bytes: a record is
// made of each.
const leastCost = 64

// Line is one line of output. It is passed by value; Text is not.
type Line struct {
	// Stream tells where the process wrote it.
	Stream Stream
	// Text is the line without its newline. It may hold any bytes and is
	// valid only during the call.
	Text []byte
	// Cut tells that the line was longer than MaxLine; the rest was skipped.
	Cut bool
	// Dropped counts the bytes of this stream that were left out right before
	// this line because the process wrote faster than Config.OutputRate. After
	// the last line of a stream, what was dropped since comes as a Line
	// without Text.
	Dropped int64
}

// Log makes a log record of the line. requestID is that of the request in which it was
// written, "" if there was none.
func (l Line) Log(log *slog.Logger, requestID string) {
	attrs := make([]slog.Attr, 0, 5)
	attrs = append(attrs, slog.String("stream", l.Stream.String()))
	if len(l.Text) > 0 || l.Dropped == 0 {
		attrs = append(attrs, slog.String("line", string(l.Text)))
	}
	if requestID != "" {
		attrs = append(attrs, slog.String("request_id", requestID))
	}
	if l.Cut {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	if l.Dropped > 0 {
		attrs = append(attrs, slog.Int64("dropped_bytes", l.Dropped))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "function output", attrs...)
}

// buffer holds a line that is not complete yet and what is read behind it.
type buffer [2 * MaxLine]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// lines cuts one stream into lines, in constant memory.
type lines struct {
	output  *output
	stream  Stream
	buf     *buffer
	n       int   // bytes in buf; at most MaxLine between reads
	skip    bool  // the line was cut: skip to its end
	dropped int64 // bytes since the last line that was handed on
	deaf    bool  // Config.Output panicked; from then on everything is dropped
}

// space returns where the next bytes belong. It is never empty.
func (l *lines) space() []byte { return l.buf[l.n:] }

// add takes n bytes that were read into space.
func (l *lines) add(n int) {
	rest := l.buf[:l.n+n]
	from := l.n // what was there before holds no newline
	now := time.Now()
	for {
		i := bytes.IndexByte(rest[from:], '\n')
		if i < 0 {
			break
		}
		l.line(rest[:from+i], now)
		rest, from = rest[from+i+1:], 0
	}
	switch {
	case l.skip:
		rest = nil
	case len(rest) > MaxLine:
		l.emit(rest[:MaxLine], true, now)
		l.skip = true
		rest = nil
	}
	l.n = copy(l.buf[:], rest)
}

// line takes a line that has come to its end.
func (l *lines) line(text []byte, now time.Time) {
	switch {
	case l.skip:
		l.skip = false
	case len(text) > MaxLine:
		l.emit(text[:MaxLine], true, now)
	default:
		l.emit(text, false, now)
	}
}

// end takes what is left when the stream is closed.
func (l *lines) end() {
	if l.n > 0 && !l.skip {
		l.emit(l.buf[:l.n], false, time.Now())
	}
	if l.dropped > 0 {
		l.call(Line{Stream: l.stream, Dropped: l.dropped})
	}
}

// emit hands a line on if the rate allows it.
func (l *lines) emit(text []byte, cut bool, now time.Time) {
	size := int64(len(text)) + 1
	if l.deaf || !l.output.rate.take(max(size, leastCost), now) {
		l.dropped += size
		l.output.dropped.Add(size)
		return
	}
	dropped := l.dropped
	l.dropped = 0
	l.call(Line{Stream: l.stream, Text: text, Cut: cut, Dropped: dropped})
}

// call survives a panic in the handler: the process must still be read.
func (l *lines) call(line Line) {
	defer func() {
		if v := recover(); v != nil {
			l.deaf = true
			l.output.failed(v)
		}
	}()
	if !l.deaf {
		l.output.deliver(line)
	}
}
