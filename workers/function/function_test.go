package function_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/workers/function"
)

// Frame types and flags of protocol v1, as the parent uses them.
const (
	tRequest, tData, tTrailers, tCancel, tWindow, tDrain, tExit, tPing = 1, 2, 3, 4, 5, 7, 8, 9
	tResponse, tError, tPong, tBye                                     = 0x21, 0x22, 0x29, 0x2f
	fMore                                                              = 2

	credit   = 256 << 10
	patience = 30 * time.Second
)

type frame struct {
	kind, flags byte
	code        uint16
	id          uint32
	meta        string
	body        []byte
}

// parent is fnpod's side of a worker that runs in this process.
type parent struct {
	t       *testing.T
	in, out *os.File
	end     chan error // what serving returned
}

func serve(t *testing.T, concurrency int, h http.HandlerFunc) *parent {
	t.Helper()
	var requests, answers [2]int
	require.NoError(t, syscall.Pipe2(requests[:], syscall.O_CLOEXEC))
	require.NoError(t, syscall.Pipe2(answers[:], syscall.O_CLOEXEC))
	require.NoError(t, syscall.SetNonblock(answers[0], true)) // for its deadline
	p := &parent{t: t, in: os.NewFile(uintptr(requests[1]), "in"), out: os.NewFile(uintptr(answers[0]), "out"), end: make(chan error, 1)}
	t.Cleanup(func() { _ = errors.Join(p.in.Close(), p.out.Close()) })
	go func() { p.end <- function.ServeOn(requests[0], answers[1], -1, 0, concurrency, h) }()
	return p
}

func encode(frames ...frame) (b []byte) {
	for _, f := range frames {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.meta)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.body)))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.kind)|uint32(f.flags)<<8|uint32(f.code)<<16)
		b = binary.LittleEndian.AppendUint32(b, f.id)
		b = append(append(b, f.meta...), f.body...)
	}
	return b
}

func (p *parent) send(frames ...frame) {
	p.t.Helper()
	_, err := p.in.Write(encode(frames...))
	require.NoError(p.t, err)
}

func (p *parent) read() frame {
	p.t.Helper()
	require.NoError(p.t, p.out.SetReadDeadline(time.Now().Add(patience)))
	var h [16]byte
	_, err := io.ReadFull(p.out, h[:])
	require.NoError(p.t, err)
	f := frame{kind: h[8], flags: h[9], code: binary.LittleEndian.Uint16(h[10:]), id: binary.LittleEndian.Uint32(h[12:])}
	meta := make([]byte, binary.LittleEndian.Uint32(h[0:]))
	f.body = make([]byte, binary.LittleEndian.Uint32(h[4:]))
	_, err = io.ReadFull(p.out, meta)
	require.NoError(p.t, err)
	_, err = io.ReadFull(p.out, f.body)
	require.NoError(p.t, err)
	f.meta = string(meta)
	return f
}

func (p *parent) ended() error {
	p.t.Helper()
	select {
	case err := <-p.end:
		return err
	case <-time.After(patience):
		require.FailNow(p.t, "the worker does not end")
		return nil
	}
}

func request(id uint32, target string, flags byte, body string, fields ...string) frame {
	path, query, _ := strings.Cut(target, "?")
	meta := append([]string{"POST", path, query, "http example.com:8080", "192.0.2.7", ""}, fields...)
	return frame{kind: tRequest, flags: flags, id: id, meta: strings.Join(meta, "\x00"), body: []byte(body)}
}

func TestAHandlerGetsTheWholeRequest(t *testing.T) {
	p := serve(t, 1, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, deadline := r.Context().Deadline()
		fmt.Fprintln(w, r.Method, r.URL.Path, r.URL.Query().Get("q"), r.RequestURI, r.Host, r.RemoteAddr, r.Header["Accept"], r.ContentLength, string(body), err, deadline)
	})
	p.send(request(1, "/a%20b?q=1", 0, "body", "accept", "x", "accept", "y"))
	a := p.read()
	require.Equal(t, frame{
		kind: tResponse, code: 200, id: 1, meta: "content-type\x00text/plain; charset=utf-8",
		body: []byte("POST /a b 1 /a%20b?q=1 example.com:8080 192.0.2.7:0 [x y] 4 body <nil> false\n"),
	}, a)
	f := request(2, "/%zz", 0, "")
	f.meta = strings.Replace(f.meta, "192.0.2.7\x00", "2001:db8::1\x005000", 1)
	p.send(f)
	require.Equal(t, "POST /%zz  /%zz example.com:8080 [2001:db8::1]:0 [] 0  <nil> true\n", string(p.read().body))
	require.NoError(t, p.in.Close())
	require.NoError(t, p.ended())
}

