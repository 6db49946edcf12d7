package proxy_test

import (
	"testing"

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
