package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/workers"
)

// tripWorker is a pool of one worker.
type tripWorker struct {
	pool   *workers.Pool
	ready  time.Duration // from the start of the pool to the worker's READY
	id     int
	cancel context.CancelFunc
	ended  chan error
}

// poolLog is the log of a pool.
type poolLog struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (l *poolLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

var pidInLog = regexp.MustCompile(`"worker ready".*"pid":(\d+)`)

// pid finds the worker's process.
func (l *poolLog) pid() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := pidInLog.FindSubmatch(l.text.Bytes())
	if found == nil {
		return 0, fmt.Errorf("no worker in the log: %s", l.text.Bytes())
	}
	return strconv.Atoi(string(found[1]))
}

// startWorker starts the worker of a language and waits until it is ready.
func startWorker(ctx context.Context, dir string, l spoken) (*tripWorker, error) {
	c := workers.DefaultConfig()
	c.Path, c.Env, c.Dir = os.Getenv("PATH"), append(os.Environ(), childVariable+"=1"), dir
	c.Min, c.Max = 1, 1
	if l.file == "" {
		c.Command = []string{l.program, "go-worker"}
	} else {
		file := filepath.Join(dir, l.file)
		if err := os.WriteFile(file, []byte(l.text), 0o600); err != nil {
			return nil, err
		}
		var err error
		if c.Handler, err = workers.ParseHandler(file); err != nil {
			return nil, err
		}
		c.Interpreter = l.program
	}
	log := new(poolLog)
	c.Log = slog.New(slog.NewJSONHandler(log, nil))
	if err := c.Validate(); err != nil {
		return nil, err
	}
	w := &tripWorker{pool: workers.New(c), ended: make(chan error, 1)}
	ctx, w.cancel = context.WithCancel(ctx)
	begin := time.Now()
	go func() { w.ended <- w.pool.Run(ctx) }()
	select {
	case <-w.pool.Ready():
		w.ready = time.Since(begin)
	case err := <-w.ended:
		w.cancel()
		return nil, fmt.Errorf("pool ended: %w", err)
	case <-time.After(20 * time.Second):
		_, err := log.pid() // tells what the log says
		return nil, errors.Join(err, w.close())
	}
	var err error
	if w.id, err = log.pid(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *tripWorker) pid() int { return w.id }

// close ends the pool.
func (w *tripWorker) close() error {
	w.cancel()
	return <-w.ended
}

// pack implements traveller.
func (w *tripWorker) pack(size int) func() error {
	x := &tripExchange{body: make([]byte, size)}
	head := fmt.Appendf(nil, "POST /echo HTTP/1.1\r\nHost: function.example\r\nUser-Agent: fnpod-bench\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", size)
	if _, err := x.request.Parse(head, http1.DefaultLimits()); err != nil {
		return func() error { return err }
	}
	x.request.Length, x.request.HasLength = int64(size), true
	return func() error {
		x.status, x.answered = 0, 0
		if err := w.pool.Do(x); err != nil {
			return err
		}
		if x.answered != size || x.status/100 != 2 {
			return fmt.Errorf("answer of %d bytes with status %d", x.answered, x.status)
		}
		return nil
	}
}

// tripExchange is a request without a client.
type tripExchange struct {
	request  http1.Request
	body     []byte
	status   int
	answered int
}

// Request and the following implement workers.Exchange.
func (x *tripExchange) Request() *http1.Request { return &x.request }

// AppendID appends the same for all requests.
func (x *tripExchange) AppendID(b []byte) []byte { return append(b, "trip"...) }

// Peer returns nobody's address.
func (x *tripExchange) Peer() string { return "192.0.2.1" }

// Scheme returns http.
func (x *tripExchange) Scheme() string { return "http" }

// Remaining returns no limit.
func (x *tripExchange) Remaining() time.Duration { return 0 }

// Body returns all of it.
func (x *tripExchange) Body() ([]byte, bool) { return x.body, true }

// ReadBody is not needed: the body is in memory.
func (x *tripExchange) ReadBody([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Continue has nobody to tell.
func (x *tripExchange) Continue() error { return nil }

// StopBody has nobody to stop.
func (x *tripExchange) StopBody(wait func()) { wait() }

// OnInterrupt never interrupts.
func (x *tripExchange) OnInterrupt(workers.Interrupter) error { return nil }

// Respond keeps the status.
func (x *tripExchange) Respond(status int, _ int64) { x.status = status }

// AddField drops a field.
func (x *tripExchange) AddField(_, _ []byte) error { return nil }

// Write counts bytes.
func (x *tripExchange) Write(p []byte) (int, error) {
	x.answered += len(p)
	return len(p), nil
}

// AddTrailer drops a trailer.
func (x *tripExchange) AddTrailer(_, _ []byte) error { return nil }

// Finish has nothing to do.
func (x *tripExchange) Finish() error { return nil }
