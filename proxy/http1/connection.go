package http1

// maxOptions bounds the names in Connection: each of them is looked for among all fields.
const maxOptions = 64

// options is what Connection said about the connection itself.
type options struct {
	closing, keepAlive, upgrade, settings bool
}

// persistent reports whether another message may follow on the connection.
func (o options) persistent(minor uint8) bool {
	return !o.closing && (minor > 0 || o.keepAlive)
}

// options reads all Connection fields and takes the fields they name out of what is forwarded.
// It returns false when they name too many.
func (h *head) options(fields []Field) (o options, ok bool) {
	if !h.has(1 << Connection) {
		return o, true
	}
	named := 0
	for i := range fields {
		if fields[i].Kind == Connection {
			named += o.read(fields[i].Value, fields)
		}
		if named > maxOptions {
			return o, false
		}
	}
	return o, true
}

// read takes one Connection value and returns how many names were in it.
func (o *options) read(list []byte, fields []Field) (named int) {
	for len(list) > 0 && named <= maxOptions {
		var name []byte
		name, list = item(list)
		switch {
		case len(name) == 0:
		case equalFold(name, "close"):
			o.closing = true
		case equalFold(name, "keep-alive"):
			o.keepAlive = true
		case equalFold(name, "upgrade"):
			o.upgrade = true
		case equalFold(name, "http2-settings"):
			o.settings = true // it is never passed on
		default:
			named++
			drop(fields, name)
		}
	}
	return named
}

// drop takes every field of this name out of what is forwarded, unless the field is not the
// sender's to withdraw.
func drop(fields []Field, name []byte) {
	for i := range fields {
		f := &fields[i]
		if len(f.Name) == len(name) && sameFold(f.Name, name) && !isProtected(f) {
			f.Hop = true
		}
	}
}

func sameFold(a, b []byte) bool {
	for i := range a {
		if toLower[a[i]] != toLower[b[i]] {
			return false
		}
	}
	return true
}

// isProtected reports whether the field is framing or one that a proxy sets or passes on itself,
// so that naming it in Connection has no effect.
func isProtected(f *Field) bool {
	return protected>>f.Kind&1 != 0 || forwardedName(f.Name) ||
		equalFold(f.Name, "traceparent") || equalFold(f.Name, "tracestate")
}

// forwardedName reports whether the name starts with X-Forwarded-.
func forwardedName[T ~string | ~[]byte](name T) bool {
	const prefix = "x-forwarded-"
	return len(name) > len(prefix) && equalFold(name[:len(prefix)], prefix)
}
