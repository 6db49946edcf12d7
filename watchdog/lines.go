package watchdog

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// MaxLine is the length in bytes at which a line of output is cut, unless
// LineRule says otherwise.
const MaxLine = 16 << 10

// mostLine bounds LineRule.Bytes.
const mostLine = 1 << 20

// LineRule says what becomes of long lines. The zero value cuts them at MaxLine.
type LineRule struct {
	// Bytes is the longest line: 0 means MaxLine; more than 1 MiB, and less than 0,
	// mean 1 MiB. One that is longer than Config.OutputRate is dropped.
	Bytes int
	// Split makes further lines of what is left of a longer one; else it is skipped.
	Split bool
}

func (r LineRule) bytes() int {
	switch {
	case r.Bytes == 0:
		return MaxLine
	case r.Bytes < 0:
		return mostLine
	default:
		return min(r.Bytes, mostLine)
	}
}

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
	// Cut tells that the line was longer than it may be; the rest was skipped, or
	// comes as the next line.
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
	rule    LineRule
	buf     *buffer
	n       int    // bytes in buf; at most MaxLine between reads
	long    []byte // the beginning of a line that buf has not room for
	skip    bool   // the line was cut: skip to its end
	dropped int64  // bytes since the last line that was handed on
	deaf    bool   // Config.Output panicked; from then on everything is dropped
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
	if !l.skip {
		rest = l.cut(rest, now)
	}
	if l.skip {
		rest = nil
	}
	l.n = copy(l.buf[:], rest)
}

// cut emits what is too long of a line that has not come to its end, and returns what is left and fits into buf.
func (l *lines) cut(rest []byte, now time.Time) []byte {
	most := l.rule.bytes()
	for len(l.long)+len(rest) > most {
		n := most - len(l.long)
		l.emit(l.join(rest[:n]), true, now)
		rest = rest[n:]
		if !l.rule.Split {
			l.skip = true
			return nil
		}
	}
	if len(l.long) > 0 || len(rest) > MaxLine {
		l.long = append(l.long, rest...)
		return nil
	}
	return rest
}

// line takes a line that has come to its end.
func (l *lines) line(text []byte, now time.Time) {
	if !l.skip {
		text = l.cut(text, now)
	}
	if l.skip {
		l.skip = false
		return
	}
	l.emit(l.join(text), false, now)
}

// join returns a line with its beginning, until the next call of join.
func (l *lines) join(text []byte) []byte {
	if len(l.long) == 0 {
		return text
	}
	whole := append(l.long, text...)
	if l.long = whole[:0]; cap(whole) > 4*MaxLine {
		l.long = nil // rare, and not worth its memory
	}
	return whole
}

// end takes what is left when the stream is closed.
func (l *lines) end() {
	if l.n+len(l.long) > 0 && !l.skip {
		l.emit(l.join(l.buf[:l.n]), false, time.Now())
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
