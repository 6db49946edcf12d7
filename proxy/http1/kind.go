package http1

// Kind is what a field name means to us.
type Kind uint8

// The names we know. ProxyField is the field "Proxy", RequestID is "X-Request-Id", Underscore is
// any name with an underscore in it.
const (
	Other Kind = iota
	Host
	Connection
	ContentLength
	TransferEncoding
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	Expect
	HTTP2Settings
	ProxyField
	XForwardedFor
	XForwardedProto
	XForwardedHost
	Forwarded
	RequestID
	Date
	Server
	RetryAfter
	Underscore
	kinds // number of kinds, at most 32 (see head.seen)
)

// kindNames are the names in lower case. No two share length and first letter (see candidates).
var kindNames = [kinds]string{
	Host:               "host",
	Connection:         "connection",
	ContentLength:      "content-length",
	TransferEncoding:   "transfer-encoding",
	KeepAlive:          "keep-alive",
	ProxyConnection:    "proxy-connection",
	ProxyAuthenticate:  "proxy-authenticate",
	ProxyAuthorization: "proxy-authorization",
	TE:                 "te",
	Trailer:            "trailer",
	Upgrade:            "upgrade",
	Expect:             "expect",
	HTTP2Settings:      "http2-settings",
	ProxyField:         "proxy",
	XForwardedFor:      "x-forwarded-for",
	XForwardedProto:    "x-forwarded-proto",
	XForwardedHost:     "x-forwarded-host",
	Forwarded:          "forwarded",
	RequestID:          "x-request-id",
	Date:               "date",
	Server:             "server",
	RetryAfter:         "retry-after",
}

// Sets of kinds, one bit each.
const (
	// hopByHop never passes a proxy, in either direction. Both framing fields are in it because
	// whoever writes a message writes its framing.
	hopByHop = 1<<Connection | 1<<ContentLength | 1<<TransferEncoding | 1<<KeepAlive |
		1<<ProxyConnection | 1<<ProxyAuthenticate | 1<<ProxyAuthorization | 1<<TE | 1<<Trailer |
		1<<Upgrade | 1<<HTTP2Settings

	// requestOnly is dropped from requests besides: written by us, answered by us, or harmful.
	requestOnly = 1<<Host | 1<<Expect | 1<<ProxyField | 1<<Underscore

	// protected fields are not dropped because Connection names them.
	protected = 1<<Host | 1<<ContentLength | 1<<TransferEncoding | 1<<XForwardedFor |
		1<<XForwardedProto | 1<<XForwardedHost | 1<<Forwarded | 1<<RequestID
)

// KindOf tells what a name means, in any case of letters.
func KindOf[T ~string | ~[]byte](name T) Kind {
	for i := range len(name) {
		if name[i] == '_' {
			return Underscore
		}
	}
	return kindOf(name)
}

// HopByHop reports whether a field of this kind belongs to one connection only, framing included,
// and is therefore never passed on in either direction.
func (k Kind) HopByHop() bool { return k < kinds && hopByHop>>k&1 != 0 }

// candidates holds, for each length and first letter, the only kind such a name can be.
var candidates = func() (t [1024]Kind) {
	for k, name := range kindNames {
		if name != "" {
			t[slot(len(name), name[0])] = Kind(k)
		}
	}
	return t
}()

func slot(length int, first byte) int { return length<<5&0x3e0 | int(first&0x1f) }

// kindOf is KindOf for names without an underscore.
func kindOf[T ~string | ~[]byte](name T) Kind {
	if len(name) < 2 || len(name) > 19 {
		return Other
	}
	k := candidates[slot(len(name), name[0])]
	if k == Other || !equalFold(name, kindNames[k]) {
		return Other
	}
	return k
}

// equalFold compares with a string in lower case, folding ASCII letters only.
func equalFold[T ~string | ~[]byte](s T, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if toLower[s[i]] != lower[i] {
			return false
		}
	}
	return true
}
