package openfaas

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// StampLayout is that of Go's log package, which people and log shippers know from the original.
const StampLayout = "2006/01/02 15:04:05 "

// handler writes records as lines of text: when, what, and the facts behind it.
type handler struct {
	w     io.Writer
	attrs string
}

// NewHandler returns a handler of log records that writes as the original does.
func NewHandler(w io.Writer) slog.Handler { return handler{w: w} }

// Enabled implements slog.Handler.
func (h handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h handler) Handle(_ context.Context, r slog.Record) error {
	b := r.Time.AppendFormat(nil, StampLayout)
	b = append(b, r.Message...)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = append(b, fact(a)...)
		return true
	})
	_, err := h.w.Write(append(b, '\n'))
	return err
}

// Say writes a line of the watchdog's own, in the words of the original.
func Say(w io.Writer, format string, args ...any) {
	b := time.Now().AppendFormat(nil, StampLayout)
	_, _ = w.Write(append(fmt.Appendf(b, format, args...), '\n')) // there is nowhere to report it
}

// fact is " name=value", quoted where it would not be one word.
func fact(a slog.Attr) string {
	v := a.Value.Resolve().String()
	if v == "" || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' }) {
		v = strconv.QuoteToASCII(v)
	}
	return " " + a.Key + "=" + v
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += fact(a)
	}
	return h
}

// WithGroup implements slog.Handler; nobody of ours groups.
func (h handler) WithGroup(string) slog.Handler { return h }

// Lines says what becomes of long lines of the function: nothing of them is lost.
func (s *Settings) Lines() watchdog.LineRule {
	return watchdog.LineRule{Bytes: s.LogLineBytes, Split: true}
}

// LogLine writes a line of the function as the original does: with a stamp and the name of its stream, or bare.
func (s *Settings) LogLine(w io.Writer, l watchdog.Line) {
	var b []byte
	if s.PrefixLogs {
		b = time.Now().AppendFormat(b, StampLayout)
		b = append(append(b, l.Stream.String()...), ": "...)
	}
	b = append(b, l.Text...)
	_, _ = w.Write(append(b, '\n')) // there is nowhere to report it
}

// LogRequest writes the line of a request. Probes of kubelet have none.
func (s *Settings) LogRequest(w io.Writer, x *proxy.Exchange, o proxy.Outcome) {
	if agent, _ := x.Field("User-Agent"); strings.HasPrefix(string(agent), "kube-probe") {
		return
	}
	if s.Classic != nil {
		s.logClassic(w, x, o)
		return
	}
	s.logLine(w, x, o)
}

// logLine writes the line of a request as of-watchdog does.
func (s *Settings) logLine(w io.Writer, x *proxy.Exchange, o proxy.Outcome) {
	r, code := x.Request(), codeOf(o)
	if s.Mode == ModeStreaming && code == http.StatusOK && !o.Whole {
		code = http.StatusInternalServerError // who reads the log has no connection that was cut
	}
	b := make([]byte, 0, 160+len(r.Target)) // mostly enough
	b = time.Now().AppendFormat(b, StampLayout)
	b = append(proxy.AppendText(b, r.Method), ' ')
	b = append(proxy.AppendText(b, r.Target), " - "...)
	b = append(strconv.AppendInt(b, int64(code), 10), ' ')
	b = append(append(b, s.statusText(code)...), "- ContentLength: "...)
	b = append(strconv.AppendInt(b, o.Bytes, 10), "B ("...)
	b = append(strconv.AppendFloat(b, o.Took.Seconds(), 'f', 4, 64), "s)"...)
	if s.LogCallID {
		id, ok := x.Field("X-Call-Id")
		if !ok {
			id = []byte("none")
		}
		b = append(proxy.AppendText(append(b, " ["...), id), ']')
	}
	_, _ = w.Write(append(b, '\n')) // there is nowhere to report it
}

// statusText is in the lines of http mode only.
func (s *Settings) statusText(code int) string {
	if s.Mode != ModeHTTP {
		return ""
	}
	return http.StatusText(code) + " "
}
