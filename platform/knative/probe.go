package knative

import (
	"encoding/json"
	"strconv"
)

// Probe is a check of Kubernetes for readiness, as far as it matters here.
type Probe struct {
	TCP              *target `json:"tcpSocket"`
	HTTP             *target `json:"httpGet"`
	GRPC             *target `json:"grpc"`
	TimeoutSeconds   int     `json:"timeoutSeconds"`
	PeriodSeconds    int     `json:"periodSeconds"`
	SuccessThreshold int     `json:"successThreshold"`
}

// target is what a probe looks at.
type target struct {
	Host    string `json:"host"`
	Port    port   `json:"port"`
	Scheme  string `json:"scheme"`
	Path    string `json:"path"`
	Service string `json:"service"`
	Headers []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"httpHeaders"`

	socket string // unix socket instead of Host and Port
}

// port is a number that may be written as text.
type port int

// UnmarshalJSON implements json.Unmarshaler.
func (p *port) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(unquoted(text), 10, 16)
	*p = port(n)
	return err
}

func unquoted(text []byte) string {
	if s, err := strconv.Unquote(string(text)); err == nil {
		return s
	}
	return string(text)
}

// probes reads SERVING_READINESS_PROBE; what is null is skipped.
func (r *reader) probes(several bool) (list []Probe) {
	const name = "SERVING_READINESS_PROBE"
	text := r.text(name)
	if text == "" {
		return nil
	}
	all := []*Probe{nil}
	var into any = &all
	if !several {
		into = &all[0]
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		r.fail("%s: %v", name, err)
		return nil
	}
	for _, p := range all {
		if p != nil {
			list = append(list, *p)
		}
	}
	return list
}
