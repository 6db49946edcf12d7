package http1

import "bytes"

// Request is a checked request head. The zero value is ready for Parse. Slices belong to the
// parsed buffer; after an error or an incomplete head nothing in it has a meaning.
type Request struct {
	Method []byte // token of at most 32 bytes, never CONNECT or TRACE
	Target []byte // as it goes on: "/path?query" with its bytes unchanged, or "*" for OPTIONS
	Host   []byte // authority; an absolute target wins over the field. Empty only in HTTP/1.0 without Host
	Minor  uint8  // 0 for HTTP/1.0, 1 for HTTP/1.1 and what is served as such
	Fields []Field

	Length     int64  // body: 0 none, more than 0 bytes, -1 chunked
	HasLength  bool   // a Content-Length field was there
	KeepAlive  bool   // the client may send another request
	Expect100  bool   // HTTP/1.1 with a body, and the client waits for 100 Continue
	TETrailers bool   // TE lists trailers
	Upgrade    []byte // value of Upgrade when this is a valid request for a WebSocket (see Limits.AnyUpgrade), else nil

	head     head
	absolute []byte // authority of an absolute target
	path     []byte // own memory, for a target that had no path before its query
}

// Parse reads a head from the start of b. It returns the bytes the head took, or 0 and nil when b
// ends before the head does, or a *Error. It reuses the memory of earlier calls.
func (r *Request) Parse(b []byte, l Limits) (n int, err error) {
	b = l.cut(b)
	i, e := r.line(b)
	if e != nil {
		return refuse(e, len(b) >= l.HeadBytes, ErrLineSize)
	}
	r.Fields, n, e = r.head.scan(b, i, r.Fields[:0], l.Fields, hopByHop|requestOnly)
	if e != nil {
		return refuse(e, len(b) >= l.HeadBytes, ErrHeaderSize)
	}
	if e = r.judge(l); e != nil {
		return 0, e
	}
	return n, nil
}

// Has reports whether a field of the kind is there.
func (r *Request) Has(k Kind) bool { return r.head.has(1 << k) }

// refuse turns what a scan ended with into what Parse returns.
func refuse(e *Error, full bool, tooLarge *Error) (int, error) {
	switch {
	case e != errMore:
		return 0, e
	case full:
		return 0, tooLarge
	default:
		return 0, nil
	}
}

// judge draws the conclusions from the fields of a whole head.
func (r *Request) judge(l Limits) *Error {
	if e := r.host(); e != nil {
		return e
	}
	if e := r.framing(); e != nil {
		return e
	}
	o, ok := r.head.options(r.Fields)
	if !ok {
		return ErrHeader
	}
	r.KeepAlive = o.persistent(r.Minor)
	r.TETrailers, r.Expect100, r.Upgrade = false, false, nil
	if !r.head.has(1<<TE | 1<<Expect | 1<<Upgrade) {
		return nil
	}
	r.TETrailers = r.listsTrailers()
	r.Upgrade = r.upgrade(o, l.AnyUpgrade)
	return r.expect()
}

func (r *Request) host() *Error {
	r.Host = r.absolute
	if !r.head.has(1 << Host) {
		if r.Minor > 0 {
			return ErrHost
		}
		return nil
	}
	value := r.Fields[r.head.at[Host]].Value
	if r.head.again&(1<<Host) != 0 || !validHost(value) {
		return ErrHost
	}
	if r.absolute == nil {
		r.Host = value
	}
	return nil
}

func (r *Request) framing() *Error {
	r.Length, r.HasLength = 0, false
	if !r.head.has(1<<ContentLength | 1<<TransferEncoding) {
		return nil
	}
	length, e := r.head.length(r.Fields, r.Minor)
	if e != nil {
		return e
	}
	r.Length, r.HasLength = length, length >= 0
	return nil
}

// expect knows one expectation, which means nothing without a body or in HTTP/1.0.
func (r *Request) expect() *Error {
	if !r.head.has(1 << Expect) {
		return nil
	}
	for i := range r.Fields {
		if r.Fields[i].Kind == Expect && !equalFold(r.Fields[i].Value, "100-continue") {
			return ErrExpect
		}
	}
	r.Expect100 = r.Minor > 0 && r.Length != 0
	return nil
}

func (r *Request) listsTrailers() bool {
	for i := range r.Fields {
		if r.Fields[i].Kind == TE && lists(r.Fields[i].Value, "trailers") {
			return true
		}
	}
	return false
}

// lists reports whether a comma-separated list has the element, given in lower case.
func lists(list []byte, lower string) bool {
	for len(list) > 0 {
		var element []byte
		element, list = item(list)
		if equalFold(element, lower) {
			return true
		}
	}
	return false
}

// upgrade returns the value of Upgrade when everything about the request allows the switch;
// otherwise Upgrade is dropped and the request is an ordinary one. WebSocket is asked for by GET
// (RFC 6455 §4.1), other protocols by any method. None may have a body: it would not be clear
// whose the bytes behind it are.
func (r *Request) upgrade(o options, all bool) []byte {
	const set = 1 << Upgrade
	if !r.head.has(set) || r.head.again&set != 0 || !o.upgrade || r.Minor == 0 || r.Length != 0 {
		return nil
	}
	value := r.Fields[r.head.at[Upgrade]].Value
	switch {
	case IsWebSocket(value):
		if string(r.Method) != "GET" {
			return nil
		}
	case !all || !validProtocol(value):
		return nil
	case IsH2C(value):
		if !o.settings || !r.head.has(1<<HTTP2Settings) || r.head.again&(1<<HTTP2Settings) != 0 {
			return nil // as RFC 7540 §3.2.1 wants
		}
	}
	return value
}

// validProtocol reports whether a value of Upgrade names one protocol, maybe with a version (RFC 9110 §7.8).
func validProtocol(value []byte) bool {
	name, version, versioned := bytes.Cut(value, []byte{'/'})
	return ValidName(name) && (!versioned || ValidName(version))
}

// IsWebSocket reports whether a value of Upgrade asks for a WebSocket.
func IsWebSocket(value []byte) bool { return equalFold(value, "websocket") }

// SameProtocol reports whether two values of Upgrade name the same protocol.
func SameProtocol(a, b []byte) bool { return len(a) == len(b) && sameFold(a, b) }

// IsH2C reports whether a value of Upgrade asks for HTTP/2 without TLS.
func IsH2C(value []byte) bool { return equalFold(value, "h2c") }
