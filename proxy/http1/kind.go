package http1

import "encoding/binary"

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
	XTimeout
	FnDeadline
	CEExpiryTime
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
	XTimeout:           "x-timeout",
	FnDeadline:         "fn-deadline",
	CEExpiryTime:       "ce-expirytime",
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
	all := uint8(token)
	for i := range len(name) {
		if name[i] == '_' {
			return Underscore
		}
		all &= class[name[i]]
	}
	if len(name) == 0 || len(name) > longest || all == 0 {
		return Other
	}
	return kindOfToken(append(make([]byte, 0, longest), name...))
}

// HopByHop reports whether a field of this kind belongs to one connection only, framing included,
// and is therefore never passed on in either direction.
func (k Kind) HopByHop() bool { return k < kinds && hopByHop>>k&1 != 0 }

const longest = len("proxy-authorization")

// candidates holds the only kind that a name of some length and first letter can be.
var candidates = func() (t [(longest + 1) << 5]Kind) {
	for k, name := range kindNames {
		if name != "" {
			t[slot([]byte(name))] = Kind(k)
		}
	}
	return t
}()

var kindWords = func() (t [kinds][3]uint64) {
	for k, name := range kindNames {
		t[k] = words([]byte(name))
	}
	return t
}()

func slot(name []byte) int { return len(name)<<5 | int(name[0]&0x1f) }

// kindOfToken is KindOf for a token without an underscore.
func kindOfToken(name []byte) Kind {
	if len(name) < 2 || len(name) > longest {
		return Other
	}
	k := candidates[slot(name)]
	if k == Other || words(name) != kindWords[k] {
		return Other
	}
	return k
}

// words folds a token of up to 24 bytes into three words, of which the last two overlap others
// or are empty in a short one. Among token bytes, setting bit 5 folds the case of letters and
// makes no other byte equal to a letter, a digit or '-'.
func words(name []byte) (w [3]uint64) {
	const fold = 0x2020202020202020
	n := len(name)
	if n < 8 {
		for _, c := range name {
			w[0] = w[0]<<8 | uint64(c|0x20)
		}
		return w
	}
	w[0] = binary.LittleEndian.Uint64(name) | fold
	w[1] = binary.LittleEndian.Uint64(name[n-8:]) | fold
	if n > 16 {
		w[2] = binary.LittleEndian.Uint64(name[8:]) | fold
	}
	return w
}

// equalFold compares with a string in lower case, folding ASCII letters only.
func equalFold[T ~string | ~[]byte](s T, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	if string(s) == lower {
		return true
	}
	for i := range len(lower) {
		if toLower[s[i]] != lower[i] {
			return false
		}
	}
	return true
}
