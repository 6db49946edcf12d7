package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/valyala/fasthttp"
)

const adminTimeout = 5 * time.Second

// Server is the admin port: what people, probes and scrapers read. It answers GET
// and HEAD on four paths and those of Pages, and nothing else, takes no bodies, and never shows
// anything of a single request.
//
//	/metrics   all series of Set
//	/healthz   200 as long as the process lives
//	/readyz    200, or 503 and the reason
//	/status    Status as JSON
type Server struct {
	Set    *Set
	Ready  func() error          // nil when ready; else its text, one fixed word such as "draining", is the answer
	Status func() any            // a value for encoding/json; nil: /metrics and Pages are the only paths
	Pages  map[string]func() any // more documents of that kind, by path
	// Answer takes the place of all that: it answers requests without a body, by method, path and query. nil: it does not.
	Answer func(method, path, query string) Answer
	Log    *slog.Logger
}

// Answer is one of Server.Answer.
type Answer struct {
	Code  int
	Type  string // of the body; empty if there is none
	Allow string // the methods that a 405 allows; empty: the field is left out
	Body  []byte
}

// Run answers on ln until ctx ends, and returns nil then. It closes ln and all
// connections and leaves no goroutine behind. Any other end of the listener is an
// error; running out of descriptors is not an end. At most 8 connections are served
// at once, each for at most 5 seconds per request and 5 seconds between two; a ninth
// takes the place of one that is idle, or waits until one ends.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	h := &fasthttp.Server{
		Handler:                      s.serve,
		ErrorHandler:                 refuse,
		ExpectHandler:                expect,
		ReadTimeout:                  adminTimeout,
		WriteTimeout:                 adminTimeout,
		IdleTimeout:                  adminTimeout,
		ReadBufferSize:               16 << 10, // the largest head
		StreamRequestBody:            true,     // so that a body is refused before it is read
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true, // fasthttp's own clock is a goroutine that never ends
		SecureErrorLogMessage:        true,
		Logger:                       silent{},
	}
	l := newListener(ln, s.Log)
	h.ConnState = func(c net.Conn, state fasthttp.ConnState) { l.setIdle(c, state == fasthttp.StateIdle) }
	return l.run(ctx, func(c net.Conn) {
		defer func() {
			if p := recover(); p != nil {
				s.caught(p)
			}
		}()
		_ = h.ServeConn(c) // the client's trouble; there is nobody to tell
	})
}

// serve answers one request.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			s.caught(p)
			answer(ctx, http.StatusInternalServerError, "internal error")
		}
	}()
	setDate(&ctx.Response.Header)
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if s.Answer != nil {
		s.foreign(ctx)
		return
	}
	path := s.page(string(ctx.Path()))
	switch {
	case path == nil:
		answer(ctx, http.StatusNotFound, "not found")
	case !ctx.IsGet() && !ctx.IsHead():
		ctx.Response.Header.Set("Allow", "GET, HEAD")
		answer(ctx, http.StatusMethodNotAllowed, "method not allowed")
	case ctx.Request.Header.ContentLength() != 0 && ctx.Request.IsBodyStream():
		answer(ctx, http.StatusRequestEntityTooLarge, "no request bodies here")
	default:
		path(ctx)
	}
}

// foreign answers as Answer says.
func (s *Server) foreign(ctx *fasthttp.RequestCtx) {
	if ctx.Request.Header.ContentLength() != 0 && ctx.Request.IsBodyStream() {
		ctx.SetConnectionClose() // what comes is no request
	}
	a := s.Answer(string(ctx.Method()), string(ctx.Path()), string(ctx.QueryArgs().QueryString()))
	ctx.SetStatusCode(a.Code)
	if a.Allow != "" {
		ctx.Response.Header.Set("Allow", a.Allow)
	}
	if a.Type == "" {
		ctx.Response.Header.SetNoDefaultContentType(true)
	}
	ctx.SetContentType(a.Type)
	ctx.SetBody(a.Body)
}

// setDate adds the Date field. Setters leave it to fasthttp's own clock, which we
// do not want to run, so it comes in the way it does in a client: by reading.
func setDate(h *fasthttp.ResponseHeader) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n\r\n"
	_ = h.Read(bufio.NewReader(strings.NewReader(head))) // it is well formed
	h.SetStatusMessage(nil)                              // the code's own instead of the OK that was read
}

// page returns what answers a path, nil if nothing does.
func (s *Server) page(path string) func(*fasthttp.RequestCtx) {
	switch {
	case path == "/metrics":
		return s.metrics
	case s.Status == nil: // the port is for series alone
	case path == "/healthz":
		return healthy
	case path == "/readyz":
		return s.readiness
	case path == "/status":
		return s.status
	}
	if document := s.Pages[path]; document != nil {
		return func(ctx *fasthttp.RequestCtx) { s.document(ctx, document()) }
	}
	return nil
}

func (s *Server) metrics(ctx *fasthttp.RequestCtx) {
	format := expfmt.NegotiateAccept(http.Header{"Accept": {string(ctx.Request.Header.Peek("Accept"))}},
		expfmt.DefaultOpenMetricsAcceptedFormats()...)
	ctx.SetContentType(string(format))
	if err := s.Set.write(ctx, format); err != nil {
		s.Log.ErrorContext(ctx, "metrics cannot be read", "err", err)
		answer(ctx, http.StatusInternalServerError, "metrics cannot be read")
	}
}

// write renders all series.
func (s *Set) write(w io.Writer, format expfmt.Format) error {
	families, err := s.Gather()
	if err != nil {
		return err
	}
	e := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	if c, ok := e.(expfmt.Closer); ok { // OpenMetrics has an end mark
		return c.Close()
	}
	return nil
}

func healthy(ctx *fasthttp.RequestCtx) { answer(ctx, http.StatusOK, "ok") }

func (s *Server) readiness(ctx *fasthttp.RequestCtx) {
	if err := s.Ready(); err != nil {
		answer(ctx, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(ctx, http.StatusOK, "ready")
}

func (s *Server) status(ctx *fasthttp.RequestCtx) {
	s.document(ctx, s.Status())
}

// document answers with v as JSON.
func (s *Server) document(ctx *fasthttp.RequestCtx, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.Log.ErrorContext(ctx, "status cannot be written", "err", err)
		answer(ctx, http.StatusInternalServerError, "status cannot be written")
		return
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '\n'))
}

// answer sets a short fixed text as the whole answer.
func answer(ctx *fasthttp.RequestCtx, code int, text string) {
	ctx.SetStatusCode(code)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(text + "\n")
}

// refuse answers what could not be read as a request.
func refuse(ctx *fasthttp.RequestCtx, err error) {
	var tooLarge *fasthttp.ErrSmallBuffer
	var timeout net.Error
	code := http.StatusBadRequest
	switch {
	case errors.As(err, &tooLarge):
		code = http.StatusRequestHeaderFieldsTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		code = http.StatusRequestTimeout
	}
	answer(ctx, code, "bad request")
}

// expect refuses a body that the client has not sent yet.
func expect(*fasthttp.RequestCtx) int { return http.StatusExpectationFailed }

// caught counts a bug of ours that ended in a panic.
func (s *Server) caught(p any) {
	s.Set.Shard(0).Panics.Add(1)
	s.Log.Error("panic in the admin server", "panic", p)
}

// silent drops what fasthttp would log: it is about clients, not about us.
type silent struct{}

// Printf implements fasthttp.Logger.
func (silent) Printf(string, ...any) {}
