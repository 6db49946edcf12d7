package proxy

import (
	"strconv"
	"strings"

	"github.com/fnpod/fnpod/proxy/http1"
)

// appendRequest assembles the head of the request as the function gets it: the
// request line and framing are ours, checked fields go on as they stand, and what
// describes the client is added last, after what Connection named was taken out.
func (x *Exchange) appendRequest(dst []byte, b *HTTPBackend) []byte {
	r := &x.req
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, b.Prefix...)
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	if len(r.Host) > 0 {
		dst = append(dst, r.Host...)
	} else {
		dst = append(dst, b.Address...)
	}
	dst = append(dst, '\r', '\n')
	if x.c.srv.cfg.Forwarded != "off" {
		dst = x.appendForwarded(dst)
	}
	if x.c.srv.cfg.RequestIDs {
		dst = appendRequestID(dst, x)
	}
	if x.deadline != never && x.c.srv.hooks.Deadline == nil {
		dst = x.appendTimeout(dst)
	}
	if add := x.c.srv.hooks.Request; add != nil {
		dst = add(x, dst)
	}
	dst = http1.AppendFields(dst, r.Fields)
	switch {
	case x.asksSwitch:
		dst = appendUpgrade(dst, r.Upgrade)
	case r.TETrailers:
		dst = append(dst, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	switch {
	case !x.body.inMemory && r.Length < 0, x.body.inMemory && len(x.Trailers()) > 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case x.body.inMemory && (len(x.body.whole) > 0 || r.Length != 0 || r.HasLength):
		dst = appendLength(dst, int64(len(x.body.whole)))
	case !x.body.inMemory:
		dst = appendLength(dst, r.Length)
	}
	return append(dst, '\r', '\n')
}

func appendRequestID(dst []byte, x *Exchange) []byte {
	own(x.req.Fields, http1.RequestID)
	return http1.AppendField(dst, "X-Request-Id", x.requestID())
}

// own takes the client's copies of a field that we set out of what goes on.
func own(fields []http1.Field, k http1.Kind) {
	for i := range fields {
		if fields[i].Kind == k {
			fields[i].Hop = true
		}
	}
}

// appendForwarded adds who the client is, to what a proxy in front of us said
// ("append") or instead of it ("replace").
func (x *Exchange) appendForwarded(dst []byte) []byte {
	var before, forwarded int // fields of each kind that stay
	proto, host := false, false
	keep := x.c.srv.cfg.Forwarded == "append"
	fields := x.req.Fields
	for i := range fields {
		f := &fields[i]
		switch f.Kind {
		case http1.XForwardedFor:
			f.Hop = true
			before++
		case http1.Forwarded:
			f.Hop = true
			forwarded++
		case http1.XForwardedProto:
			f.Hop = !keep
			proto = keep
		case http1.XForwardedHost:
			f.Hop = !keep
			host = keep
		default:
		}
	}
	if !keep {
		before, forwarded = 0, 0
	}
	dst = x.appendFor(dst, before > 0)
	if !proto {
		dst = append(dst, "X-Forwarded-Proto: "...)
		dst = append(dst, x.c.scheme...)
		dst = append(dst, '\r', '\n')
	}
	if !host && len(x.req.Host) > 0 {
		dst = append(dst, "X-Forwarded-Host: "...)
		dst = append(dst, x.req.Host...)
		dst = append(dst, '\r', '\n')
	}
	return x.appendForwardedField(dst, forwarded > 0)
}

func (x *Exchange) appendFor(dst []byte, before bool) []byte {
	if x.c.peer == "" && !before {
		return dst
	}
	dst = append(dst, "X-Forwarded-For: "...)
	if before {
		dst = appendValues(dst, x.req.Fields, http1.XForwardedFor)
	}
	if x.c.peer != "" {
		if before {
			dst = append(dst, ", "...)
		}
		dst = append(dst, x.c.peer...)
	}
	return append(dst, '\r', '\n')
}

// appendForwardedField adds the standard's own form (RFC 7239).
func (x *Exchange) appendForwardedField(dst []byte, before bool) []byte {
	dst = append(dst, "Forwarded: "...)
	if before {
		dst = appendValues(dst, x.req.Fields, http1.Forwarded)
		dst = append(dst, ", "...)
	}
	switch {
	case x.c.peer == "":
		dst = append(dst, "for=unknown"...)
	case strings.IndexByte(x.c.peer, ':') >= 0:
		dst = append(dst, `for="[`...)
		dst = append(dst, x.c.peer...)
		dst = append(dst, `]"`...)
	default:
		dst = append(dst, "for="...)
		dst = append(dst, x.c.peer...)
	}
	if len(x.req.Host) > 0 {
		dst = append(dst, `;host="`...)
		dst = append(dst, x.req.Host...)
		dst = append(dst, '"')
	}
	dst = append(dst, ";proto="...)
	dst = append(dst, x.c.scheme...)
	return append(dst, '\r', '\n')
}

// appendValues joins the values of all fields of one kind.
func appendValues(dst []byte, fields []http1.Field, k http1.Kind) []byte {
	first := true
	for i := range fields {
		if fields[i].Kind != k {
			continue
		}
		if !first {
			dst = append(dst, ", "...)
		}
		first = false
		dst = append(dst, fields[i].Value...)
	}
	return dst
}

// appendBody adds a body that is whole in memory, framed as the head says.
func (x *Exchange) appendBody(dst []byte) []byte {
	whole := x.body.whole
	trailers := x.Trailers()
	if need := len(dst) + len(whole); need > cap(dst) {
		dst = x.answer.grow(dst, need)
	}
	if len(trailers) == 0 {
		return append(dst, whole...)
	}
	if len(whole) > 0 {
		dst = http1.AppendChunkHeader(dst, len(whole))
		dst = append(dst, whole...)
		dst = append(dst, '\r', '\n')
	}
	return appendLastChunk(dst, trailers)
}

func appendLastChunk(dst []byte, trailers []http1.Field) []byte {
	dst = append(dst, '0', '\r', '\n')
	for _, t := range trailers {
		dst = appendPair(dst, t.Name, t.Value)
	}
	return append(dst, '\r', '\n')
}

// retryAfter is the field that goes with a refusal.
func appendRetryAfter(dst []byte, seconds int) []byte {
	dst = append(dst, "Retry-After: "...)
	dst = strconv.AppendInt(dst, int64(seconds), 10)
	return append(dst, '\r', '\n')
}
