package nuclio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers"
)

// mostLine is the longest line that a wrapper may send: an answer and its encoding.
const mostLine = 256 << 20

// mostLogs is how long the field is that brings log lines to the client.
const mostLogs = 4096

// wrapped is one process with a wrapper of Nuclio's own. What an event needs belongs to the goroutine that runs it.
type wrapped struct {
	pool  *External
	index int
	log   *slog.Logger
	proc  *watchdog.Process
	conn  net.Conn
	lines *bufio.Reader

	control *control // nil: none
	mu      sync.Mutex
	current *event // guarded by mu, with its logs: the one in progress

	born        time.Time
	interrupted atomic.Bool
	unfit       atomic.Bool // it was killed, or is about to end
	proven      atomic.Bool // it has answered an event
}

// start starts a wrapper and returns when it is ready.
func (p *External) start(ctx context.Context, index int) (*wrapped, error) {
	c := &p.command
	kind := p.source.Kind
	if p.source.Shared {
		kind = "shared"
	}
	w := &wrapped{pool: p, index: index, log: p.log.With("logger", fmt.Sprintf("processor.%s.w%d.%s", kind, index, c.Name))}
	event, err := c.listen(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = event.Close() }() // it has one client
	var control net.Listener
	paths := [2]string{address(event)}
	if c.Control {
		if control, err = c.listen(ctx); err != nil {
			return nil, err
		}
		defer func() { _ = control.Close() }() // likewise
		paths[1] = address(control)
	}
	w.born = time.Now()
	w.proc, err = watchdog.Start(watchdog.Config{
		Path: c.Path, Args: c.Args(index, paths[0], paths[1]), Env: p.environment(index), Dir: c.Dir, Output: c.Output, OutputRate: -1, Log: p.log,
	})
	if err != nil {
		return nil, err
	}
	if err := w.connect(ctx, event, control); err != nil {
		w.proc.Kill()
		<-w.proc.Done()
		w.close()
		return nil, err
	}
	return w, nil
}

// listen opens a socket for one wrapper. Its file goes when the listener is closed.
func (c *Command) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	if c.TCP {
		return lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	return lc.Listen(ctx, "unix", socketPath())
}

// address is what a wrapper is told of a socket.
func address(l net.Listener) string {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return strconv.Itoa(a.Port)
	}
	return l.Addr().String()
}

// connect waits for the wrapper on its sockets, and until it is ready.
func (w *wrapped) connect(ctx context.Context, event, control net.Listener) (err error) {
	waiting, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	go func() { // ends with the function, or the process
		select {
		case <-w.proc.Done():
			cancel()
		case <-waiting.Done():
		}
	}()
	if w.conn, err = accept(waiting, event); err != nil {
		return w.unready(ctx, err)
	}
	if control != nil {
		second, err := accept(waiting, control)
		if err != nil {
			return w.unready(ctx, err)
		}
		w.control = newControl(second, w.controlLine)
		go w.control.run() // close waits for it
	}
	w.lines = bufio.NewReaderSize(w.conn, 64<<10)
	go func() {
		<-w.proc.Done() // a child of it may hold the socket open
		w.unfit.Store(true)
		w.wake()
	}()
	if !w.pool.command.Waits {
		return nil
	}
	defer context.AfterFunc(ctx, w.wake)()
	for {
		line, err := w.line()
		switch {
		case err != nil:
			return w.unready(ctx, err)
		case line[0] == 's':
			return w.conn.SetReadDeadline(time.Time{})
		case line[0] == 'l':
			w.logLine(line[1:], nil) //nolint:contextcheck // only log records are written without a context
		}
	}
}

// unready says why a wrapper did not become ready.
func (w *wrapped) unready(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-w.proc.Done():
		return &workers.InitError{Type: "Exited", Message: fmt.Sprintf("Wrapper process for worker %d exited unexpectedly with: %v", w.index, w.proc.Exit())}
	case <-t.C:
		return &workers.InitError{Type: "Protocol", Message: fmt.Sprintf("wrapper of worker %d is not connected: %v", w.index, err)}
	}
}

// accept returns the first connection.
func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	return l.Accept()
}

// wake makes a read return. Any goroutine may call it.
func (w *wrapped) wake() { _ = w.conn.SetReadDeadline(time.Unix(1, 0)) }

func (w *wrapped) dead() bool { return w.unfit.Load() }

// line returns the next line that is not empty, without its end. It is valid until the next call.
func (w *wrapped) line() ([]byte, error) {
	for {
		line, err := w.lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line, err = w.longLine(bytes.Clone(line))
		}
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			return line, nil
		}
	}
}

