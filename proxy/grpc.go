package proxy

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// isGRPC reports whether the type of a body is that of gRPC over HTTP/2.
func isGRPC(contentType []byte) bool {
	rest, ok := bytes.CutPrefix(contentType, []byte("application/grpc"))
	return ok && (len(rest) == 0 || rest[0] == '+' || rest[0] == ';')
}

// gRPC status codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
const (
	grpcUnknown           = 2
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcStatus is the status by which a client of gRPC learns what an HTTP status
// tells others.
func grpcStatus(code int) int {
	switch code {
	case http.StatusGatewayTimeout:
		return grpcDeadlineExceeded
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return grpcResourceExhausted
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return grpcUnavailable
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcUnimplemented
	case http.StatusBadRequest, http.StatusInternalServerError:
		return grpcInternal
	default:
		return grpcUnknown
	}
}

// writeGRPCError is writeError for a client of gRPC: the status is in the head of an
// answer without a body ("Trailers-Only"). It is counted by the HTTP status.
func (x *Exchange) writeGRPCError(st Status) {
	a := &x.answer
	a.reset()
	x.Respond(http.StatusOK, unknownLength)
	a.out = append(a.out, "Content-Type: application/grpc\r\nGrpc-Status: "...)
	a.out = strconv.AppendInt(a.out, int64(grpcStatus(st.Code)), 10)
	a.out = append(a.out, "\r\nGrpc-Message: "...)
	a.out = append(a.out, st.Label...)
	a.out = append(a.out, "\r\nFnpod-Error: "...)
	a.out = append(a.out, st.Label...)
	a.out = append(a.out, '\r', '\n')
	a.out = x.c.srv.appendLimit(a.out, st.Label)
	x.endHead(nil)
	a.finished, a.status = true, st.Code
	_ = x.flush() // the end of the stream follows in any case
}

// endGRPC ends an answer of gRPC that has begun and whose time is up: the status in the
// trailers says that it is not whole. It reports false where only a cut can say that.
func (x *Exchange) endGRPC(st Status) bool {
	stream := x.c.stream
	if st.Code != http.StatusGatewayTimeout || stream == nil || !stream.grpc {
		return false
	}
	x.answer.out = x.answer.out[:0]
	stream.sendTrailers([]byte("Grpc-Status: " + strconv.Itoa(grpcDeadlineExceeded) + "\r\nGrpc-Message: " + st.Label + "\r\n"))
	x.answer.finished = true
	return stream.send(nil, true) == nil
}

// grpcTimeout reads a grpc-timeout field: up to eight digits and a unit.
func grpcTimeout(v string) (time.Duration, bool) {
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second,
		'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[v[len(v)-1]]
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	if n > uint64(longestTimeout/unit) {
		return longestTimeout, true
	}
	return time.Duration(n) * unit, true
}

// longestTimeout is as good as none, and can be added to any time.
const longestTimeout = time.Duration(never / 2)

// grpcTimeoutOf writes d as a grpc-timeout field, in the finest unit that fits.
func grpcTimeoutOf(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.FormatInt(max(d.Microseconds(), 1), 10) + "u"
	case d < 24*time.Hour:
		return strconv.FormatInt(d.Milliseconds(), 10) + "m"
	default:
		return strconv.FormatInt(min(int64(d/time.Second), 99_999_999), 10) + "S"
	}
}
