package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// parser turns a command line and an environment into settings. Kong knows the grammar and stops at the first
// error; so that all bad values are reported together, the values are decoded here, and a bad one is noted and
// replaced by its default until the command line has been read to its end.
type parser struct {
	kong     *kong.Kong
	env      environment
	origins  map[*kong.Value]string // where a value that is not the default came from
	defaults map[*kong.Value]reflect.Value
	problems []problem
}

// problem is one value that cannot be used.
type problem struct {
	Name    string // the setting or argument
	Value   string // as given
	Origin  string // "flag --x", "variable FNPOD_X", "argument" or "default"
	Allowed string // what is wrong and what would be right
}

func (p problem) String() string {
	return fmt.Sprintf("%s %q (%s): %s", p.Name, p.Value, p.Origin, p.Allowed)
}

// usageError is a command line or environment that we cannot start with; exit code 2. Every line stands for itself.
type usageError struct{ lines []string }

func (e *usageError) Error() string { return strings.Join(e.lines, "\n") }

// newParser builds the parser of a grammar, whose current values become the defaults.
func newParser(name, description string, grammar any, env environment, stdout io.Writer) (*parser, error) {
	p := &parser{env: env, origins: map[*kong.Value]string{}, defaults: map[*kong.Value]reflect.Value{}}
	options := []kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.Writers(stdout, stdout),
		kong.NoDefaultHelp(), // it calls os.Exit; helpFlag ends the parse instead
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 120}),
		kong.ValueFormatter(helpText),
		kong.WithHyphenPrefixedParameters(true), // -1 is a value, and perhaps a bad one
		kong.KindMapper(reflect.Int, p),
		kong.KindMapper(reflect.Int64, p),
		kong.KindMapper(reflect.Bool, p),
		kong.KindMapper(reflect.String, p),
		kong.NamedMapper("size", p),
		kong.Resolvers(kong.ResolverFunc(p.resolve)),
		kong.PostBuild(p.takeDefaults),
	}
	types := []reflect.Type{
		durationType, reflect.TypeFor[address](), reflect.TypeFor[upstream](), reflect.TypeFor[readyProbe](), reflect.TypeFor[queueClasses](), reflect.TypeFor[fairness](),
		reflect.TypeFor[poolSize](), reflect.TypeFor[warmups](), reflect.TypeFor[handler](), reflect.TypeFor[probeURL](),
	}
	for _, t := range types {
		options = append(options, kong.TypeMapper(t, p))
	}
	var err error
	p.kong, err = kong.New(grammar, options...)
	return p, err
}

// takeDefaults makes the values that the grammar was built with the defaults of its flags.
func (p *parser) takeDefaults(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		flag, ok := node.(*kong.Flag)
		if ok && !isHelp(flag) {
			value := reflect.New(flag.Target.Type()).Elem()
			value.Set(flag.Target)
			p.defaults[flag.Value] = value
			flag.Default, flag.HasDefault = encode(value, flag.Tag), true
		}
		return next(nil)
	})
}

// IsBoolFromValue tells kong which flags need no value.
func (p *parser) IsBoolFromValue(v reflect.Value) bool { return v.Kind() == reflect.Bool }

// Decode is called by kong for every value: once for what stands on the command line, then for the defaults and
// for what resolve found.
func (p *parser) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	text, err := p.text(ctx, target)
	if err != nil {
		return err
	}
	if err := decode(target, text, ctx.Value.Tag); err != nil {
		p.problems = append(p.problems, problem{
			Name: ctx.Value.Name, Value: text, Origin: p.origin(ctx.Value), Allowed: err.Error(),
		})
		if value, ok := p.defaults[ctx.Value]; ok {
			target.Set(value)
		}
	}
	return nil
}

// text takes the text of a value from the command line.
func (p *parser) text(ctx *kong.DecodeContext, target reflect.Value) (string, error) {
	if p.IsBoolFromValue(target) && ctx.Scan.Peek().Type != kong.FlagValueToken {
		return "true", nil
	}
	token := ctx.Scan.Pop()
	text := token.String()
	if token.IsEOL() || token.Type == kong.UntypedToken && strings.HasPrefix(text, "--") {
		return "", errors.New("needs a value")
	}
	return text, nil
}

