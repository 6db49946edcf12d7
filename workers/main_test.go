package workers_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// modeVariable makes the test binary a worker that behaves as its value says.
const modeVariable = "FNPOD_TEST_WORKER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeVariable); mode != "" {
		os.Exit(beWorker(mode))
	}
	os.Exit(m.Run())
}

const (
	tRequest, tData, tTrailers, tCancel, tWindow, tDrain, tPing = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x09
	tHello, tReady, tInitError                                  = 0x11, 0x12, 0x13
	tResponse, tError, tLog, tPong, tBye                        = 0x21, 0x22, 0x23, 0x29, 0x2f
	fLane, fMore, fTrailers, fRecycle                           = 1, 2, 4, 8
)

// testWorker is a worker written for these tests: simple, and able to misbehave.
type testWorker struct {
	mode     string
	in, out  *os.File
	request  []byte // window
	response []byte // window
	served   int

	sending sync.Mutex // concurrent modes
	cancels sync.Map   // request id: channel, closed by CANCEL
}

type testFrame struct {
	typ, flags byte
	code       uint16
	id         uint32
	size       int
	meta       []string
	body       []byte
}

func encode(f testFrame) []byte {
	meta := strings.Join(f.meta, "\x00")
	size := len(f.body)
	if f.flags&fLane != 0 {
		size = f.size
	}
	b := make([]byte, 16, 16+len(meta)+len(f.body))
	binary.LittleEndian.PutUint32(b, uint32(len(meta)))
	binary.LittleEndian.PutUint32(b[4:], uint32(size))
	b[8], b[9] = f.typ, f.flags
	binary.LittleEndian.PutUint16(b[10:], f.code)
	binary.LittleEndian.PutUint32(b[12:], f.id)
	b = append(b, meta...)
	return append(b, f.body...)
}

func (w *testWorker) send(f testFrame) {
	w.sending.Lock()
	defer w.sending.Unlock()
	if _, err := w.out.Write(encode(f)); err != nil {
		os.Exit(3)
	}
}

func (w *testWorker) read() (testFrame, bool) {
	var h [16]byte
	if _, err := io.ReadFull(w.in, h[:]); err != nil {
		return testFrame{}, false
	}
	f := testFrame{typ: h[8], flags: h[9], code: binary.LittleEndian.Uint16(h[10:]), id: binary.LittleEndian.Uint32(h[12:])}
	meta := make([]byte, binary.LittleEndian.Uint32(h[0:]))
	f.size = int(binary.LittleEndian.Uint32(h[4:]))
	if _, err := io.ReadFull(w.in, meta); err != nil {
		return f, false
	}
	if len(meta) > 0 {
		f.meta = strings.Split(string(meta), "\x00")
	}
	if f.flags&fLane != 0 {
		f.body = w.request[:f.size]
		return f, true
	}
	f.body = make([]byte, f.size)
	_, err := io.ReadFull(w.in, f.body)
	return f, err == nil
}

func beWorker(mode string) int {
	if mode == "go" {
		return serveGo()
	}
	w := &testWorker{mode: mode, in: os.NewFile(3, "in"), out: os.NewFile(4, "out")}
	if lane := strings.Split(os.Getenv("FNPOD_WORKER_LANE"), ","); len(lane) == 3 {
		n, _ := strconv.Atoi(lane[1])
		m, err := syscall.Mmap(5, 0, 2*n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			fmt.Fprintln(os.Stderr, "lane:", err)
			return 4
		}
		w.request, w.response = m[:n], m[n:]
	}
	return w.run()
}

