package openfaas

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/fnpod/fnpod/proxy"
)

// Static answers requests with files: the standard library's file server as a backend.
type Static struct{ files http.Handler }

// NewStatic serves the files of a folder, which need not exist yet.
func NewStatic(folder string) *Static {
	return &Static{http.FileServer(http.Dir(folder))}
}

// Do implements proxy.Backend.
func (s *Static) Do(x *proxy.Exchange) error {
	r := x.Request()
	u, err := url.ParseRequestURI(string(r.Target))
	if err != nil || u.Path == "" {
		x.Respond(http.StatusBadRequest, 0)
		return x.Finish()
	}
	request := &http.Request{Method: string(r.Method), URL: u, Host: string(r.Host), Header: http.Header{}, Body: http.NoBody}
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop {
			request.Header.Add(string(f.Name), string(f.Value))
		}
	}
	w := &writer{x: x, header: http.Header{}}
	s.files.ServeHTTP(w, request)
	w.WriteHeader(http.StatusOK) // of an answer without a body
	if w.err != nil {
		return w.err
	}
	return x.Finish()
}

// writer is an Exchange as the standard library sees it.
type writer struct {
	x      *proxy.Exchange
	header http.Header
	begun  bool
	err    error
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(code int) {
	if w.begun {
		return
	}
	w.begun = true
	length, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
	if err != nil {
		length = -1
	}
	w.x.Respond(code, length)
	for name, values := range w.header {
		for _, v := range values {
			if err := w.x.AddField([]byte(name), []byte(v)); err != nil {
				w.err = err
			}
		}
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.err == nil {
		_, w.err = w.x.Write(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}
