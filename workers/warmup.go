package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// Warmup is a request that each new worker has to answer before it gets others, so that what the function does only
// once (caches, connections, compilers) is done when a client comes.
type Warmup struct {
	Method string
	Target string // path and query, as on the request line
	Body   []byte
	Times  int // at least 1: one after the other
}

// mostWarmups bounds Warmup.Times.
const mostWarmups = 100_000

// head returns the request as it would have come.
func (u *Warmup) head() (http1.Request, error) {
	var r http1.Request
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: fnpod-warmup\r\n", u.Method, u.Target)
	if len(u.Body) > 0 {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(u.Body))
	}
	text += "\r\n"
	n, err := r.Parse([]byte(text), http1.DefaultLimits())
	if err == nil && n != len(text) {
		err = errors.New("more than a request line")
	}
	return r, err
}

// String returns method and target.
func (u *Warmup) String() string { return u.Method + " " + u.Target }

func (u *Warmup) validate() error {
	if u.Times < 1 || u.Times > mostWarmups {
		return fmt.Errorf("workers-warmup %q: %d times: allowed are 1 to %d", u, u.Times, mostWarmups)
	}
	if _, err := u.head(); err != nil {
		return fmt.Errorf("workers-warmup %q: %w", u, err)
	}
	return nil
}

// warmUp has a worker that is ready answer the requests of Config.Warmup. What is wrong is an *InitError: the worker
// is dead then.
func (w *worker) warmUp(ctx context.Context) error {
	all := w.pool.cfg.Warmup
	if len(all) == 0 {
		return nil
	}
	defer context.AfterFunc(ctx, func() { w.kill(ReasonStopped) })()
	began := time.Now()
	for i := range all {
		u := &all[i]
		for range u.Times {
			if err := w.warm(u); err != nil { //nolint:contextcheck // only log records are written without a context
				w.kill(ReasonStart)
				<-w.proc.Done()
				return &InitError{Type: "WarmUp", Message: fmt.Sprintf("%v: %v", u, err)}
			}
		}
	}
	w.log.Info("worker warmed up", "took", time.Since(began).Round(time.Microsecond).String())
	return nil
}

// warm has the worker answer one request.
func (w *worker) warm(u *Warmup) error {
	head, err := u.head()
	if err != nil {
		return err
	}
	x := &warmExchange{request: head, body: u.Body, left: w.pool.cfg.StartTimeout - time.Since(w.born)}
	if x.left <= 0 {
		x.left = -1 // 0 would be no limit
	}
	if w.shared != nil {
		sl := w.pool.slot(w)
		_, _, err = w.shared.serve(sl, x)
		w.shared.exit(sl)
	} else {
		_, err = w.serve(x)
		w.call.progress = progress{}
	}
	switch raised := (*HandlerError)(nil); {
	case errors.As(err, &raised):
		return fmt.Errorf("%s: %s", raised.Type, raised.Message)
	case err != nil && w.killReason() == ReasonTimeout || errors.Is(err, ErrTimeout):
		return fmt.Errorf("no answer within %v of its start (workers-start-timeout)", w.pool.cfg.StartTimeout)
	case err != nil:
		return err
	case x.status >= 400:
		return fmt.Errorf("answered with status %d", x.status)
	}
	return nil
}

// warmExchange is a request without a client. Only the status of the answer is kept.
type warmExchange struct {
	request http1.Request
	body    []byte
	left    time.Duration
	status  int
}

func (x *warmExchange) Request() *http1.Request       { return &x.request }
func (x *warmExchange) AppendID(b []byte) []byte      { return append(b, "warmup"...) }
func (x *warmExchange) Peer() string                  { return "127.0.0.1" }
func (x *warmExchange) Scheme() string                { return "http" }
func (x *warmExchange) Remaining() time.Duration      { return x.left }
func (x *warmExchange) Body() ([]byte, bool)          { return x.body, true }
func (x *warmExchange) ReadBody([]byte) (int, error)  { return 0, errors.ErrUnsupported }
func (x *warmExchange) Continue() error               { return nil }
func (x *warmExchange) StopBody(wait func())          { wait() }
func (x *warmExchange) OnInterrupt(Interrupter) error { return nil }
func (x *warmExchange) Respond(status int, _ int64)   { x.status = status }
func (x *warmExchange) AddField(_, _ []byte) error    { return nil }
func (x *warmExchange) Write(p []byte) (int, error)   { return len(p), nil }
func (x *warmExchange) AddTrailer(_, _ []byte) error  { return nil }
func (x *warmExchange) Finish() error                 { return nil }
