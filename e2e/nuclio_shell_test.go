package e2e_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// §14 L1–L6: a script per event.
func TestNuclio14Shell(t *testing.T) {
	t.Parallel()
	const script = `case "$1" in
fail) echo out; echo err >&2; exit 3;;
env) env;;
sleep) sleep 30 & echo $! > "$DIR/child"; sleep 30;;
*) echo "$#|$1|$2|"; echo mixed >&2; cat;;
esac
`
	dir := t.TempDir()
	p := startNuclio(t, nuclioSpec{
		runtime: "shell", handler: "main.sh:main", files: map[string]string{"main.sh": script},
		spec: "  eventTimeout: 700ms\n  env: [{name: OWN, value: of the function}, {name: DIR, value: " + strconv.Quote(dir) + "}]\n  runtimeAttributes:\n    arguments: one  three\n    responseHeaders: {X-A: b, X-N: 5}\n",
	})
	resp, body := nuclioAsk(t, p, "POST", "/a%20b/../c?x", "the body", "Content-Type: a/b")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "3|one||\nmixed\nthe body", body, "L3, L4, L5")
	require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"), "L5")
	require.Equal(t, "b", resp.Header.Get("X-A"), "L5")
	require.Empty(t, resp.Header.Get("X-N"), "L5")

	_, body = nuclioAsk(t, p, "POST", "/", "", "X-Nuclio-Arguments: $(id);`id` x")
	require.Equal(t, "2|$(id);`id`|x|\nmixed\n", body, "B8")
	resp, body = nuclioAsk(t, p, "POST", "/", "", "X-Nuclio-Arguments: fail")
	require.Equal(t, 500, resp.StatusCode, "L5")
	require.Equal(t, "Failed to run shell command.\nError: exit status 3\nOutput:out\nerr\n", body, "L5")
	require.Equal(t, "b", resp.Header.Get("X-A"), "L5")

	_, body = nuclioAsk(t, p, "PUT", "/a%20b/../c//d?x", "", "X-Nuclio-Arguments: env", "Content-Type: a/b", "X-Secret: 1")
	got := map[string]string{}
	for line := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[name] = value
	}
	require.Regexp(t, `^[0-9a-f-]{36}$`, got["NUCLIO_EVENT_ID"])
	_, err := time.Parse(time.RFC3339, got["NUCLIO_EVENT_TIMESTAMP"])
	require.NoError(t, err)
	for name, want := range map[string]string{
		"NUCLIO_FUNCTION_NAME": "fn", "NUCLIO_FUNCTION_VERSION": "-1", "NUCLIO_FUNCTION_HANDLER": "main.sh:main", "NUCLIO_FUNCTION_DESCRIPTION": "",
		"OWN": "of the function", "NUCLIO_TRIGGER_CLASS": "sync", "NUCLIO_TRIGGER_KIND": "http", "NUCLIO_EVENT_CONTENT_TYPE": "a/b", "NUCLIO_EVENT_PATH": "/c/d",
		"NUCLIO_EVENT_URL": "", "NUCLIO_EVENT_METHOD": "PUT", "NUCLIO_EVENT_SHARD_ID": "-1", "NUCLIO_EVENT_NUM_SHARDS": "0", "NUCLIO_EVENT_TYPE": "",
		"NUCLIO_EVENT_TYPE_VERSION": "", "NUCLIO_EVENT_VERSION": "",
	} {
		value, ok := got[name]
		require.True(t, ok, name)
		require.Equal(t, want, value, name)
	}
	require.NotContains(t, got, "HOME", "L4")
	require.NotContains(t, body, "X_SECRET", "L4")

	resp, body = nuclioAsk(t, p, "POST", "/", "", "X-Nuclio-Arguments: sleep")
	require.Equal(t, 408, resp.StatusCode, "L6")
	require.Equal(t, "{\"error\": \"handler timed out\"}", body) //nolint:testifylint // to the byte
	text, err := os.ReadFile(filepath.Join(dir, "child"))
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return syscall.Kill(child, 0) != nil }, 10*time.Second, time.Millisecond, "B18")
	resp, _ = nuclioAsk(t, p, "GET", "/", "")
	require.Equal(t, 200, resp.StatusCode, "L6")
}

// L1, L2: what is no file is a command.
func TestNuclio14ShellCommand(t *testing.T) {
	t.Parallel()
	p := startNuclio(t, nuclioSpec{runtime: "shell", handler: "echo"})
	_, body := nuclioAsk(t, p, "GET", "/", "", "X-Nuclio-Arguments: a; id")
	require.Equal(t, "a; id\n", body, "B8")
	bad := prepareNuclio(t, nuclioSpec{runtime: "shell", handler: "no-such-command"})
	bad.begin()
	require.Equal(t, 1, bad.exit(), "L1")
	require.Contains(t, bad.log.String(), "spec.handler")
}
