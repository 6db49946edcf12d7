package e2e_test

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// 11.2 to 11.4, D3: a drain lets streams of gRPC go on, and calls that come, and ends when neither is there any more.
func TestKnative114ADrainOfGRPC(t *testing.T) {
	t.Parallel()
	otherwise(t, "D3: the client is not told to leave")
	f := newGRPCFunction(t)
	p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=10", "FNPOD_DRAIN_DELAY=500ms")
	c := grpcClient(t, p.listen)
	stream := open(t.Context(), t, c, "Both")
	say(t, stream, "before")
	require.Equal(t, "before", hear(t, stream))
	hook := p.waitForDrain()
	p.waitShuttingDown()
	p.signal(syscall.SIGTERM)
	var calls sync.WaitGroup
	failed := make(chan error, 20) // all calls
	for range cap(failed) {
		calls.Go(func() {
			if out, err := invoke(t.Context(), c, "call"); err != nil || out != "call" {
				failed <- errors.Join(err, errors.New(out))
			}
		})
		time.Sleep(5 * time.Millisecond) // spread over the drain
	}
	calls.Wait()
	require.Empty(t, failed)
	require.Equal(t, 200, <-hook)
	say(t, stream, "after the port is closed")
	require.Equal(t, "after the port is closed", hear(t, stream))
	require.NoError(t, stream.CloseSend())
	require.ErrorIs(t, stream.RecvMsg(new(message)), io.EOF)
	require.Equal(t, 0, p.exit())
}

// Clients of WebSockets are told when the port is closed, and not before: other pods may be busy until then.
func TestKnative114ADrainOfAWebSocket(t *testing.T) {
	t.Parallel()
	otherwise(t, "it is not told")
	p := queueProxy(t, userContainer(t, new(echo).ServeHTTP), "CONTAINER_CONCURRENCY=1", "FNPOD_DRAIN_DELAY=300ms")
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.listen, nil)
	require.NoError(t, err)
	defer func() { _ = c.CloseNow() }()
	talk := func(text string) {
		require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte(text)))
		_, b, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, text, string(b))
	}
	hook := p.waitForDrain()
	p.waitShuttingDown()
	p.signal(syscall.SIGTERM)
	talk("in the drain")
	require.Equal(t, 200, <-hook)
	_, _, err = c.Read(t.Context())
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err), "%v", err)
	require.Equal(t, 0, p.exit())
}

// 6, 11.1: clients of gRPC are told in their own words.
func TestKnative6And111RefusalsOfGRPC(t *testing.T) {
	t.Parallel()
	f := newGRPCFunction(t)
	p := queueProxy(t, f.address, "REVISION_RESPONSE_START_TIMEOUT_SECONDS=1")
	_, err := invoke(t.Context(), grpcClient(t, p.listen), "wait")
	require.Eventually(t, func() bool { return f.cancelled.Load() == 1 }, 10*time.Second, 5*time.Millisecond, "the function's call is cancelled")
	otherwise(t, "UNAVAILABLE, since its answer is none of gRPC")
	requireStatus(t, codes.DeadlineExceeded, err)

	p = queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1")
	c := grpcClient(t, p.listen)
	ended := make(chan error, 11)
	for range cap(ended) {
		go func() {
			_, err := invoke(t.Context(), c, "wait")
			ended <- err
		}()
	}
	p.waitRequests(1, 10)
	_, err = invoke(t.Context(), c, "call")
	requireStatus(t, codes.Unavailable, err)
	f.let()
	for range cap(ended) {
		require.NoError(t, <-ended)
	}
}

// 7.6 by the binary: readiness is what the health service says.
func TestKnative76ReadinessOfGRPC(t *testing.T) {
	t.Parallel()
	l := listen(t)
	server, states := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, states)
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	address := l.Addr().String()
	p := queueProxy(t, address, `SERVING_READINESS_PROBE={"grpc":{"port":`+portOf(t, address)+`,"service":"test.Echo"},"timeoutSeconds":1,"periodSeconds":1,"successThreshold":1}`)
	for state, want := range map[healthpb.HealthCheckResponse_ServingStatus]int{
		healthpb.HealthCheckResponse_NOT_SERVING: 503, healthpb.HealthCheckResponse_SERVING: 200,
	} {
		states.SetServingStatus("test.Echo", state)
		resp, _ := p.ask("GET", "/", "", kubelet...)
		require.Equal(t, want, resp.StatusCode, state)
	}
}
