package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

func TestKnative81TheFunctionIsSpokenToAsTheClientSpeaks(t *testing.T) {
	t.Parallel()
	both := queueProxy(t, dualContainer(t, told))
	for protocol, want := range map[string]string{"http1": "HTTP/1.1", "h2c": "HTTP/2.0"} {
		_, body := both.by(clientOf(t, protocol), "POST", "/x", "b")
		require.Contains(t, body, "POST /x "+want, protocol)
		require.True(t, strings.HasSuffix(body, "body=b"), body)
	}
	resp, _ := queueProxy(t, userContainer(t, told)).by(clientOf(t, "h2c"), "POST", "/x", "b")
	require.Equal(t, 502, resp.StatusCode, "there is no falling back")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(told), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	resp, _ = queueProxy(t, l.Addr().String()).ask("GET", "/", "")
	require.GreaterOrEqual(t, resp.StatusCode, 400, "nor in the other direction")
}

func TestKnative84OnlyWhatWasNotReadIsSentAgain(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	var asked atomic.Int64
	go func() { // each connection answers once and is closed when it is used again
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for i := range 2 {
					q, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, q.Body)
					if asked.Add(1); i == 0 {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}
			}()
		}
	}()
	p := queueProxy(t, l.Addr().String())
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 200, resp.StatusCode)
	resp, body := p.ask("POST", "/", "x")
	require.Equal(t, 502, resp.StatusCode)
	require.Equal(t, "EOF\n", body)
	require.EqualValues(t, 2, asked.Load(), "what may have been read is never sent twice")
}

// D9: a function that closes connections while they are idle.
func TestKnativeD9AConnectionThatIsClosedMeanwhileLosesNoRequest(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(told), IdleTimeout: 20 * time.Millisecond}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	p := queueProxy(t, l.Addr().String())
	failed := 0
	for i := range 100 {
		resp, _ := p.ask("POST", "/", "x")
		if resp.StatusCode != 200 {
			failed++
		}
		time.Sleep(19*time.Millisecond + time.Duration(i%20)*100*time.Microsecond)
	}
	otherwise(t, "D9: about one in ten is lost")
	require.LessOrEqual(t, failed, 2, "until it is known how long the function keeps them")
}

func TestKnative85And111ATunnelHoldsItsSlot(t *testing.T) {
	t.Parallel()
	address := userContainer(t, new(echo).ServeHTTP)
	p := queueProxy(t, address, "CONTAINER_CONCURRENCY=1")
	c, resp, err := websocket.Dial(t.Context(), "ws://"+p.listen, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	require.NoError(t, c.Write(t.Context(), websocket.MessageText, []byte("hello")))
	_, b, err := c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	otherwise(t, "there is no admin port to read")
	p.waitRequests(1, 0) // D12
	require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	p.waitRequests(0, 0)

	resp, body := p.ask("GET", "/", "")
	require.Equal(t, 426, resp.StatusCode, "an answer that is no 101 goes on: %s", body)
}

func TestKnative86And52AnswersGoOnAsTheyCome(t *testing.T) {
	t.Parallel()
	address := dualContainer(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		switch r.URL.Path {
		case "/duplex": // echoes while it reads
			_ = control.EnableFullDuplex() // HTTP/2 is anyway
			w.WriteHeader(http.StatusOK)
			_ = control.Flush()
			buf := make([]byte, 16)
			for {
				n, err := r.Body.Read(buf)
				_, _ = w.Write(buf[:n])
				_ = control.Flush()
				if err != nil {
					return
				}
			}
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: 1\n\n")
			_ = control.Flush()
			<-r.Context().Done()
		case "/hints":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Trailer", "X-Announced")
			fmt.Fprint(w, "body")
			w.Header().Set("X-Announced", "1")
			w.Header().Set(http.TrailerPrefix+"X-Other", "2")
		}
	})
	p := queueProxy(t, address, "ENABLE_HTTP_FULL_DUPLEX=true")
	for _, protocol := range []string{"http1", "h2c"} {
		client := clientOf(t, protocol)
		in, out := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.listen+"/duplex", in)
		require.NoError(t, err)
		resp, err := client.Do(r)
		require.NoError(t, err, protocol)
		for _, text := range []string{"one", "two"} {
			_, err = io.WriteString(out, text)
			require.NoError(t, err)
			got := make([]byte, len(text))
			_, err = io.ReadFull(resp.Body, got)
			require.NoError(t, err)
			require.Equal(t, text, string(got), protocol)
		}
		require.NoError(t, out.Close())
		require.NoError(t, resp.Body.Close())

		resp, err = client.Get("http://" + p.listen + "/events")
		require.NoError(t, err)
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "data: 1\n", line)
		require.NoError(t, resp.Body.Close())

		hints := make(chan string, 1)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints <- strconv.Itoa(code) + h.Get("Link")
			return nil
		}})
		r, err = http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.listen+"/hints", nil)
		require.NoError(t, err)
		resp, err = client.Do(r)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "body", string(b))
		require.Equal(t, "1", resp.Trailer.Get("X-Announced"), protocol)
		require.Equal(t, "2", resp.Trailer.Get("X-Other"), protocol)
		if protocol == "http1" {
			require.Equal(t, "103</a>", <-hints)
		}
	}
}

func TestKnative87GRPC(t *testing.T) {
	t.Parallel()
	f := newGRPCFunction(t)
	p := queueProxy(t, f.address, "CONTAINER_CONCURRENCY=5")
	c := grpcClient(t, p.listen)
	out, err := invoke(t.Context(), c, "hello")
	require.NoError(t, err)
	require.Equal(t, "hello", out)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = invoke(ctx, c, "hello")
	require.NoError(t, err)
	require.LessOrEqual(t, f.deadline.Load(), time.Minute.Milliseconds(), "the client's deadline goes on as it is")
	_, err = invoke(t.Context(), c, "fail")
	requireStatus(t, codes.FailedPrecondition, err)
	for method, want := range map[string][]string{"Down": {"0", "1", "2"}, "Up": {"3"}, "Both": {"3"}} {
		s := open(t.Context(), t, c, method)
		say(t, s, "3")
		require.NoError(t, s.CloseSend())
		for _, text := range want {
			require.Equal(t, text, hear(t, s), method)
		}
		require.ErrorIs(t, s.RecvMsg(new(message)), io.EOF, method)
	}
	f.server.Stop()
	_, err = invoke(t.Context(), c, "hello")
	requireStatus(t, codes.Unavailable, err) // section 6
}

func TestKnative52OldClientsAndMethods(t *testing.T) {
	t.Parallel()
	p := queueProxy(t, userContainer(t, told))
	c, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /old HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Contains(t, string(all), "GET /old HTTP/1.1 host=127.0.0.1:")
	for _, method := range []string{"PROPFIND", "FOO"} {
		resp, body := p.ask(method, "/", "")
		require.Equal(t, 200, resp.StatusCode, method)
		require.Contains(t, body, method+" / ")
	}
	resp, body := p.ask("POST", "/", strings.Repeat("x", 200<<10), "Expect: 100-continue")
	require.Equal(t, 200, resp.StatusCode)
	require.True(t, strings.HasSuffix(body, "xxx"))
	require.NotContains(t, resp.Header, "Server")
}
