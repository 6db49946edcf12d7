package nuclio

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Push is a sink of series that are sent to a Pushgateway again and again.
type Push struct {
	address  string
	interval time.Duration
}

// readPush reads a sink of the kind prometheusPush.
func readPush(sink *Sink) (*Push, error) {
	text, err := sink.Attributes.Text("interval")
	if err != nil {
		return nil, err
	}
	p := &Push{}
	if p.interval, err = time.ParseDuration(text); err != nil || p.interval <= 0 {
		return nil, fmt.Errorf("attribute interval %q: must be a duration of more than 0, such as 10s", text)
	}
	job, err := sink.Attributes.Text("jobName")
	if err == nil && job == "" {
		err = errors.New("attribute jobName: is needed")
	}
	if err != nil {
		return nil, err
	}
	base := sink.URL
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("url %q: must be http://host:port of a Pushgateway", sink.URL)
	}
	place := "job/" + url.PathEscape(job)
	if strings.Contains(job, "/") { // which a path cannot have
		place = "job@base64/" + base64.RawURLEncoding.EncodeToString([]byte(job))
	}
	p.address = strings.TrimSuffix(base, "/") + "/metrics/" + place
	return p, nil
}

// longestPush is how long a gateway may take.
const longestPush = 10 * time.Second

// Run sends what gather returns, with its type, until ctx ends. What fails is logged, and tried again after the interval.
func (p *Push) Run(ctx context.Context, gather func() (text []byte, kind string, err error), log *slog.Logger) error {
	transport := &http.Transport{MaxIdleConns: 1}
	defer transport.CloseIdleConnections()
	t := time.NewTicker(p.interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := p.send(ctx, &http.Client{Transport: transport, Timeout: longestPush}, gather); err != nil && ctx.Err() == nil {
			log.Warn("metrics were not pushed", "err", err)
		}
	}
}

// send adds the series to those of the job.
func (p *Push) send(ctx context.Context, c *http.Client, gather func() ([]byte, string, error)) error {
	text, kind, err := gather()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.address, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", kind)
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // only read
	says, _ := io.ReadAll(io.LimitReader(answer.Body, 256))
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(says))
	}
	return nil
}
