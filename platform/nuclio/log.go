package nuclio

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// LogSink says how log lines are written, and which.
type LogSink struct {
	Level    slog.Level
	JSON     bool
	Group    string // key of all facts; empty: they lie beside the message
	Time     string // key of the time
	ISO      bool   // time as text, else as milliseconds since 1970
	sinkName string
}

// LevelOf reads the name of a level as the original does: what is none of its words is debug.
func LevelOf(name string) slog.Level {
	switch strings.ToLower(name) {
	case "info":
		return slog.LevelInfo
	case "warn", "warning":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelDebug
	}
}

// logs finds out where log lines go.
func (s *Settings) logs() error {
	bound := s.Logger.Functions
	if len(bound) == 0 {
		bound = []SinkLevel{{Level: "debug"}}
	}
	switch own := s.Spec.LoggerSinks; {
	case len(own) == 1 && own[0].Sink == "":
		bound = slices.Clone(bound)
		for i := range bound {
			bound[i].Level = own[0].Level
		}
	case len(own) > 0:
		bound = own
	}
	for _, b := range bound {
		sink, ok := s.Logger.Sinks[b.Sink]
		if !ok && (b.Sink != "" && b.Sink != "stdout") {
			return fmt.Errorf("logger sink %q: there is no such sink", b.Sink)
		}
		if ok && sink.Kind != "stdout" {
			return fmt.Errorf("logger.sinks.%s.kind %q: is not there; use stdout", b.Sink, sink.Kind)
		}
		l, err := newSink(sink.Attributes)
		if err != nil {
			return fmt.Errorf("logger.sinks.%s: %w", b.Sink, err)
		}
		l.Level, l.sinkName = LevelOf(b.Level), b.Sink
		s.Sinks = append(s.Sinks, l)
	}
	return nil
}

func newSink(a Attributes) (LogSink, error) {
	l := LogSink{Time: "time"}
	encoding, err := a.Text("encoding")
	if err != nil {
		return l, err
	}
	l.JSON = encoding == "json"
	if l.Group, err = a.Text("varGroupName"); err != nil {
		return l, err
	}
	if name, err := a.Text("timeFieldName"); err != nil {
		return l, err
	} else if name != "" {
		l.Time = name
	}
	zone, err := a.Text("timeFieldEncoding")
	l.ISO = zone == "iso8601"
	return l, err
}

// FunctionLog is the message of records that a function wrote by its logger: the attributes line, fields and worker are
// what it said. workers.Pool makes them.
const FunctionLog = "function log"

// handler writes records to all sinks. What a line consists of is known to lines.
type handler struct {
	out   *sync.Mutex // around w
	w     io.Writer
	sinks []LogSink
	name  string // of the logger
	attrs []slog.Attr
}

// NewHandler returns a handler of log records that writes to w as the sinks say.
func NewHandler(w io.Writer, sinks []LogSink) slog.Handler {
	return &handler{out: &sync.Mutex{}, w: w, sinks: sinks, name: "processor"}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	return slices.ContainsFunc(h.sinks, func(s LogSink) bool { return l >= s.Level })
}

// WithAttrs implements slog.Handler. The attribute logger is the name of the logger.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		if a.Key == "logger" {
			next.name = a.Value.String()
			continue
		}
		next.attrs = append(next.attrs, a)
	}
	return &next
}

// WithGroup implements slog.Handler; nobody of ours groups.
func (h *handler) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	l := line{time: r.Time, level: r.Level, name: h.name, message: r.Message, function: r.Message == FunctionLog}
	for _, a := range h.attrs {
		l.add(a)
	}
	r.Attrs(func(a slog.Attr) bool {
		l.add(a)
		return true
	})
	h.out.Lock()
	defer h.out.Unlock()
	for _, s := range h.sinks {
		if r.Level < s.Level {
			continue
		}
		if _, err := h.w.Write(l.in(s)); err != nil {
			return err
		}
	}
	return nil
}

// line is what one line of the log says.
type line struct {
	time    time.Time
	level   slog.Level
	name    string
	message string
	facts   []fact

	function bool // it is the function's
}

type fact struct {
	name  string
	value json.RawMessage
}

// add takes an attribute of a record. A function's own facts come as one text that is JSON already.
func (l *line) add(a slog.Attr) {
	v := a.Value.Resolve()
	if l.function {
		switch a.Key {
		case "request_id", "worker":
			return
		case "fields":
			for _, f := range v.Group() {
				switch f.Key {
				case "logger":
					l.name = f.Value.String()
				case "message":
					l.message = f.Value.String()
				default:
					l.facts = append(l.facts, fact{f.Key, rawOr(f.Value.String())})
				}
			}
			return
		case "line":
			l.message = v.String()
			return
		}
	}
	if v.Kind() == slog.KindGroup {
		for _, f := range v.Group() {
			l.add(f)
		}
		return
	}
	l.facts = append(l.facts, fact{a.Key, jsonOf(v)})
}

// rawOr returns text that is JSON as it is, and other text as a string.
func rawOr(text string) json.RawMessage {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return jsonOf(slog.StringValue(text))
}

func jsonOf(v slog.Value) json.RawMessage {
	shown := v.Any()
	switch v.Kind() {
	case slog.KindDuration:
		shown = v.Duration().String()
	case slog.KindAny:
		if err, ok := shown.(error); ok {
			shown = err.Error()
		}
	default:
	}
	b, err := json.Marshal(shown)
	if err != nil {
		b, _ = json.Marshal(fmt.Sprint(shown)) // text always works
	}
	return b
}

// in writes the line as a sink has it.
func (l *line) in(s LogSink) []byte {
	if s.JSON {
		return append(l.object(s), '\n')
	}
	const nameWidth = 25
	name := l.name
	if len(name) > nameWidth {
		name = name[len(name)-nameWidth:]
	}
	b := l.time.AppendFormat(nil, "06.01.02 15:04:05.000")
	b = fmt.Appendf(b, " (%c) %*s %s ", strings.ToUpper(levelName(l.level))[0], nameWidth, name, oneLine(l.message))
	b = appendFacts(append(b, '{'), l.facts)
	return append(b, "}\n"...)
}

// oneLine keeps a message to its line.
func oneLine(text string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(text) }

// object writes the line as JSON.
func (l *line) object(s LogSink) []byte {
	stamp := json.RawMessage(fmt.Sprintf("%.3f", float64(l.time.UnixMicro())/1000))
	if s.ISO {
		stamp = jsonOf(slog.StringValue(l.time.UTC().Format("2006-01-02T15:04:05.000Z")))
	}
	facts := []fact{
		{"level", jsonOf(slog.StringValue(levelName(l.level)))},
		{s.Time, stamp},
		{"name", jsonOf(slog.StringValue(l.name))},
		{"message", jsonOf(slog.StringValue(l.message))},
	}
	if s.Group == "" {
		facts = append(facts, l.facts...)
	} else {
		facts = append(facts, fact{s.Group, append(appendFacts([]byte{'{'}, l.facts), '}')})
	}
	return append(appendFacts([]byte{'{'}, facts), '}')
}

func appendFacts(b []byte, facts []fact) []byte {
	for i, f := range facts {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, jsonOf(slog.StringValue(f.name))...), ": "...), f.value...)
	}
	return b
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	default:
		return "debug"
	}
}
