package wrapper_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// Frame types and flags of protocol v1.
const (
	tRequest   = 0x01
	tData      = 0x02
	tTrailers  = 0x03
	tCancel    = 0x04
	tWindow    = 0x05
	tDrain     = 0x07
	tExit      = 0x08
	tPing      = 0x09
	tHello     = 0x11
	tReady     = 0x12
	tInitError = 0x13
	tResponse  = 0x21
	tError     = 0x22
	tPong      = 0x29
	tBye       = 0x2f

	fLane     = 1
	fMore     = 2
	fTrailers = 4

	inline = 8 << 10
	piece  = 64 << 10
	credit = 256 << 10
)

// patience bounds every wait for a worker; a test that meets it fails.
const patience = 30 * time.Second

// frame is one frame as it is on the pipe; size is the body length of the header, which a lane body does not follow.
type frame struct {
	kind, flags byte
	code        uint16
	id          uint32
	meta        string
	body        []byte
	size        int
}

func (f frame) bytes() []byte {
	size := f.size
	if f.flags&fLane == 0 {
		size = len(f.body)
	}
	b := make([]byte, 16, 16+len(f.meta)+len(f.body))
	binary.LittleEndian.PutUint32(b, uint32(len(f.meta)))
	binary.LittleEndian.PutUint32(b[4:], uint32(size))
	b[8], b[9] = f.kind, f.flags
	binary.LittleEndian.PutUint16(b[10:], f.code)
	binary.LittleEndian.PutUint32(b[12:], f.id)
	b = append(b, f.meta...)
	if f.flags&fLane == 0 {
		b = append(b, f.body...)
	}
	return b
}

// pair returns the value of a name in a meta block of pairs.
func (f frame) pair(name string) string {
	fields := strings.Split(f.meta, "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == name {
			return fields[i+1]
		}
	}
	return ""
}

// language is what differs between the workers under test.
type language struct {
	name, file  string
	source      func(contract string) string
	interpreter func() (string, error)
	args        []string // before the source's path
}

var python = language{
	name: "python", file: "handler.py", source: wrapper.Python,
	interpreter: sync.OnceValues(func() (string, error) {
		return interpreter("FNPOD_TEST_PYTHON", "python3", "-c", "import sys; print(sys.executable)")
	}),
}

var node = language{
	name: "node", file: "handler.js", source: wrapper.Node, args: []string{"--preserve-symlinks-main"},
	interpreter: sync.OnceValues(func() (string, error) {
		return interpreter("FNPOD_TEST_NODE", "node", "-e", "console.log(process.execPath)")
	}),
}

// interpreter returns the real path of an interpreter, past shims that would cost each start 100 ms.
func interpreter(env string, ask ...string) (string, error) {
	if path := os.Getenv(env); path != "" {
		return path, nil
	}
	out, err := exec.Command(ask[0], ask[1:]...).Output()
	if err != nil {
		return "", fmt.Errorf("these tests need %s on the PATH: %w", ask[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// options of a worker under test.
type options struct {
	function    string
	contract    string // empty: native
	concurrency int
	lane        int // bytes of each window, 0 = no lane
	env         []string
	args        []string // for the interpreter
	asCode      string   // "-c" or "-e": pass the source as an argument
	files       map[string]string
}

// worker drives one worker process as the pool does.
type worker struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     *os.File // requests
	out    *os.File // answers
	lane   []byte
	window int
	dir    string
	stdout *output
	stderr *output
	exited chan struct{}
	err    error
}

// output collects what a worker prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// requires waits for text from a worker that lives: it comes beside its answers.
func (o *output) requires(t testing.TB, text string, what ...any) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(o.String(), text) }, patience, time.Millisecond, what...)
}

// launch starts a worker for a handler source and leaves HELLO to be read.
func launch(t testing.TB, l language, handler string, o options) *worker {
	t.Helper()
	path, err := l.interpreter()
	require.NoError(t, err)
	w := &worker{t: t, dir: t.TempDir(), stdout: new(output), stderr: new(output), exited: make(chan struct{})}
	source := l.source(cmp.Or(o.contract, wrapper.Native))
	require.NotEmpty(t, source)
	file := filepath.Join(w.dir, l.file)
	if o.contract != "" { // as images of OpenFaaS have it
		require.NoError(t, os.Mkdir(filepath.Join(w.dir, "function"), 0o700))
		file = filepath.Join(w.dir, "function", l.file)
	}
	if handler != "" {
		require.NoError(t, os.WriteFile(file, []byte(handler), 0o600))
	}
	for name, content := range o.files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600))
	}
	requestR, requestW := pipe(t)
	answerR, answerW := pipe(t)
	w.in, w.out = requestW, answerR
	lane := w.makeLane(o.lane)
	args := append(append([]string{}, o.args...), l.args...)
	extra := []*os.File{requestR, answerW, lane}
	if o.asCode != "" {
		args = append(args, o.asCode, source)
	} else {
		args = append(args, "/proc/self/fd/6")
		extra = append(extra, memory(t, "source", []byte(source)))
	}
	w.cmd = exec.Command(path, args...)
	w.cmd.Dir = w.dir
	w.cmd.ExtraFiles = extra
	w.cmd.Stdout, w.cmd.Stderr = w.stdout, w.stderr
	w.cmd.Env = append(os.Environ(), "FNPOD_WORKER_PROTOCOL=1-1", "FNPOD_WORKER_FDS=3,4",
		"FNPOD_WORKER_HANDLER="+file+":"+o.function, "FNPOD_WORKER_CONCURRENCY="+strconv.Itoa(max(1, o.concurrency)))
	if o.lane > 0 {
		w.cmd.Env = append(w.cmd.Env, fmt.Sprintf("FNPOD_WORKER_LANE=5,%d,%d", o.lane, o.lane))
	}
	if o.contract != "" {
		w.cmd.Env = append(w.cmd.Env, "FNPOD_WORKER_CONTRACT="+o.contract)
	}
	w.cmd.Env = append(w.cmd.Env, o.env...)
	require.NoError(t, w.cmd.Start())
	requestR.Close()
	answerW.Close()
	go func() { w.err = w.cmd.Wait(); close(w.exited) }()
	t.Cleanup(w.kill)
	return w
}

