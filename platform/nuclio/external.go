package nuclio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// Command is how a wrapper of Nuclio's own is started.
type Command struct {
	Path  string
	Args  func(worker int, event, control string) []string // with the program's name first
	Env   []string
	Dir   string
	Lines bool // it reads lines of JSON, else MessagePack
	TCP   bool // event is a port, else the path of a socket
	// Control says that it has a second socket; Waits that it says when it is ready; Signals that it wants SIGUSR1 at its
	// end.
	Control, Waits, Signals bool

	Name   string // of its logger, behind the worker
	Output func(watchdog.Line)
}

// connectTime is what a wrapper has from its start until it is connected (rule S5).
const connectTime = 2 * time.Minute

// External is a pool of wrappers of Nuclio's own, which are all there from the start and take turns. Any number of
// goroutines may use it.
type External struct {
	command Command
	source  *Source
	limit   time.Duration // of an event; 0: none
	grace   time.Duration // for the end of all
	gone    error         // the cause after which an event runs on
	times   *WorkerTimes
	log     *slog.Logger
	ready   chan struct{} // closed when the first is

	mu      sync.Mutex
	idle    []*wrapped    // guarded by mu; the one that is idle longest first
	live    int           // guarded by mu: those that are ready
	failing int           // guarded by mu: starts in a row that led to nothing
	changed chan struct{} // guarded by mu; closed when there is more to take
	closed  error         // guarded by mu: why there are no workers any more
	once    sync.Once
}

// NewExternal returns a pool of wrappers for a trigger. gone is the cause, as an Exchange reports it, that means that the
// client has left.
func (s *Settings) NewExternal(src *Source, c Command, times *WorkerTimes, gone error, log *slog.Logger) *External {
	return &External{
		command: c, source: src, limit: s.EventTimeout, grace: max(s.Termination, time.Second), gone: gone, times: times, log: log,
		ready: make(chan struct{}), changed: make(chan struct{}),
	}
}

// Up returns a channel that is closed when the first wrapper is ready.
func (p *External) Up() <-chan struct{} { return p.ready }

// AllReady reports whether every wrapper is ready.
func (p *External) AllReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live >= p.source.Workers
}

// Run starts the wrappers and replaces those that end, until ctx ends. Then it lets them end, kills what is left after
// the grace time, and returns nil. When one does not become ready before any was, the error says why.
func (p *External) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var nurses sync.WaitGroup
	for i := range p.source.Workers {
		nurses.Go(func() {
			if err := p.nurse(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	p.mu.Lock()
	p.closed = workers.ErrClosed
	close(p.changed)
	p.mu.Unlock()
	nurses.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

const (
	firstPause, longestPause = 100 * time.Millisecond, 30 * time.Second

	// shortLife is how long a wrapper has to live, without an event, for its end not to count as a failed start.
	shortLife = 10 * time.Second
	// hopeless is the number of failed starts in a row after which events are refused instead of waiting.
	hopeless = 5
)

// nurse keeps the wrapper with an index alive.
func (p *External) nurse(ctx context.Context, index int) error {
	for ctx.Err() == nil {
		w, err := p.start(ctx, index)
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return nil
			case !p.wasReady():
				return err
			}
			pause := p.failed()
			p.log.Error("worker did not start", "worker_index", index, "err", err, "retry_in", pause.String())
			if !rest(ctx, pause) {
				return nil
			}
			continue
		}
		p.join(w)
		select {
		case <-w.proc.Done():
			p.leave(w)
			p.log.Warn("worker died", "worker_index", index, "pid", w.proc.Pid(), "exit", w.proc.Exit().String())
		case <-ctx.Done():
			p.leave(w)
			w.end(p.grace)
		}
		w.close()
		if w.proven.Load() || time.Since(w.born) >= shortLife {
			p.worked()
		} else if !rest(ctx, p.failed()) {
			return nil
		}
	}
	return nil
}

// failed counts a start that led to nothing and returns how long to wait before the next.
func (p *External) failed() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing++
	if p.failing == hopeless { // who waits is told
		close(p.changed)
		p.changed = make(chan struct{})
	}
	return min(firstPause<<min(p.failing-1, 10), longestPause)
}

func (p *External) worked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing = 0
}

// rest waits, and reports whether ctx still lives.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *External) wasReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// join takes a wrapper that is ready.
func (p *External) join(w *wrapped) {
	p.log.Info("worker ready", "worker_index", w.index, "pid", w.proc.Pid())
	p.mu.Lock()
	p.live++
	p.mu.Unlock()
	p.put(w)
	p.once.Do(func() { close(p.ready) })
}

