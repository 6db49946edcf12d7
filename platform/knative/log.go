package knative

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Log says how log lines are written.
type Log struct {
	Level   slog.Level
	Stdout  bool   // else they go to standard error
	Warning string // what is wrong with SERVING_LOGGING_CONFIG and was left out; usually empty

	names   map[string]string // of keys, by slog's; "" leaves one out
	logger  string            // key of the logger's name
	capital bool              // levels are in capital letters
	layout  string            // of times; "" is seconds since 1970
}

// logConfig is as much of zap's configuration as there is a use for.
type logConfig struct {
	Level       string   `json:"level"`
	OutputPaths []string `json:"outputPaths"`
	Encoding    string   `json:"encoding"`
	Encoder     struct {
		Time         string `json:"timeKey"`
		Level        string `json:"levelKey"`
		Name         string `json:"nameKey"`
		Caller       string `json:"callerKey"`
		Message      string `json:"messageKey"`
		LevelEncoder string `json:"levelEncoder"`
		TimeEncoder  string `json:"timeEncoder"`
	} `json:"encoderConfig"`
}

// timeLayouts are zap's; what is not there is written in seconds.
var timeLayouts = map[string]string{
	"iso8601": "2006-01-02T15:04:05.000Z0700", "ISO8601": "2006-01-02T15:04:05.000Z0700",
	"rfc3339": time.RFC3339, "RFC3339": time.RFC3339,
	"rfc3339nano": time.RFC3339Nano, "RFC3339Nano": time.RFC3339Nano,
}

// zapLevels are levels by their names; those above error end a program that uses them, and ours does not.
var zapLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	"dpanic": slog.LevelError, "panic": slog.LevelError, "fatal": slog.LevelError,
}

// Log returns how the settings want it. What they cannot mean is left out with a warning: logs are no reason not to serve.
func (s *Settings) Log() Log {
	l := Log{
		names:  map[string]string{slog.TimeKey: "timestamp", slog.LevelKey: "severity", slog.SourceKey: "caller", slog.MessageKey: "message"},
		logger: "logger", capital: true, layout: time.RFC3339Nano,
	}
	if s.LoggingConfig != "" {
		var c logConfig
		if err := json.Unmarshal([]byte(s.LoggingConfig), &c); err != nil {
			l.Warning = "SERVING_LOGGING_CONFIG: " + err.Error()
		} else {
			l.configure(&c)
		}
	}
	if level, ok := zapLevels[strings.ToLower(s.LoggingLevel)]; ok && s.LoggingLevel != "" {
		l.Level = level
	}
	return l
}

func (l *Log) configure(c *logConfig) {
	e := &c.Encoder
	l.names = map[string]string{slog.TimeKey: e.Time, slog.LevelKey: e.Level, slog.SourceKey: e.Caller, slog.MessageKey: e.Message}
	l.logger, l.layout = e.Name, timeLayouts[e.TimeEncoder]
	l.capital = strings.HasPrefix(e.LevelEncoder, "capital") || e.LevelEncoder == "" && e.Level == "severity"
	l.Stdout = slices.Contains(c.OutputPaths, "stdout")
	level, ok := zapLevels[strings.ToLower(c.Level)]
	l.Level = level
	if !ok {
		l.Warning = fmt.Sprintf("SERVING_LOGGING_CONFIG: level %q: is none of zap's", c.Level)
	}
	if cmp.Or(c.Encoding, "json") != "json" {
		l.Warning = fmt.Sprintf("SERVING_LOGGING_CONFIG: encoding %q: is not there; lines are JSON", c.Encoding)
	}
}

// Handler writes records as lines of JSON; each says whose revision and pod it is about.
func (l *Log) Handler(w io.Writer, s *Settings) slog.Handler {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l.Level, AddSource: l.names[slog.SourceKey] != "", ReplaceAttr: l.replace})
	attrs := []slog.Attr{
		slog.String("knative.dev/key", s.Namespace+"/"+s.Revision), //nolint:sloglint // the name that others look for
		slog.String("knative.dev/pod", s.Pod),                      //nolint:sloglint // likewise
	}
	if l.logger != "" {
		attrs = append([]slog.Attr{slog.String(l.logger, "queueproxy")}, attrs...)
	}
	return h.WithAttrs(attrs)
}

// replace gives the facts that every record has the names and forms that were asked for, and errors the name that zap has
// for them.
func (l *Log) replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	name, known := l.names[a.Key]
	switch v := a.Value.Any().(type) {
	case time.Time:
		if a.Key == slog.TimeKey {
			a.Value = l.time(v)
		}
	case slog.Level:
		text := strings.ToLower(v.String())
		if l.capital {
			text = v.String()
		}
		a.Value = slog.StringValue(text)
	case *slog.Source:
		dir, file := path.Split(v.File)
		a.Value = slog.StringValue(path.Join(path.Base(dir), file) + ":" + strconv.Itoa(v.Line))
	case error:
		if a.Key == "err" {
			a.Key = "error"
		}
	}
	switch {
	case known && name == "":
		return slog.Attr{}
	case known:
		a.Key = name
	}
	return a
}

func (l *Log) time(t time.Time) slog.Value {
	if l.layout == "" {
		return slog.Float64Value(float64(t.UnixNano()) / float64(time.Second))
	}
	return slog.StringValue(t.UTC().Format(l.layout))
}
