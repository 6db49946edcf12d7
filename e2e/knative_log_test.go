package e2e_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKnative121TheLogIsAsTheControllerWantsIt(t *testing.T) {
	t.Parallel()
	p := prepareQueueProxy(t, freePort(t), "SERVING_LOGGING_LEVEL=warn", "SERVING_LOGGING_CONFIG="+
		`{"level":"info","outputPaths":["stdout"],"encoding":"json","encoderConfig":{"timeKey":"timestamp","levelKey":"severity","nameKey":"logger","callerKey":"caller","messageKey":"message"}}`)
	var stdout bytes.Buffer
	p.cmd.Stdout = &stdout
	p.begin()
	p.waitListening()
	resp, _ := p.ask("GET", "/", "")
	require.Equal(t, 502, resp.StatusCode)
	p.signal(syscall.SIGTERM)
	require.Zero(t, p.exit())
	require.Empty(t, p.log.String())
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	require.Len(t, lines, 1, "nothing less important than a warning: %s", stdout.String())
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &m))
	require.Equal(t, []any{"queueproxy", "default/hello-00001", "hello-pod", "request failed"}, []any{m["logger"], m["knative.dev/key"], m["knative.dev/pod"], m["message"]})
	require.NotEmpty(t, m["error"])
}
