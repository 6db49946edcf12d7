package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// kubelessEnv is the environment of a function of Kubeless.
func kubelessEnv(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{"MOD_NAME=handler", "FUNC_HANDLER=handle", "MOD_ROOT_PATH=" + filepath.Dir(handlerFile(t))}, more...)
}

// fnpod check shows what Kubeless' variables and ours make of a pod, and where it comes from.
func TestKubelessCheckShowsSettingsWithTheirOrigin(t *testing.T) {
	got := fnpod(t, kubelessEnv(t, "FUNC_PORT=9001", "FNPOD_QUEUE_DEPTH=7", "FNPOD_KUBELESS_CROS=true"), "check")
	require.Zero(t, got.code, got.stderr)
	require.Equal(t, []string{"9001", "variable", "FUNC_PORT"}, row(t, got.stdout, "FUNC_PORT"))
	require.Equal(t, []string{"180", "default"}, row(t, got.stdout, "FUNC_TIMEOUT"))
	require.Equal(t, []string{"(none)", "default"}, row(t, got.stdout, "FUNC_RUNTIME"))
	require.Equal(t, ":9001", row(t, got.stdout, "listen")[0])
	require.Equal(t, "10", row(t, got.stdout, "queue-limit")[0], "PY4")
	require.Equal(t, []string{"7", "variable", "FNPOD_QUEUE_DEPTH"}, row(t, got.stdout, "queue-depth"))
	require.Equal(t, "fnpod: warning: unknown variable FNPOD_KUBELESS_CROS has no effect; did you mean FNPOD_KUBELESS_CORS?\n", got.stderr)
}

// All that is wrong is told at once, by check and by the pod.
func TestKubelessBadSettingsAreExitTwo(t *testing.T) {
	env := kubelessEnv(t, "FUNC_PORT=no", "MP_CONTEXT=fork")
	const wrong = "fnpod: FUNC_PORT \"no\": must be a whole number from 1 to 65535\nfnpod: MP_CONTEXT \"fork\": must be forkserver or spawn\n"
	got := fnpod(t, env, "check")
	require.Equal(t, exitUsage, got.code)
	require.Equal(t, []string{"no", "variable", "FUNC_PORT"}, row(t, got.stdout, "FUNC_PORT"))
	require.Equal(t, wrong, got.stderr)
	got = fnpod(t, env)
	require.Equal(t, exitUsage, got.code)
	require.Equal(t, wrong, got.stderr)
	got = fnpod(t, kubelessEnv(t, "FNPOD_QUEUE_LIMIT=many"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, `fnpod: queue-limit "many" (variable FNPOD_QUEUE_LIMIT)`)
	got = fnpod(t, []string{"FNPOD_PLATFORM=kubeless"})
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "fnpod: MOD_NAME is not set: it must be")
	require.Contains(t, got.stderr, "fnpod: FUNC_HANDLER is not set: it must be")
}

// Kubeless P4: what the controller sets for a language reaches the function, and nothing of ours does.
func TestKubelessP4Environment(t *testing.T) {
	set := []string{"PYTHONPATH=/kubeless/lib/python3.8/site-packages:/kubeless", "NODE_PATH=/kubeless/node_modules", "GEM_HOME=/kubeless/ruby/2.6.0"}
	inv := newInvocation("fnpod", kubelessEnv(t, append(set, "FNPOD_QUEUE_DEPTH=7", "PATH="+os.Getenv("PATH"))...), nil, nil)
	c, _, err := inv.kubeless(nil)
	require.NoError(t, err)
	config, err := c.workers.config(inv)
	require.NoError(t, err)
	require.Subset(t, config.Env, set)
	require.NotContains(t, config.Env, "FNPOD_QUEUE_DEPTH=7")
	require.Contains(t, config.Env, "FUNC_HANDLER=handle")
}

// Kubeless P5: all interfaces, at FUNC_PORT or 8080.
func TestKubelessP5Port(t *testing.T) {
	for want, entries := range map[string][]string{":8080": nil, ":9001": {"FUNC_PORT=9001"}} {
		c, _, err := newInvocation("fnpod", kubelessEnv(t, entries...), nil, nil).kubeless(nil)
		require.NoError(t, err)
		require.Equal(t, want, c.front.Listen.address)
	}
}

// Kubeless PY4: so many calls run at once as the original has threads, and no other limit refuses those that wait.
func TestKubelessPY4Threads(t *testing.T) {
	for want, entries := range map[int][]string{10: nil, 3: {"CHERRYPY_NUMTHREADS=3"}} {
		c, _, err := newInvocation("fnpod", kubelessEnv(t, entries...), nil, nil).kubeless(nil)
		require.NoError(t, err)
		require.Equal(t, want, c.front.Queue.Limit)
		require.EqualValues(t, want, c.workers.Workers.Max)
		require.Zero(t, c.front.Queue.MaxWait)
		require.GreaterOrEqual(t, c.front.Queue.Depth, 1000)
	}
}

// The environment decides only where no command does; the variable decides always, but for what only looks.
func TestKubelessIsFoundByItsEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env      []string
		args     []string
		platform string
	}{
		"bare":               {[]string{"MOD_NAME=a", "FUNC_HANDLER=b"}, nil, platformKubeless},
		"check":              {[]string{"MOD_NAME=a", "FUNC_HANDLER=b"}, []string{"check"}, platformKubeless},
		"a command":          {[]string{"MOD_NAME=a", "FUNC_HANDLER=b"}, []string{"serve", "f.py"}, platformNative},
		"check of a command": {[]string{"MOD_NAME=a", "FUNC_HANDLER=b"}, []string{"check", "serve", "f.py"}, platformNative},
		"one of the two":     {[]string{"MOD_NAME=a"}, nil, platformNative},
		"the variable":       {[]string{"FNPOD_PLATFORM=kubeless"}, []string{"/kubeless/server"}, platformKubeless},
		"another platform":   {[]string{"FNPOD_PLATFORM=nuclio", "MOD_NAME=a", "FUNC_HANDLER=b"}, nil, platformNuclio},
	} {
		got, err := newInvocation("fnpod", c.env, nil, nil).platformOf(c.args)
		require.NoError(t, err)
		require.Equal(t, c.platform, got, name)
	}
	got := fnpod(t, []string{"FNPOD_PLATFORM=kubeless"}, "version")
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stdout, "fnpod")
	got = fnpod(t, []string{"FNPOD_PLATFORM=kubeless"}, "probe", "--admin", "127.0.0.1:1")
	require.Equal(t, exitFailure, got.code, got.stderr)
}

// The command of an image is a server, unless it is that of the original.
func TestKubelessCommandOfTheImage(t *testing.T) {
	read := func(args []string, env ...string) *kubelessCmd {
		inv := newInvocation("fnpod", append(kubelessEnv(t), env...), nil, nil)
		c, _, err := inv.kubeless(args)
		require.NoError(t, err)
		return c
	}
	c := read([]string{"/bin/sh", "-v"}, "FUNC_RUNTIME=go1.14", "SHUTDOWN_TIMEOUT=3", "FUNC_TIMEOUT=7")
	require.Equal(t, []string{"/bin/sh", "-v"}, c.server.argv())
	require.Equal(t, "8090", c.server.Function.Upstream.port())
	require.Equal(t, "3s", c.front.Proxy.DrainTimeout.String(), "G6")
	require.Equal(t, "7s", c.front.Proxy.Timeout.String(), "G3")
	c = read([]string{"python", "/_kubeless.py"})
	require.NotNil(t, c.workers)
	require.Zero(t, c.front.Proxy.Timeout, "who runs the call looks at it")
}
