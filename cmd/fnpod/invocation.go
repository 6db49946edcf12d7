package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
)

const description = "fnpod serves a function: an HTTP front door and a bounded queue before warm workers, a process or an upstream.\n\n" +
	"Every flag is also a variable. A flag beats its variable, a variable beats the default. An empty variable counts as not set."

// invocation is one call of fnpod: what the process was given.
type invocation struct {
	name     string // what the program was called by
	env      environment
	stdout   io.Writer
	stderr   io.Writer
	warnings []warning   // what looks wrong in env
	limited  *limitedLog // nil before there is a log
	pipe     *logPipe    // over stdout; nil before the function prints there

	hurried atomic.Int32 // exit code after a second stop signal; 0 means 128 and its number
}

func newInvocation(name string, environ []string, stdout, stderr io.Writer) *invocation {
	return &invocation{name: filepath.Base(name), env: newEnvironment(environ), stdout: stdout, stderr: stderr}
}

// A runner is a command. Run returns when the command is done; ctx ends with the first stop signal.
type runner interface {
	Run(ctx context.Context, inv *invocation) error
}

// command finds the command that args ask for, with its settings complete and checked.
func (inv *invocation) command(args []string) (runner, error) {
	if r, err := inv.asPlatform(args); r != nil || err != nil {
		return r, err
	}
	if len(args) == 0 {
		return nil, inv.noCommand()
	}
	args = customary(args)
	p, err := newParser("fnpod", description, only(args[0], defaults()), inv.env, inv.stdout)
	if err != nil {
		return nil, err
	}
	if name := args[0]; !strings.HasPrefix(name, "-") && !p.hasCommand(name) {
		return nil, p.unknownCommand(name)
	}
	ctx, err := p.parse(args)
	if err != nil {
		return nil, err
	}
	if inv.warnings, err = inv.unknownVariables(p); err != nil {
		return nil, err
	}
	command, ok := reflect.TypeAssert[runner](ctx.Selected().Target.Addr())
	if !ok {
		return nil, fmt.Errorf("command %s cannot be run", ctx.Selected().Name)
	}
	return command, nil
}

// only is the grammar with one command alone, or the whole one if it has no such command. To build the rest would be half of the time that
// fnpod needs to start.
func only(command string, grammar *commands) any {
	all := reflect.ValueOf(grammar).Elem()
	field, ok := all.Type().FieldByNameFunc(func(name string) bool { return command != "help" && strings.ToLower(name) == command })
	if !ok {
		return grammar
	}
	help, _ := all.Type().FieldByName("Help")
	one := reflect.New(reflect.StructOf([]reflect.StructField{help, field}))
	one.Elem().Field(1).Set(all.FieldByIndex(field.Index))
	return one.Interface()
}

// unknownVariables are those that no command has; p may know one command alone.
func (inv *invocation) unknownVariables(p *parser) ([]warning, error) {
	if len(inv.env.unknown(p.variables())) == 0 {
		return nil, nil
	}
	p, err := newParser("fnpod", description, defaults(), inv.env, inv.stdout)
	if err != nil {
		return nil, err
	}
	return inv.env.unknown(p.variables()), nil
}

// customary turns what people type at other programs into what it is called here.
func customary(args []string) []string {
	switch args[0] {
	case "help":
		return append(args[1:len(args):len(args)], "--help")
	case "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// noCommand is the answer to a call without arguments: nothing tells us what to do, so we tell how we are used.
func (inv *invocation) noCommand() error {
	p, err := newParser("fnpod", description, defaults(), inv.env, inv.stderr)
	if err != nil {
		return err
	}
	if _, err := p.parse([]string{"--help"}); !errors.Is(err, errHelp) {
		return err
	}
	return &exitError{code: exitUsage}
}

func (p *parser) hasCommand(name string) bool {
	for _, c := range p.kong.Model.Children {
		if c.Name == name {
			return true
		}
	}
	return false
}

func (p *parser) unknownCommand(name string) error {
	var names []string
	for _, c := range p.kong.Model.Children {
		names = append(names, c.Name)
	}
	line := fmt.Sprintf("unknown command %q: there are %s", name, strings.Join(names, ", "))
	if near := closest(name, names); near != "" {
		line = fmt.Sprintf("unknown command %q: did you mean %s?", name, near)
	}
	return &usageError{lines: []string{line}}
}

// logger returns the logger of a command and logs what was noticed before there was one.
func (inv *invocation) logger(s logSettings) *slog.Logger { return inv.loggerOf(s.handler(inv.stderr)) }

// loggerOf is logger with a platform's own lines.
func (inv *invocation) loggerOf(h slog.Handler) *slog.Logger {
	inv.limited = limitLog(h)
	log := slog.New(inv.limited)
	inv.tellLosses(log)
	for _, w := range inv.warnings {
		attrs := []any{"variable", w.Variable}
		if w.Suggestion != "" {
			attrs = append(attrs, "did_you_mean", w.Suggestion)
		}
		log.Warn("unknown variable has no effect", attrs...)
	}
	return log
}

func (s logSettings) handler(w io.Writer) slog.Handler {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	options := &slog.HandlerOptions{Level: levels[s.Level]}
	if s.Format == "text" {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}
