package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
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
	l := newListener(ln, s.Log)
	handed := newHandOff(ln.Addr())
	h := &http.Server{
		Handler:        http.HandlerFunc(s.serve),
		ReadTimeout:    adminTimeout,
		WriteTimeout:   adminTimeout,
		IdleTimeout:    adminTimeout,
		MaxHeaderBytes: 12 << 10,                   // net/http adds 4 KB
		ErrorLog:       log.New(io.Discard, "", 0), // it is about clients, not about us
		ConnState: func(c net.Conn, state http.ConnState) {
			l.setIdle(c, state == http.StateIdle)
			if state == http.StateClosed {
				handed.ended(c)
			}
		},
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.Serve(handed) }) // it ends when handed is closed, and with no other error
	err := l.run(ctx, handed.serve)
	_ = handed.Close() // never fails
	serving.Wait()
	return err
}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			s.caught(p)
			answer(w, http.StatusInternalServerError, "internal error")
		}
	}()
	w.Header().Set("Cache-Control", "no-store")
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // what comes is no request
	}
	if s.Answer != nil {
		s.foreign(w, r)
		return
	}
	path := s.page(r.URL.Path)
	switch {
	case r.Header.Get("Expect") != "":
		answer(w, http.StatusExpectationFailed, "no request bodies here")
	case path == nil:
		answer(w, http.StatusNotFound, "not found")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, "method not allowed")
	case r.ContentLength != 0:
		answer(w, http.StatusRequestEntityTooLarge, "no request bodies here")
	default:
		path(w, r)
	}
}

// foreign answers as Answer says.
func (s *Server) foreign(w http.ResponseWriter, r *http.Request) {
	a := s.Answer(r.Method, r.URL.Path, r.URL.RawQuery)
	if a.Allow != "" {
		w.Header().Set("Allow", a.Allow)
	}
	write(w, a.Code, a.Type, a.Body)
}

// page returns what answers a path, nil if nothing does.
func (s *Server) page(path string) http.HandlerFunc {
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
		return func(w http.ResponseWriter, r *http.Request) { s.document(w, r, document()) }
	}
	return nil
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	var text bytes.Buffer
	if err := s.Set.write(&text, format); err != nil {
		s.Log.ErrorContext(r.Context(), "metrics cannot be read", "err", err)
		answer(w, http.StatusInternalServerError, "metrics cannot be read")
		return
	}
	write(w, http.StatusOK, string(format), text.Bytes())
}

// Text renders all series in the text format of Prometheus, and returns its type.
func (s *Set) Text() (text []byte, kind string, err error) {
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	var b bytes.Buffer
	err = s.write(&b, format)
	return b.Bytes(), string(format), err
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

func healthy(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }

func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	if err := s.Ready(); err != nil {
		answer(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(w, http.StatusOK, "ready")
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	s.document(w, r, s.Status())
}

// document answers with v as JSON.
func (s *Server) document(w http.ResponseWriter, r *http.Request, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.Log.ErrorContext(r.Context(), "status cannot be written", "err", err)
		answer(w, http.StatusInternalServerError, "status cannot be written")
		return
	}
	write(w, http.StatusOK, "application/json", append(b, '\n'))
}

// answer writes a short fixed text as the whole answer.
func answer(w http.ResponseWriter, code int, text string) {
	write(w, code, "text/plain; charset=utf-8", []byte(text+"\n"))
}

// write writes a whole answer; an empty kind leaves the type of the body out.
func write(w http.ResponseWriter, code int, kind string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{kind}
	if kind == "" {
		h["Content-Type"] = nil // else net/http guesses
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client's trouble; there is nobody to tell
}

// caught counts a bug of ours that ended in a panic.
func (s *Server) caught(p any) {
	s.Set.Shard(0).Panics.Add(1)
	s.Log.Error("panic in the admin server", "panic", p)
}