// leave takes a wrapper off the books.
func (p *External) leave(w *wrapped) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live--
	p.idle = slices.DeleteFunc(p.idle, func(other *wrapped) bool { return other == w })
}

// put makes a wrapper the last of those that are idle.
func (p *External) put(w *wrapped) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil || w.dead() {
		return
	}
	p.idle = append(p.idle, w)
	close(p.changed)
	p.changed = make(chan struct{})
}

// cut is a wait that was interrupted.
type cut chan struct{}

// Interrupt implements the Interrupter of an Exchange.
func (c cut) Interrupt() {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns the wrapper that is idle longest, or waits for one.
func (p *External) take(x workers.Exchange) (*wrapped, error) {
	var interrupted cut
	for {
		w, changed, err := p.next()
		if interrupted != nil && (w != nil || err != nil) {
			if cause := x.OnInterrupt(nil); cause != nil {
				if w != nil {
					p.put(w)
				}
				return nil, cause
			}
		}
		if w != nil || err != nil {
			return w, err
		}
		if interrupted == nil {
			interrupted = make(cut, 1)
			if cause := x.OnInterrupt(interrupted); cause != nil {
				return nil, cause
			}
		}
		select {
		case <-changed:
		case <-interrupted:
			if cause := x.OnInterrupt(nil); cause != nil {
				return nil, cause
			}
			interrupted = nil
		}
	}
}

// next returns a wrapper that is idle, or why there will be none, or else what is closed when it is worth another look.
func (p *External) next() (*wrapped, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		w := p.idle[0]
		p.idle = p.idle[1:]
		if !w.dead() {
			return w, nil, nil
		}
	}
	switch {
	case p.closed != nil:
		return nil, nil, p.closed
	case p.live == 0 && p.failing >= hopeless:
		return nil, nil, fmt.Errorf("%w: %d starts failed", workers.ErrNotReady, p.failing)
	}
	return nil, p.changed, nil
}

// Do runs one event and writes its answer to x. When it returns, nothing works on the event any more.
func (p *External) Do(x workers.Exchange) error {
	body, err := wholeBody(x)
	if err != nil {
		return err
	}
	var e *wireEvent
	if c, ok := x.(*Call); ok && c.event != nil {
		e = c.event
	} else if e, err = newWireEvent(x.Request(), x.Scheme(), body, time.Now()); err != nil {
		return respond(x, "Failed to wrap structured cloud event")
	}
	frame, err := e.frame(p.command.Lines)
	if err != nil {
		return respond(x, err.Error())
	}
	w, err := p.take(x)
	if err != nil {
		return err
	}
	from := time.Now()
	defer func() { p.times.Add(w.index, time.Since(from)) }()
	err = w.serve(x, frame)
	p.put(w)
	return err
}

// wholeBody reads the body, if it is not in memory yet.
func wholeBody(x workers.Exchange) ([]byte, error) {
	if body, ok := x.Body(); ok {
		return body, nil
	}
	if err := x.Continue(); err != nil {
		return nil, err
	}
	var body []byte
	for {
		body = slices.Grow(body, 64<<10)
		n, err := x.ReadBody(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil {
			return body, endOf(err)
		}
	}
}

// respond answers with a 500 and a text of ours.
func respond(x workers.Exchange, text string) error {
	x.Respond(500, int64(len(text)))
	if text != "" {
		if err := x.AddField([]byte("Content-Type"), []byte(plainText)); err != nil {
			return err
		}
		if _, err := x.Write([]byte(text)); err != nil {
			return err
		}
	}
	return x.Finish()
}

// Environment of a wrapper besides that of the function.
func (p *External) environment(index int) []string {
	return append(slices.Clip(p.command.Env), "NUCLIO_WORKER_ID="+strconv.Itoa(index))
}

// socketPath is a new name for a socket.
func socketPath() string { return os.TempDir() + "/nuclio-rpc-" + rand.Text()[:20] + ".sock" }

// logLevel asks which lines of an event its client wants.
func logLevel(r *http1.Request) (slog.Level, bool) {
	v, ok := http1.FindName(r.Fields, "X-Nuclio-Log-Level")
	return LevelOf(string(v)), ok
}

// signalAlone sends a signal to a process and not to its group.
func signalAlone(p *watchdog.Process, s syscall.Signal) {
	select {
	case <-p.Done():
	default:
		_ = syscall.Kill(p.Pid(), s) // it may have ended this moment
	}
}

// errClosed is a wrapper that hung up.
var errClosed = fmt.Errorf("%w: it hung up", workers.ErrDied)
