package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/fnpod/fnpod/workers"
)

const checkDescription = "Print the effective settings of a command and where each comes from, without starting anything. " +
	"Exit code 2 when one is wrong. Without a command: every setting that variables and defaults give."

// checkCmd checks the settings of another command line.
type checkCmd struct {
	Args []string `arg:"" optional:"" name:"command" help:"serve, run or proxy with the arguments it would be started with."`
}

// checkable is the grammar of what stands behind check.
type checkable struct {
	Help helpFlag `short:"h" help:"Show this help."`

	Serve serveCmd  `cmd:"" help:"Check what serve would use."`
	Run   runCmd    `cmd:"" help:"Check what run would use."`
	Proxy proxyCmd  `cmd:"" help:"Check what proxy would use."`
	All   everyFlag `cmd:"" default:"withargs" hidden:""`
}

// everyFlag has the settings of all commands, for a check of variables alone.
type everyFlag struct {
	Front    front            `embed:""`
	Function functionSettings `embed:"" group:"Function process"`
	Fork     forkSettings     `embed:"" group:"Process per request"`
	Workers  workerSettings   `embed:"" group:"Workers"`
}

func (c *everyFlag) check(env environment) error {
	return errors.Join(c.Front.check(), c.Function.check(c.Front.Listen), c.Fork.check(), c.Workers.check(workers.Handler{}, env))
}

// Run prints the settings on standard output, and what is wrong or suspicious on standard error.
func (c *checkCmd) Run(_ context.Context, inv *invocation) error {
	d := defaults()
	grammar := &checkable{
		Serve: d.Serve, Run: d.Run, Proxy: d.Proxy,
		All: everyFlag{Front: d.Serve.Front, Function: d.Run.Function, Fork: d.Run.Fork, Workers: d.Serve.Workers},
	}
	p, err := newParser("fnpod check", checkDescription, grammar, inv.env, inv.stdout)
	if err != nil {
		return err
	}
	ctx, err := p.parse(c.Args)
	if ctx != nil && ctx.Selected() != nil {
		if err := printSettings(inv.stdout, p, ctx); err != nil {
			return err
		}
	}
	for _, w := range inv.warnings {
		fmt.Fprintf(inv.stderr, "fnpod: warning: %s\n", w)
	}
	return err
}

// printSettings shows a bad value as it was given. Those of a platform come first; the parser may be nil.
func printSettings(w io.Writer, p *parser, ctx *kong.Context, platform ...setting) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tORIGIN")
	all := platform
	if p != nil && ctx != nil && ctx.Selected() != nil {
		bad := map[string]problem{}
		for _, b := range p.problems {
			bad[b.Name] = b
		}
		for _, s := range p.settings(ctx) {
			if b, ok := bad[s.Name]; ok {
				s.Value, s.Origin = b.Value, b.Origin+", cannot be used"
			}
			all = append(all, s)
		}
	}
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, cmp.Or(s.Value, s.Meaning), s.Origin)
	}
	return table.Flush()
}
