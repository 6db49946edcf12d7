package main

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnswerSize(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y\r\n\r\npong"
	for _, row := range []struct {
		name, answer string
		size         int
		bad          string
	}{
		{name: "whole", answer: good, size: len(good)},
		{name: "body to come", answer: good[:len(good)-2], size: len(good)},
		{name: "head to come", answer: good[:20]},
		{name: "nothing", answer: ""},
		{name: "field in lower case", answer: "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 4\r\n\r\npong", size: 51},
		{name: "refused", answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", bad: "503"},
		{name: "no length", answer: "HTTP/1.1 200 OK\r\n\r\n", bad: "without a length"},
		{name: "bad length", answer: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", bad: "length"},
	} {
		t.Run(row.name, func(t *testing.T) {
			size, err := answerSize([]byte(row.answer))
			if row.bad != "" {
				require.ErrorContains(t, err, row.bad)
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.size, size)
		})
	}
}

// scripted answers every request with what answer says, piece by piece.
func scripted(t *testing.T, pieces ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer conn.Close()
				buf := make([]byte, len(request))
				for {
					if _, err := io.ReadFull(conn, buf); err != nil {
						return
					}
					for _, piece := range pieces {
						if _, err := io.WriteString(conn, piece); err != nil {
							return
						}
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		connections.Wait()
	})
	return listener.Addr().String()
}

func TestLoadCountsEveryAnswerOnce(t *testing.T) {
	address := scripted(t, "HTTP/1.1 200 OK\r\nContent-", "Length: 4\r\n\r\npo", "ng")
	l, err := dial(address, 3)
	require.NoError(t, err)
	defer l.close()
	require.NoError(t, l.once(t.Context()))
	r, err := l.run(t.Context(), 20*time.Millisecond)
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.requests, int64(3))
	require.Equal(t, r.requests, r.latency.counts.TotalCount())
	require.GreaterOrEqual(t, r.elapsed, 20*time.Millisecond)
	require.Zero(t, l.waiting)
}

func TestLoadEndsWithTheFirstBadAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"HTTP/1.1 503":          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"bytes after an answer": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\npong",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := dial(scripted(t, answer), 1)
			require.NoError(t, err)
			defer l.close()
			_, err = l.run(t.Context(), time.Minute)
			require.ErrorContains(t, err, name)
		})
	}
}

func TestAConstantRateDoesNotWaitForAnswers(t *testing.T) {
	address := scripted(t, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong")
	l, err := dial(address, 2)
	require.NoError(t, err)
	defer l.close()
	r, err := l.pace(t.Context(), 1000, 50*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, int64(50), r.requests, "as many as were due")
	require.GreaterOrEqual(t, r.elapsed, 49*time.Millisecond)
	require.Zero(t, l.waiting)
}

// Coordinated omission: what was due while the server stalled counts from when it was due.
func TestAStallCountsForAllThatWasDue(t *testing.T) {
	stalled := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { close(stalled) })
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var served sync.WaitGroup
	served.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, len(request))
		for {
			if _, err := io.ReadFull(conn, buf); err != nil {
				return
			}
			<-stalled
			if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong"); err != nil {
				return
			}
		}
	})
	l, err := dial(listener.Addr().String(), 1)
	require.NoError(t, err)
	r, err := l.pace(t.Context(), 1000, 50*time.Millisecond)
	l.close()
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	served.Wait()
	require.Equal(t, int64(50), r.requests)
	require.Greater(t, r.latency.quantile(0), 45*time.Millisecond, "the last was due 50 ms before the stall ended")
}

func TestLargeBodiesGoThereAndBack(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	const size = 5 << 20
	var served sync.WaitGroup
	served.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, len(post(size)))
		for {
			if _, err := io.ReadFull(conn, buf); err != nil {
				return
			}
			body := buf[len(buf)-size:]
			if _, err := conn.Write(append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5242880\r\n\r\n"), body...)); err != nil {
				return
			}
		}
	})
	l, err := dial(listener.Addr().String(), 1)
	require.NoError(t, err)
	l.request = post(size)
	for range 3 {
		require.NoError(t, l.once(t.Context()))
	}
	l.close()
	require.NoError(t, listener.Close())
	served.Wait()
}
