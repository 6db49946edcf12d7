package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// readyPath is what a probe asks for when its URL has no path.
const readyPath = "/readyz"

// probeCmd asks whether the pod is ready, for HEALTHCHECK and exec probes.
type probeCmd struct {
	URL probeURL `arg:"" optional:"" name:"url" help:"What to ask instead: http://HOST:PORT/PATH, or unix:///PATH for /readyz on a socket."`

	Admin   address       `group:"Ports" off:"yes" help:"Metrics, health and status: [HOST]:PORT, unix:/PATH or off."`
	Timeout time.Duration `name:"probe-timeout" group:"Probe" help:"Longest time until the answer."`
}

// probeURL is what a probe asks; the zero value means the admin port.
type probeURL struct {
	upstream

	path string
}

func (u *probeURL) parse(text string, _ *kong.Tag) error {
	where, path, err := parseURL(text)
	if err != nil {
		return errors.New("must be http://HOST:PORT/PATH or unix:///PATH")
	}
	*u = probeURL{upstream: where, path: path}
	return nil
}

func (c *probeCmd) check(environment) error {
	var off error
	if c.Admin.network == "" && c.URL.network == "" {
		off = fmt.Errorf("admin %s: must be on, or give the probe a URL", &c.Admin)
	}
	return errors.Join(off, positive("probe-timeout", c.Timeout))
}

// Run asks once. It prints one line, on standard error and with exit code 1 when the answer is not yes.
func (c *probeCmd) Run(ctx context.Context, inv *invocation) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	answer, err := ask(ctx, c.target())
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", c.Timeout)
	}
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	_, err = fmt.Fprintln(inv.stdout, "ready:", answer)
	return err
}

func (c *probeCmd) target() probeURL {
	u := c.URL
	if u.network == "" {
		u.upstream = upstream{network: c.Admin.network, address: c.Admin.address}
	}
	if u.path == "" {
		u.path = readyPath
	}
	return u
}

// ask returns the first line of the answer, or an error when the status is not 2xx or 3xx.
func ask(ctx context.Context, u probeURL) (string, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		// An address without host is this machine, over IPv4 or IPv6.
		return new(net.Dialer).DialContext(ctx, u.network, u.address)
	}}
	defer transport.CloseIdleConnections()
	host := u.address
	if u.network == "unix" || strings.HasPrefix(host, ":") {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+u.path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "fnpod-probe")
	resp, err := transport.RoundTrip(req) // no redirects: a 3xx is an answer
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	line := firstLine(resp)
	if resp.StatusCode >= http.StatusBadRequest || resp.StatusCode < http.StatusOK {
		return "", errors.New(line)
	}
	return line, nil
}

// firstLine joins status and first line of the body into one printable line.
func firstLine(resp *http.Response) string {
	body, _ := bufio.NewReader(io.LimitReader(resp.Body, 200)).ReadString('\n') // what there is will do
	body = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, body)
	if body == "" {
		return resp.Status
	}
	return resp.Status + ": " + body
}
