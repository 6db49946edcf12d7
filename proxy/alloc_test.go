//go:build !race

package proxy_test

import (
	"bytes"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/proxy"
)

// A proxied request allocates nothing in steady state, whoever runs it.
func TestARequestAllocatesNothing(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nServer: f\r\n\r\nfour")
	server := func(network string) *proxy.HTTPBackend {
		f := newFunction(t, network, func(c *fconn) {
			buf := make([]byte, 8192)
			for {
				if n, err := c.Read(buf); err != nil || n == 0 {
					return
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		})
		return f.backend()
	}
	four := []byte("four")
	direct := proxy.BackendFunc(func(x *proxy.Exchange) error {
		x.Respond(200, 4)
		if _, err := x.Write(four); err != nil {
			return err
		}
		return x.Finish()
	})
	const fields = " HTTP/1.1\r\nHost: function.example\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\nX-Forwarded-For: 192.0.2.7\r\n"
	for _, test := range []struct {
		name    string
		backend proxy.Backend
		request string
	}{
		{"TCP upstream", server("tcp"), "GET /a?b=c" + fields + "\r\n"},
		{"unix upstream", server("unix"), "GET /a?b=c" + fields + "\r\n"},
		{"body", server("tcp"), "POST /a" + fields + "Content-Length: 11\r\n\r\nhello world"},
		{"own backend", direct, "GET /a" + fields + "\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", newPod(t, test.backend).address)
			require.NoError(t, err)
			t.Cleanup(func() { _ = nc.Close() })
			out, in := []byte(test.request), make([]byte, 4096)
			ask := func() {
				if _, err := nc.Write(out); err != nil {
					t.Fatal(err)
				}
				n, err := nc.Read(in)
				if err != nil || !bytes.HasSuffix(in[:n], four) {
					t.Fatalf("%q %v", in[:n], err)
				}
			}
			for range 100 {
				ask()
			}
			require.Zero(t, testing.AllocsPerRun(2000, ask))
		})
	}
}
