package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

// patientContainer answers as the path says, by both protocols, and counts requests that were cancelled.
func patientContainer(t *testing.T) (address string, cancelled *atomic.Int64) {
	t.Helper()
	cancelled = new(atomic.Int64)
	wait := func(r *http.Request) {
		<-r.Context().Done()
		cancelled.Add(1)
	}
	return dualContainer(t, func(w http.ResponseWriter, r *http.Request) {
		flush := func(text string) {
			fmt.Fprint(w, text)
			_ = http.NewResponseController(w).Flush() // a client that has left is seen by the context
		}
		switch r.URL.Path {
		case "/hang":
			wait(r)
		case "/begin":
			flush("begun")
			wait(r)
		case "/trickle":
			for range 8 {
				flush("x")
				select {
				case <-time.After(300 * time.Millisecond):
				case <-r.Context().Done():
					cancelled.Add(1)
					return
				}
			}
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			time.Sleep(1500 * time.Millisecond)
		case "/read":
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
		default:
			fmt.Fprint(w, "ok")
		}
	}), cancelled
}

func requireTimedOut(t *testing.T, resp *http.Response, body string) {
	t.Helper()
	require.Equal(t, 504, resp.StatusCode)
	require.Equal(t, "request timeout", body)
	require.EqualValues(t, 15, resp.ContentLength)
	require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
	require.Empty(t, resp.Header.Get("X-Content-Type-Options"))
	require.Empty(t, resp.Header.Get("Connection"))
}

func TestKnative6TheThreeClocks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, setting string
	}{
		{"revision", "REVISION_TIMEOUT_SECONDS=1"},
		{"response start", "REVISION_RESPONSE_START_TIMEOUT_SECONDS=1"},
		{"idle", "REVISION_IDLE_TIMEOUT_SECONDS=1"},
	}
	for _, tt := range tests {
		for _, protocol := range []string{"http1", "h2c"} {
			t.Run(tt.name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				address, cancelled := patientContainer(t)
				p := queueProxy(t, address, tt.setting, "CONTAINER_CONCURRENCY=1")
				client := clientOf(t, protocol)
				resp, body := p.by(client, "GET", "/hang", "")
				requireTimedOut(t, resp, body)
				require.Eventually(t, func() bool { return cancelled.Load() == 1 }, 10*time.Second, 5*time.Millisecond, "the function's request is cancelled")

				reused := false
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.listen+"/", nil)
				require.NoError(t, err)
				resp, err = client.Do(r)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.True(t, reused, "the connection can be used again, and the slot is free")

				r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.listen+"/begin", nil)
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				resp, err = client.Do(r.WithContext(ctx))
				require.NoError(t, err)
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				otherwise(t, "D1: text is put into the answer")
				require.Equal(t, "begun", string(b), "D1: nothing is put into an answer that has begun")
				require.Error(t, err, "D1: and it does not look whole")
				if tt.name == "response start" { // the error may also be the reset with which the pod follows the client's
					require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "that clock is done")
				} else {
					require.NoError(t, ctx.Err())
				}
			})
		}
	}
}

// by is ask with a client of its own.
func (p *queuePod) by(client *http.Client, method, path, body string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.listen+path, strings.NewReader(body))
	require.NoError(p.t, err)
	resp, err := client.Do(r)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp, string(b)
}

func TestKnative6WhatKeepsTheIdleClockFromStriking(t *testing.T) {
	t.Parallel()
	address, _ := patientContainer(t)
	p := queueProxy(t, address, "REVISION_IDLE_TIMEOUT_SECONDS=1", "REVISION_RESPONSE_START_TIMEOUT_SECONDS=2")
	t.Run("bytes of the answer", func(t *testing.T) {
		for _, protocol := range []string{"http1", "h2c"} {
			resp, body := p.by(clientOf(t, protocol), "GET", "/trickle", "")
			require.Equal(t, 200, resp.StatusCode, protocol)
			require.Equal(t, "xxxxxxxx", body, protocol)
		}
	})
	t.Run("bytes of the request do not", func(t *testing.T) {
		otherwise(t, "its answer waits for the body")
		body, write := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				if _, err := write.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			_ = write.Close()
		}()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.listen+"/read", body)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, 504, resp.StatusCode)
		require.Equal(t, "request timeout", string(b))
	})
}

func TestKnative6ASlowBodyIsBoundedByTheRequest(t *testing.T) {
	t.Parallel()
	otherwise(t, "its answer waits for the body")
	address, _ := patientContainer(t)
	p := queueProxy(t, address, "REVISION_TIMEOUT_SECONDS=1")
	c, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprint(c, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 504, resp.StatusCode)
}

func TestKnative6AnEarlyHintIsAStart(t *testing.T) {
	t.Parallel()
	address, _ := patientContainer(t)
	p := queueProxy(t, address, "REVISION_RESPONSE_START_TIMEOUT_SECONDS=1")
	resp, _ := p.ask("GET", "/early", "")
	require.Equal(t, 200, resp.StatusCode)
}