func (w *wrapped) longLine(line []byte) ([]byte, error) {
	for {
		part, err := w.lines.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > mostLine {
			return nil, fmt.Errorf("%w: a line of more than %d bytes", workers.ErrProtocol, mostLine)
		}
	}
}

// Interrupt implements the Interrupter of an Exchange.
func (w *wrapped) Interrupt() {
	w.interrupted.Store(true)
	w.wake()
}

// event is one that a wrapper works on.
type event struct {
	x      workers.Exchange
	until  time.Time // zero: no limit
	gone   error     // the client has left: the rest is for nobody
	logs   []json.RawMessage
	wanted bool // logs go to the client
	least  slog.Level
	begun  bool // a streamed answer
}

// serve runs one event.
func (w *wrapped) serve(x workers.Exchange, frame []byte) error {
	e := &event{x: x}
	e.least, e.wanted = logLevel(x.Request())
	e.logs = []json.RawMessage{} // none is [], not null
	if limit := w.pool.limit; limit > 0 {
		e.until = time.Now().Add(limit)
	}
	w.interrupted.Store(false)
	if cause := x.OnInterrupt(w); cause != nil {
		return cause
	}
	w.set(e)
	err := w.exchange(e, frame)
	w.set(nil)
	if cause := x.OnInterrupt(nil); cause != nil && e.gone == nil && err != nil {
		err = cause
	}
	if e.gone != nil && !w.dead() {
		return e.gone
	}
	return err
}

// exchange sends the event and takes what comes back, up to its answer. A wrapper that has not answered is killed.
func (w *wrapped) exchange(e *event, frame []byte) error {
	if err := w.discard(); err == nil {
		_ = w.conn.SetWriteDeadline(e.until) // it cannot fail but with the connection
		_, err = w.conn.Write(frame)
		if err != nil {
			return w.fail(e, err)
		}
	} else {
		return w.fail(e, err)
	}
	_ = w.conn.SetReadDeadline(e.until)   // likewise
	if w.interrupted.Load() || w.dead() { // who woke us did so in vain
		w.wake()
	}
	for {
		line, err := w.line()
		if err != nil {
			if w.goOn(e, err) {
				continue
			}
			return w.fail(e, err)
		}
		over, err := w.take(e, line[0], line[1:])
		if over || err != nil {
			w.proven.Store(true)
			return err
		}
	}
}

// goOn reports whether an interrupted read is repeated: the client has left, and the event runs on.
func (w *wrapped) goOn(e *event, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || w.dead() {
		return false
	}
	if w.interrupted.Swap(false) {
		cause := e.x.OnInterrupt(nil)
		if cause == nil || !errors.Is(cause, w.pool.gone) {
			e.gone = nil
			return false
		}
		e.gone = cause
		_ = w.conn.SetReadDeadline(e.until) // it cannot fail but with the connection
		return e.until.IsZero() || time.Now().Before(e.until)
	}
	return e.until.IsZero()
}

// fail ends the wrapper, which is somewhere in the middle of an event.
func (w *wrapped) fail(e *event, err error) error {
	late := !e.until.IsZero() && !time.Now().Before(e.until)
	w.unfit.Store(true)
	w.proc.Kill()
	<-w.proc.Done()
	switch {
	case late:
		return fmt.Errorf("%w: %v", workers.ErrTimeout, w.pool.limit)
	case errors.Is(err, workers.ErrProtocol):
		return err
	default:
		return errClosed
	}
}

// discard drops what came since the last event: an answer to nothing must reach nobody.
func (w *wrapped) discard() error {
	for {
		if w.lines.Buffered() == 0 {
			_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // only what is there
			if _, err := w.lines.Peek(1); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) && !w.dead() {
					return w.conn.SetReadDeadline(time.Time{})
				}
				return err
			}
		}
		_ = w.conn.SetReadDeadline(time.Now().Add(time.Second)) // for the rest of a line
		line, err := w.line()
		if err != nil {
			return err
		}
		switch line[0] {
		case 'l':
			w.logLine(line[1:], nil)
		case 'r', 'c', 'b', 'e':
			w.log.Warn("answer to no event is dropped")
		}
	}
}

