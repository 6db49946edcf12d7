package openfaas

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// Modes of of-watchdog.
const (
	ModeHTTP        = "http"
	ModeStreaming   = "streaming"
	ModeSerializing = "serializing"
	ModeStatic      = "static"
	ModeClassic     = "classic" // of the classic watchdog, which has no other
)

// Settings are what the environment says.
type Settings struct {
	Process     []string // argument vector; empty in static mode
	Mode        string   // one of the Mode constants
	Upstream    *url.URL // ModeHTTP only
	Port        int
	MetricsPort int

	ReadTimeout    time.Duration // 0 means no limit
	WriteTimeout   time.Duration // more than 0, or, in ModeClassic, 0 for no limit
	ExecTimeout    time.Duration // 0 means no limit
	HealthInterval time.Duration // how long to serve after SIGTERM while unhealthy

	ContentType  string
	BufferBody   bool
	MaxInflight  int   // 0 means no limit
	MaxBuffer    int64 // bytes of a body that is kept in memory; 0 means no limit
	SignalAtOnce bool  // the function gets SIGTERM with us, and not when its requests are done
	KillOnLeave  bool  // a process ends with its client; else it runs on, as long as it may
	ReadyPath    string
	StaticPath   string
	LockFile     string // "" when there is none
	PrefixLogs   bool
	LogCallID    bool
	LogLineBytes int      // longest line of the function; -1 means no limit
	Classic      *Classic // in ModeClassic alone
	JWT          *JWT     // nil: requests need no token

	Warnings []Warning
}

// Warning is a value that was read otherwise than it was probably meant.
type Warning struct {
	Setting, Value string
	Used           time.Duration
}

const (
	defaultTimeout = 30 * time.Second
	defaultPort    = 8080
	metricsPort    = 8081
	defaultLine    = 64 << 10
	maxBuffer      = 256 << 20
)

// Prefix is what goes before every target of a request: the path of the upstream.
func (s *Settings) Prefix() string { return strings.TrimSuffix(s.Upstream.EscapedPath(), "/") }

// reader reads the environment and collects what is wrong in it.
type reader struct {
	lookup   func(name string) (string, bool)
	readFile func(name string) ([]byte, error)
	errs     []error
	warnings []Warning
}

// Read reads the settings. The error joins one line for each value that cannot be used.
func Read(lookup func(name string) (string, bool)) (*Settings, error) {
	r := &reader{lookup: lookup, readFile: os.ReadFile}
	s := &Settings{}
	s.Mode = r.text("mode", ModeStreaming)
	s.Process = r.process(s.Mode)
	s.Upstream = r.upstream(s.Mode)
	s.Port = r.port("port", defaultPort)
	s.MetricsPort = r.port("metrics_port", metricsPort) // fixed in the original
	s.ReadTimeout = r.duration("read_timeout", defaultTimeout)
	s.WriteTimeout = r.duration("write_timeout", defaultTimeout)
	s.ExecTimeout = r.duration("exec_timeout", defaultTimeout)
	s.HealthInterval = r.duration("healthcheck_interval", s.WriteTimeout)
	if s.WriteTimeout == 0 {
		r.fail("write_timeout %q: must be more than 0", r.raw("write_timeout"))
	}
	s.ContentType = r.contentType("application/octet-stream")
	s.BufferBody = r.flag("http_buffer_req_body") || r.flag("buffer_http")
	s.MaxInflight = max(r.number("max_inflight"), 0)
	s.MaxBuffer = r.bytes("max_buffer", maxBuffer)
	s.KillOnLeave = r.flag("kill_on_disconnect")
	s.SignalAtOnce = r.flag("sigterm_at_once")
	s.ReadyPath = r.raw("ready_path")
	s.StaticPath = r.setOr("static_path", "/home/app/public")
	if s.Mode == ModeStatic && s.StaticPath == "" {
		r.fail("static_path %q: must be a directory", "")
	}
	if !r.flag("suppress_lock") {
		s.LockFile = r.lockFile()
	}
	s.PrefixLogs = r.loose("prefix_logs", true)
	s.LogCallID = r.loose("log_callid", false) || r.loose("log_call_id", false)
	s.LogLineBytes = r.lineBytes()
	s.JWT = r.jwt(r.flag)
	s.Warnings = r.warnings
	return s, errors.Join(r.errs...)
}