func TestTheHeadIsWhatNetHTTPMakesOfIt(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		code    uint16
		meta    string
	}{
		"nothing":            {func(http.ResponseWriter, *http.Request) {}, 200, ""},
		"status":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); w.WriteHeader(500) }, 204, ""},
		"interim":            {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, 201, ""},
		"changed too late":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.Header().Set("X", "y") }, 200, ""},
		"line break":         {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", "a\r\nb\x00") }, 200, "x\x00a  b "},
		"illegal name":       {func(w http.ResponseWriter, _ *http.Request) { w.Header()["X Y"] = []string{"a"} }, 200, ""},
		"no type wanted":     {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; fmt.Fprint(w, "a") }, 200, ""},
		"type found":         {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, 200, "content-type\x00text/html; charset=utf-8"},
		"repeated":           {func(w http.ResponseWriter, _ *http.Request) { w.Header()["A"] = []string{"1", "2"} }, 200, "a\x001\x00a\x002"},
		"type found in time": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a"); w.(http.Flusher).Flush() }, 200, "content-type\x00text/plain; charset=utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, 1, c.handler)
			p.send(request(1, "/", 0, ""))
			a := p.read()
			require.Equal(t, byte(tResponse), a.kind)
			require.Equal(t, c.code, a.code)
			require.Equal(t, c.meta, a.meta)
		})
	}
}

func TestAHeadThatIsTooLargeIsAnError(t *testing.T) {
	p := serve(t, 1, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("a", 2<<20))
		if r.URL.Path == "/flush" {
			w.(http.Flusher).Flush()
		}
	})
	for id, path := range map[uint32]string{1: "/", 2: "/flush"} {
		p.send(request(id, path, 0, ""))
		a := p.read()
		require.Equal(t, byte(tError), a.kind)
		require.Contains(t, a.meta, "UnusableResult")
	}
}

func TestAPanicIsAnErrorAndTheWorkerLivesOn(t *testing.T) {
	p := serve(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.(http.Flusher).Flush()
		}
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		panic("the\x00reason")
	})
	p.send(request(1, "/", 0, ""))
	a := p.read()
	require.Equal(t, byte(tError), a.kind)
	require.Equal(t, uint16(500), a.code)
	require.Equal(t, "type\x00panic\x00message\x00the\\0reason", a.meta)
	require.Contains(t, string(a.body), "function_test.go")
	p.send(request(2, "/late", 0, ""))
	require.Equal(t, byte(fMore), p.read().flags)
	require.Equal(t, byte(tError), p.read().kind, "which cuts the answer")
	p.send(request(3, "/abort", 0, ""))
	a = p.read()
	require.Equal(t, byte(tError), a.kind)
	require.Empty(t, a.body)
}

func TestAnUploadIsReadAsItComes(t *testing.T) {
	seen := make(chan int)
	p := serve(t, 1, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1000)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				seen <- n
			}
			if err != nil {
				fmt.Fprint(w, err, r.ContentLength)
				return
			}
		}
	})
	p.send(request(1, "/", fMore, "ab", "content-length", "1000000"))
	require.Equal(t, 2, <-seen)
	p.send(frame{kind: tData, flags: fMore, id: 1, body: []byte("cde")})
	require.Equal(t, 3, <-seen)
	p.send(frame{kind: tData, id: 1})
	require.Equal(t, "EOF 1000000", string(p.read().body))
}

func TestCreditIsGivenForWhatWasRead(t *testing.T) {
	p := serve(t, 1, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.CopyN(io.Discard, r.Body, 150_000)
		if err != nil {
			panic(err)
		}
	})
	p.send(request(1, "/", fMore, ""))
	for range 3 {
		p.send(frame{kind: tData, flags: fMore, id: 1, body: make([]byte, 50_000)})
	}
	w := p.read()
	require.Equal(t, byte(tWindow), w.kind)
	require.GreaterOrEqual(t, binary.LittleEndian.Uint32(w.body), uint32(credit/2))
	require.Equal(t, byte(tResponse), p.read().kind, "an answer before the end of the body is legal")
	p.send(frame{kind: tData, flags: fMore, id: 1, body: []byte("late")}, request(2, "/", fMore, string(make([]byte, 1000))), frame{kind: tCancel, code: 1, id: 2})
	require.Equal(t, byte(tError), p.read().kind)
}

func TestAnswersStopWithoutCredit(t *testing.T) {
	p := serve(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			if _, err := w.Write(make([]byte, 10_000)); err != nil {
				return
			}
		}
	})
	p.send(request(1, "/", 0, ""))
	require.Equal(t, byte(fMore), p.read().flags)
	total := 0
	for total < credit {
		total += len(p.read().body)
	}
	require.Equal(t, credit, total)
	p.send(frame{kind: tPing})
	require.Equal(t, byte(tPong), p.read().kind, "nothing came in between")
	p.send(frame{kind: tWindow, id: 1, body: []byte{10, 0, 0, 0}})
	require.Len(t, p.read().body, 10)
	p.send(frame{kind: tCancel, code: 1, id: 1})
	require.Equal(t, byte(tError), p.read().kind)
	p.send(frame{kind: tDrain})
	require.Equal(t, byte(tBye), p.read().kind)
	require.NoError(t, p.ended())
}

