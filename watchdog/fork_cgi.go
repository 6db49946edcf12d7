package watchdog

import (
	"bytes"
	"net"
	"strconv"

	"github.com/fnpod/fnpod/proxy/http1"
)

// CGI adds the variables of CGI/1.1 (RFC 3875), and REQUEST_URI, the target as it
// came. Fields become HTTP_*. That REQUEST_METHOD is set tells programs not to
// take HTTP_PROXY for a setting (rule E2).
func CGI(v *Variables, x Exchange) {
	r := x.Request()
	path, query, _ := bytes.Cut(r.Target, []byte{'?'})
	v.SetText("GATEWAY_INTERFACE", "CGI/1.1")
	v.SetText("SERVER_SOFTWARE", "fnpod")
	v.SetText("SERVER_PROTOCOL", protocolOf(r))
	v.Set("REQUEST_METHOD", r.Method)
	v.Set("REQUEST_URI", r.Target)
	v.SetText("SCRIPT_NAME", "")
	v.SetPath("PATH_INFO", path)
	v.Set("QUERY_STRING", query)
	v.SetText("REMOTE_ADDR", x.Peer())
	v.setServer(x)
	v.setBody(x)
	if len(r.Host) > 0 {
		v.Set("HTTP_HOST", r.Host)
	}
	v.SetText("HTTP_X_REQUEST_ID", string(x.AppendID(nil)))
	v.Fields(x, "HTTP_", Upper, func(lower string) bool {
		return lower == "host" || lower == "x-request-id" || lower == "content-type" || lower == "content-length"
	})
}

func protocolOf(r *http1.Request) string {
	if r.Minor == 0 {
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

func (v *Variables) setServer(x Exchange) {
	name, port := string(x.Request().Host), "80"
	if x.Scheme() == "https" {
		port = "443"
		v.SetText("HTTPS", "on")
	}
	if host, p, err := net.SplitHostPort(name); err == nil {
		name, port = host, p
	}
	v.SetText("SERVER_NAME", name)
	v.SetText("SERVER_PORT", port)
}

// setBody says what the standard input is, as far as it is known.
func (v *Variables) setBody(x Exchange) {
	r := x.Request()
	size := r.Length
	whole, ok := x.Body()
	if ok {
		size = int64(len(whole))
	}
	if size > 0 || r.HasLength {
		v.SetText("CONTENT_LENGTH", strconv.FormatInt(size, 10))
	}
	var value []byte
	n := 0
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop && bytes.EqualFold(f.Name, []byte("content-type")) {
			value = f.Value
			n++
		}
	}
	if n == 1 { // of two, none is right (rule E3)
		v.Set("CONTENT_TYPE", value)
	}
}

// SetPath sets a variable to a path with its percent-encoding undone. If that is
// malformed, or hides a control byte, the request is refused.
func (v *Variables) SetPath(name string, path []byte) {
	v.begin(name)
	from := len(v.text)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			var ok bool
			if c, ok = hexByte(path[i+1:]); !ok {
				v.err = ErrPath
			}
			i += 2
		}
		if c < ' ' || c == 0x7f {
			v.err = ErrPath
		}
		v.text = append(v.text, c)
	}
	v.end(name, len(v.text)-from)
}

// hexByte reads two hexadecimal digits.
func hexByte(b []byte) (byte, bool) {
	if len(b) < 2 {
		return 0, false
	}
	high, ok1 := hexDigit(b[0])
	low, ok2 := hexDigit(b[1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	default:
		return 0, false
	}
}
