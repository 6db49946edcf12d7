package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// client2 is a connection of HTTP/2 whose frames are the test's own.
type client2 struct {
	t       testing.TB
	nc      net.Conn
	fr      *http2.Framer
	block   bytes.Buffer
	enc     *hpack.Encoder
	last    uint32 // stream
	streams map[uint32]*reply2
	acks    int // of PING
	settled int // of SETTINGS
	goAway  []http2.ErrCode
	lastIn  uint32 // stream that the server will look at, by GOAWAY
	end     error  // of the connection
	thrifty bool   // opens no windows
}

// reply2 is what came on a stream.
type reply2 struct {
	interim  [][]hpack.HeaderField
	head     []hpack.HeaderField
	trailers []hpack.HeaderField
	body     []byte
	ended    bool // by END_STREAM
	reset    bool
	code     http2.ErrCode // of the reset
}

func (r *reply2) get(name string) string { return fieldOf(r.head, name) }

func (r *reply2) over() bool { return r.ended || r.reset }

func fieldOf(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// dial2 opens a connection and says the preface.
func (p *pod) dial2(settings ...http2.Setting) *client2 {
	p.t.Helper()
	nc, err := (&net.Dialer{}).DialContext(context.Background(), p.network, p.address)
	require.NoError(p.t, err)
	return newClient2(p.t, nc, settings...)
}

func newClient2(t testing.TB, nc net.Conn, settings ...http2.Setting) *client2 {
	t.Helper()
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	c := &client2{t: t, nc: nc, streams: map[uint32]*reply2{}, fr: http2.NewFramer(nc, nc)}
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	c.write([]byte(http2.ClientPreface))
	require.NoError(t, c.fr.WriteSettings(settings...))
	return c
}

func (c *client2) write(b []byte) {
	c.t.Helper()
	_, err := c.nc.Write(b)
	require.NoError(c.t, err)
}

// encode returns pairs of names and values as a block.
func (c *client2) encode(pairs ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(c.t, c.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return c.block.Bytes()
}

// headers sends a HEADERS frame on a stream.
func (c *client2) headers(id uint32, end bool, pairs ...string) {
	c.t.Helper()
	block := c.encode(pairs...)
	first := block[:min(len(block), 16<<10)]
	require.NoError(c.t, c.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(first) == len(block),
	}))
	for rest := block[len(first):]; len(rest) > 0; {
		n := min(len(rest), 16<<10)
		require.NoError(c.t, c.fr.WriteContinuation(id, n == len(rest), rest[:n]))
		rest = rest[n:]
	}
}

// raw opens a stream with exactly these fields.
func (c *client2) raw(end bool, pairs ...string) uint32 {
	c.t.Helper()
	id := c.promise()
	c.headers(id, end, pairs...)
	return id
}

// promise takes the next number of a stream.
func (c *client2) promise() uint32 {
	if c.last == 0 {
		c.last = 1
	} else {
		c.last += 2
	}
	c.streams[c.last] = &reply2{}
	return c.last
}

// open sends the head of a request.
func (c *client2) open(end bool, method, path string, pairs ...string) uint32 {
	c.t.Helper()
	all := append([]string{":method", method, ":scheme", "http", ":authority", "h", ":path", path}, pairs...)
	return c.raw(end, all...)
}

func (c *client2) data(id uint32, end bool, body string) {
	c.t.Helper()
	require.NoError(c.t, c.fr.WriteData(id, end, []byte(body)))
}

// pump reads frames until ok or the connection ends.
func (c *client2) pump(ok func() bool) {
	c.t.Helper()
	for c.end == nil && !ok() {
		f, err := c.fr.ReadFrame()
		if err != nil {
			c.end = err
			require.False(c.t, isTimeout(err), "nothing comes: %v", err)
			return
		}
		c.take(f)
	}
}

func (c *client2) take(f http2.Frame) {
	r := c.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			c.settled++
		} else {
			_ = c.fr.WriteSettingsAck() // the connection may be ending
		}
	case *http2.PingFrame:
		if f.IsAck() {
			c.acks++
		} else {
			_ = c.fr.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		c.goAway, c.lastIn = append(c.goAway, f.ErrCode), f.LastStreamID
	case *http2.RSTStreamFrame:
		r.reset, r.code = true, f.ErrCode
	case *http2.MetaHeadersFrame:
		switch {
		case fieldOf(f.Fields, ":status") == "":
			r.trailers = f.Fields
		case strings.HasPrefix(fieldOf(f.Fields, ":status"), "1"):
			r.interim = append(r.interim, f.Fields)
		default:
			r.head = f.Fields
		}
		r.ended = r.ended || f.StreamEnded()
	case *http2.DataFrame:
		r.body = append(r.body, f.Data()...)
		r.ended = r.ended || f.StreamEnded()
		if n := uint32(len(f.Data())); n > 0 && !c.thrifty {
			_ = c.fr.WriteWindowUpdate(0, n)
			if !r.ended {
				_ = c.fr.WriteWindowUpdate(f.StreamID, n)
			}
		}
	}
}

// receive reads until a stream is over.
func (c *client2) receive(id uint32) *reply2 {
	c.t.Helper()
	r := c.streams[id]
	c.pump(r.over)
	require.True(c.t, r.over(), "the connection ended: %v, GOAWAY %v", c.end, c.goAway)
	return r
}

// get asks and returns the answer.
func (c *client2) get(path string) *reply2 {
	c.t.Helper()
	return c.receive(c.open(true, "GET", path))
}

// requireStatus reads an answer of ours, or of the function if label is "".
func (c *client2) requireStatus(id uint32, status int, label string) *reply2 {
	c.t.Helper()
	r := c.receive(id)
	require.Equal(c.t, fmt.Sprint(status), r.get(":status"), "%+v", r)
	require.Equal(c.t, label, r.get("fnpod-error"))
	if label != "" {
		require.Equal(c.t, label+"\n", string(r.body))
	}
	require.True(c.t, r.ended)
	return r
}

// requireReset checks that a stream ended with RST_STREAM and not before.
func (c *client2) requireReset(id uint32) *reply2 {
	c.t.Helper()
	r := c.receive(id)
	require.True(c.t, r.reset && !r.ended, "%+v", r)
	return r
}

// requireEnd reads until the connection has ended, with GOAWAY if codes are given.
func (c *client2) requireEnd(codes ...http2.ErrCode) {
	c.t.Helper()
	c.pump(func() bool { return false })
	require.Error(c.t, c.end)
	require.Subset(c.t, c.goAway, codes)
}

// ping waits until all frames sent so far have been looked at.
func (c *client2) ping() {
	c.t.Helper()
	want := c.acks + 1
	require.NoError(c.t, c.fr.WritePing(false, [8]byte{1}))
	c.pump(func() bool { return c.acks >= want })
	require.NoError(c.t, c.end)
}

func (p *pod) waitGoneTotal(n int) {
	p.t.Helper()
	eventually(p.t, func() bool { return int(p.metrics.Requests().ClientGone) == n }, "clients gone")
}
