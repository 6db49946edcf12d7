package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// writePair writes a certificate for name and its key, and returns the paths.
func writePair(t *testing.T, dir, name string) tlsSettings {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	s := tlsSettings{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(s.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(s.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return s
}

// served returns whose certificate a handshake gets that looks at the files.
func (c *certificate) served(t *testing.T) string {
	t.Helper()
	c.mu.Lock()
	c.looked = time.Time{}
	c.mu.Unlock()
	pair, err := c.get(nil)
	require.NoError(t, err)
	return pair.Leaf.Subject.CommonName
}

func newCertificate(t *testing.T, files tlsSettings) (c *certificate, log *bytes.Buffer) {
	t.Helper()
	log = new(bytes.Buffer)
	c = &certificate{files: files, log: slog.New(slog.NewTextHandler(log, nil)), loaded: "certificate loaded"}
	require.NoError(t, c.load())
	return c, log
}

func TestACertificateThatChangesIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	c, log := newCertificate(t, writePair(t, dir, "first"))
	require.Equal(t, "first", c.served(t))
	require.Empty(t, log.String())
	writePair(t, dir, "second")
	require.Equal(t, "second", c.served(t))
	require.Equal(t, "second", c.served(t))
	require.Equal(t, 1, strings.Count(log.String(), "certificate loaded"), log)
}

// 9.3 of Knative's contract: the log tells of a new pair, also while nobody comes.
func TestACertificateIsWatched(t *testing.T) {
	dir := t.TempDir()
	files := writePair(t, dir, "first")
	synctest.Test(t, func(t *testing.T) {
		c, log := newCertificate(t, files)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.watch(ctx, time.Minute) }()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Empty(t, log.String())
		writePair(t, dir, "second")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "certificate loaded"), log)
		time.Sleep(time.Hour)
		cancel()
		require.NoError(t, <-ended)
		require.Equal(t, 1, strings.Count(log.String(), "certificate loaded"), log)
	})
}

// Kubernetes swaps a link to a folder, and both files with it.
func TestACertificateBehindALinkIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writePair(t, at("..1"), "first")
	writePair(t, at("..2"), "second")
	require.NoError(t, os.Symlink("..1", at("..data")))
	require.NoError(t, os.Symlink("..data/tls.crt", at("tls.crt")))
	require.NoError(t, os.Symlink("..data/tls.key", at("tls.key")))
	c, _ := newCertificate(t, tlsSettings{Cert: at("tls.crt"), Key: at("tls.key")})
	require.Equal(t, "first", c.served(t))
	require.NoError(t, os.Symlink("..2", at("..new")))
	require.NoError(t, os.Rename(at("..new"), at("..data")))
	require.Equal(t, "second", c.served(t))
}

func TestACertificateThatCannotBeReadLeavesTheOldOne(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s tlsSettings){
		"garbage": func(t *testing.T, s tlsSettings) {
			t.Helper()
			require.NoError(t, os.WriteFile(s.Cert, []byte("x"), 0o600))
		},
		"gone": func(t *testing.T, s tlsSettings) { t.Helper(); require.NoError(t, os.Remove(s.Key)) },
		"of another key": func(t *testing.T, s tlsSettings) {
			t.Helper()
			other := writePair(t, t.TempDir(), "other")
			b, err := os.ReadFile(other.Cert)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(s.Cert, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := writePair(t, dir, "first")
			c, log := newCertificate(t, files)
			spoil(t, files)
			for range 3 {
				require.Equal(t, "first", c.served(t))
			}
			require.Equal(t, 1, strings.Count(log.String(), "the old one stays"), log)
			writePair(t, dir, "second")
			require.Equal(t, "second", c.served(t))
			require.Equal(t, 1, strings.Count(log.String(), "certificate loaded"), log)
		})
	}
}

func TestCertificatesThatMakeNoSenseAreOneLine(t *testing.T) {
	first, other := writePair(t, t.TempDir(), "first"), writePair(t, t.TempDir(), "other")
	missing := filepath.Join(t.TempDir(), "no.pem")
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"certificate alone", []string{"--tls-cert", first.Cert}, "tls-cert " + first.Cert + ": tls-key must be set, too"},
		{"key alone", []string{"--tls-key", first.Key}, "tls-key " + first.Key + ": tls-cert must be set, too"},
		{"no certificate", []string{"--tls-cert", missing, "--tls-key", first.Key}, "tls-cert " + missing + ": no such file or directory"},
		{"no key", []string{"--tls-cert", first.Cert, "--tls-key", missing}, "tls-key " + missing + ": no such file or directory"},
		{"of another key", []string{"--tls-cert", first.Cert, "--tls-key", other.Key}, "tls-cert " + first.Cert + ", tls-key " + other.Key + ": tls: private key does not match public key"},
		{"the wrong way round", []string{"--tls-cert", first.Key, "--tls-key", first.Cert}, "tls-cert " + first.Key + ", tls-key " + first.Cert + ": tls: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := fnpod(t, nil, append([]string{"proxy", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "off"}, test.args...)...)
			require.Equal(t, exitUsage, got.code)
			require.True(t, strings.HasPrefix(got.stderr, "fnpod: "+test.want), got.stderr)
			require.Equal(t, 1, strings.Count(got.stderr, "\n"), got.stderr)
		})
	}
}
