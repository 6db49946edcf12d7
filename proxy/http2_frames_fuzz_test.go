package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/fnpod/fnpod/proxy"
)

// framesOf returns what write says, as seeds.
func framesOf(t testing.TB, write func(c *client2)) []byte {
	t.Helper()
	var b bytes.Buffer
	c := &client2{t: t, fr: http2.NewFramer(&b, nil), streams: map[uint32]*reply2{}}
	c.fr.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	require.NoError(t, c.fr.WriteSettings())
	write(c)
	return b.Bytes()
}

// Whatever a client of HTTP/2 sends, in whatever pieces, its connection ends when its side has ended, and all that we said
// on it were frames.
func FuzzHTTP2Frames(f *testing.F) {
	for _, write := range []func(c *client2){
		func(c *client2) { c.open(true, "GET", "/a", "x", "y") },
		func(c *client2) { c.data(c.open(false, "POST", "/", "content-length", "5"), true, "hello") },
		func(c *client2) {
			id := c.open(false, "POST", "/", "te", "trailers")
			c.data(id, false, "hello")
			c.headers(id, true, "x-sum", "5")
		},
		func(c *client2) {
			id := c.open(false, "PUT", "/")
			_ = c.fr.WriteDataPadded(id, true, []byte("hello"), make([]byte, 5))
			_ = c.fr.WriteWindowUpdate(id, 100)
			_ = c.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			_ = c.fr.WritePing(false, [8]byte{1})
		},
		func(c *client2) {
			_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16384})
			c.open(true, "GET", "/")
			_ = c.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		},
	} {
		b := framesOf(f, write)
		f.Add(b, uint16(len(b)))
		f.Add(b, uint16(20))
	}
	b := proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, -1)
		for room := make([]byte, 4096); ; {
			n, err := x.ReadBody(room)
			if errors.Is(err, io.EOF) {
				return x.Finish()
			}
			if err != nil {
				return err
			}
			if _, err := x.Write(room[:n]); err != nil {
				return err
			}
		}
	})
	p := newPod(f, b, func(s *setup) {
		s.WriteTimeout, s.BodyTimeout, s.HeadTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	})
	f.Fuzz(func(t *testing.T, sent []byte, cut uint16) {
		nc, err := net.Dial("tcp", p.address)
		require.NoError(t, err)
		defer nc.Close()
		require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
		at := min(int(cut), len(sent))
		_, _ = nc.Write(append([]byte(http2.ClientPreface), sent[:at]...)) // it may end early
		_, _ = nc.Write(sent[at:])
		_ = nc.(*net.TCPConn).CloseWrite()
		fr := http2.NewFramer(nil, nc)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		for {
			if _, err := fr.ReadFrame(); err != nil {
				require.True(t, errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET), "%v", err)
				return
			}
		}
	})
}

// Whatever a function sends by HTTP/2, its client gets an answer or a cut one, and its slot comes back.
func FuzzHTTP2Answers(f *testing.F) {
	for _, answer := range []func(s *fconn2){
		func(s *fconn2) { s.head(1, true, ":status", "204") },
		func(s *fconn2) {
			s.head(1, false, ":status", "103", "link", "</a>")
			s.head(1, false, ":status", "200", "content-length", "5")
			_ = s.fr.WriteDataPadded(1, true, []byte("hello"), make([]byte, 3))
		},
		func(s *fconn2) {
			s.head(1, false, ":status", "200")
			_ = s.fr.WriteData(1, false, []byte("hello"))
			s.head(1, true, "x-sum", "5")
		},
		func(s *fconn2) {
			_ = s.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			_ = s.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream)
			_ = s.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		},
	} {
		var b bytes.Buffer
		s := &fconn2{fr: http2.NewFramer(&b, nil)}
		s.enc = hpack.NewEncoder(&s.block)
		s.fr.AllowIllegalWrites = true
		answer(s)
		f.Add(b.Bytes())
	}
	var answer atomic.Pointer[[]byte]
	fn := newFunction2(f, "tcp", func(s *fconn2) {
		s.next()
		s.write(string(*answer.Load()))
	})
	p := newPod(f, overH2C(fn), func(s *setup) { s.AnswerTimeout = 100 * time.Millisecond })
	f.Fuzz(func(t *testing.T, b []byte) {
		answer.Store(&b)
		nc, err := net.Dial("tcp", p.address)
		require.NoError(t, err)
		defer nc.Close()
		require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		got, err := io.ReadAll(nc)
		require.True(t, err == nil || errors.Is(err, syscall.ECONNRESET), "%v", err)
		require.True(t, err != nil || bytes.HasPrefix(got, []byte("HTTP/1.1 ")), "%q", got)
		eventually(t, func() bool { return p.queue.Stats().Executing == 0 }, "the slot comes back")
	})
}
