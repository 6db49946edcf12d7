package proxy_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// text is a frame of a server.
func text(payload string) string { return "\x81" + string(rune(len(payload))) + payload }

// U5: when the drain begins, the client is told 1001 between two frames, what the
// function sends after that is dropped, and the client's goodbye reaches the function.
func TestU5ADrainTellsTheClientThatWeGo(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		heard := make(chan string, 1)
		f := newFunction(t, network, agreeing(func(c *fconn) {
			c.write(text("before"))
			b := make([]byte, len(closeReply))
			_, _ = io.ReadFull(c.r, b)
			heard <- string(b)
			c.write(text("dropped"), "\x88\x82\x03\xe9") // its own Close comes too late as well
		}))
		p := newPod(t, f.backend(), over(network))
		c := p.tunnel()
		expect(t, c.r, text("before"))
		p.cancel()
		expect(t, c.r, goingAway)
		c.send(closeReply)
		require.Equal(t, closeReply, <-heard)
		c.requireEnd()
		require.NoError(t, c.nc.Close())
		require.NoError(t, p.stop())
		require.EqualValues(t, 1, p.metrics.Requests().Answered[1])
	})
}

// U5: a frame that has begun ends first.
func TestU5ADrainWaitsForTheEndOfAFrame(t *testing.T) {
	for name, cut := range map[string]int{"head": 1, "length": 3, "payload": 100, "last byte": 299 + 4} {
		t.Run(name, func(t *testing.T) {
			frame := "\x02\x7e\x01\x2c" + string(pattern(300)) // a fragment: more of the message would follow
			release := make(chan struct{})
			f := newFunction(t, "tcp", agreeing(func(c *fconn) {
				c.write(text("first"), frame[:cut])
				<-release
				c.write(frame[cut:], "\x80\x02no")
				c.wait()
			}))
			p := newPod(t, f.backend())
			c := p.tunnel()
			expect(t, c.r, text("first")+frame[:cut])
			p.cancel()
			require.NoError(t, c.nc.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
			_, err := c.r.ReadByte()
			require.True(t, isTimeout(err), "%v", err)
			require.NoError(t, c.nc.SetReadDeadline(time.Now().Add(patience)))
			close(release)
			expect(t, c.r, frame[cut:]+goingAway)
			c.send(closeReply)
			c.finish()
			c.requireEnd()
			require.NoError(t, p.stop())
		})
	}
}

// U5: a function that streams without a pause is interrupted, too; even if it never
// reads, it learns that its client has left.
func TestU5ADrainInterruptsAStream(t *testing.T) {
	f := newFunction(t, "tcp", agreeing(func(c *fconn) {
		frame := "\x82\x7f\x00\x00\x00\x00\x00\x01\x86\xa0" + string(pattern(100_000))
		for {
			c.write(frame)
		}
	}))
	p := newPod(t, f.backend())
	c := p.tunnel()
	go func() {
		p.waitTunnels(1)
		p.cancel()
	}()
	head := make([]byte, 4)
	for {
		_, err := io.ReadFull(c.r, head)
		require.NoError(t, err)
		if string(head) == goingAway {
			break
		}
		require.Equal(t, "\x82\x7f\x00\x00", string(head))
		_, err = c.r.Discard(6 + 100_000)
		require.NoError(t, err)
	}
	c.send(closeReply)
	require.NoError(t, c.nc.Close())
	require.NoError(t, p.stop())
}

// D5: tunnels that do not end are cut at the limit. Their clients were told, so that is
// no loss.
func TestU5D5ADrainCutsTunnelsAtItsLimit(t *testing.T) {
	onAll(t, func(t *testing.T, network string) {
		f := newFunction(t, network, agreeing(func(c *fconn) { c.wait() }))
		p := newPod(t, f.backend(), over(network), func(s *setup) { s.DrainTimeout = 100 * time.Millisecond })
		c := p.tunnel()
		require.NoError(t, p.stop(), "not ErrLost")
		expect(t, c.r, goingAway)
		c.requireEnd()
		require.EqualValues(t, 1, p.metrics.Requests().Answered[1])
	})
}

// What is no WebSocket, and one that says goodbye itself, gets no frame of ours.
func TestU5ADrainPutsNoFrameWhereNoneBelongs(t *testing.T) {
	for name, bytes := range map[string]string{
		"another protocol": "220 ready\r\n",
		"masked":           "\x81\x82\x01\x02\x03\x04ab",
		"its own Close":    "\x88\x02\x03\xe8",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, "tcp", agreeing(func(c *fconn) {
				c.write(bytes)
				c.wait()
			}))
			p := newPod(t, f.backend(), func(s *setup) { s.DrainTimeout = 100 * time.Millisecond })
			c := p.tunnel()
			expect(t, c.r, bytes)
			require.NoError(t, p.stop())
			c.requireEnd()
		})
	}
}

// Who comes while the pod drains is served, and told when the port is closed: then the
// client finds another pod. So is one whose function agrees later than that.
func TestU5TunnelsThatBeginInADrainAreTold(t *testing.T) {
	agree := make(chan struct{})
	f := newFunction(t, "tcp", func(c *fconn) {
		if c.request().line == "GET /late HTTP/1.1" {
			<-agree
		}
		c.write(switching)
		c.echo()
	})
	p := newPod(t, f.backend(), func(s *setup) { s.DrainDelay = 300 * time.Millisecond })
	old, late := p.tunnel(), p.dial()
	late.send("GET /late" + upgrade()[len("GET /ws"):])
	p.waitQueue(2, 0)
	p.cancel()
	expect(t, old.r, goingAway)
	c := p.tunnel()
	c.send(text("talk"))
	expect(t, c.r, text("talk"))
	expect(t, c.r, goingAway)
	close(agree)
	late.switched()
	expect(t, late.r, goingAway)
	for _, c := range []*client{old, c, late} {
		c.finish()
		c.requireEnd()
	}
	require.NoError(t, p.stop())
}