func (w *testWorker) run() int {
	switch w.mode {
	case "orphan":
		time.Sleep(3 * time.Second) // nobody kills what left its group and has a parent
		return 0
	case "exit-at-once":
		return 7
	case "garbage-at-start":
		_, _ = io.WriteString(w.out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		select {}
	case "silent":
		select {}
	case "version":
		w.send(testFrame{typ: tHello, code: 9})
		select {}
	}
	w.send(testFrame{typ: tHello, code: 1, meta: []string{"language", "test", "pid", strconv.Itoa(os.Getpid())}})
	switch w.mode {
	case "init-error":
		w.send(testFrame{typ: tInitError, meta: []string{"type", "SyntaxError", "message", "invalid syntax"}, body: []byte("line 1\nline 2")})
		return 1
	case "init-error-later":
		if !once(os.Getenv("FNPOD_TEST_MARK")) {
			w.send(testFrame{typ: tInitError, meta: []string{"type", "ImportError", "message", "gone"}})
			return 1
		}
	case "slow-start":
		time.Sleep(300 * time.Millisecond)
	case "slower-start":
		time.Sleep(2500 * time.Millisecond)
	case "never-ready":
		select {}
	}
	w.send(testFrame{typ: tLog, code: 1, body: []byte("loading")})
	ready := uint16(1)
	if w.mode == "several" {
		n, _ := strconv.ParseUint(os.Getenv("FNPOD_WORKER_CONCURRENCY"), 10, 16)
		ready = uint16(n)
	}
	w.send(testFrame{typ: tReady, code: ready, meta: []string{"handler", os.Getenv("FNPOD_WORKER_HANDLER"), "init_ms", "0"}})
	if w.mode == "exit-after-ready" {
		return 9
	}
	for {
		f, ok := w.read()
		if !ok {
			return 0
		}
		switch f.typ {
		case tDrain:
			if w.mode == "ignores-drain" {
				select {}
			}
			w.send(testFrame{typ: tBye})
			return 0
		case tRequest:
			w.served++
			if w.mode == "several" {
				w.cancels.Store(f.id, make(chan struct{}))
				go w.several(f)
			} else {
				w.answer(f)
			}
		case tCancel:
			if c, there := w.cancels.LoadAndDelete(f.id); there {
				close(c.(chan struct{}))
			}
		case tPing:
			w.send(testFrame{typ: tPong})
		}
	}
}

// several is answer where other requests run meanwhile.
func (w *testWorker) several(f testFrame) {
	n, _ := strconv.Atoi(f.meta[2])
	c, _ := w.cancels.Load(f.id)
	cancelled := c.(chan struct{})
	switch f.meta[1] {
	case "/sleep":
		w.running(f)
		select {
		case <-time.After(time.Duration(n) * time.Millisecond):
			w.send(testFrame{typ: tResponse, code: 200, id: f.id, body: []byte("slept")})
		case <-cancelled:
			w.send(testFrame{typ: tError, code: 500, id: f.id, meta: []string{"type", "Cancelled"}})
		}
	case "/stubborn": // does not end when it is told to
		w.running(f)
		time.Sleep(time.Duration(n) * time.Millisecond)
		w.send(testFrame{typ: tResponse, code: 200, id: f.id, body: []byte("late")})
	case "/blocked": // nothing else goes on either
		w.running(f)
		w.sending.Lock()
		select {}
	case "/credit":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
		for {
			w.send(testFrame{typ: tData, flags: fMore, id: f.id, body: make([]byte, 64<<10)})
		}
	case "/goodbye":
		w.sending.Lock()
		_, _ = w.out.Write(append(encode(testFrame{typ: tResponse, code: 200, id: f.id, body: []byte("bye")}), encode(testFrame{typ: tBye})...))
		os.Exit(0)
	default:
		w.answer(f)
	}
}

// once reports whether it is called for the first time with this file.
func once(file string) bool {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// answer obeys the request's path; the query may hold a number.
func (w *testWorker) answer(f testFrame) {
	n, _ := strconv.Atoi(f.meta[2])
	text := func(s string) {
		w.send(testFrame{typ: tResponse, code: 200, id: f.id, meta: []string{"content-type", "text/plain"}, body: []byte(s)})
	}
	switch f.meta[1] {
	case "/hello":
		text("hello")
	case "/meta":
		text(strings.Join(f.meta, "|"))
	case "/pid":
		text(strconv.Itoa(os.Getpid()))
	case "/served":
		text(strconv.Itoa(w.served))
	case "/env":
		text(strings.Join(os.Environ(), "\n"))
	case "/echo":
		w.echo(f, w.body(f))
	case "/duplex":
		w.duplex(f)
	case "/stream":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id, meta: []string{"x-a", "1", "x-a", "2"}})
		w.pieces(f.id, n, 0)
		w.send(testFrame{typ: tData, id: f.id})
	case "/declared":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id, meta: []string{"content-length", strconv.Itoa(n)}})
		w.send(testFrame{typ: tData, id: f.id, body: []byte("12345")})
	case "/trailers":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
		w.send(testFrame{typ: tData, flags: fTrailers, id: f.id, body: []byte("body")})
		w.send(testFrame{typ: tTrailers, id: f.id, meta: []string{"x-sum", "42"}})
	case "/early":
		text("early")
	case "/interim":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 103, id: f.id, meta: []string{"link", "<a>"}})
		text("final")
	case "/status":
		w.send(testFrame{typ: tResponse, code: uint16(n), id: f.id, body: []byte("body")})
	case "/recycle":
		w.send(testFrame{typ: tResponse, flags: fRecycle, code: 200, id: f.id, body: []byte(strconv.Itoa(os.Getpid()))})
	case "/error":
		w.send(testFrame{typ: tError, code: uint16(n), id: f.id, meta: []string{"type", "ValueError", "message", "no such thing"}, body: []byte("Traceback\n  line")})
	case "/error-midway":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
		w.send(testFrame{typ: tData, flags: fMore, id: f.id, body: []byte("part")})
		w.send(testFrame{typ: tError, code: 500, id: f.id, meta: []string{"type", "ValueError", "message", "midway"}})
	case "/bad-header":
		w.send(testFrame{typ: tResponse, code: 200, id: f.id, meta: []string{"bad name", "x"}})
	case "/odd-meta":
		w.send(testFrame{typ: tResponse, code: 200, id: f.id, meta: []string{"lonely"}})
	case "/log":
		w.send(testFrame{typ: tLog, code: 2, id: f.id, meta: []string{"k", "v"}, body: []byte("a word")})
		text("logged")
	case "/print":
		fmt.Println("printed to stdout")
		fmt.Fprintln(os.Stderr, "printed to stderr")
		text("printed")
	case "/flood":
		line := strings.Repeat("x", 100<<10)
		for range 50 {
			fmt.Fprint(os.Stderr, line)
		}
		text("flooded")
	case "/log-flood":
		text("first")
		for range 200 {
			w.send(testFrame{typ: tLog, code: 0, body: bytes.Repeat([]byte{'x'}, 8<<10)})
		}
	case "/sleep":
		w.running(f)
		time.Sleep(time.Duration(n) * time.Millisecond)
		text("slept")
	case "/until-cancel":
		w.running(f)
		for {
			g, ok := w.read()
			if !ok || g.typ == tCancel && g.id == f.id {
				w.send(testFrame{typ: tError, code: 500, id: f.id, meta: []string{"type", "Cancelled", "message", strconv.Itoa(int(g.code))}})
				return
			}
		}
	default:
		w.misbehave(f, n)
	}
}

