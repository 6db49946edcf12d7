package knative_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fnpod/fnpod/platform/knative"
)

// A collector that is slow costs room for 2048 requests and no more, and the end leaves nothing behind.
func TestExporterIsBoundedAndEnds(t *testing.T) {
	var messages, bytes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _, n := protowire.ConsumeField(body)
		if err == nil && n == len(body) {
			messages.Add(1)
			bytes.Add(int64(n))
		}
	}))
	t.Cleanup(server.Close)
	s := helloPod()
	s.Observability.Tracing.Protocol, s.Observability.Tracing.Endpoint = knative.ProtocolHTTP, server.URL
	e, err := knative.NewExporter(s, "", nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for range 5000 {
		e.Add(post)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx)
	require.EqualValues(t, 2048/128, messages.Load())
	require.Less(t, bytes.Load(), int64(4<<20))
	stacks := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "http.(*persistConn)")
	}, 10*time.Second, time.Millisecond, "connections are closed")
}
