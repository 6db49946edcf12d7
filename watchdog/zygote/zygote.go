// Package zygote holds the programs of warm processes that fork for each request: one per language, with the same commands.
//
//	python.py  compiles the script and imports what it names
//	ruby.rb    compiles the script and loads what it requires
//	perl.pl    loads the modules that the script uses
package zygote

import (
	_ "embed" // the sources below
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

//go:embed python.py
var python string

//go:embed ruby.rb
var ruby string

//go:embed perl.pl
var perl string

// language is an interpreter that can be one.
type language struct {
	name   *regexp.Regexp // of the program
	source string
	plain  *regexp.Regexp // options that may stand before the script
	valued []string       // options whose value is the next argument
	code   string         // the option that a script on the command line follows; empty: none is taken
}

// languages are made when a zygote is asked for: most pods have none.
var languages = sync.OnceValue(func() []language {
	return []language{
		{
			name: regexp.MustCompile(`^python[0-9.]*$`), source: python, code: "-c",
			plain: regexp.MustCompile(`^-[uBOEsSIPqb]+$|^-[WX].+$`), valued: []string{"-W", "-X"},
		},
		{
			name: regexp.MustCompile(`^ruby[0-9.]*$`), source: ruby,
			plain: regexp.MustCompile(`^-[wU]$|^-[IrEW].+$|^--(disable|enable)[-=].+$|^--(yjit|jit)$`), valued: []string{"-I", "-r", "-E"},
		},
		{
			name: regexp.MustCompile(`^perl[0-9.]*$`), source: perl,
			plain: regexp.MustCompile(`^-[wWX]$|^-[IMmC].+$`), valued: []string{"-I"},
		},
	}
})

// TooOld is the exit code of a program whose interpreter is.
const TooOld = 90

// File is where a program is to be found by its interpreter: descriptor 4. Descriptor 3 is for commands.
const File = "/proc/self/fd/4"

// Load says what a zygote does before it is ready.
type Load string

// What a zygote can do.
const (
	Later    Load = "later"    // nothing: each process runs the script
	Preload  Load = "preload"  // it loads what the script's statements import
	Resident Load = "resident" // it runs the script, whose function request each process calls; Python only
)

// For returns the arguments of a zygote for a command line, and its program. It is false when there is none: another
// interpreter, or options that are not known to mean the same.
func For(args []string, load Load) (argv []string, source string, ok bool) {
	if len(args) < 2 {
		return nil, "", false
	}
	for _, l := range languages() {
		if l.name.MatchString(filepath.Base(args[0])) {
			if load == Resident && l.source != python {
				return nil, "", false
			}
			argv, ok = l.arguments(args, load)
			return argv, l.source, ok
		}
	}
	return nil, "", false
}

func (l *language) arguments(args []string, load Load) ([]string, bool) {
	argv := []string{args[0]}
	rest := args[1:]
	kind := "file"
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		switch option := rest[0]; {
		case l.code != "" && option == l.code:
			kind = "code"
		case slices.Contains(l.valued, option) && len(rest) > 1:
			argv, rest = append(argv, option, rest[1]), rest[2:]
			continue
		case l.plain.MatchString(option):
			argv, rest = append(argv, option), rest[1:]
			continue
		default:
			return nil, false
		}
		rest = rest[1:]
		break
	}
	if len(rest) == 0 {
		return nil, false
	}
	argv = append(argv, File, string(load), strconv.Itoa(unix.SYS_RECVMSG), strconv.Itoa(unix.SYS_WAITID), kind)
	return append(argv, rest...), true
}