// resolve gives kong the variable of a flag that is not on the command line.
func (p *parser) resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	name := variableOf(flag.Name)
	value, ok := p.env.lookup(name)
	if !ok || isHelp(flag) {
		return nil, nil
	}
	p.origins[flag.Value] = "variable " + name
	return value, nil
}

// origin tells where the value that is being decoded, or was decoded last, comes from.
func (p *parser) origin(v *kong.Value) string {
	if origin, ok := p.origins[v]; ok {
		return origin
	}
	if v.Flag == nil {
		return "argument"
	}
	return "flag --" + v.Name
}

// parse reads the command line. The error is a *usageError with a line for every bad value, or errHelp.
func (p *parser) parse(args []string) (*kong.Context, error) {
	ctx, err := p.kong.Parse(args)
	if errors.Is(err, errHelp) {
		return nil, errHelp
	}
	var lines []string
	if err != nil {
		lines = append(lines, grammarError(err))
	} else {
		p.check(ctx)
	}
	for _, bad := range p.problems {
		lines = append(lines, bad.String())
	}
	if len(lines) > 0 {
		return ctx, &usageError{lines: lines}
	}
	return ctx, nil
}

// grammarError says what kong does not understand, and where help is.
func grammarError(err error) string {
	text := strings.Replace(err.Error(), `expected "<`, `missing argument "<`, 1)
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		name := parse.Context.Model.Name
		if selected := parse.Context.Selected(); selected != nil {
			name = selected.FullPath()
		}
		text += "; see " + name + " --help"
	}
	return text
}

// A checker is a command whose settings can be wrong although each has the right form. Its error may be several
// joined ones; each begins with the name of the setting, perhaps with its value, and says after ": " what is allowed.
type checker interface{ check(env environment) error }

// check notes what the command has to say about its settings, with value and origin.
func (p *parser) check(ctx *kong.Context) {
	command, ok := reflect.TypeAssert[checker](ctx.Selected().Target.Addr())
	if !ok {
		return
	}
	settings := p.settings(ctx)
	for _, err := range leaves(command.check(p.env)) {
		head, allowed, _ := strings.Cut(err.Error(), ": ")
		name, _, _ := strings.Cut(head, " ")
		bad := problem{Name: name, Value: "", Origin: "default", Allowed: allowed}
		if i := slices.IndexFunc(settings, func(s setting) bool { return s.Name == name }); i >= 0 {
			bad.Value, bad.Origin = settings[i].Value, settings[i].Origin
		}
		p.problems = append(p.problems, bad)
	}
}

// leaves takes joined errors apart.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

// setting is an effective setting or argument.
type setting struct {
	Name, Value string
	Meaning     string // of an empty value
	Origin      string // "flag --x", "variable FNPOD_X", "argument" or "default"
}

// settings lists the arguments and effective settings of the chosen command in the order of their declaration.
func (p *parser) settings(ctx *kong.Context) []setting {
	given := map[*kong.Value]bool{}
	for _, el := range ctx.Path {
		if el.Flag != nil {
			given[el.Flag.Value] = true
		}
	}
	var all []setting
	for _, v := range ctx.Selected().Positional {
		all = append(all, setting{Name: v.Name, Value: encode(v.Target, v.Tag), Origin: p.origin(v)})
	}
	for _, flag := range ctx.Selected().Flags {
		s := setting{Name: flag.Name, Value: encode(flag.Target, flag.Tag), Origin: "default"}
		if s.Meaning = "(none)"; flag.Tag.Has("empty") {
			s.Meaning = flag.Tag.Get("empty")
		}
		if given[flag.Value] {
			s.Origin = p.origin(flag.Value)
		}
		all = append(all, s)
	}
	return all
}

// variables lists the variables of all settings of the grammar.
func (p *parser) variables() []string {
	var names []string
	for _, command := range p.kong.Model.Children {
		for _, flag := range command.Flags {
			names = append(names, variableOf(flag.Name))
		}
	}
	return names
}