func TestKnative6TheQueueCounts(t *testing.T) {
	t.Parallel()
	f := newHoldingFunction(t)
	p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=1", "REVISION_RESPONSE_START_TIMEOUT_SECONDS=1")
	var clients []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", p.listen)
		require.NoError(t, err)
		defer c.Close()
		clients = append(clients, c)
	}
	for _, c := range clients {
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
	}
	// Both times are up in the same moment for a pod that stands still. Else who came a little later has the slot of the other for as
	// long, and the function may not have taken leave of that one yet.
	time.Sleep(300 * time.Millisecond)
	p.signal(syscall.SIGSTOP)
	time.Sleep(time.Second)
	p.signal(syscall.SIGCONT)
	for _, c := range clients {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, 504, resp.StatusCode)
	}
	otherwise(t, "the second may have its slot for the moment until its own time is up")
	require.LessOrEqual(t, f.most.Load(), int64(1))
}

func TestKnativeD11NoTimeIsNoLimit(t *testing.T) {
	t.Parallel()
	otherwise(t, "D11: no time is no time")
	address, _ := patientContainer(t)
	p := queueProxy(t, address, "REVISION_TIMEOUT_SECONDS=0")
	resp, body := p.ask("GET", "/trickle", "")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "xxxxxxxx", body)
}

func TestKnativeD1AStreamOfGRPCEndsWithItsStatus(t *testing.T) {
	t.Parallel()
	otherwise(t, "D1: text is put into the stream")
	f := newGRPCFunction(t)
	p := queueProxy(t, f.address, "REVISION_TIMEOUT_SECONDS=1")
	stream := open(t.Context(), t, grpcClient(t, p.listen), "Both")
	require.NoError(t, stream.SendMsg(&message{Value: []byte("a")}))
	got := new(message)
	require.NoError(t, stream.RecvMsg(got))
	err := stream.RecvMsg(got)
	require.Equal(t, codes.DeadlineExceeded, grpcstatus.Code(err), err)
}

func TestKnativeD2TunnelsOutliveTheStartAndNotTheRevision(t *testing.T) {
	t.Parallel()
	otherwise(t, "D2: every clock ends tunnels")
	address := userContainer(t, new(echo).ServeHTTP)
	p := queueProxy(t, address, "REVISION_TIMEOUT_SECONDS=3", "REVISION_RESPONSE_START_TIMEOUT_SECONDS=1", "REVISION_IDLE_TIMEOUT_SECONDS=1")
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.listen, nil)
	require.NoError(t, err)
	defer func() { _ = c.CloseNow() }()
	begun := time.Now()
	for {
		if err = c.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			break
		}
		if _, _, err = c.Read(t.Context()); err != nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	require.Greater(t, time.Since(begun), 2*time.Second, "bytes in either direction count")
	require.Less(t, time.Since(begun), 20*time.Second, "the time of the revision is the end")

	c, _, err = websocket.Dial(t.Context(), "ws://"+p.listen, nil)
	require.NoError(t, err)
	defer func() { _ = c.CloseNow() }()
	begun = time.Now()
	_, _, err = c.Read(t.Context())
	require.Error(t, err)
	require.Less(t, time.Since(begun), 2900*time.Millisecond, "a silent one ends sooner")
}

// D7: a time-out and an answer that come at the same time are one or the other. The binary watches for races, and would end with another code.
func TestKnativeD7ATimeoutInTheMomentOfTheAnswer(t *testing.T) {
	t.Parallel()
	otherwise(t, "D7: it may die of it")
	var came atomic.Int64
	p := queueProxy(t, dualContainer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who leaves is seen below
		timer := time.NewTimer(time.Second + time.Duration(came.Add(1)%100-90)*time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		for i := range 20 {
			w.Header().Set(fmt.Sprintf("X-Field-%d", i), "value")
		}
		fmt.Fprint(w, "answer")
	}), "REVISION_RESPONSE_START_TIMEOUT_SECONDS=1")
	answers := make(chan string, 200) // all
	for _, protocol := range []string{"http1", "h2c"} {
		client := clientOf(t, protocol)
		for i := range cap(answers) / 2 {
			upload := strings.Repeat("x", i%2*100_000) // large ones are streamed
			go func() {
				resp, err := client.Post("http://"+p.listen, "", strings.NewReader(upload))
				if err != nil {
					answers <- err.Error()
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				answers <- fmt.Sprintf("%d %s %v %d", resp.StatusCode, body, err, len(resp.Header["X-Field-19"]))
			}()
		}
	}
	for range cap(answers) {
		require.Contains(t, []string{"200 answer <nil> 1", "504 request timeout <nil> 0"}, <-answers)
	}
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exit())
}
