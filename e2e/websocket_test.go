package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// webSocketEcho makes the test binary a function: an echo on that address.
const webSocketEcho = "E2E_WEBSOCKET_ECHO"

func serveWebSockets(address string) int {
	fmt.Fprintln(os.Stderr, http.ListenAndServe(address, &echo{}))
	return 1
}

// echo sends messages back as they come.
type echo struct {
	requests atomic.Int64
	closed   chan websocket.StatusCode // how its tunnels ended; may be nil
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.requests.Add(1)
	switch r.URL.Path {
	case "/plain":
		_, _ = w.Write([]byte("plain"))
		return
	case "/die":
		os.Exit(3)
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true,
	})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(-1)
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			if e.closed != nil {
				e.closed <- websocket.CloseStatus(err)
			}
			return
		}
		if c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// certificate writes a certificate for 127.0.0.1 and returns the flags for it and what
// trusts it.
func certificate(t *testing.T) (flags []string, trust *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return []string{"--tls-cert", certFile, "--tls-key", keyFile}, &tls.Config{RootCAs: pool}
}

// overBoth runs a test without and with TLS between client and pod.
func overBoth(t *testing.T, test func(t *testing.T, scheme string, flags []string, client *http.Client)) {
	t.Run("ws", func(t *testing.T) { test(t, "ws", nil, http.DefaultClient) })
	t.Run("wss", func(t *testing.T) {
		flags, trust := certificate(t)
		transport := &http.Transport{TLSClientConfig: trust}
		t.Cleanup(transport.CloseIdleConnections)
		test(t, "wss", flags, &http.Client{Transport: transport})
	})
}

// webSocket opens a tunnel through the pod.
func (p *pod) webSocket(client *http.Client, url string, mode websocket.CompressionMode) *websocket.Conn {
	p.t.Helper()
	c, r, err := websocket.Dial(p.t.Context(), url, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{"chat"}, CompressionMode: mode,
	})
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusSwitchingProtocols, r.StatusCode)
	require.Equal(p.t, "chat", c.Subprotocol())
	p.t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(-1)
	return c
}

// talk sends a message and reads it back.
func talk(t *testing.T, c *websocket.Conn, kind websocket.MessageType, message []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, c.Write(ctx, kind, message))
	gotKind, got, err := c.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, kind, gotKind)
	require.True(t, bytes.Equal(message, got), "%d bytes came back as %d others", len(message), len(got))
}

// runEcho starts the echo under fnpod run.
func runEcho(t *testing.T, flags ...string) *pod {
	t.Helper()
	address := freePort(t)
	self, err := os.Executable()
	require.NoError(t, err)
	args := append([]string{"--upstream", "http://" + address}, flags...)
	p := begin(t, []string{webSocketEcho + "=" + address}, "run", append(args, "--", self)...)
	p.waitReady()
	return p
}

// U1: a real client talks to a real server, with every compression there is.
func TestU1WebSocketsReachAProcess(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, scheme string, flags []string, client *http.Client) {
		p := runEcho(t, flags...)
		url := scheme + "://" + p.listen + "/echo"
		for _, mode := range []websocket.CompressionMode{
			websocket.CompressionDisabled, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover,
		} {
			c := p.webSocket(client, url, mode)
			talk(t, c, websocket.MessageText, []byte("hello"))
			for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
				talk(t, c, websocket.MessageBinary, bytes.Repeat([]byte("fnpod "), size)[:size])
			}
			require.InDelta(t, 1, p.series("fnpod_tunnels"), 0)
			require.NoError(t, c.Close(4321, "done"))
		}
		require.Eventually(t, func() bool {
			return p.number("requests", "answered", "1xx") == 3 && p.number("queue", "executing") == 0 && p.series("fnpod_tunnels") == 0
		}, 10*time.Second, 5*time.Millisecond)
	})
}

// The client that node has built in agrees with us, too.
func TestU1ANodeClientTalksThroughATunnel(t *testing.T) {
	p := runEcho(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "--experimental-websocket", "testdata/websocket.js", "ws://"+p.listen+"/echo").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "ok\n")
}

// U5: a drain tells clients 1001, their reply reaches the function, and nothing is lost.
func TestU5ADrainTellsWebSocketClients(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, scheme string, flags []string, client *http.Client) {
		const clients = 20
		e := &echo{closed: make(chan websocket.StatusCode, clients)}
		function := httptest.NewServer(e)
		defer function.Close()
		p := start(t, "proxy", append([]string{function.URL}, flags...)...)
		ended := make(chan websocket.StatusCode, clients)
		var all []*websocket.Conn
		for range clients {
			c := p.webSocket(client, scheme+"://"+p.listen+"/echo", websocket.CompressionDisabled)
			talk(t, c, websocket.MessageText, []byte("hello"))
			all = append(all, c)
		}
		for _, c := range all {
			go func() {
				_, _, err := c.Read(context.Background())
				ended <- websocket.CloseStatus(err)
			}()
		}
		p.signal(syscall.SIGTERM)
		for range clients {
			require.Equal(t, websocket.StatusGoingAway, <-ended)
			require.Equal(t, websocket.StatusGoingAway, <-e.closed)
		}
		require.Equal(t, 0, p.exit())
	})
}