func (w *testWorker) misbehave(f testFrame, n int) {
	good := testFrame{typ: tResponse, code: 200, id: f.id, body: []byte("good")}
	switch f.meta[1] {
	case "/garbage":
		_, _ = io.WriteString(w.out, strings.Repeat("garbage!", 100))
	case "/wrong-id":
		good.id += 7
		w.send(good)
	case "/type":
		w.send(testFrame{typ: byte(n), id: f.id})
	case "/half-frame":
		_, _ = w.out.Write(encode(good)[:10])
		os.Exit(0)
	case "/half-body":
		b := encode(good)
		_, _ = w.out.Write(b[:len(b)-2])
		os.Exit(0)
	case "/oversized":
		b := encode(good)
		binary.LittleEndian.PutUint32(b[4:], 1<<30)
		_, _ = w.out.Write(b)
	case "/oversized-meta":
		b := encode(good)
		binary.LittleEndian.PutUint32(b[0:], 1<<30)
		_, _ = w.out.Write(b)
	case "/oversized-lane":
		w.send(testFrame{typ: tResponse, flags: fLane, code: 200, id: f.id, size: 1 << 30})
	case "/twice":
		_, _ = w.out.Write(append(encode(good), encode(good)...))
	case "/twice-later":
		w.send(good)
		time.Sleep(20 * time.Millisecond)
		w.send(good)
	case "/data-first":
		w.send(testFrame{typ: tData, id: f.id, body: []byte("x")})
	case "/ready-again":
		w.send(testFrame{typ: tReady, code: 1})
	case "/close":
		_ = w.out.Close()
		select {}
	case "/close-input":
		_ = w.in.Close()
		w.send(good)
		select {}
	case "/exit":
		os.Exit(n)
	case "/orphan":
		w.orphan()
	case "/kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "/hang":
		w.running(f)
		select {}
	case "/stream-then-die":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
		w.send(testFrame{typ: tData, flags: fMore, id: f.id, body: []byte("part")})
		os.Exit(5)
	case "/answer-then-close":
		time.Sleep(100 * time.Millisecond) // so that each request has its own worker
		w.send(good)
		_ = w.out.Close()
		select {}
	case "/stream-then-orphan":
		w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
		w.send(testFrame{typ: tData, flags: fMore, id: f.id, body: []byte("part")})
		time.Sleep(50 * time.Millisecond) // the first piece was read
		w.send(testFrame{typ: tData, flags: fMore, id: f.id, body: []byte("more")})
		w.orphan()
	case "/answer-then-die":
		w.send(good)
		os.Exit(5)
	}
	select {}
}

