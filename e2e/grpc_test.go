package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// message is all that is said.
type message = wrapperspb.BytesValue

// grpcFunction is a server of gRPC that does what a call says.
type grpcFunction struct {
	address   string
	server    *grpc.Server
	calls     atomic.Int64
	cancelled atomic.Int64
	deadline  atomic.Int64 // milliseconds that the last call with one had left
	release   chan struct{}
	let       func() // ends the calls of wait
}

// newGRPCFunction starts the function.
func newGRPCFunction(t *testing.T) *grpcFunction {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &grpcFunction{address: l.Addr().String(), release: make(chan struct{})}
	f.let = sync.OnceFunc(func() { close(f.release) })
	f.server = grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	f.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: f.unary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Down", Handler: f.down, ServerStreams: true},
			{StreamName: "Up", Handler: f.up, ClientStreams: true},
			{StreamName: "Both", Handler: f.both, ClientStreams: true, ServerStreams: true},
		},
	}, nil)
	go func() { _ = f.server.Serve(l) }() // ends with Stop
	t.Cleanup(func() {
		f.let()
		f.server.Stop()
	})
	return f
}

func (f *grpcFunction) unary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is gRPC's
	f.calls.Add(1)
	in := new(message)
	if err := decode(in); err != nil {
		return nil, err
	}
	if at, ok := ctx.Deadline(); ok {
		f.deadline.Store(time.Until(at).Milliseconds())
	}
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-head", "h", "x-saw", fmt.Sprint(md.Get("x-ask")), "x-bin-bin", string([]byte{0, 255})))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "t"))
	switch string(in.Value) {
	case "fail":
		return nil, grpcstatus.Error(codes.FailedPrecondition, "not like this: ä%")
	case "wait":
		select {
		case <-ctx.Done():
			f.cancelled.Add(1)
			return nil, ctx.Err()
		case <-f.release:
		}
	case "short":
		time.Sleep(time.Millisecond)
	}
	return in, nil
}

func (f *grpcFunction) down(_ any, s grpc.ServerStream) error {
	in := new(message)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	n, err := strconv.Atoi(string(in.Value))
	if err != nil {
		return err
	}
	for i := range n {
		if err := s.SendMsg(wrapperspb.Bytes([]byte(strconv.Itoa(i)))); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-tail", "t"))
	return nil
}

func (f *grpcFunction) up(_ any, s grpc.ServerStream) error {
	var all []byte
	for {
		in := new(message)
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.Bytes(all))
		}
		if err != nil {
			return err
		}
		all = append(all, in.Value...)
	}
}

func (f *grpcFunction) both(_ any, s grpc.ServerStream) error {
	for {
		in := new(message)
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			f.cancelled.Add(1)
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}

// grpcClient connects to a pod.
func grpcClient(t *testing.T, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	c, err := grpc.NewClient("passthrough:///"+address, options...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func invoke(ctx context.Context, c *grpc.ClientConn, text string, options ...grpc.CallOption) (string, error) {
	out := new(message)
	err := c.Invoke(ctx, "/test.Echo/Unary", wrapperspb.Bytes([]byte(text)), out, options...)
	return string(out.Value), err
}

// open begins a stream in both directions; method is Up, Down or Both.
func open(ctx context.Context, t *testing.T, c *grpc.ClientConn, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Echo/"+method)
	require.NoError(t, err)
	return s
}

func say(t *testing.T, s grpc.ClientStream, text string) {
	t.Helper()
	require.NoError(t, s.SendMsg(wrapperspb.Bytes([]byte(text))))
}

func hear(t *testing.T, s grpc.ClientStream) string {
	t.Helper()
	m := new(message)
	require.NoError(t, s.RecvMsg(m))
	return string(m.Value)
}

func requireStatus(t *testing.T, code codes.Code, err error) {
	t.Helper()
	require.Equal(t, code.String(), grpcstatus.Code(err).String(), "%v", err)
}

// grpcPod is a pod before a function.
func grpcPod(t *testing.T, f *grpcFunction, flags ...string) *pod {
	t.Helper()
	return start(t, "proxy", append([]string{"http://" + f.address}, flags...)...)
}

func (p *pod) waitRequests(executing, queued float64) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		return p.number("queue", "executing") == executing && p.number("queue", "queued") == queued
	}, 10*time.Second, 5*time.Millisecond, "%v executing, %v queued", p.number("queue", "executing"), p.number("queue", "queued"))
}

