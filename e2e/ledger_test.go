package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noise is what bodies are made of: whatever is cut out of one, doubled or taken
// from another request shows.
var noise = func() []byte {
	b := make([]byte, 2<<20+4096)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}()

// payload is the body of a request, and of its answer.
func payload(id, size int) []byte { return noise[id%4096:][:size] }

// ledger notes how often each request ran, by its id, and the first thing that
// no function may see.
type ledger struct {
	runs  []atomic.Uint32
	cut   atomic.Int64 // requests that ended before their body did
	wrong atomic.Pointer[string]
}

func newLedger(size int) *ledger { return &ledger{runs: make([]atomic.Uint32, size)} }

func (l *ledger) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.wrong.CompareAndSwap(nil, &text)
}

// check fails the test if the function saw what it must not see, or an id ran twice (R4).
func (l *ledger) check(t *testing.T) {
	t.Helper()
	if wrong := l.wrong.Load(); wrong != nil {
		require.Fail(t, *wrong)
	}
	for id := range l.runs {
		require.LessOrEqual(t, l.runs[id].Load(), uint32(1), "request %d ran more than once", id)
	}
}

// function is an HTTP server that keeps a ledger. It answers with the body and
// the id of the request, after the time that the request asks for.
type function struct {
	*ledger
	server *httptest.Server

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
}

func newFunction(t *testing.T, ids int) *function {
	t.Helper()
	f := &function{ledger: newLedger(ids), conns: map[net.Conn]bool{}}
	f.server = httptest.NewUnstartedServer(f)
	f.server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.conns[c] = true
		if state == http.StateClosed {
			delete(f.conns, c)
		}
	}
	f.server.Start()
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

// hangUp ends one connection, whatever is going on there.
func (f *function) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns { // in random order
		_ = c.Close()
		return
	}
}

func (f *function) address() string { return f.server.Listener.Addr().String() }

func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.Header.Get("X-Id"))
	if err != nil || id >= len(f.runs) {
		f.fault("a request without an id: %v", r.Header)
		return
	}
	f.runs[id].Add(1)
	w.Header().Set("X-Id", strconv.Itoa(id))
	if r.URL.Path == "/early" { // does not want the body
		_, _ = w.Write(payload(id, 1000))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.cut.Add(1)
		panic(http.ErrAbortHandler)
	}
	size, _ := strconv.Atoi(r.Header.Get("X-Size")) // none is 0
	if !bytes.Equal(body, payload(id, size)) {
		f.fault("request %d of %d bytes looked whole with %d", id, size, len(body))
	}
	if s, err := strconv.ParseFloat(r.URL.Query().Get("sleep"), 64); err == nil {
		select {
		case <-time.After(time.Duration(s * float64(time.Second))):
		case <-r.Context().Done():
		}
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("size")); err == nil {
		body = payload(id, n)
	}
	if r.ContentLength < 0 || r.URL.Path == "/stream" {
		rest := body
		for len(rest) > 0 {
			n := min(len(rest), 10_000)
			if _, err := w.Write(rest[:n]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // the client may have left
			rest = rest[n:]
		}
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // likewise
}

// handlerLedger is the ledger of a handler in testdata, which is written by its
// workers; env is what they need to know.
type handlerLedger struct {
	*ledger
	file string
	env  []string
}

func newHandlerLedger(t *testing.T, ids int) *handlerLedger {
	t.Helper()
	dir := t.TempDir()
	file, random := filepath.Join(dir, "ledger"), filepath.Join(dir, "noise")
	require.NoError(t, os.WriteFile(random, noise, 0o600))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	return &handlerLedger{newLedger(ids), file, []string{"LEDGER=" + file, "NOISE=" + random}}
}

// read takes over what the workers wrote.
func (l *handlerLedger) read(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(l.file)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		number, verdict, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, err := strconv.Atoi(number)
		require.NoError(t, err)
		l.runs[id].Add(1)
		if verdict != "good" {
			l.fault("request %d looked whole: %s", id, verdict)
		}
	}
}

// call is one request.
type call struct {
	id      int
	target  string
	size    int // of the body; 0 is a GET
	chunked bool
}

func (c call) method() string {
	if c.size == 0 {
		return http.MethodGet
	}
	return http.MethodPost
}

// bytes returns the request as it is sent. A chunked body has chunks of up to 10 kB.
func (c call) bytes() []byte {
	var b bytes.Buffer
	if c.size == 0 {
		fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: f\r\nX-Id: %d\r\n\r\n", c.target, c.id)
		return b.Bytes()
	}
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: f\r\nX-Id: %d\r\nX-Size: %d\r\n", c.target, c.id, c.size)
	body := payload(c.id, c.size)
	if !c.chunked {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", c.size, body)
		return b.Bytes()
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := min(len(body), 10_000)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

// reply is an answer that ended as it should.
type reply struct {
	status int
	label  string // of our own answers
	id     string
	body   []byte
	close  bool
}

// wire is a client's connection.
type wire struct {
	*net.TCPConn
	r *bufio.Reader
}

func dial(address string) (*wire, error) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &wire{nc.(*net.TCPConn), bufio.NewReader(nc)}, nil
}

// read reads one answer; an error means that it does not look whole.
func (w *wire) read(method string) (reply, error) {
	r, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return reply{r.StatusCode, r.Header.Get("Fnpod-Error"), r.Header.Get("X-Id"), body, r.Close}, err
}

// do sends a request and reads its answer at the same time, as clients of large bodies do.
func (w *wire) do(c call) (reply, error) {
	var sending sync.WaitGroup
	sending.Go(func() { _, _ = w.Write(c.bytes()) }) // the answer tells
	a, err := w.read(c.method())
	if err != nil || a.close {
		_ = w.Close() // ends the writer
	}
	sending.Wait()
	return a, err
}

// drop ends the connection with a reset.
func (w *wire) drop() {
	_ = w.SetLinger(0)
	_ = w.Close()
}

// isTimeout reports a deadline of ours that came.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// sound fails the test if the pod found a bug of its own.
func (p *pod) sound() {
	p.t.Helper()
	require.InDelta(p.t, 0, p.series("fnpod_panics_total"), 0)
	require.NotContains(p.t, p.log.String(), "DATA RACE")
}

// rests waits until the pod holds no more than before. If it does not, its
// goroutines are logged.
func (p *pod) rests(before holdings) {
	p.t.Helper()
	var now holdings
	for range 200 {
		http.DefaultClient.CloseIdleConnections()
		now = p.holds()
		if now.goroutines <= before.goroutines && now.files <= before.files && now.executing == 0 && now.queued == 0 && now.inFlight == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.signal(syscall.SIGQUIT)
	require.Eventually(p.t, func() bool { return strings.Contains(p.log.String(), "goroutine 1 ") }, 5*time.Second, time.Millisecond)
	_, goroutines, _ := strings.Cut(p.log.String(), "goroutine 1 ")
	require.Fail(p.t, "the pod holds more than before", "before %+v, now %+v\n%s", before, now, goroutines)
}
