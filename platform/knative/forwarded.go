package knative

import (
	"bytes"

	"github.com/fnpod/fnpod/proxy"
	"github.com/fnpod/fnpod/proxy/http1"
)

// Forward implements proxy.Hooks.Request: the client's address goes behind those that X-Forwarded-For has, and what the
// X-Forwarded fields say goes into Forwarded (RFC 7239), if there is none.
func Forward(x *proxy.Exchange, head []byte) []byte {
	var chain, proto, host []byte // of the first line of each
	var lines int
	standard := false
	fields := x.Request().Fields
	for i := range fields {
		f := &fields[i]
		switch f.Kind {
		case http1.XForwardedFor:
			if lines == 0 {
				chain = f.Value
			}
			lines++
			x.Hide(f)
		case http1.XForwardedProto:
			if proto == nil {
				proto = f.Value
			}
		case http1.XForwardedHost:
			if host == nil {
				host = f.Value
			}
		case http1.Forwarded:
			standard = standard || len(f.Value) > 0
		default:
		}
	}
	if !standard && len(chain)+len(proto)+len(host) > 0 {
		head = appendStandard(head, chain, proto, host)
	}
	return appendChain(head, fields, lines, x.Peer())
}

// appendChain adds X-Forwarded-For in one line.
func appendChain(head []byte, fields []http1.Field, lines int, peer string) []byte {
	if lines == 0 && peer == "" {
		return head
	}
	head = append(head, "X-Forwarded-For: "...)
	first := true
	for i := range fields {
		if fields[i].Kind != http1.XForwardedFor {
			continue
		}
		if !first {
			head = append(head, ", "...)
		}
		first = false
		head = append(head, fields[i].Value...)
	}
	if lines > 0 && peer != "" {
		head = append(head, ", "...)
	}
	head = append(head, peer...)
	return append(head, '\r', '\n')
}

// appendStandard adds Forwarded: who asked first with the host and protocol that were asked for, then those that passed
// it on.
func appendStandard(head, chain, proto, host []byte) []byte {
	head = append(head, "Forwarded: "...)
	start := len(head)
	first, rest, _ := bytes.Cut(chain, []byte{','})
	if len(chain) > 0 {
		head = appendNode(head, first)
	}
	for _, pair := range [...]struct {
		name  string
		value []byte
	}{{"host=", host}, {"proto=", proto}} {
		if len(pair.value) == 0 {
			continue
		}
		if len(head) > start {
			head = append(head, ';')
		}
		head = append(append(head, pair.name...), pair.value...)
	}
	for len(rest) > 0 { // nothing behind the last comma is nobody
		first, rest, _ = bytes.Cut(rest, []byte{','})
		head = appendNode(append(head, ", "...), first)
	}
	return append(head, '\r', '\n')
}

// appendNode adds one address; those of IPv6 are quoted.
func appendNode(head, node []byte) []byte {
	node = bytes.Trim(node, " \t")
	head = append(head, "for="...)
	if bytes.IndexByte(node, ':') < 0 {
		return append(head, node...)
	}
	head = append(append(head, '"', '['), node...)
	return append(head, ']', '"')
}
