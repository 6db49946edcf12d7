package proxy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/fnpod/fnpod/proxy"
)

// RFC 9113 §6.9.2: SETTINGS may make a window negative. The end of a body needs no room.
func TestAnswersEndInANegativeWindow(t *testing.T) {
	release, let := gate(t)
	p := newPod(t, proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, -1)
		if _, err := x.Write([]byte("hello")); err != nil {
			return err
		}
		<-release
		return x.Finish()
	}))
	c := p.dial2()
	c.thrifty = true
	r := c.streams[c.open(true, "GET", "/")]
	c.pump(func() bool { return len(r.body) == 5 })
	require.NoError(t, c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	c.ping()
	let()
	c.pump(r.over)
	require.True(t, r.ended, "%+v", r)
	require.Equal(t, "hello", string(r.body))
}

// The same for the end of a request to the function.
func TestUploadsEndInANegativeWindow(t *testing.T) {
	narrow := make(chan struct{})
	f := newFunction2(t, "tcp", func(s *fconn2) {
		id := s.next().StreamID
		for {
			f, err := s.fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.DataFrame:
				if f.StreamEnded() {
					s.head(id, true, ":status", "204")
					continue
				}
				_ = s.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				_ = s.fr.WritePing(false, [8]byte{})
			case *http2.PingFrame:
				close(narrow)
			}
		}
	})
	p := newPod(t, overH2C(f))
	c := p.dial()
	c.send(upload(chunkedFraming) + "5\r\nhello\r\n")
	<-narrow
	c.send("0\r\n\r\n")
	require.Equal(t, 204, c.receive("POST").code)
	require.Zero(t, p.count(namePanics))
}

// Padding counts against both windows (RFC 9113 §6.9.1), which it must not use up.
func TestPaddingIsGivenBack(t *testing.T) {
	f, seen := newRecorder(t)
	p := newPod(t, f.backend())
	c := p.dial2()
	id := c.open(false, "POST", "/")
	for range 1100 { // 275 KiB of padding
		require.NoError(t, c.fr.WriteDataPadded(id, false, nil, make([]byte, 255)))
	}
	c.data(id, true, "hello")
	r := c.receive(id)
	require.Equal(t, "200", r.get(":status"), "%+v", r)
	require.Equal(t, "hello", seen()[0].body)
}

// wide opens windows for all that will ever come.
func wide(c *client2) {
	c.t.Helper()
	require.NoError(c.t, c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
	require.NoError(c.t, c.fr.WriteWindowUpdate(0, 1<<29))
	c.thrifty = true
}

// sized answers with so many bytes.
func sized(size int) proxy.Backend {
	return proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, int64(size))
		if _, err := x.Write(pattern(size)); err != nil {
			return err
		}
		return x.Finish()
	})
}

// L4: WriteTimeout is for bytes that a client does not take. A connection that had to wait
// once is good for more requests when that time is over.
func TestL4AConnectionOutlivesASlowWrite(t *testing.T) {
	const size, limit = 16 << 20, time.Second
	p := newPod(t, sized(size), func(s *setup) { s.WriteTimeout = limit })
	c := p.dial2()
	wide(c)
	id := c.open(true, "GET", "/")
	time.Sleep(limit / 4) // more than the buffers of the sockets hold wait meanwhile
	require.Len(t, c.receive(id).body, size)
	time.Sleep(limit + limit/4) // that time passes
	require.Len(t, c.get("/").body, size)
}

// L4: a client that takes nothing is cut off, however much it says meanwhile.
func TestL4ClientsOfHTTP2ThatTakeNothingAndTalk(t *testing.T) {
	p := newPod(t, sized(16<<20), func(s *setup) { s.WriteTimeout = 200 * time.Millisecond })
	c := p.dial2()
	wide(c)
	c.open(true, "GET", "/")
	var talk []byte
	for len(talk) < 64<<10 {
		talk = append(talk, 0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0, 0, 0, 0, 1)
	}
	var err error
	for err == nil {
		_, err = c.nc.Write(talk)
	}
	require.False(t, isTimeout(err), "it is still there: %v", err)
	p.waitQueue(0, 0)
}

// Requests that wait with their bodies do not keep the one from going on that runs, which
// comes on the same connection.
func TestBodiesInTheQueueHoldUpNobody(t *testing.T) {
	const queued, size = 40, 1 << 20
	f, seen := newRecorder(t)
	p := newPod(t, f.backend(), func(s *setup) { s.Queue.Limit, s.BufferBody = 1, 0 })
	c := p.dial2()
	first := c.open(false, "POST", "/first")
	p.waitQueue(1, 0)
	var others []uint32
	for range queued {
		id := c.open(false, "POST", "/other")
		for range 3 { // nearly all that a new stream may send
			c.data(id, false, string(pattern(16<<10)))
		}
		others = append(others, id)
	}
	p.waitQueue(1, queued)
	c.upload(first, size)
	require.Equal(t, "200", c.receive(first).get(":status"))
	require.Len(t, seen()[0].body, size)
	for _, id := range others { // who comes next is not told by the order of frames
		c.data(id, true, "")
	}
	for _, id := range others {
		require.Equal(t, "200", c.receive(id).get(":status"))
	}
}

// Nor do answers that their clients do not take, on the connection to the function.
func TestAnswersThatNobodyTakesHoldUpNobody(t *testing.T) {
	const slow, size = 20, 1 << 20
	ln := listen(t, "tcp")
	serveH2C(t, ln, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pattern(size)) })
	b := &proxy.HTTPBackend{Network: "tcp", Address: ln.Addr().String(), ConnectTimeout: time.Second, Protocol: proxy.ProtocolH2C}
	t.Cleanup(b.CloseIdle)
	p := newPod(t, b)
	c := p.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for range slow {
		c.open(true, "GET", "/")
	}
	c.pump(func() bool {
		for _, r := range c.streams {
			if r.head == nil {
				return false
			}
		}
		return true
	})
	require.Len(t, p.dial().get("/").body, size)
	idle, busy := b.Connections()
	require.Equal(t, []int{0, 1}, []int{idle, busy}, "all on one connection")
}

// upload sends a body as the windows allow.
func (c *client2) upload(id uint32, size int) {
	c.t.Helper()
	stream, whole := 65535, 65535
	for size > 0 {
		for n := min(size, stream, whole, 16<<10); n > 0; n = min(size, stream, whole, 16<<10) {
			stream, whole, size = stream-n, whole-n, size-n
			c.data(id, size == 0, string(pattern(n)))
		}
		if size == 0 {
			return
		}
		f, err := c.fr.ReadFrame()
		require.NoError(c.t, err)
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == id {
			stream += int(w.Increment)
		} else if ok && w.StreamID == 0 {
			whole += int(w.Increment)
		}
		c.take(f)
	}
}
