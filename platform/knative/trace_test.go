package knative_test

import (
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/knative"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestKnative136Traceparent(t *testing.T) {
	for v, want := range map[string]struct{ sampled, ok bool }{
		parent:                               {true, true},
		parent[:54] + "0":                    {false, true},
		parent[:53] + "03":                   {true, true},
		"cc" + parent[2:] + "-more":          {true, true}, // of a later version
		"cc" + parent[2:] + ".":              {},
		parent + "-more":                     {},
		"ff" + parent[2:]:                    {},
		strings.ToUpper(parent):              {},
		strings.Replace(parent, "-", "_", 1): {},
		parent[:54]:                          {},
		"":                                   {},
		"00-" + strings.Repeat("0", 32) + parent[35:]: {},
		parent[:36] + strings.Repeat("0", 16) + "-01": {},
		"zz" + parent[2:]: {},
	} {
		trace, span, sampled, ok := knative.ParseTraceparent([]byte(v))
		require.Equal(t, want.ok, ok, v)
		require.Equal(t, want.sampled, sampled, v)
		if ok {
			require.Equal(t, "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", hex.EncodeToString(trace)+"-"+hex.EncodeToString(span), v)
		}
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add([]byte(parent))
	f.Add([]byte("cc" + parent[2:] + "-more"))
	f.Fuzz(func(t *testing.T, v []byte) {
		trace, span, _, ok := knative.ParseTraceparent(v)
		if ok {
			require.Equal(t, string(v[3:52]), hex.EncodeToString(trace)+"-"+hex.EncodeToString(span))
		}
	})
}

func TestExporterAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "http://collector:4318": true, "https://collector/v1/traces": true, "collector:4318": true, "10.0.0.1:4318": false, "ftp://collector": false, "http://": false, "%": false,
	} {
		s := helloPod()
		s.Observability.Tracing.Protocol, s.Observability.Tracing.Endpoint = knative.ProtocolHTTP, address
		e, err := knative.NewExporter(s, "", nil, slog.New(slog.DiscardHandler))
		require.Equal(t, ok, err == nil, address)
		require.Equal(t, ok, e != nil, address)
	}
	e, err := knative.NewExporter(helloPod(), "", nil, nil)
	require.NoError(t, err)
	require.Nil(t, e, "no traces")
}
