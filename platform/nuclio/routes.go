package nuclio

import (
	"bytes"

	"github.com/fnpod/fnpod/proxy"
)

// healthPath is what kubelet and the dashboard ask at the function's own port.
const healthPath = "/__internal/health"

// Routes answers what no worker is asked for.
type Routes struct {
	Source     *Source
	Statistics *Statistics
	Ready      func() bool
	Compatible bool // an origin that is not allowed gets an empty 200
}

// Own implements proxy.Hooks.Own.
func (r *Routes) Own(x *proxy.Exchange) bool {
	cors := r.Source.CORS
	if cors != nil && cors.preflight(x) {
		r.Statistics.handled(cors.answer(x))
		return true
	}
	if bytes.HasPrefix(x.Request().Target, []byte(healthPath)) {
		code := 200
		if !r.Ready() {
			code = 503
		}
		x.Respond(code, 0)
		_ = x.Finish() // the client's trouble
		return true
	}
	if cors != nil && r.Compatible {
		if origin, _ := x.Field("Origin"); !cors.origin(origin) {
			r.Statistics.handled(false)
			x.Respond(200, 0)
			_ = x.Finish() // likewise
			return true
		}
	}
	r.Statistics.asked()
	return false
}

// Fields adds who we are, and what the browser has to know. It implements proxy.Hooks.Fields.
func (r *Routes) Fields(x *proxy.Exchange, head, _ []byte) []byte {
	if !hasField(head, "Server") {
		head = append(head, serverField...)
	}
	if cors := r.Source.CORS; cors != nil && !cors.preflight(x) && !bytes.HasPrefix(x.Request().Target, []byte(healthPath)) {
		head = cors.fields(x, head)
	}
	return head
}

// hasField reports whether a head has a field with a name.
func hasField(head []byte, name string) bool {
	for line := range bytes.Lines(head) {
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// HealthOnly answers at a port that no trigger has: the health of the pod, and nothing else.
func HealthOnly(x *proxy.Exchange) bool {
	code, text := 404, ""
	if bytes.HasPrefix(x.Request().Target, []byte(healthPath)) {
		code, text = 200, "ok"
	}
	x.Respond(code, int64(len(text)))
	_, _ = x.Write([]byte(text)) // the client's trouble
	_ = x.Finish()
	return true
}
