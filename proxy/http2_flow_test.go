package proxy_test

import (
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
