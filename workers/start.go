package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/fnpod/fnpod/watchdog"
	"github.com/fnpod/fnpod/workers/protocol"
)

// start begins the worker's process and returns when it has loaded the function.
// If that fails the process is dead, and the error an *InitError unless there was
// none.
func (w *worker) start(ctx context.Context) error {
	c := &w.pool.command
	if c.due() {
		w.pool.nurses.Go(func() { w.pool.compile(ctx) })
	}
	if err := w.launch(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { w.kill(ReasonStopped) })()
	w.limit.set(w.pool.now() + int64(w.pool.cfg.StartTimeout))
	err := w.greet() //nolint:contextcheck // only log records are written without a context
	if !w.limit.set(0) && err == nil {
		err = io.EOF
	}
	if err == nil {
		w.loaded.Store(true)
		return nil
	}
	c.distrust(w.pool.log)
	return w.stillborn(err)
}

// launch starts the process with our pipes.
func (w *worker) launch() error {
	ch, reads, writes, err := newChannel()
	if err != nil {
		return err
	}
	w.ch = ch
	defer func() { _ = errors.Join(reads.Close(), writes.Close()) }() // the worker has its own
	c := &w.pool.command
	c.using.RLock()
	defer c.using.RUnlock()
	extra := []*os.File{reads, writes, nil, c.wrapper} // no file: that descriptor is closed
	if size := w.pool.cfg.LaneBytes; size > 0 {
		if w.lane, err = newLane(size); err != nil {
			return err
		}
		extra[2] = w.lane.file
	}
	w.call.w, w.call.link, w.call.lane, w.call.limit, w.call.request = w, ch, w.lane, &w.limit, &w.request
	w.born = time.Now()
	w.proc, err = watchdog.Start(watchdog.Config{
		Path:   c.path,
		Args:   c.args,
		Env:    append(slices.Clip(c.env), "FNPOD_WORKER_INDEX="+strconv.Itoa(w.index)),
		Dir:    c.dir,
		Extra:  extra,
		Output: w.outputLine,
		Grace:  w.pool.cfg.Grace,
		Log:    w.log,
	})
	if err != nil {
		return err
	}
	w.ended = make(chan struct{})
	go w.watch()
	return nil
}

// greet takes the frames up to READY.
func (w *worker) greet() error {
	hello := false
	for {
		f, ok, err := w.ch.take()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := w.ch.wait(); err != nil {
				return err
			}
			continue
		}
		if known, err := w.aside(&f); known || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		switch {
		case f.typ == protocol.Hello && !hello:
			hello = true
			if f.code != protocol.Version {
				return fmt.Errorf("%w: version %d, ours is %d", ErrProtocol, f.code, protocol.Version)
			}
		case f.typ == protocol.Ready && hello:
			w.share(int(f.code))
			w.log.Info("worker ready", "pid", w.proc.Pid(), "start", time.Since(w.born).Round(time.Microsecond).String(),
				"init_ms", initTime(f.meta))
			return nil
		case f.typ == protocol.InitError:
			return &InitError{Type: lookup(f.meta, "type"), Message: lookup(f.meta, "message"), Traceback: string(f.body)}
		default:
			return fmt.Errorf("%w: frame of type %#02x before READY", ErrProtocol, uint8(f.typ))
		}
	}
}

// share takes what the worker says of the requests it runs at once; 0 counts as 1.
func (w *worker) share(announced int) {
	most := w.pool.cfg.Concurrency
	w.capacity = min(max(announced, 1), most)
	if w.capacity > 1 {
		w.shared = newShared(w)
	} else if most > 1 {
		w.log.Warn("function runs one request at once: workers-concurrency is for async handlers", "workers_concurrency", most)
	}
}

// initTime is what the wrapper tells of the time it took to load the function, in
// milliseconds; -1 if that is no number.
func initTime(meta []byte) int {
	n, err := strconv.Atoi(lookup(meta, "init_ms"))
	if err != nil {
		return -1
	}
	return n
}

// stillborn ends a process that did not become ready and says why.
func (w *worker) stillborn(err error) error {
	init := new(InitError)
	told := errors.As(err, &init)
	if (told || errors.Is(err, io.EOF)) && w.proc.EndsWithin(closeTime) {
		if !told {
			return w.unready()
		}
		return init
	}
	struck := w.killReason() == ReasonStart
	w.kill(ReasonStart)
	<-w.proc.Done()
	switch {
	case told:
		return init
	case struck:
		return &InitError{
			Type:    "StartTimeout",
			Message: fmt.Sprintf("not ready within %v (workers-start-timeout)", w.pool.cfg.StartTimeout),
		}
	case errors.Is(err, io.EOF):
		return &InitError{Type: "Protocol", Message: "closed its pipe before it was ready"}
	default:
		return &InitError{Type: "Protocol", Message: err.Error()}
	}
}

// unready describes a process that ended before it was ready.
func (w *worker) unready() *InitError {
	if w.killReason() == ReasonStart {
		return &InitError{
			Type:    "StartTimeout",
			Message: fmt.Sprintf("not ready within %v (workers-start-timeout)", w.pool.cfg.StartTimeout),
		}
	}
	hint := ""
	if w.pool.cfg.Handler.Language() == program.name {
		hint = "; a program that is served has to speak the worker protocol, others are for fnpod run"
	}
	return &InitError{Type: "Exited", Message: fmt.Sprintf("%v before the function was ready%s", w.proc.Exit(), hint)}
}
