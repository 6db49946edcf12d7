package workers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fnpod/fnpod/workers/wrapper"
)

// Handler names the function that workers run.
type Handler struct {
	File     string // absolute path
	Function string // empty: the language's default
}

// language is a language we have a wrapper for.
type language struct {
	name       string
	extensions []string
	program    string                       // interpreter, unless configured
	args       []string                     // between the program and the wrapper's path
	own        []string                     // arguments that print the interpreter's real path to fd 3; none: it is never asked
	wrapper    func(contract string) string // source; empty for a contract that the language has not
	compiler   []string                     // arguments that compile the wrapper from fd 6 to fd 3; none: it cannot be
	contracts  []string
	watched    []string // extensions of files of a function
}

// program is no language: a file with another extension that can be executed speaks the protocol itself.
var program = language{name: "program", contracts: []string{wrapper.Native}}

// languages are tried in order; the first with the file's extension is taken.
func languages() []*language { return []*language{&python, &node, &ruby, &php, &perl, &java} }

var python = language{
	name:       "python",
	extensions: []string{".py"},
	program:    "python3",
	own:        []string{"-c", "import os, sys; os.write(3, os.fsencode(sys.executable))"},
	wrapper:    wrapper.Python,
	compiler:   []string{"-I", "-S", "-c", wrapper.PythonCompiler},
	contracts:  wrapper.PythonContracts(),
	watched:    []string{".py"},
}

var node = language{
	name:       "node",
	extensions: []string{".js", ".mjs", ".cjs"},
	program:    "node",
	// The wrapper is opened through procfs, where the link's target is no path.
	args:      []string{"--preserve-symlinks-main"},
	own:       []string{"-e", "require('fs').writeSync(3, process.execPath)"},
	wrapper:   wrapper.Node,
	contracts: wrapper.NodeContracts(),
	watched:   []string{".js", ".mjs", ".cjs", ".json"},
}

var ruby = language{
	name:       "ruby",
	extensions: []string{".rb"},
	program:    "ruby",
	own:        []string{"-e", "require 'rbconfig'; IO.for_fd(3).syswrite(RbConfig.ruby)"},
	wrapper:    wrapper.Ruby,
	contracts:  wrapper.RubyContracts(),
	watched:    []string{".rb"},
}

var php = language{
	name:       "php",
	extensions: []string{".php"},
	program:    "php",
	own:        []string{"-r", "fwrite(fopen('php://fd/3', 'wb'), PHP_BINARY);"},
	wrapper:    wrapper.PHP,
	contracts:  wrapper.PHPContracts(),
	watched:    []string{".php"},
}

var perl = language{
	name:       "perl",
	extensions: []string{".pl"},
	program:    "perl",
	own:        []string{"-e", "open my $f, '>&=', 3; syswrite $f, $^X"},
	wrapper:    wrapper.Perl,
	contracts:  []string{wrapper.Native},
	watched:    []string{".pl", ".pm"},
}

var java = language{
	name:       "java",
	extensions: []string{".java", ".jar"},
	program:    "java",
	args:       []string{"-XX:-UsePerfData", "-jar"}, // no file in /tmp for each worker
	wrapper:    wrapper.Java,
	contracts:  wrapper.JavaContracts(),
	watched:    []string{".java", ".jar"},
}

// ParseHandler reads FILE[:function]. The file must exist, be readable and have
// the extension of a language we know.
func ParseHandler(spec string) (Handler, error) {
	file, function := spec, ""
	if i := strings.LastIndexByte(spec, ':'); i > strings.LastIndexByte(spec, '/') {
		file, function = spec[:i], spec[i+1:]
		if function == "" {
			return Handler{}, fmt.Errorf("handler %q: no function name after the colon", spec)
		}
	}
	if file == "" {
		return Handler{}, fmt.Errorf("handler %q: no file name", spec)
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return Handler{}, fmt.Errorf("handler %q: %w", spec, err)
	}
	h := Handler{File: file, Function: function}
	return h, h.validate()
}

// String returns the handler as workers are told: FILE:function, or FILE:.
func (h Handler) String() string {
	if h.File == "" {
		return ""
	}
	return h.File + ":" + h.Function
}

// Language returns the name of the language that the file's extension stands for, or
// "program" for another file that can be executed; empty if it cannot.
func (h Handler) Language() string {
	if l := h.language(); l != nil {
		return l.name
	}
	return ""
}

func (h Handler) language() *language {
	for _, l := range languages() {
		if slices.Contains(l.extensions, filepath.Ext(h.File)) {
			return l
		}
	}
	if filepath.Ext(h.File) != ".sh" && unix.Faccessat(unix.AT_FDCWD, h.File, unix.X_OK, unix.AT_EACCESS) == nil {
		return &program
	}
	return nil
}

func (h Handler) validate() error {
	switch {
	case h.File == "":
		return errors.New("handler: no file given")
	case !filepath.IsAbs(h.File) || strings.ContainsRune(h.File+h.Function, 0):
		return fmt.Errorf("handler %q: must be an absolute path", h.File)
	}
	info, err := os.Stat(h.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("handler %q: no such file", h.File)
	case err != nil:
		return fmt.Errorf("handler %q: %w", h.File, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("handler %q: not a regular file", h.File)
	case filepath.Ext(h.File) == ".sh":
		return fmt.Errorf("handler %q: a shell script is started for each request: fnpod run --mode streaming -- sh %s", h.File, h.File)
	case h.language() == nil:
		return fmt.Errorf("handler %q: unknown extension %q: allowed are %s, or a program that speaks the worker protocol",
			h.File, filepath.Ext(h.File), extensions())
	}
	if err := unix.Faccessat(unix.AT_FDCWD, h.File, unix.R_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("handler %q: cannot be read: %w", h.File, err)
	}
	return nil
}

func extensions() string {
	var all []string
	for _, l := range languages() {
		all = append(all, l.extensions...)
	}
	return strings.Join(all, ", ")
}

// lookPath finds a program in a list of folders like $PATH.
func lookPath(program, path string) (string, error) {
	if strings.ContainsRune(program, '/') {
		return filepath.Abs(program)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // never run what happens to lie in the working directory
		}
		file := filepath.Join(dir, program)
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: not found in %s", program, path)
}

// isScript reports whether a program is a script, as the shims of version
// managers are; they cost more time than the interpreter itself.
func isScript(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	var magic [2]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "#!"
}
