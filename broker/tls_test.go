package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/broker"
)

// identity is a certificate of 127.0.0.1 that signs itself, in files, and the roots that know it.
func identity(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, cert, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	roots = x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cert))
	return certFile, keyFile, roots
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := identity(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	ours := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	mq := mosquitto(t, "certfile "+cert, "keyfile "+key, "cafile "+cert, "require_certificate true")
	ns := natsServer(t, "--tlsverify", "--tlscert", cert, "--tlskey", key, "--tlscacert", cert)
	plain := natsServer(t)
	end := func(s *source) {
		within(t, s.up, "not subscribed")
		s.stop()
		require.NoError(t, within(t, s.ended, "no end"))
		require.NotContains(t, s.log.String(), "level=WARN")
	}
	end(subscribeMQTT(t, &source{}, broker.MQTTConfig{Server: broker.Server{Address: mq.address, TLS: ours}, Clean: true, Subscriptions: []broker.Subscription{{Topic: "a"}}}))
	end(subscribeNATS(t, &source{}, broker.NATSConfig{Server: broker.Server{Address: ns.address, TLS: ours}, Topic: "a"}))
	end(subscribeNATS(t, &source{}, broker.NATSConfig{Server: broker.Server{Address: ns.address}, Roots: ours, Topic: "a"})) // the server demands it

	s := subscribeNATS(t, &source{}, broker.NATSConfig{Server: broker.Server{Address: plain.address, TLS: ours}, Topic: "a"})
	require.ErrorIs(t, within(t, s.ended, "no end"), broker.ErrRefused)
	s = subscribeMQTT(t, &source{}, broker.MQTTConfig{Server: broker.Server{Address: mq.address, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, Clean: true, Subscriptions: []broker.Subscription{{Topic: "a"}}})
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "certificate signed by unknown authority") }, 10*time.Second, time.Millisecond)
}