func TestCancellationReachesTheContextAndTheBody(t *testing.T) {
	p := serve(t, 1, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, err := io.ReadAll(r.Body)
			if err == nil {
				panic("a cut body looks whole")
			}
			return
		}
		<-r.Context().Done()
	})
	p.send(request(1, "/", 0, ""), frame{kind: tCancel, code: 1, id: 1}, request(2, "/body", fMore, "a"), frame{kind: tCancel, code: 1, id: 2})
	for range 2 {
		a := p.read()
		require.Equal(t, byte(tError), a.kind)
		require.Contains(t, a.meta, "cancelled")
	}
}

// Small requests are read and run by one goroutine; what a handler leaves behind must not make another one read beside it.
func TestAContextThatOutlivesItsRequestDisturbsNothing(t *testing.T) {
	contexts := make(chan context.Context, 1)
	p := serve(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/err" {
			for r.Context().Err() == nil {
				runtime.Gosched()
			}
			return
		}
		select {
		case contexts <- r.Context():
		default:
		}
		fmt.Fprint(w, r.URL.Path)
	})
	p.send(request(1, "/a", 0, ""))
	require.Equal(t, "/a", string(p.read().body))
	old := <-contexts
	for id := range uint32(100) {
		go old.Done()
		p.send(request(id+2, "/b", 0, ""))
		require.Equal(t, "/b", string(p.read().body))
	}
	p.send(request(200, "/err", 0, ""), frame{kind: tCancel, code: 1, id: 200})
	require.Equal(t, byte(tError), p.read().kind)
	p.send(request(201, "/c", 0, ""), frame{kind: tDrain})
	require.Equal(t, "/c", string(p.read().body))
	require.Equal(t, byte(tBye), p.read().kind)
	require.NoError(t, p.ended())
}

func TestRequestsRunSideBySideIfToldSo(t *testing.T) {
	meet := make(chan struct{})
	p := serve(t, 2, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			meet <- struct{}{}
		} else {
			<-meet
		}
	})
	p.send(request(1, "/a", 0, ""), request(2, "/b", 0, ""), frame{kind: tDrain})
	got := []uint32{p.read().id, p.read().id}
	require.ElementsMatch(t, []uint32{1, 2}, got)
	require.Equal(t, byte(tBye), p.read().kind)
	require.NoError(t, p.ended())
}

func TestTheEndOfTheParentEndsWhoWaitsForIt(t *testing.T) {
	p := serve(t, 1, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p.send(request(1, "/", 0, ""))
	require.NoError(t, p.in.Close())
	require.NoError(t, p.ended())
}

func TestNonsenseEndsTheWorker(t *testing.T) {
	for name, c := range map[string]struct {
		frames []frame
		raw    string
		says   string
	}{
		"http":              {raw: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", says: "frame too long"},
		"half a frame":      {raw: "1234", says: "ended inside a frame"},
		"unknown type":      {frames: []frame{{kind: 0x42}}, says: "unknown frame type 0x42"},
		"WINDOW":            {frames: []frame{{kind: tWindow}}, says: "WINDOW with 0 bytes"},
		"request twice":     {frames: []frame{request(1, "/", fMore, ""), request(1, "/", 0, "")}, says: "request 1 is there already"},
		"request of little": {frames: []frame{{kind: tRequest, id: 1, meta: "GET"}}, says: "request of 1 strings"},
		"no lane":           {frames: []frame{{kind: tRequest, flags: 1, id: 1}}, says: "in a lane of 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, 1, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			p.send(c.frames...)
			_, err := p.in.WriteString(c.raw)
			require.NoError(t, err)
			require.NoError(t, p.in.Close())
			require.ErrorContains(t, p.ended(), c.says)
		})
	}
}

func TestSettings(t *testing.T) {
	require.ErrorContains(t, function.Serve(nil), "start it with fnpod serve")
	const good = "FNPOD_WORKER_FDS=3,4"
	require.NoError(t, function.ReadSettings(good, "FNPOD_WORKER_PROTOCOL=1-2"))
	require.ErrorContains(t, function.ReadSettings(good, "FNPOD_WORKER_PROTOCOL=2-3"), "protocol 1, not 2-3")
	require.ErrorContains(t, function.ReadSettings(good, "FNPOD_WORKER_PROTOCOL=1-1", "FNPOD_WORKER_LANE=5"), "FNPOD_WORKER_LANE")
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add(append([]byte{2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, "abc"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, body, need, err := function.ParseFrame(b)
		if err != nil || need > len(b) {
			return
		}
		require.True(t, bytes.Equal(b[16:need], append(bytes.Clone(meta), body...)))
	})
}
