package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/fnpod/fnpod/platform/kubeless"
)

// kubelessReading is what was read of an environment, and where from.
type kubelessReading struct {
	settings []kubeless.Setting
	parser   *parser       // nil: Kubeless' settings cannot be used
	context  *kong.Context // likewise
}

// kubelessCheck prints what a pod would use.
type kubelessCheck struct{}

// Run prints the settings on standard output, and what is wrong or suspicious on standard error.
func (kubelessCheck) Run(_ context.Context, inv *invocation) error {
	_, read, err := inv.kubeless(nil)
	var first []setting
	for _, s := range read.settings {
		row := setting{Name: s.Name, Value: s.Value, Meaning: "(none)", Origin: "default"}
		if s.Set {
			row.Origin = "variable " + s.Name
		}
		first = append(first, row)
	}
	if err := printSettings(inv.stdout, read.parser, read.context, first...); err != nil {
		return err
	}
	for _, w := range inv.warnings {
		fmt.Fprintf(inv.stderr, "fnpod: warning: %s\n", w)
	}
	return err
}