// running tells that the function has its request; a test waits for it.
func (w *testWorker) running(f testFrame) {
	w.send(testFrame{typ: tLog, code: 0, id: f.id, body: []byte("running")})
}

// orphan ends and leaves a process that holds the pipes.
func (w *testWorker) orphan() {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{modeVariable + "=orphan"}
	cmd.ExtraFiles = []*os.File{w.in, w.out}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		os.Exit(6)
	}
	os.Exit(5)
}

// body collects the whole body, paying for what it reads.
func (w *testWorker) body(f testFrame) []byte {
	b := append([]byte(nil), f.body...)
	more := f.flags&fMore != 0
	for more {
		d, ok := w.read()
		if !ok || d.typ != tData || d.id != f.id {
			os.Exit(3)
		}
		b = append(b, d.body...)
		more = d.flags&fMore != 0
		w.pay(f.id, len(d.body))
	}
	return b
}

func (w *testWorker) pay(id uint32, n int) {
	if n > 0 {
		w.send(testFrame{typ: tWindow, id: id, body: binary.LittleEndian.AppendUint32(nil, uint32(n))})
	}
}

func (w *testWorker) echo(f testFrame, b []byte) {
	if len(b) > 8<<10 && len(b) <= len(w.response) {
		copy(w.response, b)
		w.send(testFrame{typ: tResponse, flags: fLane, code: 200, id: f.id, size: len(b)})
		return
	}
	if len(b) <= 8<<10 {
		w.send(testFrame{typ: tResponse, code: 200, id: f.id, body: b})
		return
	}
	w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
	w.stream(f.id, b)
	w.send(testFrame{typ: tData, id: f.id})
}

// stream sends b in pieces within the credit.
func (w *testWorker) stream(id uint32, b []byte) {
	credit := 256 << 10
	for len(b) > 0 {
		for credit == 0 {
			f, ok := w.read()
			switch {
			case !ok:
				os.Exit(3)
			case f.typ == tWindow && f.id == id:
				credit += int(binary.LittleEndian.Uint32(f.body))
			case f.typ == tCancel && f.id == id:
				return
			}
		}
		n := min(len(b), 64<<10, credit)
		w.send(testFrame{typ: tData, flags: fMore, id: id, body: b[:n]})
		b, credit = b[n:], credit-n
	}
}

func (w *testWorker) pieces(id uint32, n, _ int) { w.stream(id, make([]byte, n)) }

// duplex answers each piece of the body while the rest still comes, without
// looking at the credit of the answer.
func (w *testWorker) duplex(f testFrame) {
	w.send(testFrame{typ: tResponse, flags: fMore, code: 200, id: f.id})
	more := f.flags&fMore != 0
	for more {
		d, ok := w.read()
		switch {
		case !ok:
			os.Exit(3)
		case d.typ != tData:
			continue
		}
		more = d.flags&fMore != 0
		w.pay(f.id, len(d.body))
		if len(d.body) > 0 {
			w.send(testFrame{typ: tData, flags: fMore, id: f.id, body: d.body})
		}
	}
	w.send(testFrame{typ: tData, id: f.id})
}
