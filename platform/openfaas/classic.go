package openfaas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/watchdog"
)

// Classic is what the classic watchdog adds to the settings: a process per request, whose output is kept.
type Classic struct {
	CombineOutput bool // standard error is part of the answer
	CGI           bool // requests become variables
	Marshal       bool // standard input is the request as JSON, not its body
	WriteDebug    bool // answers are printed, too
	DebugHeaders  bool // fields are printed
}

// ReadClassic is Read for the settings of the classic watchdog.
func ReadClassic(lookup func(name string) (string, bool)) (*Settings, error) {
	r := &reader{lookup: lookup, readFile: os.ReadFile}
	s := &Settings{Mode: ModeClassic, PrefixLogs: true, LogLineBytes: defaultLine}
	if text := r.raw("fprocess"); text != "" {
		s.Process = strings.Split(text, " ")
	} else {
		r.fail("fprocess %q: must be the command line of the function", text)
	}
	s.Port = r.classicNumber("port", defaultPort, 16)
	s.MetricsPort = r.port("metrics_port", metricsPort)
	s.ReadTimeout = r.duration("read_timeout", defaultTimeout)
	s.WriteTimeout = r.duration("write_timeout", defaultTimeout)
	s.ExecTimeout = r.duration("exec_timeout", 0)
	s.HealthInterval = r.duration("healthcheck_interval", s.WriteTimeout)
	s.ContentType = r.contentType("")
	s.MaxInflight = r.classicNumber("max_inflight", 0, 31)
	s.MaxBuffer = r.bytes("max_buffer", maxBuffer)
	s.KillOnLeave = r.flag("kill_on_disconnect")
	if !r.classicFlag("suppress_lock", false) {
		s.LockFile = r.lockFile()
	}
	s.Classic = &Classic{
		CombineOutput: r.classicFlag("combine_output", true),
		CGI:           r.classicFlag("cgi_headers", true),
		Marshal:       r.classicFlag("marshal_request", false),
		WriteDebug:    r.classicFlag("write_debug", false),
		DebugHeaders:  r.classicFlag("debug_headers", false),
	}
	s.JWT = r.jwt(func(name string) bool { return r.classicFlag(name, false) })
	s.Warnings = r.warnings
	return s, errors.Join(r.errs...)
}

// IsClassic guesses from the environment which of the two the image was made for: cgi_headers is no hint, since images
// for of-watchdog set it, too.
func IsClassic(lookup func(name string) (string, bool)) bool {
	set := func(name string) bool { _, ok := lookup(name); return ok }
	return !slices.ContainsFunc([]string{
		"mode", "function_process", "upstream_url", "http_upstream_url", "static_path", "ready_path", "prefix_logs", "log_buffer_size",
	}, set) && slices.ContainsFunc([]string{"combine_output", "marshal_request", "debug_headers", "write_debug"}, set)
}

// classicFlag knows one word for yes; an empty text is the default, everything else is no.
func (r *reader) classicFlag(name string, otherwise bool) bool {
	v := r.raw(name)
	if v == "" {
		return otherwise
	}
	return v == "true"
}

// classicNumber is the default for what is no number of so many bits, or a negative one.
func (r *reader) classicNumber(name string, otherwise, bits int) int {
	n, err := strconv.ParseUint(r.raw(name), 10, bits)
	if err != nil {
		return otherwise
	}
	return int(n)
}

func (r *reader) lockFile() string { return filepath.Join(r.text("TMPDIR", "/tmp"), ".lock") }

// answers reports a method that runs the function of the classic watchdog.
func (c *Classic) answers(method []byte) bool {
	switch string(method) {
	case "GET", "POST", "PUT", "PATCH", "DELETE":
		return true
	}
	return false
}

// variables are those of of-watchdog and some more, or none.
func (s *Settings) classicVariables(v *watchdog.Variables, x watchdog.Exchange) {
	if !s.Classic.CGI {
		return
	}
	r := x.Request()
	length := strconv.FormatInt(r.Length, 10) // -1 for a body in chunks
	v.SetText(prefix+"ContentLength", length)
	v.SetText(prefix+"Content_Length", length)
	if len(r.Host) > 0 {
		v.Set(prefix+"Host", r.Host)
	}
	s.requestVariables(v, x, "Content_Length", "Contentlength", "ContentLength")
}

