package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/platform/kubeless"
	"github.com/fnpod/fnpod/platform/openfaas"
)

// Platforms that a pod can be of, besides our own.
const (
	platformNative          = "native"
	platformOpenFaaS        = "openfaas"
	platformOpenFaaSClassic = "openfaas-classic"
	platformNuclio          = "nuclio"
	platformKnative         = "knative"
	platformKubeless        = "kubeless"
)

var platforms = []string{platformNative, platformOpenFaaS, platformOpenFaaSClassic, platformNuclio, platformKnative, platformKubeless}

// asPlatform returns what runs when the platform decides, and not a command of ours: the variable FNPOD_PLATFORM, else
// the name we were called by, else, without any arguments, the environment. `fnpod check` asks what a function of Kubeless would
// get.
func (inv *invocation) asPlatform(args []string) (runner, error) {
	name, err := inv.platformOf(args)
	if err != nil || name == platformNative {
		return nil, err
	}
	switch name {
	case platformNuclio:
		return newNuclio(inv, args)
	case platformKnative:
		return newKnative(inv, args)
	case platformKubeless:
		return newKubeless(inv, args)
	}
	return newOpenFaaS(inv, args, name == platformOpenFaaSClassic)
}

func (inv *invocation) platformOf(args []string) (string, error) {
	bare := len(args) == 0
	if name, ok := inv.env.lookup("FNPOD_PLATFORM"); ok {
		if !slices.Contains(platforms, name) {
			return "", &usageError{lines: []string{fmt.Sprintf("FNPOD_PLATFORM %q: must be %s", name, strings.Join(platforms, ", "))}}
		}
		return name, nil
	}
	switch inv.name {
	case "fwatchdog":
		return inv.whichOpenFaaS(), nil
	case "processor":
		return platformNuclio, nil
	case "queue", "queue-proxy":
		return platformKnative, nil
	}
	if bare && knative.Named(inv.env.raw) {
		return platformKnative, nil
	}
	if (bare || slices.Equal(args, []string{"check"})) && kubeless.Named(inv.env.raw) {
		return platformKubeless, nil
	}
	if bare {
		for _, name := range []string{"fprocess", "function_process", "mode", "upstream_url", "http_upstream_url"} {
			if _, ok := inv.env.lookup(name); ok {
				return inv.whichOpenFaaS(), nil
			}
		}
	}
	return platformNative, nil
}

// whichOpenFaaS tells the two watchdogs apart, which are installed under the same name.
func (inv *invocation) whichOpenFaaS() string {
	if openfaas.IsClassic(inv.env.lookup) {
		return platformOpenFaaSClassic
	}
	return platformOpenFaaS
}