func TestGRPCCallsOfAllFourKinds(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"auto", "h2c", "same"} {
		t.Run(protocol, func(t *testing.T) {
			f := newGRPCFunction(t)
			p := grpcPod(t, f, "--upstream-protocol", protocol)
			c := grpcClient(t, p.listen)
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-ask", "a")

			var head, tail metadata.MD
			text, err := invoke(ctx, c, "hello", grpc.Header(&head), grpc.Trailer(&tail))
			require.NoError(t, err)
			require.Equal(t, "hello", text)
			require.Equal(t, []string{"h"}, head.Get("x-head"))
			require.Equal(t, []string{"[a]"}, head.Get("x-saw"))
			require.Equal(t, []string{string([]byte{0, 255})}, head.Get("x-bin-bin"))
			require.Equal(t, []string{"t"}, tail.Get("x-tail"))

			_, err = invoke(ctx, c, "fail", grpc.Trailer(&tail))
			requireStatus(t, codes.FailedPrecondition, err)
			require.ErrorContains(t, err, "not like this: ä%")
			require.Equal(t, []string{"t"}, tail.Get("x-tail"))
			requireStatus(t, codes.Unimplemented, c.Invoke(ctx, "/test.Echo/Nothing", wrapperspb.Bytes(nil), new(message)))

			s := open(ctx, t, c, "Down")
			say(t, s, "300")
			require.NoError(t, s.CloseSend())
			for i := range 300 {
				require.Equal(t, strconv.Itoa(i), hear(t, s))
			}
			require.Equal(t, io.EOF, s.RecvMsg(new(message)))
			require.Equal(t, []string{"t"}, s.Trailer().Get("x-tail"))

			s = open(ctx, t, c, "Up")
			for range 300 {
				say(t, s, "ab")
			}
			require.NoError(t, s.CloseSend())
			require.Len(t, hear(t, s), 600)

			s = open(ctx, t, c, "Both")
			for i := range 100 {
				say(t, s, strconv.Itoa(i))
				require.Equal(t, strconv.Itoa(i), hear(t, s))
			}
			require.NoError(t, s.CloseSend())
			require.Equal(t, io.EOF, s.RecvMsg(new(message)))
			p.waitRequests(0, 0)
		})
	}
}

// Messages larger than all windows pass whole, in both directions.
func TestGRPCLargeMessages(t *testing.T) {
	f := newGRPCFunction(t)
	c := grpcClient(t, grpcPod(t, f).listen)
	large := make([]byte, 4<<20)
	_, err := rand.Read(large)
	require.NoError(t, err)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			text, err := invoke(t.Context(), c, string(large))
			if err != nil || !bytes.Equal(large, []byte(text)) {
				t.Errorf("%v, %d bytes", err, len(text))
			}
		})
	}
	work.Wait()
}

// A stream may be silent for longer than any time-out of bodies and answers (L3).
func TestGRPCStreamsMayBeSilent(t *testing.T) {
	t.Parallel()
	f := newGRPCFunction(t)
	c := grpcClient(t, grpcPod(t, f, "--body-timeout", "100ms", "--answer-timeout", "200ms", "--idle-timeout", "300ms", "--write-timeout", "300ms").listen)
	s := open(t.Context(), t, c, "Both")
	say(t, s, "first")
	require.Equal(t, "first", hear(t, s))
	time.Sleep(12 * time.Second) // beyond the ten seconds after which uploads must have a rate
	for range 3 {
		say(t, s, "x")
		require.Equal(t, "x", hear(t, s))
	}
	require.NoError(t, s.CloseSend())
	require.Equal(t, io.EOF, s.RecvMsg(new(message)))
}

// P10: a deadline reaches the function without the time that the call waited, and
// ends a call that still waits.
func TestP10GRPCDeadlines(t *testing.T) {
	f := newGRPCFunction(t)
	p := grpcPod(t, f, "--queue-limit", "1")
	c := grpcClient(t, p.listen)
	holding, free := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := invoke(holding, c, "wait")
		ended <- err
	}()
	p.waitRequests(1, 0)

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := invoke(short, c, "late")
	requireStatus(t, codes.DeadlineExceeded, err)
	p.waitRequests(1, 0)
	require.EqualValues(t, 1, f.calls.Load())

	long, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	waited := make(chan error, 1)
	go func() {
		_, err := invoke(long, c, "short")
		waited <- err
	}()
	p.waitRequests(1, 1)
	time.Sleep(500 * time.Millisecond)
	free()
	requireStatus(t, codes.Canceled, <-ended)
	require.NoError(t, <-waited)
	require.Less(t, f.deadline.Load(), int64(19_600))
	require.Greater(t, f.deadline.Load(), int64(5_000))
}

// P7: a cancelled call ends in the function, and its slot is free.
func TestP7GRPCCancelReachesTheFunction(t *testing.T) {
	f := newGRPCFunction(t)
	p := grpcPod(t, f)
	c := grpcClient(t, p.listen)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := invoke(ctx, c, "wait")
		ended <- err
	}()
	s := open(ctx, t, c, "Both")
	say(t, s, "x")
	require.Equal(t, "x", hear(t, s))
	p.waitRequests(2, 0)
	cancel()
	requireStatus(t, codes.Canceled, <-ended)
	p.waitRequests(0, 0)
	require.Eventually(t, func() bool { return f.cancelled.Load() == 2 }, 5*time.Second, time.Millisecond)
}

