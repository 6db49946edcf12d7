package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X main.version=… -X main.commit=….
var (
	version string
	commit  string
)

// versionCmd prints what this binary is.
type versionCmd struct{}

// Run prints one line.
func (c *versionCmd) Run(_ context.Context, inv *invocation) error {
	_, err := fmt.Fprintln(inv.stdout, versionLine())
	return err
}

// buildVersion is the version alone.
func buildVersion() string {
	v, _ := build()
	return v
}

// versionLine is what fnpod version prints.
func versionLine() string {
	v, c := build()
	return fmt.Sprintf("fnpod %s, commit %s, %s %s/%s", v, c, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// build prefers what the linker was told over what the build recorded.
func build() (v, c string) {
	v, c = version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && c == "" {
				c = s.Value
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	if c == "" {
		c = "unknown"
	}
	return v, c
}
