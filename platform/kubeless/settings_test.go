package kubeless_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fnpod/fnpod/platform/kubeless"
)

// folder is one of a function, with empty modules.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
	}
	return dir
}

// read reads settings from NAME=value entries.
func read(args []string, entries ...string) (*kubeless.Settings, error) {
	env := map[string]string{}
	for _, e := range entries {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	return kubeless.Read(func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}, args)
}

// Kubeless P1: where functions are, unless somebody says otherwise; the original's own variable goes before the controller's.
func TestP1Folder(t *testing.T) {
	_, err := read(nil, "MOD_NAME=no_such_module", "FUNC_HANDLER=f")
	require.ErrorContains(t, err, "there is no /kubeless/no_such_module.py")
	dir := folder(t, "hello.py")
	for _, entries := range [][]string{
		{"KUBELESS_INSTALL_VOLUME=" + dir},
		{"MOD_ROOT_PATH=" + dir, "KUBELESS_INSTALL_VOLUME=/kubeless"},
	} {
		s, err := read(nil, append(entries, "MOD_NAME=hello", "FUNC_HANDLER=f")...)
		require.NoError(t, err)
		require.Equal(t, filepath.Join(dir, "hello.py"), s.File)
	}
}

// Kubeless P2: all that the controller sets, as it sets it for a function without limits.
func TestP2Controller(t *testing.T) {
	dir := folder(t, "hello.py", "hello.js")
	for runtime, language := range map[string]string{"python3.8": kubeless.Python, "nodejs14": kubeless.Node} {
		s, err := read(nil, "MOD_NAME=hello", "FUNC_HANDLER=f", "FUNC_TIMEOUT=180", "FUNC_RUNTIME="+runtime, "FUNC_MEMORY_LIMIT=0", "FUNC_PORT=8080",
			"KUBELESS_INSTALL_VOLUME="+dir)
		require.NoError(t, err)
		require.Equal(t, language, s.Language)
		require.Equal(t, 180*time.Second, s.Timeout)
		require.Equal(t, 8080, s.Port)
	}
}

// Kubeless P3: the controller refuses a handler that is not two parts, and so do we, before a port opens.
func TestP3HandlerHasTwoParts(t *testing.T) {
	dir := folder(t, "a.b.py", "a.py")
	for _, c := range []struct{ module, function string }{{"a.b", "c"}, {"a", "b.c"}, {"a", ""}, {"", "b"}} {
		_, err := read(nil, "MOD_NAME="+c.module, "FUNC_HANDLER="+c.function, "MOD_ROOT_PATH="+dir)
		require.Error(t, err)
		if c.module != "" && c.function != "" {
			require.ErrorContains(t, err, "neither has a dot")
		}
	}
}

// Kubeless P2, PY2: what the controller sets, and what is not set.
func TestP2Defaults(t *testing.T) {
	dir := folder(t, "hello.py")
	s, err := read(nil, "MOD_NAME=hello", "FUNC_HANDLER=f", "KUBELESS_INSTALL_VOLUME="+dir)
	require.NoError(t, err)
	require.Equal(t, kubeless.Python, s.Language)
	require.Equal(t, filepath.Join(dir, "hello.py"), s.File)
	require.Equal(t, "f", s.Function)
	require.Equal(t, 8080, s.Port, "P5")
	require.Equal(t, 180*time.Second, s.Timeout)
	require.Equal(t, 10, s.Threads, "PY4")
	require.EqualValues(t, 100<<20, s.MaxJSON)
	require.True(t, s.Isolated, "PY16")
	require.False(t, s.Spawned || s.Strict || s.CORS)
}

// Kubeless PY2: every variable of Python's server.
func TestPY2Variables(t *testing.T) {
	s, err := read(nil, "MOD_NAME=hello", "FUNC_HANDLER=f", "MOD_ROOT_PATH="+folder(t, "hello.py"), "FUNC_PORT=9001", "FUNC_TIMEOUT=0.5", "FUNC_MEMFILE_MAX=7",
		"CHERRYPY_NUMTHREADS=3", "MP_CONTEXT=spawn", "FNPOD_KUBELESS_STRICT=true", "FNPOD_KUBELESS_CORS=true", "FNPOD_KUBELESS_ISOLATE=off", "FUNC_RUNTIME=python3.8")
	require.NoError(t, err)
	require.Equal(t, 9001, s.Port)
	require.Equal(t, 500*time.Millisecond, s.Timeout)
	require.EqualValues(t, 7, s.MaxJSON)
	require.Equal(t, 3, s.Threads)
	require.True(t, s.Spawned && s.Strict && s.CORS)
	require.False(t, s.Isolated)
}

