package proxy_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// holding lets a backend have every body of up to most bytes whole.
func holding(b proxy.Backend, most int64) proxy.Backend {
	return proxy.BackendFunc(func(x *proxy.Exchange) error {
		if err := x.HoldBody(most); err != nil {
			return err
		}
		return b.Do(x)
	})
}

func TestHeldBodiesHaveALength(t *testing.T) {
	f := newFunction(t, "tcp", func(c *fconn) {
		for {
			r := c.request()
			c.answer(r.header.Get("Content-Length") + strings.Join(r.header["Transfer-Encoding"], "") + " " + strconv.Itoa(len(r.body)))
		}
	})
	p := newPod(t, holding(f.backend(), 300_000))
	c := p.dial()
	for range 2 {
		c.send(upload(chunkedFraming), "3\r\nabc\r\n")
		f.calls.Store(0)
		c.send("5\r\n", "defgh\r\n0\r\n\r\n")
		require.Equal(t, "8 8", c.receive("POST").body)
		large := string(pattern(100_000))
		c.send(upload(lengthFraming(len(large))), large)
		require.Equal(t, "100000 100000", c.receive("POST").body)
		c.send(upload(chunkedFraming), "30d40\r\n", large, large, "\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n") // the next one right behind it
		require.Equal(t, "200000 200000", c.receive("POST").body)
		require.Equal(t, " 0", c.receive("GET").body)
	}
}

func TestHeldBodiesAreBounded(t *testing.T) {
	f := newEcho(t, "tcp")
	p := newPod(t, holding(f.backend(), 100_000))
	large := string(pattern(100_001))
	c := p.dial()
	c.send(upload(lengthFraming(len(large))))
	c.requireCode(413, "body_size")
	c = p.dial()
	c.send(upload(chunkedFraming), "186a1\r\n", large, "\r\n0\r\n\r\n")
	c.requireCode(413, "body_size")
	require.Zero(t, f.calls.Load())
}

// R2: a body that is cut while it is held reaches no function.
func TestHeldBodiesAreWholeOrNothing(t *testing.T) {
	f := newEcho(t, "tcp")
	p := newPod(t, holding(f.backend(), 0))
	for range 20 { // that the client's side has ended does not cut the answer, whenever it is noticed
		c := p.dial()
		c.send(upload(chunkedFraming), "3\r\nabc\r\n")
		c.finish()
		c.requireCode(400, "cut")
	}
	c := p.dial()
	c.send(upload(chunkedFraming), "3\r\nabc\r\nnonsense\r\n")
	require.Equal(t, 400, c.receive("POST").code)
	require.Zero(t, f.calls.Load())
}
