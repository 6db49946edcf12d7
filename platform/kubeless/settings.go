package kubeless

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Languages of functions. Server is none: what FUNC_PROCESS starts, or the command line, is an HTTP server.
const (
	Python = "python"
	Node   = "nodejs"
	Server = "server"
)

// Settings are what the environment says.
type Settings struct {
	Language string   // one of the constants
	File     string   // the module, absolute; empty for a Server
	Function string   // in it; empty for a Server
	Command  []string // of a Server

	Port     int
	Timeout  time.Duration // of one call
	Shutdown time.Duration // of a Server: how long calls may take to end when the pod does

	Threads  int   // Python: calls that run at once
	Isolated bool  // Python: each call has a process of its own
	Spawned  bool  // Isolated: that loads the module by itself
	MaxJSON  int64 // Python: bytes of a body that is JSON
	MaxBody  int64 // Node: bytes of a body that is no form with files

	Strict bool // the original's oddities, too
	CORS   bool // Python: pages of other origins may call the function

	Read []Setting // what was read, in order
}

// Named reports whether the environment is that of a function of Kubeless.
func Named(lookup func(name string) (string, bool)) bool {
	module, _ := lookup("MOD_NAME")
	function, _ := lookup("FUNC_HANDLER")
	return module != "" && function != ""
}

// Places and numbers of the original.
const (
	folder       = "/kubeless"
	defaultPort  = 8080
	ServerPort   = 8090 // where a Server listens
	threads      = 10
	mostThreads  = 4096
	timeout      = 180
	shutdown     = 10
	maxJSON      = 100 << 20
	mostJSON     = 1 << 40
	requestMB    = 1
	mostMB       = 1 << 20
	ownModule    = "_kubeless" // the server of the original
	isolateCalls = "process"
)

// originals are the files of the servers that we take the place of; an image may have one in its command.
var originals = []string{"_kubeless.py", "kubeless.py", "kubeless.js", "proxy"}

// Read reads the settings. args is the command of the image, as far as it was given to us. The error joins one line for each
// value that is missing or cannot be used.
func Read(lookup func(name string) (string, bool), args []string) (*Settings, error) {
	r := &reader{lookup: lookup}
	s := &Settings{
		Command: command(r, args),
		Port:    int(r.number("FUNC_PORT", defaultPort, 1, 65535)),
		Timeout: r.seconds("FUNC_TIMEOUT", timeout),
		Strict:  r.flag("FNPOD_KUBELESS_STRICT"),
	}
	runtime := r.text("FUNC_RUNTIME", "")
	r.text("FUNC_MEMORY_LIMIT", "") // for the function alone
	if len(s.Command) > 0 {
		s.Language = Server
		s.Shutdown = r.seconds("SHUTDOWN_TIMEOUT", shutdown)
	} else {
		s.find(r, runtime)
	}
	switch s.Language {
	case Python:
		s.Threads = int(r.number("CHERRYPY_NUMTHREADS", threads, 1, mostThreads))
		s.MaxJSON = r.number("FUNC_MEMFILE_MAX", maxJSON, 1, mostJSON)
		s.Spawned = r.oneOf("MP_CONTEXT", "forkserver", "spawn") == "spawn"
		s.Isolated = r.oneOf("FNPOD_KUBELESS_ISOLATE", isolateCalls, "off") == isolateCalls
		s.CORS = r.flag("FNPOD_KUBELESS_CORS")
	case Node:
		s.MaxBody = r.amount("REQ_MB_LIMIT", requestMB, 1<<20, "MB", mostMB)
	}
	s.Read = r.read
	return s, r.err()
}

// command is what starts a Server: the command line that FUNC_PROCESS is for a shell, or the image's own command.
func command(r *reader, args []string) []string {
	if process := r.text("FUNC_PROCESS", ""); process != "" {
		return []string{"/bin/sh", "-c", process}
	}
	if len(args) == 0 {
		return nil
	}
	for _, name := range originals {
		if filepath.Base(args[len(args)-1]) == name {
			return nil
		}
	}
	return args
}

// servers are runtimes whose functions are compiled into their server.
var servers = []string{"go", "java", "jvm", "vertx", "dotnetcore", "ballerina", "ruby", "php"}

// find finds the module of the function, and with it the language.
func (s *Settings) find(r *reader, runtime string) {
	module := r.required("MOD_NAME", "the part of the handler before the dot, which is the name of its file")
	s.Function = r.required("FUNC_HANDLER", "the part of the handler behind the dot, which is the name of the function")
	root := r.text("MOD_ROOT_PATH", r.text("KUBELESS_INSTALL_VOLUME", folder))
	for _, name := range servers {
		if strings.HasPrefix(runtime, name) {
			r.fail("FUNC_RUNTIME %q: its functions have servers of their own: FUNC_PROCESS must be what starts it, such as \"ruby /kubeless.rb\" or /kubeless/server", runtime)
			return
		}
	}
	switch {
	case module == "" || s.Function == "":
		return
	case module == ownModule:
		r.fail("MOD_NAME %q: a module cannot have this name", module)
		return
	case strings.Contains(module, ".") || strings.Contains(s.Function, "."): // the dot of the handler is between them, and the only one
		r.fail("MOD_NAME %q, FUNC_HANDLER %q: the handler is a module and a function of it: neither has a dot", module, s.Function)
		return
	case !filepath.IsLocal(module) || strings.ContainsAny(module, "\x00:"):
		r.fail("MOD_NAME %q: must be the name of a file in %s, without its extension", module, root)
		return
	case strings.ContainsAny(s.Function, "\x00:/"):
		r.fail("FUNC_HANDLER %q: must be the name of a function", s.Function)
		return
	}
	root, err := filepath.Abs(root)
	if err != nil {
		r.fail("MOD_ROOT_PATH %q: %w", root, err)
		return
	}
	s.choose(r, filepath.Join(root, module), runtime)
}

// choose takes the file that is there. If there are files of both languages, FUNC_RUNTIME tells which is meant.
func (s *Settings) choose(r *reader, stem, runtime string) {
	extensions := map[string]string{Python: ".py", Node: ".js"}
	order := []string{Python, Node}
	switch {
	case strings.HasPrefix(runtime, Python):
		order = order[:1]
	case strings.HasPrefix(runtime, Node):
		order = order[1:]
	case runtime != "":
		r.fail("FUNC_RUNTIME %q: must begin with %s or %s; other runtimes need FUNC_PROCESS, which starts their server", runtime, Python, Node)
		return
	}
	var names []string
	for _, language := range order {
		file := stem + extensions[language]
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() {
			s.Language, s.File = language, file
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.fail("MOD_NAME %q: %w", filepath.Base(stem), err)
			return
		}
		names = append(names, file)
	}
	r.fail("MOD_NAME %q: there is no %s: the function's file must be there, or MOD_ROOT_PATH must be its folder", filepath.Base(stem), strings.Join(names, " and no "))
}
