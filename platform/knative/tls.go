package knative

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Where the controller mounts the certificate and its key. There is TLS if both are there at the start.
const (
	CertsFolder = "/var/lib/knative/certs"
	CertFile    = "tls.crt"
	KeyFile     = "tls.key"
)

// CertLoaded is what the log says when a new certificate has taken the place of the old one. Tests of Knative look for it.
const CertLoaded = "Certificate and/or key have changed on disk and were reloaded."

var versions = map[string]uint16{"": 0, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

var curves = map[string]tls.CurveID{
	"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768,
	"CurveP256": tls.CurveP256, "P-256": tls.CurveP256, "CurveP384": tls.CurveP384, "P-384": tls.CurveP384,
	"CurveP521": tls.CurveP521, "P-521": tls.CurveP521,
}

// Config returns what the settings say; the caller adds the certificate. The error names the variable.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	lowest, ok := versions[t.MinVersion]
	if !ok {
		return nil, fmt.Errorf("QUEUE_PROXY_TLS_MIN_VERSION %q: must be 1.2 or 1.3", t.MinVersion)
	}
	if lowest > 0 {
		c.MinVersion = lowest
	}
	if c.MaxVersion, ok = versions[t.MaxVersion]; !ok {
		return nil, fmt.Errorf("QUEUE_PROXY_TLS_MAX_VERSION %q: must be 1.2 or 1.3", t.MaxVersion)
	}
	if c.MaxVersion > 0 && c.MaxVersion < c.MinVersion {
		return nil, fmt.Errorf("QUEUE_PROXY_TLS_MAX_VERSION %q: must not be less than the least version", t.MaxVersion)
	}
	for _, name := range list(t.CipherSuites) {
		id, ok := suite(name)
		if !ok {
			return nil, fmt.Errorf("QUEUE_PROXY_TLS_CIPHER_SUITES %q: %s is not known", t.CipherSuites, name)
		}
		c.CipherSuites = append(c.CipherSuites, id)
	}
	for _, name := range list(t.Curves) {
		id, ok := curves[name]
		if !ok {
			return nil, fmt.Errorf("QUEUE_PROXY_TLS_CURVE_PREFERENCES %q: %s is not known", t.Curves, name)
		}
		c.CurvePreferences = append(c.CurvePreferences, id)
	}
	return c, nil
}

func list(text string) (names []string) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func suite(name string) (uint16, bool) {
	for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range suites {
			if s.Name == name {
				return s.ID, true
			}
		}
	}
	return 0, false
}
