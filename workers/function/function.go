// Package function makes a Go program a function of fnpod: a warm worker that answers requests with an http.Handler.
//
//	func main() {
//		if err := function.Serve(http.HandlerFunc(hello)); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// `fnpod serve ./hello` starts the program as often as it needs workers. It talks to them over inherited pipes and shared
// memory, in the protocol of docs/worker-protocol.md, so that no port is opened and no HTTP is parsed again.
//
//	function.go  Serve: settings, start, end
//	frame.go     bytes of the protocol
//	reader.go    who reads what the parent says, and when
//	take.go      what the parent says: requests, pieces of bodies, credit, cancellation
//	call.go      one request: its http.Request, panics
//	body.go      a body that is still coming
//	answer.go    the answer: http.ResponseWriter and http.Flusher
package function

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/workers/protocol"
)

// errNotStarted means that no fnpod has started this process.
var errNotStarted = errors.New("this program is a function: start it with fnpod serve")

// Serve answers requests with h until fnpod has no more of them, and returns nil then, when all handlers have returned. An
// error says that fnpod did not start the process, or that its pipes broke. h is called by several goroutines at once only
// if fnpod was told to run several requests in one worker. Call it once.
//
// A request has no more than it needs of what net/http's server gives: its context has the deadline and ends when nobody
// waits any more; RemoteAddr has port 0. An answer up to the size of the lane (1 MiB unless set) is sent when the handler
// returns; Flush sends what there is at once. A panic is a 500 and one log record.
func Serve(h http.Handler) error {
	start := time.Now()
	s, err := readSettings(os.Environ(), os.Unsetenv)
	if err != nil {
		return err
	}
	w, err := newWorker(s, h)
	if err != nil {
		return err
	}
	w.say(protocol.Hello, protocol.Version, "language", "go", "runtime", strings.TrimPrefix(runtime.Version(), "go"),
		"pid", strconv.Itoa(os.Getpid()), "features", "lane,mux,stream")
	w.say(protocol.Ready, uint16(s.concurrency), "handler", filepath.Base(os.Args[0]),
		"init_ms", strconv.FormatInt(time.Since(start).Milliseconds(), 10))
	return w.run()
}

// settings are what fnpod tells a worker by its environment.
type settings struct {
	in, out         int
	lane            int // descriptor; -1: none
	laneIn, laneOut int // sizes of its windows
	concurrency     int
}

const prefix = "FNPOD_WORKER_"

// readSettings takes the settings out of the environment, so that what the function starts does not see them.
func readSettings(environ []string, unset func(string) error) (settings, error) {
	env := map[string]string{"LANE": "-1,0,0", "CONCURRENCY": "1"}
	for _, e := range environ {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, prefix) {
			env[name[len(prefix):]] = value
			if err := unset(name); err != nil {
				return settings{}, err
			}
		}
	}
	if env["FDS"] == "" {
		return settings{}, errNotStarted
	}
	var s settings
	var low, high int
	for _, v := range []struct {
		name, format string
		into         []any
	}{
		{"PROTOCOL", "%d-%d", []any{&low, &high}},
		{"FDS", "%d,%d", []any{&s.in, &s.out}},
		{"LANE", "%d,%d,%d", []any{&s.lane, &s.laneIn, &s.laneOut}},
		{"CONCURRENCY", "%d", []any{&s.concurrency}},
	} {
		if _, err := fmt.Sscanf(env[v.name], v.format, v.into...); err != nil {
			return settings{}, fmt.Errorf("%s%s %q: %w", prefix, v.name, env[v.name], err)
		}
	}
	if low > protocol.Version || high < protocol.Version {
		return settings{}, fmt.Errorf("the worker speaks protocol %d, not %s", protocol.Version, env["PROTOCOL"])
	}
	s.concurrency = max(s.concurrency, 1)
	return s, nil
}

// worker is this process as fnpod sees it.
type worker struct {
	settings

	handler http.Handler
	memory  []byte // the lane: requests first, answers behind them; nil: none
	reader  reader

	writing sync.Mutex
	output  *os.File // guarded by writing
	broken  error    // guarded by writing; the first error of output

	running sync.WaitGroup
	mu      sync.Mutex
	calls   map[uint32]*call // guarded by mu
}

func newWorker(s settings, h http.Handler) (*worker, error) {
	for _, fd := range []int{s.in, s.out, s.lane} {
		if fd >= 0 {
			syscall.CloseOnExec(fd)
		}
	}
	w := &worker{settings: s, handler: h, calls: map[uint32]*call{}, output: os.NewFile(uintptr(s.out), "answers")}
	w.reader.buf = make([]byte, protocol.Piece)
	if s.concurrency > 1 {
		if err := w.usePoller(); err != nil {
			return nil, err
		}
	}
	if s.lane >= 0 {
		var err error
		w.memory, err = syscall.Mmap(s.lane, 0, s.laneIn+s.laneOut, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("map lane: %w", err)
		}
	}
	return w, nil
}

// answers is the window of the lane for answers; empty when several could want it at once.
func (w *worker) answers() []byte {
	if w.memory == nil || w.concurrency > 1 {
		return nil
	}
	return w.memory[w.laneIn:][:w.laneOut:w.laneOut]
}

// run reads what the parent says until the end.
func (w *worker) run() error {
	drain, err := w.read(w.concurrency == 1)
	if err != nil {
		return err
	}
	w.running.Wait()
	if drain {
		w.say(protocol.Bye, 0)
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	return w.broken
}

func (w *worker) each(f func(*call)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		f(c)
	}
}

// say sends a frame of pairs.
func (w *worker) say(typ protocol.Type, code uint16, pairs ...string) {
	meta := strings.Join(pairs, "\x00")
	w.send(append(appendHeader(nil, typ, 0, code, 0, len(meta), 0), meta...))
}

// send writes whole frames. After an error nothing is written any more, and the reader will see that the parent is gone.
func (w *worker) send(frames ...[]byte) {
	w.writing.Lock()
	defer w.writing.Unlock()
	for _, f := range frames {
		if w.broken == nil {
			_, w.broken = w.output.Write(f)
		}
	}
}
