package knative

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"text/template"

	"github.com/fnpod/fnpod/proxy"
)

// builtinTemplate is for controllers that give none.
const builtinTemplate = `{"httpRequest": {"requestMethod": "{{.Request.Method}}", "requestUrl": "{{js .Request.RequestURI}}", ` +
	`"requestSize": "{{.Request.ContentLength}}", "status": {{.Response.Code}}, "responseSize": "{{.Response.Size}}", ` +
	`"userAgent": "{{js .Request.UserAgent}}", "remoteIp": "{{js .Request.RemoteAddr}}", "serverIp": "{{.Revision.PodIP}}", ` +
	`"referer": "{{js .Request.Referer}}", "latency": "{{.Response.Latency}}s", "protocol": "{{.Request.Proto}}"}, "traceId": "{{.TraceID}}"}`

// RequestLog writes a line for each request, in the words of the operator's template. It may be used by any number of
// goroutines.
type RequestLog struct {
	w        io.Writer
	probes   bool
	template *template.Template
	revision revision
	buffers  sync.Pool
}

// Templates see these, by their names.
type (
	logEntry struct {
		Request  *http.Request
		Response logResponse
		Revision *revision
		TraceID  string
	}
	logResponse struct {
		Code    int
		Size    int64   // bytes of the body
		Latency float64 // seconds
	}
	revision struct {
		Name, Namespace, Service, Configuration, PodName, PodIP string
	}
)

// NewRequestLog returns the log of requests. Each line is one call of w. An error says what is wrong with the template:
// requests are served without a log then.
func NewRequestLog(s *Settings, w io.Writer) (*RequestLog, error) {
	o := &s.Observability
	text := o.RequestLogTemplate
	if text == "" {
		text = builtinTemplate
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	t, err := template.New("request log").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template of the request log: %w", err)
	}
	return &RequestLog{
		w: w, probes: o.ProbeRequestLog, template: t,
		revision: revision{Name: s.Revision, Namespace: s.Namespace, Service: s.Service, Configuration: s.Configuration, PodName: s.Pod, PodIP: s.PodIP},
		buffers:  sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}, nil
}

// Write writes the line of a request that has ended.
func (l *RequestLog) Write(x *proxy.Exchange, o proxy.Outcome) {
	if x.Marked()&MarkRequest == 0 && !o.Own && !x.Bypassed() {
		return // its head was refused
	}
	if !l.probes && probing(x) {
		return
	}
	e := logEntry{
		Request: standardRequest(x), Revision: &l.revision,
		Response: logResponse{Code: codeOf(o), Size: o.Bytes, Latency: o.Took.Seconds()},
	}
	if !o.Whole && o.Status != http.StatusSwitchingProtocols {
		e.Response.Size = 0
	}
	e.TraceID = traceID(e.Request.Header)
	b := l.buffers.Get().(*bytes.Buffer)
	defer l.buffers.Put(b)
	b.Reset()
	if err := l.template.Execute(b, &e); err != nil {
		b.Reset()
		fmt.Fprintf(b, "Invalid request log template: method: %s, response code: %d, latency: %v, url: %s\n",
			e.Request.Method, e.Response.Code, e.Response.Latency, e.Request.URL)
	}
	_, _ = l.w.Write(b.Bytes()) // there is nowhere to report it
}

// probing reports whether a request is of the control plane, answered here or not.
func probing(x *proxy.Exchange) bool {
	mark := x.Marked()
	return mark&MarkRequest == 0 || mark&MarkProbe != 0
}

// standardRequest is what the template sees of the request: its head.
func standardRequest(x *proxy.Exchange) *http.Request {
	q := x.Request()
	r := &http.Request{
		Method: string(q.Method), RequestURI: string(q.Target), Host: string(q.Host), ContentLength: q.Length,
		Header: make(http.Header, len(q.Fields)), RemoteAddr: x.Remote(), TLS: x.TLS(), Body: http.NoBody,
	}
	switch {
	case x.HTTP2():
		r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	case q.Minor == 0:
		r.Proto, r.ProtoMajor = "HTTP/1.0", 1
	default:
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	}
	for i := range q.Fields {
		r.Header.Add(string(q.Fields[i].Name), string(q.Fields[i].Value))
	}
	if q.Length < 0 {
		r.TransferEncoding = []string{"chunked"}
	}
	var err error
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		r.URL = &url.URL{Path: r.RequestURI} // which went to the function byte for byte
	}
	return r
}

// traceID returns the id of the trace that a request belongs to, of W3C or Zipkin.
func traceID(h http.Header) string {
	if parts := strings.Split(h.Get("Traceparent"), "-"); len(parts) > 1 {
		return parts[1]
	}
	return h.Get("X-B3-Traceid")
}
