package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const manualHead = `# Configuration

<!-- Written by "make docs" from the declarations in cmd/fnpod/config.go. Do not edit. -->

Every setting is a flag and an environment variable. A flag beats its variable, a variable beats the default; an empty
variable counts as not set. "fnpod check" followed by a command line prints the effective settings with their origin
and starts nothing.

- Durations have a unit: ` + "`250ms`, `30s`, `5m`, `1h`" + `.
- Sizes are bytes, or have a unit: ` + "`4096`, `64KiB`, `10MB`" + `; KiB, MiB, GiB are powers of 1024, kB, MB, GB of 1000.
- Addresses are ` + "`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/f.sock`" + `.
- Switches are ` + "`true` or `false`" + `; as a flag the name alone means true.

All bad values are reported together, one line each, before any port opens; the exit code is then 2. A variable that
begins with FNPOD_ and is no setting is reported as a warning, except those that Kubernetes injects for services.

## Commands

`

// manualSetting is a setting with the commands that have it.
type manualSetting struct {
	flag     *kong.Flag
	commands []string
}

// writeManual writes docs/configuration.md.
func writeManual(w io.Writer) error {
	p, err := newParser("fnpod", description, defaults(), nil, io.Discard)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(manualHead)
	for _, c := range p.kong.Model.Children {
		fmt.Fprintf(&b, "- `fnpod %s`: %s\n", c.Summary(), c.Help)
	}
	var group string
	for _, s := range manualSettings(p.kong.Model.Children) {
		if s.flag.Group.Title != group {
			group = s.flag.Group.Title
			fmt.Fprintf(&b, "\n## %s\n\n| flag | variable | default | meaning | commands |\n|---|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s | %s |\n", s.flag.Name, variableOf(s.flag.Name),
			code(s.flag.Default), cell(s.flag.Help), strings.Join(s.commands, ", "))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// manualSettings merges the settings of the commands that have the same default, and sorts them by group, in the order of declaration.
func manualSettings(commands []*kong.Node) []manualSetting {
	var all []manualSetting
	var groups []string
	for _, c := range commands {
		for _, flag := range c.Flags {
			i := slices.IndexFunc(all, func(s manualSetting) bool {
				return s.flag.Name == flag.Name && s.flag.Default == flag.Default
			})
			if i < 0 {
				i = after(all, flag.Name)
				all = slices.Insert(all, i, manualSetting{flag: flag})
				groups = append(groups, flag.Group.Title)
			}
			all[i].commands = append(all[i].commands, c.Name)
		}
	}
	slices.SortStableFunc(all, func(a, b manualSetting) int {
		return slices.Index(groups, a.flag.Group.Title) - slices.Index(groups, b.flag.Group.Title)
	})
	return all
}

// after is the place behind the settings called name, or the end.
func after(all []manualSetting, name string) int {
	i := len(all)
	for i > 0 && all[i-1].flag.Name != name {
		i--
	}
	if i == 0 {
		return len(all)
	}
	return i
}

func code(s string) string {
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