// start launches a worker and waits until it is ready.
func start(t testing.TB, l language, handler string, o options) *worker {
	t.Helper()
	w := launch(t, l, handler, o)
	require.Equal(t, byte(tHello), w.read().kind)
	ready := w.read()
	require.Equalf(t, byte(tReady), ready.kind, "%s %s", ready.meta, ready.body)
	return w
}

func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // it may be gone
	<-w.exited
	w.in.Close()
	w.out.Close()
	if w.lane != nil {
		_ = unix.Munmap(w.lane) // nobody uses it any more
	}
	if w.t.Failed() {
		w.t.Logf("stdout: %s\nstderr: %s", w.stdout, w.stderr)
	}
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	return r, w
}

func memory(t testing.TB, name string, content []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(content)
	require.NoError(t, err)
	return f
}

func (w *worker) makeLane(window int) *os.File {
	w.t.Helper()
	f := memory(w.t, "lane", nil)
	if window == 0 {
		return f
	}
	require.NoError(w.t, f.Truncate(int64(2*window)))
	lane, err := unix.Mmap(int(f.Fd()), 0, 2*window, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(w.t, err)
	w.lane, w.window = lane, window
	return f
}

// send writes frames in one write.
func (w *worker) send(frames ...frame) {
	w.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, f.bytes()...)
	}
	require.NoError(w.t, w.in.SetWriteDeadline(time.Now().Add(patience)))
	_, err := w.in.Write(b)
	require.NoError(w.t, err)
}

// read returns the next frame; a body in the lane is copied out of it.
func (w *worker) read() frame {
	w.t.Helper()
	f, err := w.next()
	require.NoErrorf(w.t, err, "stdout: %s\nstderr: %s", w.stdout, w.stderr)
	return f
}

func (w *worker) next() (frame, error) {
	if err := w.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return frame{}, err
	}
	var h [16]byte
	if _, err := io.ReadFull(w.out, h[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: h[8], flags: h[9], code: binary.LittleEndian.Uint16(h[10:]), id: binary.LittleEndian.Uint32(h[12:])}
	f.size = int(binary.LittleEndian.Uint32(h[4:]))
	inline := f.size
	if f.flags&fLane != 0 {
		inline = 0
	}
	rest := make([]byte, int(binary.LittleEndian.Uint32(h[:]))+inline)
	if _, err := io.ReadFull(w.out, rest); err != nil {
		return frame{}, err
	}
	f.meta = string(rest[:len(rest)-inline])
	f.body = rest[len(rest)-inline:]
	if f.flags&fLane != 0 {
		f.body = bytes.Clone(w.lane[w.window:][:f.size])
	}
	return f, nil
}

// ended waits for the end of the answers and returns the exit code.
func (w *worker) ended() int {
	w.t.Helper()
	_, err := w.next()
	require.ErrorIs(w.t, err, io.EOF)
	select {
	case <-w.exited:
		return w.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		require.FailNow(w.t, "the worker does not exit")
		return -1
	}
}

// request builds a request frame: headers are name, value, name, value.
func request(id uint32, method, path, query string, body []byte, headers ...string) frame {
	fields := append([]string{method, path, query, "http example.com:8080", "192.0.2.7", ""}, headers...)
	return frame{kind: tRequest, id: id, meta: strings.Join(fields, "\x00"), body: body}
}

// get builds the plainest request.
func get(id uint32) frame { return request(id, "GET", "/", "", nil) }

// ask sends a request and returns its answer.
func (w *worker) ask(f frame) frame {
	w.t.Helper()
	w.send(f)
	a := w.read()
	require.Equal(w.t, f.id, a.id)
	return a
}

// requireAnyPortion writes three requests, of which the last has a body in pieces and trailers, in portions of many sizes,
// and wants the bodies of the answers.
func requireAnyPortion(t *testing.T, w *worker, first, second, more frame, want ...string) {
	t.Helper()
	more.flags = fMore
	all := append(first.bytes(), second.bytes()...)
	all = append(all, more.bytes()...)
	all = append(all, frame{kind: tData, flags: fMore, id: 3, body: []byte("2")}.bytes()...)
	all = append(all, frame{kind: tData, flags: fTrailers, id: 3, body: []byte("3")}.bytes()...)
	all = append(all, frame{kind: tTrailers, id: 3, meta: "x\x00y"}.bytes()...)
	for _, size := range []int{1, 7, 16, 100, len(all)} {
		for at := 0; at < len(all); at += size {
			_, err := w.in.Write(all[at:min(at+size, len(all))])
			require.NoError(t, err)
		}
		for _, body := range want {
			require.Equal(t, body, string(w.read().body))
		}
	}
}
