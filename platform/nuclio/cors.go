package nuclio

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/fnpod/fnpod/proxy"
)

// CORS says which pages of other origins may ask, and what (https://fetch.spec.whatwg.org/#http-cors-protocol).
type CORS struct {
	Origins     []string
	Methods     []string
	Headers     []string
	Expose      []string
	Credentials bool
	MaxAge      int // seconds
}

// readCORS returns nil where it is not enabled.
func readCORS(a Attributes) (*CORS, error) {
	enabled, err := a.flag("enabled")
	if err != nil || !enabled {
		return nil, err
	}
	var c CORS
	var errs [6]error
	c.Origins, errs[0] = a.List("allowOrigins", "*")
	c.Methods, errs[1] = a.List("allowMethods", "HEAD", "GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
	c.Headers, errs[2] = a.List("allowHeaders", "Accept", "Content-Length", "Content-Type", "Authorization", "X-Nuclio-Log-Level")
	c.Expose, errs[3] = a.List("exposeHeaders")
	c.Credentials, errs[4] = a.flag("allowCredentials")
	c.MaxAge, errs[5] = a.number("preflightMaxAgeSeconds", 5)
	return &c, errors.Join(errs[:]...)
}

// preflight reports whether the request only asks whether another one is allowed.
func (c *CORS) preflight(x *proxy.Exchange) bool {
	if string(x.Request().Method) != "OPTIONS" {
		return false
	}
	v, _ := x.Field("Access-Control-Request-Method")
	return len(v) > 0
}

// answer answers a preflight and reports whether it allowed anything.
func (c *CORS) answer(x *proxy.Exchange) (allowed bool) {
	origin, _ := x.Field("Origin")
	method, _ := x.Field("Access-Control-Request-Method")
	headers, _ := x.Field("Access-Control-Request-Headers")
	allowed = c.origin(origin) && has(c.Methods, string(method)) && c.headers(string(headers))
	code := 200
	if !allowed {
		code = 400
	}
	x.Respond(code, 0)
	for _, name := range []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"} {
		add(x, "Vary", name)
	}
	if allowed {
		add(x, "Access-Control-Allow-Origin", string(origin))
		if c.Credentials {
			add(x, "Access-Control-Allow-Credentials", "true")
		}
		add(x, "Access-Control-Max-Age", strconv.Itoa(c.MaxAge))
		add(x, "Access-Control-Allow-Methods", strings.Join(c.Methods, ", "))
		add(x, "Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	}
	_ = x.Finish() // the client's trouble
	return allowed
}

// origin reports whether pages of an origin may ask.
func (c *CORS) origin(origin []byte) bool {
	return len(origin) > 0 && (slices.Contains(c.Origins, "*") || has(c.Origins, string(origin)))
}

// headers reports whether all in a list are allowed.
func (c *CORS) headers(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && !has(c.Headers, name) {
			return false
		}
	}
	return true
}

// fields appends what an answer to an allowed origin says.
func (c *CORS) fields(x *proxy.Exchange, head []byte) []byte {
	head = append(head, "Vary: Origin\r\n"...)
	origin, _ := x.Field("Origin")
	if !c.origin(origin) {
		return head
	}
	head = append(append(append(head, "Access-Control-Allow-Origin: "...), origin...), "\r\n"...)
	if c.Credentials {
		head = append(head, "Access-Control-Allow-Credentials: true\r\n"...)
	}
	if len(c.Expose) > 0 {
		head = append(append(append(head, "Access-Control-Expose-Headers: "...), strings.Join(c.Expose, ", ")...), "\r\n"...)
	}
	return head
}

func has(list []string, word string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.EqualFold(w, word) })
}

func add(x *proxy.Exchange, name, value string) {
	_ = x.AddField([]byte(name), []byte(value)) // both are checked, or ours
}