// take handles a line of an event, and reports whether the answer is complete.
func (w *wrapped) take(e *event, kind byte, text []byte) (over bool, err error) {
	switch kind {
	case 'l':
		w.logLine(text, e)
		return false, nil
	case 'r', 'c':
		if e.begun { // a second one, in the middle of a stream: it is cut
			return true, fmt.Errorf("%w: a second head", workers.ErrBadAnswer)
		}
		return kind == 'r', w.answer(e, text, kind == 'c')
	case 'b':
		if !e.begun || e.gone != nil {
			return false, nil
		}
		part, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return false, fmt.Errorf("%w: %w", workers.ErrBadAnswer, err)
		}
		return false, w.write(e, part)
	case 'e':
		if !e.begun {
			return false, nil
		}
		if e.gone != nil {
			return true, nil
		}
		return true, e.x.Finish()
	default:
		return false, nil // m, s, and what will be
	}
}

// answer sends a whole answer, or the beginning of one.
func (w *wrapped) answer(e *event, text []byte, streams bool) error {
	e.begun = streams
	if e.gone != nil {
		return nil
	}
	r, err := parseReply(text)
	switch {
	case err != nil:
		return respond(e.x, err.Error())
	case r == nil:
		return respond(e.x, "")
	}
	length := int64(len(r.body))
	if streams {
		length = -1
	}
	var more [][2]string
	if e.wanted {
		if w.control != nil {
			w.control.flush()
		}
		w.mu.Lock()
		logs, err := json.Marshal(e.logs)
		w.mu.Unlock()
		if err == nil && len(logs) < mostLogs {
			more = [][2]string{{"X-Nuclio-Logs", asciiJSON(logs)}}
		} else {
			w.log.Warn("Logs are too long for a field of the answer")
		}
	}
	if err := r.send(e.x, length, more); err != nil && streams {
		e.gone = err // the event runs on
	} else if err != nil {
		return err
	}
	return nil
}

// write sends a piece of the body. For a client that has left the event runs on.
func (w *wrapped) write(e *event, part []byte) error {
	if len(part) == 0 && !e.begun {
		return nil
	}
	if _, err := e.x.Write(part); err != nil {
		if !e.begun {
			return err
		}
		e.gone = err
	}
	return nil
}

// asciiJSON escapes what is not ASCII.
func asciiJSON(text []byte) string {
	var b strings.Builder
	for _, c := range string(text) {
		switch {
		case c < 0x80:
			b.WriteRune(c)
		case c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			c -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		}
	}
	return b.String()
}

// logLine passes a line of the log on, to the client too if e wants it.
func (w *wrapped) logLine(text []byte, e *event) {
	l, err := parseLog(text)
	if err != nil {
		w.log.Warn("Can't decode log", "err", err)
		return
	}
	level := slog.LevelDebug
	switch l.Level {
	case "error", "critical", "fatal":
		level = slog.LevelError
	case "warning", "warn":
		level = slog.LevelWarn
	case "info":
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.String("line", l.Message)}
	var fields []any
	record := map[string]any{"level": levelName(level), "time": float64(time.Now().UnixMicro()) / 1000, "name": w.pool.source.Name, "message": l.Message}
	for name, value := range l.With {
		b, err := json.Marshal(value)
		if err != nil {
			continue
		}
		fields = append(fields, slog.String(name, string(b)))
		record[name] = value
	}
	w.log.LogAttrs(context.Background(), level, FunctionLog, append(attrs, slog.Group("fields", fields...))...)
	if e == nil || !e.wanted || level < e.least {
		return
	}
	if b, err := json.Marshal(record); err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		e.logs = append(e.logs, b)
	}
}

// controlLine passes a line on that came by the control socket: it is one of the event in progress, if there is one.
func (w *wrapped) controlLine(record []byte) {
	w.mu.Lock()
	e := w.current
	w.mu.Unlock()
	w.logLine(record, e)
}

func (w *wrapped) set(e *event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current = e
}

// callbackTime is what a wrapper has to hear a signal before it is hung up on.
const callbackTime = 200 * time.Millisecond

// end lets the wrapper end. It does at the end of its sockets, when what it does is done.
func (w *wrapped) end(grace time.Duration) {
	if w.pool.command.Signals {
		signalAlone(w.proc, syscall.SIGUSR1)
		if w.proc.EndsWithin(callbackTime) {
			return
		}
	}
	w.hangUp()
	if !w.proc.EndsWithin(grace) {
		w.proc.Kill()
		<-w.proc.Done()
	}
}

func (w *wrapped) hangUp() {
	w.unfit.Store(true)
	if w.conn != nil {
		_ = w.conn.Close() // nothing is in it that matters
	}
	if w.control != nil {
		_ = w.control.Close() // likewise
	}
}

// close gives everything back. The process has ended.
func (w *wrapped) close() {
	w.hangUp()
	if w.control != nil {
		<-w.control.ended
	}
}

// endOf is nil for the end of a body.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
