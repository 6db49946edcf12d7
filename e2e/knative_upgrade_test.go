package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// upgrading is a function that agrees to any protocol by saying its name, and then talks backwards: what it is told comes
// back when its client has said all.
func upgrading(t *testing.T) string {
	t.Helper()
	return userContainer(t, func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Field: 1\r\n\r\nhello", r.Header.Get("Upgrade"))
		all, _ := io.ReadAll(rw) // a client that leaves gets nothing
		_, _ = nc.Write(all)
	})
}

func TestKnative85AnyProtocolGoesThrough(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, upgrading(t), "CONTAINER_CONCURRENCY=1")
	nc, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer nc.Close()
	r := bufio.NewReader(nc)
	_, err = io.WriteString(nc, "POST /exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 101, resp.StatusCode)
	require.Equal(t, "SPDY/3.1", resp.Header.Get("Upgrade"))
	require.Equal(t, "1", resp.Header.Get("X-Field"))
	hello := make([]byte, 5)
	_, err = io.ReadFull(r, hello)
	require.NoError(t, err)
	require.Equal(t, "hello", string(hello))
	p.windows(func(m autoscalerStat) bool { return m[average] == 1 && m[perSecond] == 0 }) // it is a request as long as it lasts
	otherwise(t, "the end of one side ends both")
	_, err = io.WriteString(nc, "some words")
	require.NoError(t, err)
	require.NoError(t, nc.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "some words", string(all))
	p.windows(func(m autoscalerStat) bool { return m[average] == 0 })
}

// The first request of such a connection goes to the function by HTTP/1.1, as with the original.
func TestKnative4HTTP2ByUpgrade(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, dualContainer(t, told), "CONTAINER_CONCURRENCY=1")
	nc, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "GET /first HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAQAAQAA\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 101, resp.StatusCode)
	require.Equal(t, "h2c", resp.Header.Get("Upgrade"))
	_, err = io.WriteString(nc, http2.ClientPreface)
	require.NoError(t, err)
	fr := http2.NewFramer(nc, r)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, fr.WriteSettings())
	answer := func(stream uint32) (status, body string) {
		for {
			f, err := fr.ReadFrame()
			require.NoError(t, err)
			switch f := f.(type) {
			case *http2.MetaHeadersFrame:
				require.Equal(t, stream, f.StreamID)
				status = f.PseudoValue("status")
			case *http2.DataFrame:
				body += string(f.Data())
				if f.StreamEnded() {
					return status, body
				}
			}
		}
	}
	status, body := answer(1)
	require.Equal(t, "200", status)
	require.Contains(t, body, "GET /first HTTP/1.1 host=h\n")
	require.NoError(t, fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true, BlockFragment: []byte("\x82\x86\x84\x41\x01h")}))
	status, body = answer(3)
	require.Equal(t, "200", status)
	require.Contains(t, body, "GET / HTTP/")
}
