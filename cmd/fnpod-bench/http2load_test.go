package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// serveHTTP2 serves until the test ends.
func serveHTTP2(t *testing.T, serve func(net.Listener) error, stop func()) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = serve(listener) // ends with stop
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return listener.Addr().String()
}

func TestHTTP2LoadCountsEveryAnswerOnce(t *testing.T) {
	web, echo := pongServer(), echoServer()
	for _, row := range []struct {
		name, address string
		what          *call
	}{
		{"h2c", serveHTTP2(t, web.Serve, func() { _ = web.Close() }), getCall()},
		{"gRPC", serveHTTP2(t, echo.Serve, echo.Stop), unaryCall(100)},
	} {
		t.Run(row.name, func(t *testing.T) {
			require.NoError(t, askHTTP2(row.what)(t.Context(), row.address))
			l, err := dialHTTP2(row.address, 3, 4, row.what)
			require.NoError(t, err)
			defer l.close()
			for range 2 { // a second run goes on with the same connections
				r, err := l.run(t.Context(), 20*time.Millisecond)
				require.NoError(t, err)
				require.GreaterOrEqual(t, r.requests, int64(12))
				require.Equal(t, r.requests, r.latency.counts.TotalCount())
				require.Zero(t, l.waiting)
			}
			_, err = l.pace(t.Context(), 1, time.Second)
			require.Error(t, err)
		})
	}
}

func TestHTTP2LoadEndsWithTheFirstBadAnswer(t *testing.T) {
	for _, row := range []struct {
		name, wanted string
		handler      http.HandlerFunc
		what         *call
	}{
		{"refused", "503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, getCall()},
		{"short", "answer of 2 bytes instead of 4", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("po")) }, getCall()},
		{"cut", "RST_STREAM", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("po"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, getCall()},
		{"no gRPC", "without a trailer", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("pong")) }, unaryCall(1)},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := pongServer()
			server.Handler = row.handler
			err := askHTTP2(row.what)(t.Context(), serveHTTP2(t, server.Serve, func() { _ = server.Close() }))
			require.ErrorContains(t, err, row.wanted)
		})
	}
}

// A call that failed has a good status of HTTP.
func TestHTTP2LoadReadsTheStatusOfGRPC(t *testing.T) {
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: echoService, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: echoMethod, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(new(wrapperspb.BytesValue)); err != nil {
				return nil, err
			}
			return nil, status.Error(codes.Unavailable, "not now")
		},
	}}}, nil)
	err := askHTTP2(unaryCall(10))(t.Context(), serveHTTP2(t, server.Serve, server.Stop))
	require.ErrorContains(t, err, "not now")
}
