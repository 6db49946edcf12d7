package proxy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/fnpod/fnpod/proxy"
)

// answering is a backend that answers at once.
func answering() proxy.Backend {
	return proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, 0)
		return x.Finish()
	})
}

// Floods of frames that bring nothing on end the connection, and no other.
func TestFloodsEndTheConnection(t *testing.T) {
	for name, send := range map[string]func(c *client2, id uint32) error{
		"settings":   func(c *client2, _ uint32) error { return c.fr.WriteSettings() },
		"pings":      func(c *client2, _ uint32) error { return c.fr.WritePing(false, [8]byte{}) },
		"empty data": func(c *client2, id uint32) error { return c.fr.WriteData(id, false, nil) },
		"priorities": func(c *client2, id uint32) error { return c.fr.WritePriority(id, http2.PriorityParam{StreamDep: 99}) },
		"unknown":    func(c *client2, _ uint32) error { return c.fr.WriteRawFrame(0xbb, 0, 0, []byte("x")) },
		"rapid resets": func(c *client2, _ uint32) error {
			c.last += 2
			err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, EndHeaders: true, EndStream: true, BlockFragment: c.encode(
				":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/")})
			if err != nil {
				return err
			}
			return c.fr.WriteRSTStream(c.last, http2.ErrCodeCancel)
		},
		"resets by our side": func(c *client2, _ uint32) error {
			c.last += 2
			err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, EndHeaders: true, BlockFragment: c.encode(
				":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/")})
			if err != nil {
				return err
			}
			return c.fr.WriteWindowUpdate(c.last, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, answering())
			c, other := p.dial2(), p.dial2()
			id := c.open(false, "POST", "/")
			c.ping()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for range 20_000 {
					if send(c, id) != nil {
						return
					}
				}
				_ = c.nc.SetReadDeadline(time.Now().Add(time.Second)) // it was not ended
			}()
			for c.end == nil {
				f, err := c.fr.ReadFrame()
				if err != nil {
					c.end = err
				} else if g, ok := f.(*http2.GoAwayFrame); ok {
					c.goAway = append(c.goAway, g.ErrCode)
				}
			}
			_ = c.nc.Close()
			<-ended
			require.Contains(t, c.goAway, http2.ErrCodeEnhanceYourCalm, "%v", c.end)
			require.Equal(t, "200", other.get("/").get(":status"))
			p.waitQueue(0, 0)
		})
	}
}

// A head that never ends is not collected.
func TestContinuationsWithoutEndEndTheConnection(t *testing.T) {
	for _, fragment := range [][]byte{nil, make([]byte, 1000)} {
		c := newPod(t, answering()).dial2()
		id := c.promise()
		block := c.encode(":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/")
		require.NoError(t, c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block}))
		for range 20_000 {
			if c.fr.WriteContinuation(id, false, fragment) != nil {
				break
			}
		}
		c.requireEnd()
	}
}

// Who brings something on may ping, and cancel.
func TestBusyClientsAreNoFlood(t *testing.T) {
	p := newPod(t, newEcho(t, "tcp").backend(), func(s *setup) { s.Queue.Depth = 1000 })
	c := p.dial2()
	id := c.open(false, "POST", "/")
	for i := range 10_000 {
		c.data(id, false, "x")
		require.NoError(t, c.fr.WritePing(false, [8]byte{}))
		if i%100 == 99 {
			c.ping()
		}
	}
	c.data(id, true, "")
	c.requireStatus(id, 200, "")
	for i := range 3000 {
		id := c.open(false, "POST", "/")
		c.data(id, false, "x")
		require.NoError(t, c.fr.WriteRSTStream(id, http2.ErrCodeCancel))
		if i%10 == 9 {
			c.ping()
		}
	}
	require.Equal(t, "200", c.get("/").get(":status"))
}

// Trailers may still be on their way when we reset their stream (RFC 9113 §5.1), however many
// we have reset since.
func TestLateTrailersOfManyResetStreams(t *testing.T) {
	c := newPod(t, answering()).dial2()
	var ids []uint32
	for range 300 {
		id := c.open(false, "POST", "/")
		require.NoError(t, c.fr.WriteWindowUpdate(id, 0)) // for which it is reset
		c.receive(id)
		ids = append(ids, id)
	}
	for _, id := range ids {
		c.headers(id, true, "x-late", "v")
	}
	c.ping()
	require.Equal(t, "200", c.get("/").get(":status"))
}

// A frame that is wrong about a stream that does not exist is about the connection: RST_STREAM
// must not be sent for it (RFC 9113 §6.4).
func TestPrioritiesOfAWrongSize(t *testing.T) {
	for _, opened := range []bool{true, false} {
		c := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
			_, err := x.ReadBody(make([]byte, 100))
			return err
		})).dial2()
		if opened {
			c.open(false, "POST", "/")
		} else {
			c.promise()
		}
		require.NoError(t, c.fr.WriteRawFrame(http2.FramePriority, 0, c.last, []byte("four")))
		if opened {
			require.Equal(t, http2.ErrCodeFrameSize, c.requireReset(c.last).code)
			continue
		}
		c.requireEnd(http2.ErrCodeFrameSize)
		require.False(t, c.streams[c.last].reset)
	}
}
