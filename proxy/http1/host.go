package http1

// ValidHost reports whether h may be the value of Host.
func ValidHost(h []byte) bool { return validHost(h) }

// validHost checks host[:port], where host is a name, an IPv4 address or [an IPv6 address].
func validHost(h []byte) bool {
	i := 0
	for i < len(h) && class[h[i]]&regName != 0 {
		i++
	}
	if i == len(h) {
		return i > 0
	}
	if i == 0 && h[0] == '[' {
		for i < len(h) && h[i] != ']' {
			i++
		}
		if i == len(h) || !validIPv6(h[1:i]) {
			return false
		}
		i++
	}
	return i > 0 && (i == len(h) || h[i] == ':' && validPort(h[i+1:]))
}

func validPort(p []byte) bool {
	if len(p) == 0 || len(p) > 5 {
		return false
	}
	n := 0
	for _, c := range p {
		if class[c]&digit == 0 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

// validIPv6 checks eight groups, or fewer around one "::"; the last two may be an IPv4 address.
// Zones have no meaning beyond one machine and are refused.
func validIPv6(a []byte) bool {
	groups, gap := 0, false
	if len(a) >= 2 && a[0] == ':' && a[1] == ':' {
		a, gap = a[2:], true
	}
	for len(a) > 0 {
		n := 0
		for n < len(a) && class[a[n]]&hex != 0 {
			n++
		}
		if n < len(a) && a[n] == '.' {
			groups += 2
			return validIPv4(a) && complete(groups, gap)
		}
		if n == 0 || n > 4 {
			return false
		}
		groups++
		a = a[n:]
		switch {
		case len(a) == 0:
		case a[0] != ':' || len(a) == 1:
			return false
		case a[1] == ':':
			if gap {
				return false
			}
			a, gap = a[2:], true
		default:
			a = a[1:]
		}
	}
	return complete(groups, gap)
}

// complete reports whether the groups fill an address; a gap stands for at least one.
func complete(groups int, gap bool) bool { return groups == 8 && !gap || groups < 8 && gap }

func validIPv4(a []byte) bool {
	for part := range 4 {
		n, value := 0, 0
		for n < len(a) && class[a[n]]&digit != 0 {
			value = min(value*10+int(a[n]-'0'), 256)
			n++
		}
		if n == 0 || value > 255 || n > 1 && a[0] == '0' {
			return false
		}
		a = a[n:]
		if part == 3 {
			break
		}
		if len(a) == 0 || a[0] != '.' {
			return false
		}
		a = a[1:]
	}
	return len(a) == 0
}
