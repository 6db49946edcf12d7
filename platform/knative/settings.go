package knative

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Settings are what the controller says.
type Settings struct {
	Concurrency int // requests that run at once; 0 means no limit
	Port        int // plain text
	TLSPort     int // opened when there is a certificate
	UserPort    int // where the function listens, on 127.0.0.1

	Timeout      time.Duration // end of the head to last byte of the answer; 0 means no limit
	StartTimeout time.Duration // end of the head to first byte of the answer; 0 means no limit
	IdleTimeout  time.Duration // longest time without a byte of the answer; 0 means no limit

	Namespace, Service, Configuration, Revision string
	Pod, PodIP                                  string

	LoggingConfig string // of zap, JSON; may be empty
	LoggingLevel  string // beats the one in LoggingConfig; may be empty

	Probes      []Probe // all must pass for readiness
	DetectHTTP2 bool    // HTTP probes may be spoken by HTTP/2
	FullDuplex  bool    // answers may begin before the request has ended

	Observability Observability
	TLS           TLS

	// What the controller does not say, and fnpod's own variables may:
	Socket     string // unix socket on which the function listens instead of UserPort; "@name" is an abstract one
	ErrorField bool   // answers that are not the function's say so, and why, by the field Fnpod-Error
}

// Function is where the function listens, as package net has it.
func (s *Settings) Function() (network, address string) {
	if s.Socket != "" {
		return "unix", s.Socket
	}
	return "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.UserPort))
}

// TLS is what the environment says about it, read only where there is a certificate.
type TLS struct {
	MinVersion, MaxVersion, CipherSuites, Curves string
}

// Named reports whether the environment is that of a queue-proxy.
func Named(lookup func(name string) (string, bool)) bool {
	_, port := lookup("QUEUE_SERVING_PORT")
	_, concurrency := lookup("CONTAINER_CONCURRENCY")
	return port && concurrency
}

// reader reads the environment and collects what is wrong in it.
type reader struct {
	lookup func(name string) (string, bool)
	wrong  []string
}

// Read reads the settings. The error is one line that names every value that is missing or cannot be used.
func Read(lookup func(name string) (string, bool)) (*Settings, error) {
	r := &reader{lookup: lookup}
	s := &Settings{
		Concurrency:  max(r.number("CONTAINER_CONCURRENCY"), 0),
		Port:         r.port("QUEUE_SERVING_PORT"),
		TLSPort:      r.port("QUEUE_SERVING_TLS_PORT"),
		UserPort:     r.port("USER_PORT"),
		Timeout:      r.seconds("REVISION_TIMEOUT_SECONDS", true),
		StartTimeout: r.seconds("REVISION_RESPONSE_START_TIMEOUT_SECONDS", false),
		IdleTimeout:  r.seconds("REVISION_IDLE_TIMEOUT_SECONDS", false),

		Namespace:     r.required("SERVING_NAMESPACE"),
		Service:       r.text("SERVING_SERVICE"),
		Configuration: r.required("SERVING_CONFIGURATION"),
		Revision:      r.required("SERVING_REVISION"),
		Pod:           r.required("SERVING_POD"),
		PodIP:         r.required("SERVING_POD_IP"),

		LoggingConfig: r.required("SERVING_LOGGING_CONFIG"),
		LoggingLevel:  r.required("SERVING_LOGGING_LEVEL"),

		Probes:      r.probes(r.flag("ENABLE_MULTI_CONTAINER_PROBES")),
		DetectHTTP2: r.flag("ENABLE_HTTP2_AUTO_DETECTION"),
		FullDuplex:  r.flag("ENABLE_HTTP_FULL_DUPLEX"),

		Observability: r.observability(),
		TLS: TLS{
			MinVersion: r.text("QUEUE_PROXY_TLS_MIN_VERSION"), MaxVersion: r.text("QUEUE_PROXY_TLS_MAX_VERSION"),
			CipherSuites: r.text("QUEUE_PROXY_TLS_CIPHER_SUITES"), Curves: r.text("QUEUE_PROXY_TLS_CURVE_PREFERENCES"),
		},
	}
	if len(r.wrong) > 0 {
		return nil, errors.New(strings.Join(r.wrong, "; "))
	}
	return s, nil
}

func (r *reader) fail(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// text returns a value, "" if it is not set.
func (r *reader) text(name string) string {
	v, _ := r.lookup(name)
	return v
}

// required returns a value that must be set, if only to nothing.
func (r *reader) required(name string) string {
	v, ok := r.lookup(name)
	if !ok {
		r.fail("required key %s missing value", name)
	}
	return v
}

// number reads a required number, in any base of Go.
func (r *reader) number(name string) int {
	v, ok := r.lookup(name)
	if !ok {
		r.fail("required key %s missing value", name)
		return 0
	}
	return r.integer(name, v)
}

func (r *reader) integer(name, v string) int {
	n, err := strconv.ParseInt(v, 0, 32)
	if err != nil {
		r.fail("%s %q: must be a number", name, v)
	}
	return int(n)
}

func (r *reader) port(name string) int {
	v, ok := r.lookup(name)
	if !ok {
		r.fail("required key %s missing value", name)
		return 0
	}
	n, err := strconv.ParseUint(v, 0, 16)
	if err != nil || n == 0 {
		r.fail("%s %q: must be a port, 1 to 65535", name, v)
	}
	return int(n)
}

// seconds reads whole seconds; none, and less, are no limit.
func (r *reader) seconds(name string, required bool) time.Duration {
	v, ok := r.lookup(name)
	switch {
	case ok:
		return time.Duration(max(r.integer(name, v), 0)) * time.Second
	case required:
		r.fail("required key %s missing value", name)
	}
	return 0
}

// flag reads one of Go's words for yes and no; a variable that is empty is an error.
func (r *reader) flag(name string) bool {
	v, ok := r.lookup(name)
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		r.fail("%s %q: must be true or false", name, v)
	}
	return b
}
