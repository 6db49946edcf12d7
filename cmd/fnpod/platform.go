package main

import (
	"fmt"
	"slices"
	"strings"
)

// Platforms that a pod can be of, besides our own.
const (
	platformNative   = "native"
	platformOpenFaaS = "openfaas"
)

var platforms = []string{platformNative, platformOpenFaaS}

// asPlatform returns what runs when the platform decides, and not a command of ours: the variable FNPOD_PLATFORM, else
// the name we were called by, else, without any arguments, the environment.
func (inv *invocation) asPlatform(args []string) (runner, error) {
	name, err := inv.platformOf(len(args) == 0)
	if err != nil || name == platformNative {
		return nil, err
	}
	return newOpenFaaS(inv, args)
}

func (inv *invocation) platformOf(bare bool) (string, error) {
	if name, ok := inv.env.lookup("FNPOD_PLATFORM"); ok {
		if !slices.Contains(platforms, name) {
			return "", &usageError{lines: []string{fmt.Sprintf("FNPOD_PLATFORM %q: must be %s", name, strings.Join(platforms, ", "))}}
		}
		return name, nil
	}
	if inv.name == "fwatchdog" {
		return platformOpenFaaS, nil
	}
	if bare {
		for _, name := range []string{"fprocess", "function_process", "mode", "upstream_url", "http_upstream_url"} {
			if _, ok := inv.env.lookup(name); ok {
				return platformOpenFaaS, nil
			}
		}
	}
	return platformNative, nil
}
