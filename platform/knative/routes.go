package knative

import (
	"bytes"
	"strings"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
)

// Marks of a request (proxy.Exchange.Mark), which are there until it has ended.
const (
	// MarkRequest says that it is none of the control plane's probes.
	MarkRequest = 1 << iota
	// MarkProxied says that the activator sent it, which counts it, too.
	MarkProxied
	// MarkProbe says that K-Network-Probe is not empty: some ingress asks, and the function answers. It is not measured.
	MarkProbe

	tagShift = iota // the bits from here on are a number of Tags
)

// Who sends probes, by the beginning of User-Agent.
var probers = []string{"kube-probe/", "Knative-Activator-Probe", "Knative-Autoscaling-Probe"}

// Routes tells probes of the control plane from requests. Safe for use by several goroutines.
type Routes struct {
	Draining func() bool             // a drain has begun
	Arrived  func(x *proxy.Exchange) // told of each request, not of probes, before it queues
	Observed func(x *proxy.Exchange) // the same for probes; may be nil
	Tags     *Tags                   // numbers of routes, for Marks; may be nil
}

// asked is what the fields of a request say that is meant for us.
type asked struct {
	agent, probe, hash []byte
	tag, untagged      []byte // the name of the route, and whether it is the one without a name
	proxied            bool
}

// Own implements proxy.Hooks.Own. It takes out what is not the function's, and answers probes, except those that ask
// for readiness: they are bypassed, and the backend answers them.
func (r *Routes) Own(x *proxy.Exchange) bool {
	a := read(x)
	kind := a.kind()
	if kind == request {
		mark := uint8(MarkRequest)
		if a.proxied {
			mark |= MarkProxied
		}
		if len(a.probe) > 0 {
			mark |= MarkProbe
		}
		if r.Tags != nil {
			mark |= r.Tags.number(a.tag, a.untagged) << tagShift
		}
		x.Mark(mark)
		r.Arrived(x)
		return false
	}
	if r.Observed != nil {
		r.Observed(x)
	}
	switch {
	case r.Draining():
		return fail(x, 503, "shutting down\n")
	case kind == readiness:
		x.Unbound()
		x.Bypass(x.Request().Target)
		return false
	case kind == stranger:
		return fail(x, 400, "unexpected probe header value: "+string(a.probe)+"\n")
	case len(a.hash) == 0:
		return fail(x, 400, "a probe request must contain a non-empty \"K-Network-Hash\" header\n")
	default:
		x.Respond(200, 0)
		_ = x.AddField([]byte("K-Network-Hash"), a.hash) // it was a good value of the request
		_ = x.Finish()                                   // its error is the client's, who has left
		return true
	}
}

// read takes the fields apart that are meant for us.
func read(x *proxy.Exchange) (a asked) {
	q := x.Request()
	for i := range q.Fields {
		f := &q.Fields[i]
		switch n := f.Name; len(n) {
		case len("User-Agent"):
			if a.agent == nil && is(n, "User-Agent") {
				a.agent = f.Value
			}
		case len("K-Network-Hash"):
			if a.hash == nil && is(n, "K-Network-Hash") {
				a.hash = f.Value
			}
		case len("K-Network-Probe"): // and two more
			switch {
			case a.probe == nil && is(n, "K-Network-Probe"):
				a.probe = f.Value
			case is(n, "K-Proxy-Request"):
				a.proxied = a.proxied || string(f.Value) == "activator"
			case is(n, "K-Original-Host"):
				restoreHost(x, q, f)
			}
		case len("Knative-Serving-Tag"):
			if a.tag == nil && is(n, "Knative-Serving-Tag") {
				a.tag = f.Value
			}
		case len("Knative-Serving-Default-Route"):
			if a.untagged == nil && is(n, "Knative-Serving-Default-Route") {
				a.untagged = f.Value
			}
		case len("Knative-Serving-Revision"):
			if is(n, "Knative-Serving-Revision") {
				x.Hide(f)
			}
		case len("Knative-Serving-Namespace"):
			if is(n, "Knative-Serving-Namespace") {
				x.Hide(f)
			}
		}
	}
	return a
}

// restoreHost gives the function the host that the client asked for.
func restoreHost(x *proxy.Exchange, q *http1.Request, f *http1.Field) {
	if http1.ValidHost(f.Value) {
		q.Host = f.Value
		x.Hide(f)
	}
}

func is(name []byte, want string) bool { return strings.EqualFold(string(name), want) }

type kind uint8

const (
	request   kind = iota
	readiness      // of kubelet, the activator or the autoscaler: is the function ready?
	stranger       // of the same, with another question
	route          // of an ingress: does this route lead here?
)

func (a *asked) kind() kind {
	for _, p := range probers {
		if !bytes.HasPrefix(a.agent, []byte(p)) {
			continue
		}
		if string(a.probe) == "queue" {
			return readiness
		}
		return stranger
	}
	if string(a.probe) == "probe" {
		return route
	}
	return request
}

// fail answers with a line that people and the control plane read.
func fail(x *proxy.Exchange, code int, text string) bool {
	x.Respond(code, int64(len(text)))
	_ = x.AddField([]byte("Content-Type"), []byte("text/plain; charset=utf-8"))
	_ = x.AddField([]byte("X-Content-Type-Options"), []byte("nosniff"))
	_, _ = x.Write([]byte(text)) // its error is the client's, who has left
	_ = x.Finish()               // likewise
	return true
}
