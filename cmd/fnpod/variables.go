package main

import "strings"

// variables lets our own variables beat what a platform's settings make of a pod: FNPOD_QUEUE_DISCIPLINE means the same
// everywhere. A *usageError tells of all that are wrong.
func (inv *invocation) variables(base proxyCmd) (*proxyCmd, error) {
	if !inv.env.ours() {
		return &base, nil // which is quicker
	}
	grammar := defaults()
	grammar.Proxy = base
	p, err := newParser("fnpod", description, grammar, inv.env, inv.stdout)
	if err != nil {
		return nil, err
	}
	if _, err := p.parse([]string{"proxy", "http://localhost"}); err != nil {
		return nil, err
	}
	inv.warnings = inv.env.unknown(append(p.variables(), platformVariables...))
	return &grammar.Proxy, nil
}

// platformVariables are ours and no settings of a command.
var platformVariables = []string{
	"FNPOD_PLATFORM", "FNPOD_CONTRACT", "FNPOD_HANDLER",
	"FNPOD_KNATIVE_ADMIN_PORT", "FNPOD_KNATIVE_AUTOSCALER_PORT", "FNPOD_KNATIVE_CERTS", "FNPOD_KNATIVE_ERROR_FIELD",
	"FNPOD_KNATIVE_METRICS", "FNPOD_KNATIVE_METRICS_HOSTS", "FNPOD_KNATIVE_METRICS_PORT", "FNPOD_KNATIVE_UPSTREAM",
	"FNPOD_KUBELESS_CORS", "FNPOD_KUBELESS_ISOLATE", "FNPOD_KUBELESS_STRICT",
}

// ours reports whether there may be a setting of ours.
func (e environment) ours() bool {
	for name := range e {
		if strings.HasPrefix(name, variablePrefix) && name != "FNPOD_PLATFORM" {
			return true
		}
	}
	return false
}
