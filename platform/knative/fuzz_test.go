package knative

import (
	"bytes"
	"testing"

	"github.com/fnpod/fnpod/proxy/http1"
)

// Whatever the fields say, Forwarded is one line that may be sent.
func FuzzForwardedIsOneField(f *testing.F) {
	f.Add([]byte("127.0.0.1, ::1"), []byte("p"), []byte("h"))
	f.Add([]byte(",,,"), []byte(""), []byte(""))
	f.Add([]byte(" a ,\t,b:"), []byte("https"), []byte(""))
	f.Fuzz(func(t *testing.T, chain, proto, host []byte) {
		if !http1.ValidValue(chain) || !http1.ValidValue(proto) || !http1.ValidValue(host) {
			return
		}
		line := appendStandard(nil, chain, proto, host)
		value, ok := bytes.CutPrefix(line, []byte("Forwarded: "))
		value, end := bytes.CutSuffix(value, []byte("\r\n"))
		if !ok || !end || !http1.ValidValue(value) {
			t.Fatalf("%q %q %q: %q", chain, proto, host, line)
		}
	})
}

// The controller writes the settings, but users write what is in their probes.
func FuzzReadinessProbe(f *testing.F) {
	f.Add(`{"httpGet":{"path":"/healthz","port":"8080","host":"127.0.0.1","scheme":"HTTP","httpHeaders":[{"name":"a","value":"b"}]},"timeoutSeconds":1,"periodSeconds":5}`, false)
	f.Add(`[null,{"grpc":{"port":8080,"service":""}}]`, true)
	f.Add(`null`, false)
	f.Fuzz(func(t *testing.T, text string, several bool) {
		r := &reader{lookup: func(string) (string, bool) { return text, true }}
		for _, p := range r.probes(several) {
			if len(r.wrong) > 0 {
				t.Fatalf("%q: probes and an error", text)
			}
			if p.attempt(true) == nil || p.attempt(false) == nil {
				t.Fatalf("%q: no attempt", text)
			}
		}
	})
}