func (r *reader) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

// raw returns a value, "" if it is not set.
func (r *reader) raw(name string) string {
	v, _ := r.lookup(name)
	return v
}

// text returns a value that is not empty, or the default.
func (r *reader) text(name, otherwise string) string {
	if v := r.raw(name); v != "" {
		return v
	}
	return otherwise
}

// setOr returns a value, also an empty one, or the default if it is not set.
func (r *reader) setOr(name, otherwise string) string {
	if v, ok := r.lookup(name); ok {
		return v
	}
	return otherwise
}

// either returns the first of two names that is set, even if it is empty.
func (r *reader) either(first, second string) (name, value string) {
	if v, ok := r.lookup(first); ok {
		return first, v
	}
	return second, r.raw(second)
}

// process cuts the command line at every space, as the original does.
func (r *reader) process(mode string) []string {
	name, text := r.either("function_process", "fprocess")
	switch {
	case text != "":
		return strings.Split(text, " ")
	case mode == ModeStatic:
		return nil
	default:
		r.fail("%s %q: must be the command line of the function", name, text)
		return nil
	}
}

func (r *reader) upstream(mode string) *url.URL {
	switch mode {
	case ModeHTTP:
	case ModeStreaming, ModeSerializing, ModeStatic:
		return nil
	case "inproc":
		r.fail("mode %q: is for functions that link the watchdog; use http", mode)
		return nil
	default:
		r.fail("mode %q: must be http, streaming, serializing or static", mode)
		return nil
	}
	name, text := r.either("http_upstream_url", "upstream_url")
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		r.fail("%s %q: must be the function's address, such as http://127.0.0.1:3000", name, text)
		return nil
	}
	return u
}

// port refuses what the original would take for a random port.
func (r *reader) port(name string, otherwise int) int {
	text := r.raw(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		r.fail("%s %q: must be a number from 0 to 65535", name, text)
	}
	return int(n)
}

// duration reads seconds, or a duration with its unit. What is neither is the default.
func (r *reader) duration(name string, otherwise time.Duration) time.Duration {
	text := r.raw(name)
	if text == "" {
		return otherwise
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.warnings = append(r.warnings, Warning{name, text, otherwise})
		return otherwise
	}
	return d
}

// flag knows two words for yes; everything else is no.
func (r *reader) flag(name string) bool {
	v := r.raw(name)
	return v == "true" || v == "1"
}

// loose knows all words of Go for yes and no; what is neither is the default.
func (r *reader) loose(name string, otherwise bool) bool {
	v, err := strconv.ParseBool(r.raw(name))
	if err != nil {
		return otherwise
	}
	return v
}

// number is 0 for what is no number.
func (r *reader) number(name string) int {
	n, err := strconv.ParseInt(r.raw(name), 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// bytes reads a size, of which the original knows none: what is none is refused.
func (r *reader) bytes(name string, otherwise int64) int64 {
	text := r.raw(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		r.fail("%s %q: must be a number of bytes, 0 for no limit", name, text)
	}
	return int64(n)
}

func (r *reader) contentType(otherwise string) string {
	text := r.setOr("content_type", otherwise)
	if !http1.ValidValue([]byte(text)) {
		r.fail("content_type %q: must be the value of a field", text)
	}
	return text
}

func (r *reader) lineBytes() int {
	text, set := r.lookup("log_buffer_size")
	if !set {
		return defaultLine
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		r.fail("log_buffer_size %q: must be a number of bytes, or -1 for no limit", text)
	}
	if n == 0 { // with which the original logs nothing
		return defaultLine
	}
	return int(max(n, -1))
}