// D7: when the function dies, so do its tunnels, and the pod has its exit code.
func TestU5AFunctionThatDiesEndsItsTunnels(t *testing.T) {
	p := runEcho(t)
	c := p.webSocket(http.DefaultClient, "ws://"+p.listen+"/echo", websocket.CompressionDisabled)
	talk(t, c, websocket.MessageText, []byte("hello"))
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.Read(context.Background())
		ended <- err
	}()
	code, _ := p.get("/die")
	require.Equal(t, http.StatusBadGateway, code)
	require.Error(t, <-ended)
	require.Equal(t, 3, p.exit())
}

// TestSoakOfTunnels sends messages of all sizes through 200 tunnels for some seconds, or
// for a minute with make soak. Every message comes back as it was, and nothing is
// left when the clients have gone.
func TestSoakOfTunnels(t *testing.T) {
	const tunnels = 200
	last := time.Duration(full(3, 60)) * time.Second
	function := httptest.NewServer(&echo{})
	defer function.Close()
	p := start(t, "proxy", function.URL, "--queue-limit", "250")
	code, _ := p.get("/plain")
	require.Equal(t, http.StatusOK, code)
	http.DefaultClient.CloseIdleConnections()
	before := p.holds()

	var all sync.WaitGroup
	var messages, payload atomic.Int64
	begin, stop := make(chan struct{}), make(chan struct{})
	for i := range tunnels {
		c := p.webSocket(http.DefaultClient, "ws://"+p.listen+"/echo", websocket.CompressionDisabled)
		all.Go(func() {
			<-begin
			s := soaker{c: c, messages: &messages, payload: &payload}
			if err := s.run(uint64(i), stop); err != nil {
				t.Errorf("tunnel %d: %v", i, err)
			}
		})
	}
	require.InDelta(t, tunnels, p.series("fnpod_tunnels"), 0)
	require.InDelta(t, tunnels, p.number("queue", "executing"), 0)
	close(begin)
	time.AfterFunc(last, func() { close(stop) })
	all.Wait()
	t.Logf("%d messages, %d MB each way, %.0f MB resident", messages.Load(), payload.Load()>>20, p.series("process_resident_memory_bytes")/(1<<20))

	var after holdings
	require.Eventually(t, func() bool {
		http.DefaultClient.CloseIdleConnections()
		after = p.holds()
		return after.goroutines <= before.goroutines && after.files <= before.files && after.executing == 0 && after.inFlight == before.inFlight
	}, 20*time.Second, 50*time.Millisecond, "before %+v, after %+v", before, &after)
	require.Zero(t, p.series("fnpod_tunnels"))
	require.InDelta(t, tunnels, p.number("requests", "answered", "1xx"), 0)
	require.GreaterOrEqual(t, p.series("fnpod_received_bytes_total"), float64(payload.Load()))
	require.GreaterOrEqual(t, p.series("fnpod_sent_bytes_total"), float64(payload.Load()))
}

// soaker is the client of one tunnel. It has two messages on their way at most.
type soaker struct {
	c                 *websocket.Conn
	messages, payload *atomic.Int64
}

func (s *soaker) run(seed uint64, stop <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	sizes := rand.New(rand.NewPCG(seed, 0))
	sent := make(chan []byte, 1)
	failed := make(chan error, 1)
	go func() {
		defer close(sent)
		for {
			select {
			case <-stop:
				return
			default:
			}
			message := make([]byte, sizes.IntN(1<<sizes.IntN(21))) // all magnitudes alike, up to 1 MB
			fill(message, sizes)
			if err := s.c.Write(ctx, websocket.MessageBinary, message); err != nil {
				failed <- fmt.Errorf("write: %w", err)
				return
			}
			sent <- message
		}
	}()
	for want := range sent {
		_, got, err := s.c.Read(ctx)
		if err != nil {
			cancel()
			for range sent { // its goroutine ends
			}
			return fmt.Errorf("read: %w", err)
		}
		if !bytes.Equal(want, got) {
			return fmt.Errorf("%d bytes came back as %d others", len(want), len(got))
		}
		s.messages.Add(1)
		s.payload.Add(int64(len(got)))
	}
	select {
	case err := <-failed:
		return err
	default:
		return s.c.Close(websocket.StatusNormalClosure, "")
	}
}

// fill makes p differ from every other message.
func fill(p []byte, r *rand.Rand) {
	for len(p) > 0 {
		var word [8]byte
		for i, n := 0, r.Uint64(); i < 8; i++ {
			word[i] = byte(n >> (8 * i))
		}
		p = p[copy(p, word[:]):]
	}
}