// Kubeless N2: every variable of Node's server.
func TestN2Variables(t *testing.T) {
	dir := folder(t, "hello.js", "hello.py")
	s, err := read(nil, "MOD_NAME=hello", "FUNC_HANDLER=f", "MOD_ROOT_PATH="+dir, "FUNC_RUNTIME=nodejs14", "REQ_MB_LIMIT=0.5")
	require.NoError(t, err)
	require.Equal(t, kubeless.Node, s.Language)
	require.Equal(t, filepath.Join(dir, "hello.js"), s.File)
	require.EqualValues(t, 512<<10, s.MaxBody)
	s, err = read(nil, "MOD_NAME=hello", "FUNC_HANDLER=f", "MOD_ROOT_PATH="+dir, "FUNC_RUNTIME=nodejs14")
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, s.MaxBody)
}

// Kubeless G: the native server is what FUNC_PROCESS starts, or the image's own command.
func TestG1Command(t *testing.T) {
	s, err := read([]string{"/proxy"}, "FUNC_PROCESS=ruby /kubeless.rb", "FUNC_RUNTIME=ruby2.6", "SHUTDOWN_TIMEOUT=4")
	require.NoError(t, err)
	require.Equal(t, kubeless.Server, s.Language)
	require.Equal(t, []string{"/bin/sh", "-c", "ruby /kubeless.rb"}, s.Command)
	require.Equal(t, 4*time.Second, s.Shutdown, "G6")
	s, err = read([]string{"/kubeless/server", "-v"}, "FUNC_RUNTIME=go1.14")
	require.NoError(t, err)
	require.Equal(t, []string{"/kubeless/server", "-v"}, s.Command)
	require.Equal(t, 10*time.Second, s.Shutdown, "G6")
	s, err = read([]string{"python", "/_kubeless.py"}, "MOD_NAME=hello", "FUNC_HANDLER=f", "MOD_ROOT_PATH="+folder(t, "hello.py"))
	require.NoError(t, err)
	require.Equal(t, kubeless.Python, s.Language, "the command of the original's image is what we replace")
}

// What is missing or wrong is told by the name of its variable, with the way out, all of it at once.
func TestPY1ErrorsNameTheVariable(t *testing.T) {
	dir := folder(t, "hello.py")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.py"), 0o700))
	good := []string{"MOD_NAME=hello", "FUNC_HANDLER=f", "MOD_ROOT_PATH=" + dir}
	for _, c := range []struct {
		name, variable, tells string
	}{
		{"no module", "MOD_NAME=", "MOD_NAME is not set"},
		{"no function", "FUNC_HANDLER=", "FUNC_HANDLER is not set"},
		{"PY1 own name", "MOD_NAME=_kubeless", `MOD_NAME "_kubeless": a module cannot have this name`},
		{"no file", "MOD_NAME=other", filepath.Join(dir, "other.py")},
		{"a folder", "MOD_NAME=folder", filepath.Join(dir, "folder.py")},
		{"outside", "MOD_NAME=/hello", `MOD_NAME "/hello": must be the name of a file in ` + dir},
		{"outside, above", "MOD_NAME=../hello", `MOD_NAME "../hello"`},
		{"function", "FUNC_HANDLER=a:b", `FUNC_HANDLER "a:b"`},
		{"P5 port", "FUNC_PORT=tcp://10.0.0.1:80", `FUNC_PORT "tcp://10.0.0.1:80": must be a whole number from 1 to 65535`},
		{"timeout", "FUNC_TIMEOUT=soon", `FUNC_TIMEOUT "soon": must be a number of seconds`},
		{"timeout of nothing", "FUNC_TIMEOUT=0", `FUNC_TIMEOUT "0"`},
		{"timeout that is none", "FUNC_TIMEOUT=NaN", `FUNC_TIMEOUT "NaN"`},
		{"PY2 memfile", "FUNC_MEMFILE_MAX=1k", `FUNC_MEMFILE_MAX "1k"`},
		{"PY2 threads", "CHERRYPY_NUMTHREADS=0", `CHERRYPY_NUMTHREADS "0": must be a whole number from 1 to 4096`},
		{"PY2 context", "MP_CONTEXT=fork", `MP_CONTEXT "fork": must be forkserver or spawn`},
		{"strict", "FNPOD_KUBELESS_STRICT=yes", `FNPOD_KUBELESS_STRICT "yes": must be false or true`},
		{"isolate", "FNPOD_KUBELESS_ISOLATE=on", `FNPOD_KUBELESS_ISOLATE "on": must be process or off`},
		{"runtime", "FUNC_RUNTIME=cobol", `FUNC_RUNTIME "cobol"`},
		{"compiled runtime", "FUNC_RUNTIME=java11", "FUNC_PROCESS must be what starts it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(nil, append(good, c.variable)...)
			require.ErrorContains(t, err, c.tells)
		})
	}
	_, err := read(nil, append(good, "FUNC_PORT=0", "FUNC_TIMEOUT=-1", "MP_CONTEXT=x")...)
	require.ErrorContains(t, err, "FUNC_PORT")
	require.ErrorContains(t, err, "FUNC_TIMEOUT")
	require.ErrorContains(t, err, "MP_CONTEXT")
}
