package kubeless

import (
	"bytes"
	"strings"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
)

const (
	healthPath  = "/healthz"
	metricsPath = "/metrics"
	jsonType    = "application/json"
	anyOrigin   = "Access-Control-Allow-Origin: *\r\n"
)

// Routes answers what the function is not asked for.
type Routes struct {
	Settings *Settings
	// Alive reports whether the pod can be left as it is: the function is up, or still starts.
	Alive func() bool
	// Series renders all series of the pod as text, and says of what type.
	Series func() (text []byte, kind string, err error)
}

// Own implements proxy.Hooks.Own.
func (r *Routes) Own(x *proxy.Exchange) bool {
	s, q := r.Settings, x.Request()
	switch p := path(x); {
	case string(p) == healthPath && s.asks(q.Method):
		return r.health(x)
	case string(p) == metricsPath && s.asks(q.Method):
		return r.metrics(x)
	case s.crossing() && string(q.Method) == "OPTIONS":
		return preflight(x)
	case !s.takes(q.Method):
		return s.refuse(x, 405)
	case s.tooLarge(x):
		return s.refuse(x, 413)
	default:
		return false
	}
}

// Fields lets pages of other origins read the answers of functions. It implements proxy.Hooks.Fields.
func (r *Routes) Fields(x *proxy.Exchange, head, _ []byte) []byte {
	p, method := path(x), x.Request().Method
	own := (string(p) == healthPath || string(p) == metricsPath) && r.Settings.asks(method)
	if own || !r.Settings.crossing() || has(head, "Access-Control-Allow-Origin") {
		return head
	}
	return append(head, anyOrigin...)
}

// has reports whether a head has a field with a name.
func has(head []byte, name string) bool {
	for line := range bytes.Lines(head) {
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// path is the target without its query.
func path(x *proxy.Exchange) []byte {
	p, _, _ := bytes.Cut(x.Request().Target, []byte{'?'})
	return p
}

// asks reports whether a method asks for one of our own paths. With others they belong to the function.
func (s *Settings) asks(method []byte) bool {
	return s.Language == Server || string(method) == "GET" || string(method) == "HEAD"
}

// crossing reports whether pages of other origins may call the function.
func (s *Settings) crossing() bool { return s.Language != Python || s.CORS }

// takes reports whether the function is called with a method.
func (s *Settings) takes(method []byte) bool {
	if s.Language != Python {
		return true
	}
	switch string(method) {
	case "GET", "POST", "PATCH", "DELETE", "HEAD":
		return true
	case "PUT":
		return !s.Strict
	default:
		return false
	}
}

// tooLarge reports whether a body is too large by what its fields say.
func (s *Settings) tooLarge(x *proxy.Exchange) bool {
	q := x.Request()
	if !q.HasLength {
		return false
	}
	kind, _ := x.Field("Content-Type")
	switch s.Language {
	case Python:
		return q.Length > s.MaxJSON && s.isJSON(kind)
	case Node:
		return q.Length > s.MaxBody && !bytes.HasPrefix(bytes.ToLower(kind), []byte("multipart/"))
	default:
		return false
	}
}

// isJSON reports whether Python's functions get a body parsed.
func (s *Settings) isJSON(kind []byte) bool {
	if s.Strict {
		return string(kind) == jsonType
	}
	kind, _, _ = bytes.Cut(kind, []byte{';'})
	return strings.EqualFold(string(bytes.TrimSpace(kind)), jsonType)
}

func (r *Routes) health(x *proxy.Exchange) bool {
	if !r.Alive() {
		return respond(x, 503, "text/plain; charset=utf-8", "failing")
	}
	return respond(x, 200, typeOf(r.Settings.Language), "OK")
}

func (r *Routes) metrics(x *proxy.Exchange) bool {
	text, kind, err := r.Series()
	if err != nil {
		return respond(x, 500, "text/plain; charset=utf-8", "metrics cannot be read")
	}
	return respond(x, 200, kind, string(announce(text)))
}

// refuse answers a request that the function is not called for.
func (s *Settings) refuse(x *proxy.Exchange, code int) bool {
	var more []string
	if code == 405 {
		more = []string{"Allow", "GET, HEAD, POST, PATCH, DELETE"}
		if !s.Strict {
			more[1] += ", PUT"
		}
	}
	return respond(x, code, typeOf(s.Language), words(s.Language, code, ""), more...)
}

// preflight allows what is asked for, as the originals do: what is not named is "undefined".
func preflight(x *proxy.Exchange) bool {
	echo := func(name string) string {
		value, ok := x.Field(name)
		if !ok {
			return "undefined"
		}
		return string(value)
	}
	return respond(x, 200, "", "",
		"Access-Control-Allow-Methods", echo("Access-Control-Request-Method"),
		"Access-Control-Allow-Headers", echo("Access-Control-Request-Headers"))
}

// respond answers without the function. Errors are the client's, who has left.
func respond(x *proxy.Exchange, code int, kind, text string, fields ...string) bool {
	x.Respond(code, int64(len(text)))
	if kind != "" {
		_ = x.AddField([]byte("Content-Type"), []byte(kind))
	}
	for i := 0; i < len(fields); i += 2 {
		if value := []byte(fields[i+1]); http1.ValidValue(value) {
			_ = x.AddField([]byte(fields[i]), value)
		}
	}
	if text != "" {
		_, _ = x.Write([]byte(text))
	}
	_ = x.Finish()
	return true
}
