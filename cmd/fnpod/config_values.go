package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// A text value is a setting or argument with a form of its own. parse leaves it unchanged when it returns an error,
// and the error says what is allowed. String gives the text back, in one way of writing it.
type textValue interface {
	parse(text string, tag *kong.Tag) error
	String() string
}

// address is where we listen. The zero value is "off".
type address struct {
	network string // "tcp", "unix", or "" for off
	address string
}

var errAddress = errors.New("must be [HOST]:PORT or unix:/PATH")

func (a *address) parse(text string, tag *kong.Tag) error {
	if text == "off" && tag.Has("off") {
		*a = address{}
		return nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" {
			return errAddress
		}
		*a = address{network: "unix", address: path}
		return nil
	}
	if _, port, err := net.SplitHostPort(text); err != nil || !validPort(port) {
		if tag.Has("off") {
			return errors.New("must be [HOST]:PORT, unix:/PATH or off")
		}
		return errAddress
	}
	*a = address{network: "tcp", address: text}
	return nil
}

func (a *address) String() string {
	switch a.network {
	case "":
		return "off"
	case "unix":
		return "unix:" + a.address
	default:
		return a.address
	}
}

func validPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// upstream is where a function listens.
type upstream struct {
	network string // "tcp" or "unix"
	address string
}

var errUpstream = errors.New("must be http://HOST:PORT or unix:///PATH")

func (u *upstream) parse(text string, _ *kong.Tag) error {
	v, path, err := parseURL(text)
	if err != nil || v.network == "tcp" && path != "" && path != "/" {
		return errUpstream
	}
	*u = v
	return nil
}

func (u *upstream) String() string {
	switch u.network {
	case "":
		return ""
	case "unix":
		return "unix://" + u.address
	default:
		return "http://" + u.address
	}
}

// port is what the function must listen on; empty when it listens on a socket file.
func (u *upstream) port() string {
	_, port, _ := net.SplitHostPort(u.address) // no port in a path: the empty string is the answer
	return port
}

// parseURL splits an http or unix URL. An http URL without port means port 80; the path of a unix URL is the socket.
func parseURL(text string) (u upstream, path string, err error) {
	v, err := url.Parse(text)
	if err != nil || v.User != nil || v.RawQuery != "" || v.Fragment != "" {
		return upstream{}, "", errUpstream
	}
	switch {
	case v.Scheme == "unix" && v.Host == "" && filepath.IsAbs(v.Path):
		return upstream{network: "unix", address: v.Path}, "", nil
	case v.Scheme == "http" && v.Hostname() != "":
		port := v.Port()
		if port == "" {
			port = "80"
		}
		if !validPort(port) || port == "0" {
			return upstream{}, "", errUpstream
		}
		return upstream{network: "tcp", address: net.JoinHostPort(v.Hostname(), port)}, v.EscapedPath(), nil
	default:
		return upstream{}, "", errUpstream
	}
}

// probeUpstream is the probe that connects to the upstream, whatever it is.
const probeUpstream = "tcp"

// readyProbe says how we learn that a function has started.
type readyProbe struct {
	kind string // probeUpstream, or "" for the probe itself
	text string // as watchdog.ParseProbe reads it
}

func (p *readyProbe) parse(text string, _ *kong.Tag) error {
	if text == probeUpstream {
		*p = readyProbe{kind: probeUpstream}
		return nil
	}
	if _, err := watchdog.ParseProbe(text); err != nil {
		return fmt.Errorf("must be %s, %s", probeUpstream, watchdog.ProbeForms)
	}
	*p = readyProbe{text: text}
	return nil
}

func (p *readyProbe) String() string {
	if p.kind == probeUpstream {
		return probeUpstream
	}
	return p.text
}

// poolSize is a number of workers; 0 is "auto", the CPU quota.
type poolSize int

func (n *poolSize) parse(text string, _ *kong.Tag) error {
	if text == "auto" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v < 1 {
		return errors.New("must be auto or a whole number from 1")
	}
	*n = poolSize(v)
	return nil
}

func (n *poolSize) String() string {
	if *n == 0 {
		return "auto"
	}
	return strconv.Itoa(int(*n))
}

// handler is a file with a function in it.
type handler struct {
	workers.Handler

	text string // as given
}

func (h *handler) parse(text string, _ *kong.Tag) error {
	v, err := workers.ParseHandler(text)
	if err != nil {
		if _, allowed, ok := strings.Cut(err.Error(), `": `); ok { // behind the value, which is reported anyway
			return errors.New(allowed)
		}
		return err
	}
	*h = handler{Handler: v, text: text}
	return nil
}

func (h *handler) String() string { return h.text }

// reason is an error without the operation and the name, which the report has already.
func reason(err error) error {
	var path *os.PathError
	var program *exec.Error
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &program):
		return program.Err
	default:
		return err
	}
}
