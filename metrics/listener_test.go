package metrics_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/metrics"
)

// pipes is a listener in memory, so that the tests below can run in fake time.
type pipes struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	once   sync.Once // Run may close from two goroutines
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.errs:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// peer is the client's end of a connection.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// dial connects as soon as the server accepts.
func (p *pipes) dial() *peer {
	client, server := net.Pipe()
	p.conns <- server
	return &peer{client, bufio.NewReader(client)}
}

// get asks for a path and returns the status, or an error if the connection ended.
func (p *peer) get(path string) (int, error) {
	if _, err := fmt.Fprintf(p, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// bubble runs a server in fake time. The server must end without leaving a
// goroutine behind, or synctest fails the test.
func bubble(t *testing.T, s *metrics.Server, test func(*testing.T, *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx, p) }()
		test(t, p)
		cancel()
		require.NoError(t, <-ended)
		require.Error(t, func() error { _, err := p.Accept(); return err }(), "the listener must be closed")
	})
}

// R6 (contract, files and ports): eight connections at the admin port.
func TestAtMostEightConnectionsAtOnce(t *testing.T) {
	s := newServer()
	var running atomic.Int64
	var finish chan struct{}
	s.Ready = func() error {
		running.Add(1)
		<-finish
		running.Add(-1)
		return nil
	}
	bubble(t, s, func(t *testing.T, p *pipes) {
		finish = make(chan struct{}) // belongs to the bubble
		codes := make(chan int)
		for range 20 {
			go func() {
				c := p.dial()
				defer c.Close()
				code, err := c.get("/readyz")
				if err != nil {
					t.Error(err)
				}
				codes <- code
			}()
		}
		for n := range 20 {
			synctest.Wait()
			require.EqualValues(t, min(8, 20-n), running.Load())
			finish <- struct{}{}
			require.Equal(t, 200, <-codes)
		}
	})
}

func TestANewConnectionTakesThePlaceOfAnIdleOne(t *testing.T) {
	bubble(t, newServer(), func(t *testing.T, p *pipes) {
		var idle []*peer
		for range 8 {
			c := p.dial()
			idle = append(idle, c)
			code, err := c.get("/healthz")
			require.NoError(t, err)
			require.Equal(t, 200, code)
		}
		synctest.Wait()
		ninth := p.dial()
		code, err := ninth.get("/healthz")
		require.NoError(t, err)
		require.Equal(t, 200, code)

		closed := 0
		for _, c := range idle {
			if _, err := c.get("/healthz"); err != nil {
				closed++
			}
		}
		require.Equal(t, 1, closed)
	})
}

func TestSlowAndIdleConnectionsEndAfterFiveSeconds(t *testing.T) {
	for _, test := range []struct{ name, sent string }{
		{"nothing sent", ""},
		{"half a head", "GET /healthz HTT"},
		{"no end of head", "GET /healthz HTTP/1.1\r\nHost: x\r\n"},
		{"half a body", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n1"},
		{"idle", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, newServer(), func(t *testing.T, p *pipes) {
				start := time.Now()
				c := p.dial()
				if test.sent != "" {
					_, err := io.WriteString(c, test.sent)
					require.NoError(t, err)
				}
				_, err := io.Copy(io.Discard, c)
				require.NoError(t, err)
				require.Equal(t, 5*time.Second, time.Since(start))
			})
		})
	}
}

func TestAClientThatDoesNotReadIsLeftAfterFiveSeconds(t *testing.T) {
	bubble(t, newServer(), func(t *testing.T, p *pipes) {
		c := p.dial()
		_, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Empty(t, b, "the connection must be closed")
	})
}

func TestRunEndsConnectionsAndThoseThatWait(t *testing.T) {
	bubble(t, newServer(), func(t *testing.T, p *pipes) {
		for range 8 {
			p.dial() // busy: the head has not arrived
		}
		p.dial() // waits for a place
		synctest.Wait()
	})
}

// L11, L13: the admin port survives want of descriptors.
func TestRunSurvivesWantOfDescriptors(t *testing.T) {
	bubble(t, newServer(), func(t *testing.T, p *pipes) {
		start := time.Now()
		for range 12 {
			p.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		c := p.dial()
		code, err := c.get("/healthz")
		require.NoError(t, err)
		require.Equal(t, 200, code)
		// 5 ms, doubled up to 1 s: 5+10+…+640 and four times 1 s
		require.Equal(t, 1275*time.Millisecond+4*time.Second, time.Since(start))
	})
}

func TestRunEndsWhileItBacksOff(t *testing.T) {
	bubble(t, newServer(), func(_ *testing.T, p *pipes) {
		p.errs <- syscall.ENFILE
		synctest.Wait()
	})
}

func TestAnotherErrorOfAcceptEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		broken := errors.New("broken")
		go func() { p.errs <- broken }()
		require.ErrorIs(t, newServer().Run(t.Context(), p), broken)
	})
}