func TestGRPCRefusals(t *testing.T) {
	t.Parallel()
	t.Run("queue full", func(t *testing.T) {
		f := newGRPCFunction(t)
		p := grpcPod(t, f, "--queue-limit", "1", "--queue-depth", "0")
		c := grpcClient(t, p.listen)
		go func() { _, _ = invoke(t.Context(), c, "wait") }()
		p.waitRequests(1, 0)
		_, err := invoke(t.Context(), c, "x")
		requireStatus(t, codes.Unavailable, err)
		require.ErrorContains(t, err, "queue_full")
	})
	t.Run("body too large", func(t *testing.T) {
		f := newGRPCFunction(t)
		p := grpcPod(t, f, "--max-body", "1000")
		c := grpcClient(t, p.listen)
		_, err := invoke(t.Context(), c, string(make([]byte, 100_000)))
		requireStatus(t, codes.ResourceExhausted, err)
		_, err = invoke(t.Context(), c, "x")
		require.NoError(t, err)
	})
	t.Run("time-out", func(t *testing.T) {
		f := newGRPCFunction(t)
		c := grpcClient(t, grpcPod(t, f, "--timeout", "200ms").listen)
		_, err := invoke(t.Context(), c, "wait")
		requireStatus(t, codes.DeadlineExceeded, err)
		require.Eventually(t, func() bool { return f.cancelled.Load() == 1 }, 5*time.Second, time.Millisecond)
	})
	t.Run("function dead", func(t *testing.T) {
		f := newGRPCFunction(t)
		p := grpcPod(t, f)
		c := grpcClient(t, p.listen)
		_, err := invoke(t.Context(), c, "x")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := invoke(t.Context(), c, "wait")
			ended <- err
		}()
		p.waitRequests(1, 0)
		f.server.Stop()
		requireStatus(t, codes.Unavailable, <-ended)
		_, err = invoke(t.Context(), c, "x")
		requireStatus(t, codes.Unavailable, err)
		p.waitRequests(0, 0)
	})
}

// Pings of a client that keeps its connection alive are no flood.
func TestGRPCKeepaliveIsAllowed(t *testing.T) {
	t.Parallel()
	f := newGRPCFunction(t)
	c := grpcClient(t, grpcPod(t, f).listen, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second, PermitWithoutStream: true}))
	s := open(t.Context(), t, c, "Both")
	say(t, s, "x")
	require.Equal(t, "x", hear(t, s))
	time.Sleep(11 * time.Second)
	say(t, s, "y")
	require.Equal(t, "y", hear(t, s))
}

// D2, D3: a client that follows GOAWAY loses nothing when its pod drains: here it
// goes on to the pod's successor.
func TestD3GRPCDrainUnderLoad(t *testing.T) {
	t.Parallel()
	f := newGRPCFunction(t)
	old := grpcPod(t, f, "--drain-delay", "300ms")
	next := grpcPod(t, f)
	var ended atomic.Bool
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		address := old.listen
		if ended.Load() {
			address = next.listen
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	var work sync.WaitGroup
	var done atomic.Int64
	stop := make(chan struct{})
	for range 8 {
		c := grpcClient(t, "pod", grpc.WithContextDialer(dial))
		for range 4 {
			work.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if text, err := invoke(t.Context(), c, "short"); err != nil || text != "short" {
						t.Errorf("after %d: %v", done.Load(), err)
						return
					}
					done.Add(1)
				}
			})
		}
	}
	more := func(n int64) {
		from := done.Load()
		require.Eventually(t, func() bool { return done.Load() > from+n || t.Failed() }, 20*time.Second, time.Millisecond)
	}
	more(1000)
	ended.Store(true) // its endpoint is gone
	old.signal(syscall.SIGTERM)
	require.Equal(t, 0, old.exit())
	more(1000)
	close(stop)
	work.Wait()
	require.Equal(t, f.calls.Load(), done.Load(), "each call ran once (R4)")
}

// P5: answers reach their own callers.
func TestP5GRPCCallsAreNotCrossed(t *testing.T) {
	t.Parallel()
	f := newGRPCFunction(t)
	p := grpcPod(t, f, "--queue-limit", "50", "--queue-depth", "2000")
	var work sync.WaitGroup
	for range 10 {
		c := grpcClient(t, p.listen)
		for range 100 {
			work.Go(func() {
				var id [16]byte
				_, _ = rand.Read(id[:]) // never fails
				text := hex.EncodeToString(id[:])
				for range 3 {
					if got, err := invoke(t.Context(), c, text); err != nil || got != text {
						t.Errorf("%q instead of %q: %v", got, text, err)
					}
				}
			})
		}
	}
	work.Wait()
	require.EqualValues(t, 3000, f.calls.Load())
	p.waitRequests(0, 0)
}
