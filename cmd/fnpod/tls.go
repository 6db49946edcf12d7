package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateLook is how often, at most, the files of a certificate are looked at.
const certificateLook = time.Second

// config returns nil when TLS is not asked for.
func (s *tlsSettings) config(log *slog.Logger) (*tls.Config, error) {
	switch {
	case s.Cert == "" && s.Key == "":
		return nil, nil
	case s.Key == "":
		return nil, &usageError{lines: []string{"tls-cert " + s.Cert + ": tls-key must be set, too"}}
	case s.Cert == "":
		return nil, &usageError{lines: []string{"tls-key " + s.Key + ": tls-cert must be set, too"}}
	}
	c := &certificate{files: *s, log: log, loaded: "certificate loaded"}
	if err := c.load(); err != nil {
		return nil, &usageError{lines: []string{err.Error()}}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// certificate is a pair of files that somebody may replace while we run. Handshakes look at them; there is nothing to
// stop.
type certificate struct {
	files  tlsSettings
	log    *slog.Logger
	loaded string // what the log says of a new pair

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu
	stamp   [2]fileStamp     // guarded by mu: of current, or of what could not be loaded
	looked  time.Time        // guarded by mu
	failure string           // guarded by mu: what the last look met
}

// fileStamp tells versions of a file apart.
type fileStamp struct {
	changed time.Time
	size    int64
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}

// get implements tls.Config.GetCertificate. A new pair that cannot be used is reported once, and the old one stays.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= certificateLook {
		c.look()
	}
	return c.current, nil
}

// watch looks at the files every so often until ctx ends, so that the log tells of a new pair though nobody comes.
func (c *certificate) watch(ctx context.Context, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.mu.Lock()
			c.look()
			c.mu.Unlock()
		}
	}
}

// look loads a pair that is new, and reports what came of it once. Called under mu.
func (c *certificate) look() {
	before := c.stamp
	err := c.reload()
	switch {
	case err == nil:
		c.failure = ""
		if c.stamp != before {
			c.log.Info(c.loaded, "file", c.files.Cert) //nolint:sloglint // one of two constants
		}
	case c.stamp != before || c.failure != err.Error():
		c.failure = err.Error()
		c.log.Error("certificate not loaded, the old one stays", "err", err)
	}
}

// load reads the files for the first time.
func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload()
}

// reload reads the files if they have changed. Called under mu.
func (c *certificate) reload() error {
	c.looked = time.Now()
	var stamp [2]fileStamp
	for i, path := range []string{c.files.Cert, c.files.Key} {
		var err error
		if stamp[i], err = stampOf(path); err != nil {
			return fmt.Errorf("tls-%s %s: %w", [2]string{"cert", "key"}[i], path, reason(err))
		}
	}
	if stamp == c.stamp {
		return nil
	}
	c.stamp = stamp
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("tls-cert %s, tls-key %s: %w", c.files.Cert, c.files.Key, err)
	}
	c.current = &pair
	return nil
}
