package knative

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// probeAgent is how we call ourselves; functions know kubelet's probes by its beginning.
const probeAgent = "kube-probe/fnpod"

// mostProbed is how much of the answer to a probe is read.
const mostProbed = 10 << 10

var errNoProbe = errors.New("no probe of a kind that can be run")

// attempt returns what looks once.
func (p *Probe) attempt(detect bool) func(ctx context.Context) error {
	switch {
	case p.HTTP != nil && detect && !p.HTTP.secure():
		return p.HTTP.tryEither
	case p.HTTP != nil:
		return func(ctx context.Context) error { return p.HTTP.tryHTTP(ctx, false) }
	case p.TCP != nil:
		return p.TCP.tryTCP
	case p.GRPC != nil:
		return p.GRPC.tryGRPC
	default:
		return func(context.Context) error { return errNoProbe }
	}
}

// reach leads a probe of the function's port to the function, wherever that listens.
func (p *Probe) reach(s *Settings) {
	for _, t := range []*target{p.TCP, p.HTTP, p.GRPC} {
		if t != nil && int(t.Port) == s.UserPort {
			t.socket = s.Socket
		}
	}
}

func (t *target) dial(ctx context.Context) (net.Conn, error) {
	network, address := "tcp", t.address()
	if t.socket != "" {
		network, address = "unix", t.socket
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

func (t *target) address() string {
	return net.JoinHostPort(cmp.Or(t.Host, "127.0.0.1"), strconv.Itoa(int(t.Port)))
}

func (t *target) secure() bool { return strings.EqualFold(t.Scheme, "https") }

func (t *target) tryTCP(ctx context.Context) error {
	c, err := t.dial(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// tryEither prefers HTTP/2. A server that knows it not may say nothing, so half of the time is for HTTP/1.1.
func (t *target) tryEither(ctx context.Context) error {
	at, ok := ctx.Deadline()
	if !ok {
		at = time.Now().Add(time.Second)
	}
	first, cancel := context.WithDeadline(ctx, at.Add(-time.Until(at)/2))
	defer cancel()
	if t.tryHTTP(first, true) == nil {
		return nil
	}
	return t.tryHTTP(ctx, false)
}

// tryHTTP asks on a connection of its own. Redirects are answers. Certificates are not looked at, as kubelet does not.
func (t *target) tryHTTP(ctx context.Context, http2 bool) error {
	scheme := "http"
	if t.secure() {
		scheme = "https"
	}
	url := scheme + "://" + t.address() + "/" + strings.TrimPrefix(t.Path, "/")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", probeAgent)
	r.Header.Set("Accept", "*/*")
	for _, h := range t.Headers {
		if strings.EqualFold(h.Name, "Host") {
			r.Host = h.Value
			continue
		}
		r.Header.Set(h.Name, h.Value)
	}
	a, err := t.ask(r, http2)
	if err != nil {
		return err
	}
	if a.code < 200 || a.code > 399 {
		return fmt.Errorf("status %d", a.code)
	}
	return nil
}

// tryGRPC asks the health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). The two messages
// are written out: a string in field 1, and an enumeration in field 1 of which 1 is SERVING.
func (t *target) tryGRPC(ctx context.Context) error {
	if len(t.Service) > 127 {
		return fmt.Errorf("name of service %q is too long", t.Service)
	}
	var message []byte
	if t.Service != "" {
		message = append([]byte{1<<3 | 2, byte(len(t.Service))}, t.Service...)
	}
	body := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	url := "http://" + t.address() + "/grpc.health.v1.Health/Check"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = http.Header{"User-Agent": {probeAgent}, "Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	a, err := t.ask(r, true)
	if err != nil {
		return err
	}
	code := cmp.Or(a.trailer.Get("Grpc-Status"), a.header.Get("Grpc-Status"))
	if a.code != http.StatusOK || code != "0" {
		return fmt.Errorf("health check: HTTP %d, gRPC status %q", a.code, code)
	}
	if !bytes.Equal(a.body, []byte{0, 0, 0, 0, 2, 1 << 3, 1}) {
		return errors.New("health check: not serving")
	}
	return nil
}

// probed is the answer to a probe.
type probed struct {
	code            int
	header, trailer http.Header
	body            []byte
}

// ask runs a request on a connection of its own.
func (t *target) ask(r *http.Request, http2 bool) (probed, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true, DisableKeepAlives: !http2,
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as kubelet does
	}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return probed{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostProbed))
	return probed{resp.StatusCode, resp.Header, resp.Trailer, body}, err
}
