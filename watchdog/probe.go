package watchdog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// probeTimeout bounds one check.
const probeTimeout = time.Second

// ProbeForms are the values that ParseProbe takes, for messages and manuals.
const ProbeForms = "tcp:HOST:PORT, unix:PATH, http://HOST:PORT/PATH, http://unix:SOCKET:/PATH, file:PATH or none"

// Probe tells whether a function is up. The zero Probe is "none": up as soon
// as it is started. A Probe is a value and may be used by several goroutines.
type Probe struct {
	text    string
	kind    probeKind
	network string // probeDial, probeHTTP
	address string // what to dial, or the file
	host    string // probeHTTP
	target  string // probeHTTP
}

type probeKind uint8

const (
	probeNone probeKind = iota
	probeDial
	probeHTTP
	probeFile
)

var (
	errProbeForm   = errors.New("unknown form")
	errProbePath   = errors.New("path missing")
	errProbePort   = errors.New("port must be a number from 1 to 65535")
	errProbeURL    = errors.New("only host, port, path and query belong in the URL")
	errProbeTarget = errors.New("the query has to be percent-encoded")
	errNotFile     = errors.New("neither a regular file nor a socket")
)

// ParseProbe reads a probe:
//
//	tcp:HOST:PORT             a connection succeeds
//	unix:PATH                 a connection to the socket succeeds
//	http://HOST:PORT/PATH     GET is answered with 2xx or 3xx
//	http://unix:SOCKET:/PATH  the same over a unix socket
//	file:PATH                 there is a regular file, or a socket that takes connections
//	none                      no check
//
// The error names the value and the forms.
func ParseProbe(s string) (Probe, error) {
	p, err := parseProbe(s)
	if err != nil {
		return Probe{}, fmt.Errorf("probe %q: %w; use %s", s, err, ProbeForms)
	}
	p.text = s
	return p, nil
}

func parseProbe(s string) (Probe, error) {
	if s == "none" {
		return Probe{}, nil
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found {
		return Probe{}, errProbeForm
	}
	switch scheme {
	case "tcp":
		rest = strings.TrimPrefix(rest, "//")
		return Probe{kind: probeDial, network: "tcp", address: rest}, checkAddress(rest)
	case "unix":
		path, err := parsePath(rest)
		return Probe{kind: probeDial, network: "unix", address: path}, err
	case "file":
		path, err := parsePath(rest)
		return Probe{kind: probeFile, address: path}, err
	case "http":
		if socket, ok := strings.CutPrefix(rest, "//unix:"); ok {
			return parseSocketURL(socket)
		}
		return parseURL(s)
	default:
		return Probe{}, errProbeForm
	}
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errProbePort
	}
	return nil
}

// parsePath takes PATH and //PATH, as file:///run/up has it.
func parsePath(s string) (string, error) {
	s = strings.TrimPrefix(s, "//")
	if s == "" || strings.IndexByte(s, 0) >= 0 {
		return "", errProbePath
	}
	return s, nil
}

// parseSocketURL reads SOCKET:/PATH; the path may be left out.
func parseSocketURL(s string) (Probe, error) {
	socket, path, found := strings.Cut(s, ":/")
	if !found {
		socket = strings.TrimSuffix(s, ":")
	}
	if socket == "" || strings.IndexByte(socket, 0) >= 0 {
		return Probe{}, errProbePath
	}
	u, err := url.ParseRequestURI("/" + path)
	if err != nil {
		return Probe{}, errProbeURL
	}
	p := Probe{kind: probeHTTP, network: "unix", address: socket, host: "localhost", target: u.RequestURI()}
	return p, checkTarget(p.target)
}

func parseURL(s string) (Probe, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Probe{}, errors.Unwrap(err) // without the value, which is named already
	}
	if u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return Probe{}, errProbeURL
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "80")
	}
	p := Probe{kind: probeHTTP, network: "tcp", address: address, host: u.Host, target: u.RequestURI()}
	return p, errors.Join(checkAddress(address), checkTarget(p.target))
}

// checkTarget refuses what a request line cannot carry. The path is escaped
// already, the query is as it was given.
func checkTarget(target string) error {
	for _, b := range []byte(target) {
		if b <= ' ' || b >= 0x7f {
			return errProbeTarget
		}
	}
	return nil
}

// String returns the probe as ParseProbe took it.
func (p Probe) String() string {
	if p.kind == probeNone {
		return "none"
	}
	return p.text
}

// Check looks once and returns nil when the function is up. It takes a second
// at most.
func (p Probe) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var err error
	switch p.kind {
	case probeNone:
	case probeDial:
		err = checkDial(ctx, p.network, p.address)
	case probeHTTP:
		err = p.checkHTTP(ctx)
	case probeFile:
		err = checkFile(ctx, p.address)
	}
	if err != nil {
		return fmt.Errorf("probe %s: %w", p, err)
	}
	return nil
}

func checkDial(ctx context.Context, network, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// checkFile connects to a socket, because the file outlives its listener.
func checkFile(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	switch {
	case info.Mode().IsRegular():
		return nil
	case info.Mode()&os.ModeSocket != 0:
		return checkDial(ctx, "unix", path)
	default:
		return errNotFile
	}
}
