package openfaas

import (
	"bytes"

	"github.com/fnpod/fnpod/proxy/http1"
	"github.com/fnpod/fnpod/watchdog"
)

// prefix is that of all variables of a request. They are lower case behind it, unlike those of CGI.
const prefix = "Http_"

// Variables adds the variables of a request, for a process that is started for it. It implements
// watchdog.ForkConfig.Variables.
func (s *Settings) Variables(v *watchdog.Variables, x watchdog.Exchange) {
	if s.Classic != nil {
		s.classicVariables(v, x)
		return
	}
	s.requestVariables(v, x)
}

// requestVariables adds those that both watchdogs have. What taken lists is none of the fields'.
func (s *Settings) requestVariables(v *watchdog.Variables, x watchdog.Exchange, taken ...string) {
	r := x.Request()
	path, query, _ := bytes.Cut(r.Target, []byte{'?'})
	v.Set(prefix+"Method", r.Method)
	v.SetPath(prefix+"Path", path)
	if len(query) > 0 {
		v.Set(prefix+"Query", query)
	}
	if r.Length < 0 {
		v.SetText(prefix+"Transfer_Encoding", "chunked")
	}
	ofFields(v, r.Fields, append(taken, "Method", "Path", "Query", "Transfer_Encoding", "Host")...)
}

// ofFields adds a variable for the first field of each name. What taken lists is not a client's to say.
func ofFields(v *watchdog.Variables, fields []http1.Field, taken ...string) {
	seen := make(map[string]bool, len(fields)+len(taken))
	for _, name := range taken {
		seen[name] = true
	}
	var room [64]byte
	for i := range fields {
		f := &fields[i]
		name := string(spelled(room[:0], f.Name))
		if seen[name] || name == "Proxy" { // programs may take HTTP_PROXY for a setting, in any case (rule E2)
			continue
		}
		seen[name] = true
		v.Set(prefix+name, f.Value)
	}
}

// spelled is the name of a field as Go writes it, with underscores for hyphens.
func spelled(dst, name []byte) []byte {
	upper := true
	for _, c := range name {
		switch {
		case upper && 'a' <= c && c <= 'z':
			c &^= 0x20
		case !upper && 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		upper = c == '-'
		if upper {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}
