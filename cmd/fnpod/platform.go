package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fnpod/fnpod/platform/knative"
	"github.com/fnpod/fnpod/platform/openfaas"
)

// Platforms that a pod can be of, besides our own.
const (
	platformNative          = "native"
	platformOpenFaaS        = "openfaas"
	platformOpenFaaSClassic = "openfaas-classic"
	platformNuclio          = "nuclio"
	platformKnative         = "knative"
)

var platforms = []string{platformNative, platformOpenFaaS, platformOpenFaaSClassic, platformNuclio, platformKnative}

// asPlatform returns what runs when the platform decides, and not a command of ours: the variable FNPOD_PLATFORM, else
// the name we were called by, else, without any arguments, the environment.
func (inv *invocation) asPlatform(args []string) (runner, error) {
	name, err := inv.platformOf(len(args) == 0)
	if err != nil || name == platformNative {
		return nil, err
	}
	switch name {
	case platformNuclio:
		return newNuclio(inv, args)
	case platformKnative:
		return newKnative(inv, args)
	}
	return newOpenFaaS(inv, args, name == platformOpenFaaSClassic)
}

func (inv *invocation) platformOf(bare bool) (string, error) {
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
	if bare {
		if knative.Named(inv.env.raw) {
			return platformKnative, nil
		}
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
