package proxy

import (
	"strconv"
	"time"

	"github.com/fnpod/fnpod/proxy/http1"
)

// readDeadline sets the end of the request's time: --timeout after its arrival, or
// earlier if the client says so (P10). What is no time is ignored: other parts of a
// platform may use the same names for something else.
func (x *Exchange) readDeadline() {
	x.deadline = never
	if x.unbound {
		return
	}
	if d := x.c.srv.cfg.Timeout; d > 0 {
		x.deadline = x.arrived + int64(d)
	}
	if hook := x.c.srv.hooks.Deadline; hook != nil {
		if d, ok := hook(x); ok {
			x.endAfter(d)
		}
		return
	}
	r := &x.req
	if r.Has(http1.XTimeout) {
		if d, ok := timeoutField(x.only(http1.XTimeout)); ok {
			x.endAfter(d)
		}
	}
	for _, k := range [...]http1.Kind{http1.FnDeadline, http1.CEExpiryTime} {
		if !r.Has(k) {
			continue
		}
		if at, err := time.Parse(time.RFC3339, string(x.only(k))); err == nil {
			x.endAfter(time.Until(at))
		}
	}
	if st := x.c.stream; st != nil && st.grpc {
		v, _ := x.Field("Grpc-Timeout")
		if d, ok := grpcTimeout(string(v)); ok {
			x.endAfter(d)
		}
	}
}

// only returns the value of a field that comes once.
func (x *Exchange) only(k http1.Kind) []byte {
	v, n := http1.Find(x.req.Fields, k)
	if n != 1 {
		return nil
	}
	return v
}

func (x *Exchange) endAfter(d time.Duration) {
	if d < time.Duration(x.deadline-x.arrived) {
		x.deadline = x.arrived + int64(max(d, 0))
	}
}

// timeoutField reads X-Timeout: seconds, or a duration with its unit ("1.5s", "200ms").
func timeoutField(v []byte) (time.Duration, bool) {
	text := string(v)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 && seconds < 1e9 {
		return time.Duration(seconds * float64(time.Second)), true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

// appendTimeout tells the function how long the client still waits.
func (x *Exchange) appendTimeout(dst []byte) []byte {
	own(x.req.Fields, http1.XTimeout)
	dst = append(dst, "X-Timeout: "...)
	dst = strconv.AppendFloat(dst, x.Remaining().Seconds(), 'f', 3, 64)
	return append(dst, "s\r\n"...)
}
