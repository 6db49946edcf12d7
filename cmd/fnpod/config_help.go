package main

import (
	"errors"

	"github.com/alecthomas/kong"
)

// errHelp ends a parse after the help was printed.
var errHelp = errors.New("help was asked for")

// helpFlag prints the help of the command it stands behind.
type helpFlag bool

// BeforeReset runs as soon as the command line has been read, before anything on it can be wrong.
func (h helpFlag) BeforeReset(ctx *kong.Context) error {
	if err := ctx.PrintUsage(false); err != nil {
		return err
	}
	return errHelp
}

// IgnoreDefault keeps kong from choosing the default command for the help.
func (h helpFlag) IgnoreDefault() {}

func isHelp(flag *kong.Flag) bool { return flag.Name == "help" }

// PlaceHolder shows the default of a flag in its help, or the kind of value when the default is nothing.
func (p *parser) PlaceHolder(flag *kong.Flag) string {
	if flag.Default == "" {
		return flag.PlaceHolder
	}
	return flag.Default
}

// helpText is the help of a flag with its variable.
func helpText(v *kong.Value) string {
	if v.Flag == nil || isHelp(v.Flag) {
		return v.Help
	}
	return v.Help + " [$" + variableOf(v.Name) + "]"
}
