package knative_test

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/knative"
)

func TestKnative92And94TLSSettings(t *testing.T) {
	c, err := knative.TLS{}.Config()
	require.NoError(t, err)
	require.Equal(t, []uint16{tls.VersionTLS13, 0}, []uint16{c.MinVersion, c.MaxVersion})
	require.Nil(t, c.CipherSuites)
	require.Nil(t, c.CurvePreferences)

	c, err = knative.TLS{MinVersion: "1.2", MaxVersion: "1.2", CipherSuites: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Curves: "X25519,P-256,CurveP521,X25519MLKEM768"}.Config()
	require.NoError(t, err)
	require.Equal(t, []uint16{tls.VersionTLS12, tls.VersionTLS12}, []uint16{c.MinVersion, c.MaxVersion})
	require.Equal(t, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, c.CipherSuites)
	require.Equal(t, []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP521, tls.X25519MLKEM768}, c.CurvePreferences)

	for _, wrong := range []knative.TLS{{MinVersion: "1.1"}, {MaxVersion: "TLS1.3"}, {MaxVersion: "1.2"}, {CipherSuites: "AES"}, {Curves: "p256"}} {
		_, err := wrong.Config()
		require.ErrorContains(t, err, "QUEUE_PROXY_TLS_")
	}
}
