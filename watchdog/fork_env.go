package watchdog

import (
	"bytes"
	"strings"
)

// Bounds of what a request may put into an environment (rule E4): within them an
// exec cannot fail for its size.
const (
	maxVariable  = 16 << 10
	maxVariables = 64 << 10
)

// maxArgument is where the kernel refuses a variable, with its name and the zero behind it.
const maxArgument = 128 << 10

// base is the environment that every process gets.
type base struct {
	entries []string
	at      map[string]int // where the entry of a name is
}

func (b *base) init(env []string) {
	b.at = make(map[string]int, len(env))
	for _, entry := range env {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" || name == Mark || strings.IndexByte(entry, 0) >= 0 {
			continue // cannot be set, or is ours
		}
		if i, twice := b.at[name]; twice {
			b.entries[i] = entry
			continue
		}
		b.at[name] = len(b.entries)
		b.entries = append(b.entries, entry)
	}
}

// Variables are the variables of one request. Those that are too large are
// reported when all have been added, and the request is refused (rule E4).
type Variables struct {
	credentials bool
	most, each  int // bytes
	base        *base
	text        []byte // entries, one behind the other
	ends        []int  // of the entries in text
	hidden      []int  // entries of base that are not there for this request
	env         []string
	err         error
}

func (v *Variables) reset(b *base, credentials bool, most int) {
	v.base, v.credentials, v.err = b, credentials, nil
	v.most, v.each = most, most
	if most == 0 {
		v.most, v.each = maxVariables, maxVariable
	}
	v.text, v.ends, v.hidden = v.text[:0], v.ends[:0], v.hidden[:0]
}

// Set adds a variable. It takes the place of one in the environment of all
// processes. Each name may be set once.
func (v *Variables) Set(name string, value []byte) {
	v.begin(name)
	v.text = append(v.text, value...)
	v.end(name, len(value))
}

// SetText is Set for a string.
func (v *Variables) SetText(name, value string) {
	v.begin(name)
	v.text = append(v.text, value...)
	v.end(name, len(value))
}

func (v *Variables) begin(name string) {
	v.text = append(v.text, name...)
	v.text = append(v.text, '=')
}

func (v *Variables) end(name string, size int) {
	if i, ok := v.base.at[name]; ok {
		v.hidden = append(v.hidden, i)
	}
	v.close(size)
}

// close ends the entry that is being written.
func (v *Variables) close(size int) {
	from := 0
	if n := len(v.ends); n > 0 {
		from = v.ends[n-1]
	}
	switch {
	case size > v.each, len(v.text) > v.most:
		v.err = ErrVariables
	case bytes.IndexByte(v.text[from:], 0) >= 0:
		v.err = ErrPath // nothing else was decoded
	}
	v.ends = append(v.ends, len(v.text))
}

// Fields adds a variable for each field of the request's head that may reach a
// function: prefix and what spell appends for the field's name, which consists of
// letters, digits and hyphens; other names are dropped (rules E1, E3), and so is
// the variable that spells "proxy" (E2). What spell appends must have letters,
// digits and underscores alone. Values of a repeated field are joined; of a
// repeated Content-Something nothing is taken. Fields for which skip is true are
// left out. A variable of all processes is not replaced.
func (v *Variables) Fields(x Exchange, prefix string, spell func(dst, name []byte) []byte, skip func(lower string) bool) {
	fields := x.Request().Fields
	for i := range fields {
		f := &fields[i]
		if f.Hop || !plain(f.Name) {
			continue
		}
		var room [64]byte
		lower := lowered(room[:0], f.Name)
		if v.forbidden(string(lower)) || skip != nil && skip(string(lower)) {
			continue
		}
		again := false
		for j := range i {
			again = again || !fields[j].Hop && bytes.EqualFold(fields[j].Name, f.Name)
		}
		if again {
			continue
		}
		begin := len(v.text)
		v.text = append(v.text, prefix...)
		v.text = spell(v.text, f.Name)
		if _, ok := v.base.at[string(v.text[begin:])]; ok {
			v.text = v.text[:begin]
			continue
		}
		v.text = append(v.text, '=')
		from := len(v.text)
		v.text = append(v.text, f.Value...)
		separator := ", "
		if string(lower) == "cookie" {
			separator = "; "
		}
		repeated := false
		for j := i + 1; j < len(fields); j++ {
			if !fields[j].Hop && bytes.EqualFold(fields[j].Name, f.Name) {
				repeated = true
				v.text = append(v.text, separator...)
				v.text = append(v.text, fields[j].Value...)
			}
		}
		if repeated && bytes.HasPrefix(lower, []byte("content-")) {
			v.text = v.text[:begin]
			continue
		}
		v.close(len(v.text) - from)
	}
}

// forbidden tells the fields that become no variable.
func (v *Variables) forbidden(lower string) bool {
	switch lower {
	case "proxy":
		return true
	case "authorization", "cookie":
		return !v.credentials
	default:
		return false
	}
}

// plain reports a name of letters, digits and hyphens.
func plain(name []byte) bool {
	for _, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func lowered(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// Upper spells a field's name in capitals, with underscores for hyphens.
func Upper(dst, name []byte) []byte {
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z':
			c &^= 0x20
		case c == '-':
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// build returns the environment of the process, and its mark. It is valid until
// the next reset.
func (v *Variables) build() (env []string, mark string, err error) {
	if v.err != nil {
		return nil, "", v.err
	}
	v.text = appendMark(v.text)
	v.ends = append(v.ends, len(v.text))
	env = append(v.env[:0], v.base.entries...)
	for _, i := range v.hidden {
		env[i] = ""
	}
	if len(v.hidden) > 0 {
		kept := env[:0]
		for _, entry := range env {
			if entry != "" {
				kept = append(kept, entry)
			}
		}
		env = kept
	}
	text, from := string(v.text), 0 // one piece of memory for all
	for _, end := range v.ends {
		env = append(env, text[from:end])
		from = end
	}
	v.env = env
	return env, env[len(env)-1], nil
}

// own returns, after build, those of the request alone.
func (v *Variables) own() []string { return v.env[len(v.env)-len(v.ends) : len(v.env)-1] }