// classicFields adds the type that is set, else that of the request. Without both, the body is looked at.
func (s *Settings) classicFields(x watchdog.Exchange) error {
	t := []byte(s.ContentType)
	if len(t) == 0 {
		for i := range x.Request().Fields {
			if f := &x.Request().Fields[i]; bytes.EqualFold(f.Name, []byte("Content-Type")) {
				t = f.Value
				break
			}
		}
	}
	if len(t) == 0 {
		return nil
	}
	return x.AddField([]byte("Content-Type"), t)
}

// classicStatuses says how those are answered whose process did not.
func (s *Settings) classicStatuses() []proxy.Status {
	const text = "Content-Type: text/plain; charset=utf-8\r\n"
	return []proxy.Status{
		{Code: http.StatusInternalServerError, Label: "function_error", Fields: text},
		{Code: http.StatusInternalServerError, Label: "not_started", Fields: text},
		outputTooLarge(text),
		{Code: http.StatusRequestTimeout, Label: "timeout", Text: "Killed process.\n", Fields: text},
	}
}

// Marshalled is a request whose body is the whole request as JSON.
type Marshalled struct {
	*proxy.Exchange

	body []byte
}

// Marshal makes the JSON of a request whose body is held.
func Marshal(x *proxy.Exchange) (*Marshalled, error) {
	body, _ := x.Body()
	var doc struct {
		Header http.Header `json:"header"`
		Body   struct {
			Raw []byte `json:"raw"`
		} `json:"body"`
	}
	doc.Header = canonical(x)
	doc.Body.Raw = append([]byte{}, body...) // "" and not null
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("marshal the request: %w", err)
	}
	return &Marshalled{x, text}, nil
}

// Body implements watchdog.Exchange.
func (m *Marshalled) Body() (whole []byte, ok bool) { return m.body, true }

// canonical returns the fields of a request as Go has them.
func canonical(x *proxy.Exchange) http.Header {
	h := http.Header{}
	for i := range x.Request().Fields {
		f := &x.Request().Fields[i]
		switch name := http.CanonicalHeaderKey(string(f.Name)); name {
		case "Host", "Transfer-Encoding":
		default:
			h[name] = append(h[name], string(f.Value))
		}
	}
	return h
}

// Printed is an answer that is printed, too.
type Printed struct {
	watchdog.Exchange

	To io.Writer
}

// Write implements watchdog.Exchange.
func (p *Printed) Write(b []byte) (int, error) {
	_, _ = p.To.Write(b) // there is nowhere to report it
	return p.Exchange.Write(b)
}

// PrintRequest prints the fields of a request.
func PrintRequest(w io.Writer, x *proxy.Exchange) { printFields(w, "in", canonical(x)) }

// PrintAnswer prints the fields of an answer's head.
func PrintAnswer(w io.Writer, head []byte) {
	h := http.Header{}
	for line := range bytes.Lines(head) {
		if name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(": ")); ok {
			h.Add(string(name), string(value))
		}
	}
	printFields(w, "out", h)
}

func printFields(w io.Writer, direction string, h http.Header) {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(h)) {
		b = fmt.Appendf(b, "[%s] %s=", direction, name)
		b = append(proxy.AppendText(b, []byte(fmt.Sprint(h[name]))), '\n')
	}
	_, _ = w.Write(b) // there is nowhere to report it
}

// logClassic writes the line of a request in the words of the classic watchdog. A failure, of which that has none, has
// the one of of-watchdog.
func (s *Settings) logClassic(w io.Writer, x *proxy.Exchange, o proxy.Outcome) {
	if !o.Whole || o.Err != nil || o.Own {
		s.logLine(w, x, o)
		return
	}
	b := time.Now().AppendFormat(nil, StampLayout)
	if !s.Classic.WriteDebug {
		b = fmt.Appendf(b, "Wrote %d Bytes - ", o.Bytes)
	}
	b = fmt.Appendf(b, "Duration: %fs\n", o.Took.Seconds())
	_, _ = w.Write(b) // there is nowhere to report it
}
